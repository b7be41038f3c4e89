//! What can go wrong while a plugin is built.

use std::io;
use std::path::PathBuf;

/// Why a plugin was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Neither rustup's wasm32 target nor Debian's packages are complete.
    #[error(
        "no toolchain for wasm32-unknown-unknown: install rustup's target (`rustup target add wasm32-unknown-unknown`) or \
         Debian's packages (`apt-get install {}`); looked for: {}",
        packages.join(" "), looked_for.join(", ")
    )]
    NoToolchain {
        /// The Debian packages that are missing.
        packages: Vec<&'static str>,
        /// What was not found.
        looked_for: Vec<String>,
    },

    /// A program did not start.
    #[error("cannot run `{program}`: {source}")]
    Run {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },

    /// The folder holds no Cargo project that cargo understands.
    #[error("`{}` is no Cargo project that cargo understands: {detail}", dir.display())]
    NoProject {
        /// The folder.
        dir: PathBuf,
        /// What cargo said.
        detail: String,
    },

    /// The package makes no wasm module.
    #[error("`{package}` makes no module: its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`")]
    NoModule {
        /// The package.
        package: String,
    },

    /// The compiler refused the plugin; what it said went to `on_line`.
    #[error("the plugin in `{}` does not compile; the last the compiler said:\n{tail}", dir.display())]
    Compile {
        /// The project's folder.
        dir: PathBuf,
        /// The last lines of what the compiler said.
        tail: String,
    },

    /// The module cannot become a component.
    #[error("`{plugin}` compiles, but is no component: {detail}")]
    Component {
        /// The package.
        plugin: String,
        /// What is wrong and what to do.
        detail: String,
    },

    /// A file cannot be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
