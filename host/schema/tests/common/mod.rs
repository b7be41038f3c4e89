//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod agree;
pub mod dialect;
pub mod evaluate;
pub mod generate;

use std::path::{Path, PathBuf};

use tidemill_schema::{Registry, Schema};

/// The root of the project.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap_or(here).to_owned()
}

/// The folder of real schemas and recorded pings, or nothing with a word on stderr.
pub fn data(test: &str) -> Option<PathBuf> {
    let data = root().join("../shared/data/pipeline-schemas");
    if data.is_dir() {
        return Some(data);
    }
    eprintln!("SKIPPED {test}: {} is missing", data.display());
    None
}

/// The bytes of a file.
pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The schema that the name of a recorded ping states.
pub fn schema_of<'r>(registry: &'r Registry, path: &Path) -> &'r Schema {
    let namespace = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a namespace");
    let mut parts = path.file_name().and_then(|name| name.to_str()).expect("a name").split('.');
    let (doctype, version) = (parts.next().expect("a document type"), parts.next().expect("a version"));
    let version = version.parse().expect("a number");
    registry.find(namespace, doctype, version).expect("a schema")
}

/// The document as serde_json reads it; nothing where it is not JSON of the dialect. What serde_json
/// and the dialect see differently (only the depth) does not occur in the recorded pings.
pub fn tree(document: &[u8]) -> Option<serde_json::Value> {
    serde_json::from_slice(document).ok()
}

/// As [`tree`], however deep.
pub fn deep_tree(document: &[u8]) -> Option<serde_json::Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    deserializer.disable_recursion_limit();
    let tree = serde::Deserialize::deserialize(&mut deserializer).ok()?;
    deserializer.end().ok().map(|()| tree)
}
