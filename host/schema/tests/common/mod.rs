//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};

use tidemill_schema::{Registry, Schema};

/// The folder of real schemas and recorded pings, or nothing with a word on stderr.
pub fn data(test: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap_or(here);
    let data = root.join("../shared/data/pipeline-schemas");
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

/// A small deterministic generator of numbers.
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit.max(1)
    }
}

const TOKENS: [&str; 24] = [
    "null",
    "true",
    "-1",
    "0",
    "1.0",
    "-0",
    "1e999",
    "1e3",
    "18446744073709551616",
    "9007199254740993",
    "\"\"",
    "\"x\"",
    "{}",
    "[]",
    "[1]",
    "{\"a\":1}",
    "\"\\ud800\"",
    "\"\\u0061\"",
    ",",
    ":",
    "}",
    "]",
    "\"",
    "\\",
];

/// `original` with a byte changed, a token put over a value, a piece copied, a member doubled or a
/// piece cut out.
pub fn mutate(original: &[u8], seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ original.len() as u64);
    let mut bytes = original.to_vec();
    let at = random.below(bytes.len());
    match seed % 6 {
        0 => bytes[at] = random.below(256) as u8,
        1 => bytes[at] = b"x-9\"{}[],:0a. \\e"[random.below(16)],
        2 | 3 => replace_value(&mut bytes, at, TOKENS[random.below(TOKENS.len())]),
        4 => double_member(&mut bytes, at, TOKENS[random.below(16)]),
        _ => drop(bytes.drain(at..(at + random.below(12)).min(original.len()))),
    }
    bytes
}

/// Puts `token` in place of the scalar that follows the next colon.
fn replace_value(bytes: &mut Vec<u8>, at: usize, token: &str) {
    let Some(colon) = bytes[at..].iter().position(|&byte| byte == b':').map(|offset| at + offset + 1) else { return };
    let end = bytes[colon..].iter().position(|byte| b",}]\n".contains(byte)).map_or(bytes.len(), |offset| colon + offset);
    bytes.splice(colon..end, token.bytes());
}

/// Puts a member with the next key and the value `token` before that key.
fn double_member(bytes: &mut Vec<u8>, at: usize, token: &str) {
    let Some(colon) = bytes[at..].iter().position(|&byte| byte == b':').map(|offset| at + offset) else { return };
    let Some(close) = bytes[..colon].iter().rposition(|&byte| byte == b'"') else { return };
    let Some(open) = bytes[..close].iter().rposition(|&byte| byte == b'"') else { return };
    let member = [&bytes[open..=close], b":", token.as_bytes(), b","].concat();
    bytes.splice(open..open, member);
}
