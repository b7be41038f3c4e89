//! Mutated documents: the fast validator, on every backend, against the slow path, verdict for verdict.
//!
//! 20,000 documents, a million with `TIDEMILL_TEST_LONG=1`. Document N is made by N alone: `TIDEMILL_FUZZ_FROM=N` begins there.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::agree::{Checker, Verdict, words};
use tidemill_mutate::{Random, bytes, json, shrink};
use tidemill_schema::{Registry, Schema};

const DOCUMENTS: u64 = 20_000;
const DOCUMENTS_LONG: u64 = 1_000_000;
/// A document of at least so many bytes is taken more rarely, by its size.
const LARGE_BYTES: usize = 32 << 10;
const CHANGES_MAX: usize = 4;

/// A recorded ping and its schema.
struct Original {
    name: String,
    schema: Arc<Schema>,
    words: Arc<Vec<Vec<u8>>>,
    bytes: Vec<u8>,
}

/// The recorded pings of the real repository and of our own, with their schemas.
fn originals(test: &str) -> Option<Vec<Original>> {
    let data = common::data(test)?;
    let mut found = Vec::new();
    let own = common::root();
    for (schemas, pings) in [(data.join("schemas"), data.join("validation")), (own.join("schemas"), own.join("tests/fixtures"))] {
        let (registry, _) = Registry::load(&[schemas]).expect("the schemas are readable");
        let mut words_of = BTreeMap::new();
        for path in pings_below(&pings) {
            let schema = common::schema_of(&registry, &path);
            let words = words_of.entry(schema.name().clone()).or_insert_with(|| Arc::new(words(&schema.source)));
            let schema = registry.find(&schema.namespace, &schema.doctype, schema.version).expect("found before");
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            found.push(Original { name, schema: Arc::clone(schema), words: Arc::clone(words), bytes: common::read(&path) });
        }
    }
    Some(found)
}

fn pings_below(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            paths.extend(pings_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    paths
}

/// Document `number`: half of them changed by their structure, a third by their bytes, the rest by both.
fn document(originals: &[Original], number: u64) -> (&Original, Vec<u8>) {
    let mut random = Random::new(number.wrapping_mul(0xd6e8_feb8_6659_fd93));
    let original = loop {
        let original = &originals[random.below(originals.len())];
        if original.bytes.len() < LARGE_BYTES || random.below(original.bytes.len()) < LARGE_BYTES / 8 {
            break original;
        }
    };
    let other = &originals[random.below(originals.len())].bytes;
    let other = if other.len() < LARGE_BYTES { other } else { &original.bytes };
    let mut mutated = original.bytes.clone();
    let way = random.below(6);
    for _ in 0..=random.below(CHANGES_MAX) {
        if way < 3 || (way == 5 && random.once_in(2)) {
            json::mutate(&mut mutated, other, &original.words, &mut random);
        } else {
            bytes::mutate(&mut mutated, other, &mut random);
        }
    }
    (original, mutated)
}

/// How many documents got each verdict.
#[derive(Default)]
struct Counts {
    valid: u64,
    refused: u64,
    not_json: BTreeMap<&'static str, u64>,
}

impl Counts {
    fn take(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Valid => self.valid += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::NotJson(kind) => *self.not_json.entry(kind).or_default() += 1,
        }
    }

    fn add(&mut self, other: Self) {
        let Self { valid, refused, not_json } = other;
        self.valid += valid;
        self.refused += refused;
        not_json.into_iter().for_each(|(kind, count)| *self.not_json.entry(kind).or_default() += count);
    }

    fn all(&self) -> u64 {
        self.valid + self.refused + self.not_json.values().sum::<u64>()
    }
}

/// Works on the documents that `next` gives out, up to `end`.
fn work(originals: &[Original], next: &AtomicU64, end: u64) -> Counts {
    let (mut checker, mut counts) = (Checker::new(), Counts::default());
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return counts;
        }
        let (original, mutated) = document(originals, number);
        match checker.check(&original.schema, &mutated) {
            Ok(verdict) => counts.take(verdict),
            Err(reason) => fail(original, number, &mutated, &reason),
        }
    }
}

fn fail(original: &Original, number: u64, mutated: &[u8], reason: &str) -> ! {
    let mut checker = Checker::new();
    let smallest = shrink(mutated, |candidate| checker.check(&original.schema, candidate).is_err());
    let reason = checker.check(&original.schema, &smallest).err().unwrap_or_else(|| reason.to_owned());
    let (name, schema) = (&original.name, original.schema.name());
    panic!("document {number}, made of {name}, by {schema}: {reason}\nthe least of it: \"{}\"", smallest.escape_ascii());
}

#[test]
fn mutated_documents_have_the_verdict_of_the_slow_path() {
    let Some(originals) = originals("mutated_documents_have_the_verdict_of_the_slow_path") else { return };
    let is_long = std::env::var_os("TIDEMILL_TEST_LONG").is_some_and(|value| value != "0");
    let from = std::env::var("TIDEMILL_FUZZ_FROM").ok().and_then(|from| from.parse().ok()).unwrap_or(0);
    let (next, end) = (AtomicU64::new(from), from + if is_long { DOCUMENTS_LONG } else { DOCUMENTS });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = Counts::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&originals, &next, end))).collect();
        for worker in workers {
            counts.add(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    let (all, json) = (counts.all(), counts.valid + counts.refused);
    println!(
        "{all} documents: {} valid, {} refused, not JSON: {:?}; {} % JSON",
        counts.valid,
        counts.refused,
        counts.not_json,
        json * 100 / all
    );
    assert_eq!(all, end - from);
    assert!(json * 10 >= all * 3, "at least 30 % are still JSON: {json} of {all}");
    assert!(counts.valid * 20 >= all, "at least 5 % are still valid: {} of {all}", counts.valid);
    for kind in ["depth", "utf8", "number", "string", "escape", "token", "trailing"] {
        assert!(counts.not_json.contains_key(kind), "no document was wrong by {kind}");
    }
}
