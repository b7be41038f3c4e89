//! The official JSON-Schema-Test-Suite, which the set-up of the tests fetches: every case of the drafts that are promised.
//!
//! The verdict of the pass has to equal both `jsonschema`'s and the suite's own; what differs is listed here by name.

mod common;

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidemill_json::{Backend, Captures, Padded, Pass};
use tidemill_schema::{DraftRule, InvalidKind, Schema, SchemaName};

#[derive(Deserialize)]
struct Group {
    description: String,
    schema: Box<RawValue>,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    description: String,
    data: Box<RawValue>,
    valid: bool,
}

/// What became of the groups (schemas) and cases (documents) of one draft.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    /// Schemas that the pass checks whole, and their cases.
    compiled: (usize, usize),
    /// Schemas of which parts, or all, are left to `jsonschema`, and their cases.
    deferred: (usize, usize),
    /// Schemas that are not loaded, as they refer to other documents and nothing is ever fetched; and their cases.
    remote: (Vec<String>, usize),
    /// Schemas that are not loaded for another reason. There is none.
    refused: Vec<String>,
    /// Cases in which `jsonschema` itself does not say what the suite says; the pass says what `jsonschema` says.
    oracle_differs: Vec<String>,
    /// Cases in which the pass does not say what `jsonschema` says. There is none.
    disagreements: Vec<String>,
}

/// A schema as a repository would hold it: with the draft that it is written in.
fn declared(text: &str, declaration: &str) -> String {
    match text.trim_start().strip_prefix('{') {
        None => format!(r#"{{"$schema":"{declaration}","allOf":[{text}]}}"#),
        Some(inside) if inside.trim_start().starts_with('}') => format!(r#"{{"$schema":"{declaration}"}}"#),
        Some(inside) => format!(r#"{{"$schema":"{declaration}",{inside}"#),
    }
}

/// Whether a schema was not loaded because it refers to another document.
fn is_remote(reason: &str) -> bool {
    reason.contains("is not present in a registry") || reason.contains("offline") || reason.contains("localhost")
}

fn verdict(schema: &Schema, backend: Backend, document: &Padded) -> Option<bool> {
    match schema.validate(&mut Pass::with_backend(backend), &Captures::none(), document) {
        Ok(()) => Some(true),
        Err(invalid) if invalid.kind == InvalidKind::Schema => Some(false),
        Err(_) => None,
    }
}

impl Tally {
    fn take_file(&mut self, path: &Path, rule: DraftRule, declaration: &str) {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let groups: Vec<Group> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        for group in groups {
            self.take_group(file, &group, rule, declaration);
        }
    }

    fn take_group(&mut self, file: &str, group: &Group, rule: DraftRule, declaration: &str) {
        let Group { description, schema, tests } = group;
        let text = declared(schema.get(), declaration);
        let name = SchemaName { namespace: "suite".into(), doctype: file.into(), version: 1 };
        let (count, schema) = match Schema::new(name, text.as_bytes(), rule) {
            Ok(schema) if schema.is_compiled() => (&mut self.compiled, schema),
            Ok(schema) => (&mut self.deferred, schema),
            Err(reason) if is_remote(&reason) => {
                self.remote.0.push(format!("{file}: {description}"));
                self.remote.1 += tests.len();
                return;
            }
            Err(reason) => return self.refused.push(format!("{file}: {description}: {reason}")),
        };
        count.0 += 1;
        count.1 += tests.len();
        for case in tests {
            self.take_case(&format!("{file}: {description}: {}", case.description), &schema, case);
        }
    }

    fn take_case(&mut self, name: &str, schema: &Schema, case: &Case) {
        let Case { description: _, data, valid } = case;
        let mut document = Padded::new();
        document.set(data.get().as_bytes());
        let tree: serde_json::Value = serde_json::from_str(data.get()).expect("the suite is JSON");
        let expected = schema.is_valid_tree(&tree);
        if expected != *valid {
            self.oracle_differs.push(name.to_owned());
        }
        for backend in [Backend::Safe, Backend::Sse2, Backend::Avx2] {
            let actual = verdict(schema, backend, &document);
            if actual != Some(expected) {
                self.disagreements.push(format!("{name}: {backend:?} says {actual:?}, not {expected}"));
            }
        }
    }
}

/// All cases of one draft; those in the folder `optional` too, but not those of formats, which are not asserted.
fn run(test: &str, draft: &str, rule: DraftRule, declaration: &str) -> Option<Tally> {
    let folder = common::root().join(".deps/json-schema-suite/tests").join(draft);
    if !folder.is_dir() {
        eprintln!("SKIPPED {test}: {} is missing; `make setup-test` fetches it", folder.display());
        return None;
    }
    let mut tally = Tally::default();
    for folder in [folder.clone(), folder.join("optional")] {
        let entries = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
        files.sort();
        for file in files {
            tally.take_file(&file, rule, declaration);
        }
    }
    Some(tally)
}

/// The groups that need other documents in every draft.
const REMOTE: [&str; 8] = [
    "remote ref",
    "fragment within remote ref",
    "ref within remote ref",
    "base URI change",
    "base URI change - change folder",
    "base URI change - change folder in subschema",
    "root ref in remote ref",
    "Location-independent identifier in remote ref",
];

fn check(test: &str, draft: &str, declaration: &str, (compiled, deferred): ((usize, usize), (usize, usize)), remote: (&[&str], usize)) {
    let rule = if draft == "draft4" { DraftRule::AlwaysDraft4 } else { DraftRule::Declared };
    let Some(mut tally) = run(test, draft, rule, declaration) else { return };
    let mut names: Vec<_> =
        REMOTE.iter().map(|name| format!("refRemote: {name}")).chain(remote.0.iter().map(|name| (*name).into())).collect();
    names.sort();
    tally.remote.0.sort();
    let expected = Tally { compiled, deferred, remote: (names, remote.1), ..Tally::default() };
    assert_eq!(tally, expected, "{tally:#?}");
}

#[test]
fn draft_4() {
    check("draft_4", "draft4", "http://json-schema.org/draft-04/schema#", ((160, 604), (23, 89)), (&[], 17));
}

const REMOTE_OF_6: [&str; 3] = [
    "refRemote: remote ref with ref to definitions",
    "refRemote: retrieved nested refs resolve relative to their URI not $id",
    "refRemote: $ref to $ref finds location-independent $id",
];

#[test]
fn draft_6() {
    check("draft_6", "draft6", "http://json-schema.org/draft-06/schema#", ((216, 782), (38, 130)), (&REMOTE_OF_6, 23));
}

#[test]
fn draft_7() {
    let remote = [&REMOTE_OF_6[..], &["cross-draft: refs to future drafts are processed as future drafts"]].concat();
    check("draft_7", "draft7", "http://json-schema.org/draft-07/schema#", ((235, 858), (45, 148)), (&remote, 25));
}
