//! Finding a compiler for wasm32-unknown-unknown.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::BuildError;

/// The target of every plugin: no WASI, so a plugin cannot even name a file.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Bytes of stack in a plugin's memory: a million instances of Rust's default (1 MiB) would not fit.
const STACK_BYTES: u32 = 64 * 1024;

/// A way to compile plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The compiler on the path has the target's standard library: rustup, or a distribution that packages it.
    Installed,
    /// Debian's compiler with the library's sources; the library is built beside the plugin.
    BuildStd {
        /// Folder of `rustc` and `cargo`.
        bin: PathBuf,
        linker: PathBuf,
    },
}

/// Where to look; another place in tests.
struct Search {
    /// Folder of the distribution's programs.
    bin: PathBuf,
    /// Where the distribution keeps the library's sources.
    library: PathBuf,
    /// The path, for linkers.
    path: Vec<PathBuf>,
    /// rustup's `rust-lld`, where there is one.
    rust_lld: Option<PathBuf>,
}

/// Finds the toolchain for a project in `dir` (which may choose one by `rust-toolchain.toml`).
pub(crate) fn find(dir: &Path) -> Result<Toolchain, BuildError> {
    if is_target_installed(dir) {
        return Ok(Toolchain::Installed);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let search = Search {
        bin: "/usr/bin".into(),
        library: "/usr/lib/rustlib/src/rust/library".into(),
        path: std::env::split_paths(&path).collect(),
        rust_lld: rust_lld(dir),
    };
    search.build_std()
}

/// Whether the compiler on the path brings the target's standard library.
fn is_target_installed(dir: &Path) -> bool {
    let folder = ask_rustc(dir, &["--print", "target-libdir", "--target", TARGET]);
    let files = folder.and_then(|folder| folder.read_dir().ok());
    files.is_some_and(|mut files| files.any(|file| file.is_ok_and(|file| is_std(&file.file_name()))))
}

fn is_std(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with("libstd-")
}

/// rustup's own linker: it serves where the distribution's `lld` is missing.
fn rust_lld(dir: &Path) -> Option<PathBuf> {
    let lib = ask_rustc(dir, &["--print", "target-libdir"])?;
    Some(lib.parent()?.join("bin/rust-lld")).filter(|program| program.is_file())
}

/// A path that rustc prints; `None` where there is no rustc.
fn ask_rustc(dir: &Path, arguments: &[&str]) -> Option<PathBuf> {
    let mut command = Command::new("rustc");
    let dir = if dir.is_dir() { dir } else { Path::new(".") };
    clean_environment(command.current_dir(dir).args(arguments));
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().into())
}

impl Search {
    /// Debian's route, or which packages it lacks.
    fn build_std(&self) -> Result<Toolchain, BuildError> {
        let wanted = [
            ("rustc-web", self.bin.join("rustc")),
            ("cargo-web", self.bin.join("cargo")),
            ("rust-web-src", self.library.join("Cargo.toml")),
        ];
        let missing: Vec<_> = wanted.iter().filter(|(_, file)| !file.is_file()).collect();
        let mut packages: Vec<_> = missing.iter().map(|(package, _)| *package).collect();
        let mut looked_for: Vec<_> = missing.iter().map(|(_, file)| file.display().to_string()).collect();
        match self.linker() {
            Some(linker) if packages.is_empty() => return Ok(Toolchain::BuildStd { bin: self.bin.clone(), linker }),
            Some(_) => {}
            None => {
                packages.push("lld-22");
                looked_for.push("wasm-ld-22, wasm-ld or rust-lld".into());
            }
        }
        Err(BuildError::NoToolchain { packages, looked_for })
    }

    fn linker(&self) -> Option<PathBuf> {
        let on_path = |name: &str| self.path.iter().map(|dir| dir.join(name)).find(|program| program.is_file());
        ["wasm-ld-22", "wasm-ld"].into_iter().find_map(on_path).or_else(|| self.rust_lld.clone())
    }
}

