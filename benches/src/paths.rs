//! Where things lie.

use crate::harness::skip;
use anyhow::Context;
use std::path::{Path, PathBuf};
use tidemill_runtime::{Plugin, Runtime, RuntimeOptions};

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder of built things.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |path| root().join(path))
}

/// A file or folder beside the project, where it is.
pub fn shared(path: &str) -> Option<PathBuf> {
    Some(root().join("../shared").join(path)).filter(|path| path.exists())
}

/// Loads the component of a plugin project.
///
/// # Errors
/// It is not built, or no component of ours.
pub fn plugin(project: &str) -> anyhow::Result<Plugin> {
    plugin_as(project, project.rsplit('/').next().unwrap_or(project))
}

/// The same under another name.
///
/// # Errors
/// As [`plugin`].
pub fn plugin_as(project: &str, name: &str) -> anyhow::Result<Plugin> {
    let file = project.rsplit('/').next().unwrap_or(project);
    let path = root().join(project).join(format!("{file}.wasm"));
    let Ok(component) = std::fs::read(&path) else {
        return skip(format!("{project} is not built: tidemill plugin build {project}"));
    };
    let runtime = Runtime::new(RuntimeOptions { cache_dir: Some(target().join("bench-cache")) })?;
    runtime.load(name, &component).with_context(|| path.display().to_string())
}
