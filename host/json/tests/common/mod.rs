//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};

use tidemill_json::{Backend, Captures, Member, Padded, Pass, Program, Refusal, Span};

/// Every backend that this processor has.
pub fn backends() -> impl Iterator<Item = Backend> {
    [Backend::Safe, Backend::Sse2, Backend::Avx2].into_iter().filter(|backend| backend.is_available())
}

/// All that a pass finds out about a document.
#[derive(Debug, PartialEq)]
pub struct Found {
    pub verdict: Result<(), Refusal>,
    pub captured: Vec<Vec<Span>>,
    pub members: Vec<Member>,
}

/// What one backend finds in `document` without a schema.
pub fn find(backend: Backend, captures: &Captures, document: &[u8]) -> Found {
    let (mut pass, mut padded) = (Pass::with_backend(backend), Padded::new());
    padded.set(document);
    let verdict = pass.run(&Program::any(), captures, &padded);
    if verdict.is_err() {
        return Found { verdict, captured: Vec::new(), members: Vec::new() };
    }
    let captured = (0..captures.len()).map(|pointer| pass.captured(pointer).to_vec()).collect();
    Found { verdict, captured, members: pass.members().to_vec() }
}

/// What every backend finds in `document`: they must agree.
pub fn find_by_all(captures: &Captures, document: &[u8]) -> Found {
    let safe = find(Backend::Safe, captures, document);
    for backend in backends() {
        let found = find(backend, captures, document);
        assert_eq!(found, safe, "{backend:?} and the safe backend on {}", String::from_utf8_lossy(document));
    }
    safe
}

/// The recorded pings of the real repository, or none with a word on stderr.
pub fn recorded_pings(test: &str) -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap_or(here);
    let folder = root.join("../shared/data/pipeline-schemas/validation");
    if !folder.is_dir() {
        eprintln!("SKIPPED {test}: {} is missing", folder.display());
        return Vec::new();
    }
    let files = |folder: &Path| std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    let namespaces: Vec<PathBuf> = files(&folder);
    let mut pings: Vec<PathBuf> = namespaces.iter().flat_map(|namespace| -> Vec<PathBuf> { files(namespace) }).collect();
    pings.sort();
    pings
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
