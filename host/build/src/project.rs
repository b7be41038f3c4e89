//! What cargo says about a project.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::BuildError;
use crate::toolchain::Toolchain;

/// A project: a package by itself, or a workspace of several.
#[derive(Debug)]
pub(crate) struct Project {
    pub root: PathBuf,
    /// Its packages that make a module, in the order of their names.
    pub packages: Vec<Package>,
    /// Where it is built.
    pub target_dir: PathBuf,
    /// Whether the target folder is the project's own.
    pub is_workspace: bool,
}

/// A package that makes a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub name: String,
    pub dir: PathBuf,
}

/// Asks cargo about the project in `dir`, which is to be built in `target_dir` or where such projects are.
pub(crate) fn load(toolchain: &Toolchain, dir: &Path, target_dir: Option<&Path>) -> Result<Project, BuildError> {
    let error = |detail: String| BuildError::NoProject { dir: dir.into(), detail };
    if !dir.join("Cargo.toml").is_file() {
        return Err(error("it has no Cargo.toml".into()));
    }
    let mut command = toolchain.cargo(dir);
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = command.output().map_err(|source| BuildError::Run { program: "cargo metadata".into(), source })?;
    if !output.status.success() {
        return Err(error(String::from_utf8_lossy(&output.stderr).trim().into()));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|source| error(source.to_string()))?;
    from_metadata(&metadata, target_dir).ok_or_else(|| error("its metadata lacks names or paths".into()))
}

fn from_metadata(metadata: &Value, target_dir: Option<&Path>) -> Option<Project> {
    let root = PathBuf::from(metadata["workspace_root"].as_str()?);
    let makes_module = |package: &&Value| targets(package).any(|target| contains(&target["kind"], "cdylib"));
    let packages = metadata["packages"].as_array()?.iter();
    let mut modules: Vec<_> = packages.filter(makes_module).map(package).collect::<Option<_>>()?;
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    let is_workspace = !root.join("src").is_dir();
    let own = PathBuf::from(metadata["target_directory"].as_str()?);
    let usual = if is_workspace { shared_override() } else { shared_target_dir() };
    let target_dir = target_dir.map(PathBuf::from).or(usual).unwrap_or(own);
    Some(Project { root, packages: modules, target_dir, is_workspace })
}

fn package(package: &Value) -> Option<Package> {
    let manifest = Path::new(package["manifest_path"].as_str()?);
    Some(Package { name: package["name"].as_str()?.into(), dir: manifest.parent()?.into() })
}

fn targets(package: &Value) -> impl Iterator<Item = &Value> {
    package["targets"].as_array().into_iter().flatten()
}

pub(crate) fn contains(list: &Value, text: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|element| element == text))
}

fn shared_override() -> Option<PathBuf> {
    std::env::var_os("TIDEMILL_PLUGIN_TARGET_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

/// Where projects share the built standard library.
fn shared_target_dir() -> Option<PathBuf> {
    let cache = || std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    shared_override().or_else(|| Some(cache().or_else(home)?.join("tidemill/target")))
}

impl Project {
    /// The package of a folder.
    pub(crate) fn package_in(&self, dir: &Path) -> Result<&Package, BuildError> {
        let same = |package: &&Package| package.dir.canonicalize().ok() == dir.canonicalize().ok();
        self.packages.iter().find(same).ok_or_else(|| BuildError::NoModule { package: dir.display().to_string() })
    }

    /// The folder that paths in panics are made relative to: sources outside of a workspace (the SDK) lie beside it. A project by
    /// itself has all its sources below its root, and a path of its own would build the shared standard library again.
    pub(crate) fn remap(&self) -> Option<&Path> {
        if self.is_workspace { self.root.parent() } else { None }
    }
}
