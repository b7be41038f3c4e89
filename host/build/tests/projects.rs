//! Projects that `new` makes are built and tested as their author would, on the real toolchain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidemill_build::{BuildError, Built, Kind, build_in, new};

/// The target folder of the repository's plugins: the standard library is built there already.
fn target_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/target")
}

/// Builds, or says why the test is skipped.
fn build(test: &str, dir: &Path) -> Option<Result<Built, BuildError>> {
    let mut said = String::new();
    match build_in(Some(&target_dir()), dir, None, &mut |line| said.push_str(line)) {
        Err(error @ BuildError::NoToolchain { .. }) => {
            eprintln!("SKIPPED {test}: {error}");
            None
        }
        result => Some(result),
    }
}

/// A fresh project, always in the same place: the target folder keeps what it built for each path.
fn project(name: &str, kind: Kind) -> PathBuf {
    let dir = target_dir().join("projects").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    new(name, kind, "rust", &dir).unwrap();
    dir
}

/// The project's own tests, with the compiler on the path.
fn run_tests(dir: &Path) -> String {
    let mut command = Command::new("cargo");
    command.current_dir(dir).args(["test", "--offline"]).env("CARGO_TARGET_DIR", target_dir());
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

fn every_kind(kind: Kind) {
    let dir = project(&format!("fresh-{kind}"), kind);
    let Some(built) = build(&format!("new_{kind}"), &dir) else { return };
    let built = built.unwrap();
    assert_eq!((built.kind, built.changed), (kind, true));
    assert!(built.size_bytes < 120_000, "{} bytes", built.size_bytes);
    let first = fs::read(&built.component).unwrap();
    assert_eq!(first.len(), built.size_bytes);

    let again = build("", &dir).unwrap().unwrap();
    assert!(!again.changed, "nothing has changed");

    let source = dir.join("src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, format!("{text}// The compiler has to run again.\n")).unwrap();
    build("", &dir).unwrap().unwrap();
    assert_eq!(fs::read(&built.component).unwrap(), first, "two builds of the same code give the same bytes");

    let said = run_tests(&dir);
    assert!(said.contains("test result: ok."), "{said}");
}

#[test]
fn a_new_decoder_builds_and_passes_its_tests() {
    every_kind(Kind::Decoder);
}

#[test]
fn a_new_analysis_plugin_builds_and_passes_its_tests() {
    every_kind(Kind::Analysis);
}

#[test]
fn a_new_output_plugin_builds_and_passes_its_tests() {
    every_kind(Kind::Output);
}

#[test]
fn a_compiler_error_is_passed_through() {
    let dir = project("broken-type", Kind::Analysis);
    let source = dir.join("src/lib.rs");
    let text = fs::read_to_string(&source).unwrap().replace(", 1.0)", ", \"one\")");
    fs::write(&source, text).unwrap();
    let Some(result) = build("a_compiler_error_is_passed_through", &dir) else { return };
    let text = result.unwrap_err().to_string();
    for part in ["does not compile", "error[E0308]: mismatched types", "src/lib.rs:", "expected `f64`, found `&str`"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn a_module_that_is_no_plugin_is_refused() {
    let check = |name: &str, source: &str, expected: &str| {
        let dir = project(name, Kind::Output);
        fs::write(dir.join("src/lib.rs"), source).unwrap();
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        fs::write(dir.join("Cargo.toml"), manifest.replace("unsafe_code = \"forbid\"", "")).unwrap();
        let Some(result) = build("a_module_that_is_no_plugin_is_refused", &dir) else { return };
        let text = result.unwrap_err().to_string();
        assert!(text.contains(expected), "`{expected}` is not in: {text}");
    };
    check("no-export", "//! Nothing.\n", "`no-export` compiles, but is no component: it exports no kind of plugin");
    let clock = r#"
        #[link(wasm_import_module = "env")]
        unsafe extern "C" { fn now() -> f64; }
        #[unsafe(no_mangle)]
        pub extern "C" fn run() -> f64 { unsafe { now() } }
    "#;
    check("wants-clock", clock, "a dependency that reaches for the world outside");
}

#[test]
fn a_folder_without_project_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let Some(result) = build("a_folder_without_project_is_refused", root.path()) else { return };
    let text = result.unwrap_err().to_string().replace(&root.path().display().to_string(), "DIR");
    assert_eq!(text, "`DIR` is no Cargo project that cargo understands: it has no Cargo.toml");
    let dir = project("no-module", Kind::Output);
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap().replace("\"cdylib\", ", "");
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    let text = build("", &dir).unwrap().unwrap_err().to_string();
    assert!(text.ends_with("its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`"), "{text}");
}