impl Toolchain {
    /// cargo, with an environment that nothing of an outer cargo leaks into.
    pub(crate) fn cargo(&self, dir: &Path) -> Command {
        let mut command = match self {
            Self::Installed => Command::new("cargo"),
            Self::BuildStd { bin, .. } => Command::new(bin.join("cargo")),
        };
        clean_environment(command.current_dir(dir));
        if let Self::BuildStd { bin, .. } = self {
            // `-Zbuild-std` and the library's sources want the nightly switches that this variable unlocks.
            command.env("RUSTC", bin.join("rustc")).env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    /// The arguments of `cargo build` for the target, which has vectors of 128 bits as every host of Tidemill. `remap` is a folder that
    /// panics' file names are relative to.
    pub(crate) fn build_arguments(&self, remap: Option<&Path>) -> Vec<OsString> {
        let mut flags = vec![format!("-Clink-arg=-zstack-size={STACK_BYTES}"), "-Ctarget-feature=+simd128".to_owned()];
        let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
        // Equal sources give equal bytes on every machine, so no path of this one may end in them.
        flags.extend(cargo_home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
        flags.extend(remap.map(|dir| format!("--remap-path-prefix={}=.", dir.display())));
        let flags = serde_json::json!(flags);
        let mut arguments: Vec<OsString> =
            ["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics", "--config"].map(Into::into).into();
        arguments.push(format!("target.{TARGET}.rustflags={flags}").into());
        if let Self::BuildStd { linker, .. } = self {
            let linker = serde_json::json!(linker.to_string_lossy());
            arguments.push("-Zbuild-std=std,panic_abort".into());
            arguments.push("--config".into());
            arguments.push(format!("target.{TARGET}.linker={linker}").into());
        }
        arguments
    }
}

/// Takes away what an outer cargo, rustup or make set for its own build; proxies, registries and homes stay.
fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_outer_build) {
            command.env_remove(name);
        }
    }
}

fn is_of_outer_build(name: &str) -> bool {
    const KEPT: [&str; 6] = ["CARGO_HOME", "CARGO_HTTP", "CARGO_NET", "CARGO_REGISTR", "CARGO_SOURCE", "CARGO_TERM"];
    const DROPPED: [&str; 8] = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "MAKEFLAGS", "LD_LIBRARY_PATH", "OUT_DIR"];
    let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    is(&DROPPED) && !is(&KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder in which the named files exist, searched as the whole machine.
    fn search(files: &[&str]) -> (tempfile::TempDir, Search) {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let at = |name: &str| root.path().join(name);
        let search = Search {
            bin: at("bin"),
            library: at("library"),
            path: vec![at("path")],
            rust_lld: Some(at("rust-lld")).filter(|file| file.is_file()),
        };
        (root, search)
    }

    #[test]
    fn names_exactly_the_packages_that_are_missing() {
        let check = |files: &[&str], packages: &str, looked_for: &str| {
            let (root, search) = search(files);
            let text = search.build_std().unwrap_err().to_string().replace(&root.path().display().to_string(), "");
            let expected = format!(
                "no toolchain for wasm32-unknown-unknown: install rustup's target (`rustup target add wasm32-unknown-unknown`) \
                 or Debian's packages (`apt-get install {packages}`); looked for: {looked_for}"
            );
            assert_eq!(text, expected);
        };
        let all = "/bin/rustc, /bin/cargo, /library/Cargo.toml, wasm-ld-22, wasm-ld or rust-lld";
        check(&[], "rustc-web cargo-web rust-web-src lld-22", all);
        check(&["bin/rustc", "bin/cargo", "path/wasm-ld"], "rust-web-src", "/library/Cargo.toml");
        check(&["bin/rustc", "bin/cargo", "library/Cargo.toml"], "lld-22", "wasm-ld-22, wasm-ld or rust-lld");
    }

    #[test]
    fn takes_the_linker_that_is_there() {
        let debian = ["bin/rustc", "bin/cargo", "library/Cargo.toml"];
        let check = |linkers: &[&str], expected: &str| {
            let (root, search) = search(&[&debian[..], linkers].concat());
            let linker = root.path().join(expected);
            assert_eq!(search.build_std().unwrap(), Toolchain::BuildStd { bin: root.path().join("bin"), linker });
        };
        check(&["path/wasm-ld-22", "path/wasm-ld", "rust-lld"], "path/wasm-ld-22");
        check(&["path/wasm-ld", "rust-lld"], "path/wasm-ld");
        check(&["rust-lld"], "rust-lld");
    }

    #[test]
    fn only_what_belongs_to_the_outer_build_is_taken_away() {
        let check = |name: &str, dropped: bool| assert_eq!(is_of_outer_build(name), dropped, "{name}");
        for name in ["RUSTFLAGS", "RUSTC", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "CARGO"] {
            check(name, true);
        }
        for name in ["CARGO_PKG_NAME", "CARGO_PROFILE_RELEASE_LTO", "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "MAKEFLAGS"] {
            check(name, true);
        }
        for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_NET_OFFLINE", "CARGO_HTTP_CAINFO", "RUST_BACKTRACE", "https_proxy"]
        {
            check(name, false);
        }
    }
}
