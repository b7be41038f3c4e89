//! The author's loop before a plugin meets a host: make a project ([`new`]) and turn it into a component ([`build`]).
//!
//! **A component imports nothing but `tidemill:plugin/host`.** [`build`] checks that, so a dependency that reaches for files,
//! clocks or randomness is refused here, by name, and not at deployment.
//!
//! **One target folder for all projects.** Where rustup has no wasm32 target, the standard library is built too (about 100
//! seconds on two cores); projects share it in `TIDEMILL_PLUGIN_TARGET_DIR`, else `~/.cache/tidemill/target`. Members of a
//! larger workspace use that workspace's own `target`.

mod cargo;
mod component;
mod error;
mod new;
mod project;
mod toolchain;

use std::path::{Path, PathBuf};

pub use component::{Kind, UnknownKind};
pub use error::BuildError;
pub use new::{NewError, new, run_options};

/// A component that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The package's name.
    pub name: String,
    /// What it exports.
    pub kind: Kind,
    /// The component's file.
    pub component: PathBuf,
    /// The component's size.
    pub size_bytes: usize,
    /// Whether the file is another one than before.
    pub changed: bool,
}

/// Builds the plugin in `dir` and writes the component to `out`, else to `DIR/NAME.wasm`.
///
/// `on_line` gets what the compiler says, line by line, while it works: progress and readable errors.
///
/// # Errors
/// No toolchain (the text says which packages to install), a plugin that does not compile, or one that is no component of
/// exactly one kind which imports `tidemill:plugin/host` only.
pub fn build(dir: &Path, out: Option<&Path>, on_line: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
    build_in(None, dir, out, on_line)
}

/// [`build`] with a target folder of the caller's choice.
///
/// # Errors
/// As [`build`].
pub fn build_in(target_dir: Option<&Path>, dir: &Path, out: Option<&Path>, on_line: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
    let toolchain = toolchain::find(dir)?;
    let project = project::load(&toolchain, dir, target_dir)?;
    let package = project.package_in(dir)?;
    let module = cargo::build_package(&toolchain, &project, &package.name, on_line)?;
    let default = dir.join(format!("{}.wasm", package.name));
    component::write(&package.name, &module, out.unwrap_or(&default))
}

/// Builds every plugin of the workspace in `dir`, each into its own folder as `NAME.wasm`; those that are up to date cost
/// little. In the order of their names.
///
/// # Errors
/// As [`build`], for the first plugin that fails.
pub fn build_all(dir: &Path, on_line: &mut dyn FnMut(&str)) -> Result<Vec<Built>, BuildError> {
    let toolchain = toolchain::find(dir)?;
    let project = project::load(&toolchain, dir, None)?;
    let modules = cargo::build_workspace(&toolchain, &project, on_line)?;
    let write = |(package, module): (&project::Package, Vec<u8>)| {
        component::write(&package.name, &module, &package.dir.join(format!("{}.wasm", package.name)))
    };
    modules.into_iter().map(write).collect()
}
