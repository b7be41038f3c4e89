//! The recorded pings of the real repository: verdicts by the pass and by `jsonschema`.

mod common;

use common::{data, mutate, read};
use tidemill_json::{Backend, Captures, Padded, Pass, Program};
use tidemill_schema::{Expectation, InvalidKind, Registry, check_paths};

fn registry(data: &std::path::Path) -> Registry {
    Registry::load(&[data.join("schemas")]).expect("the schemas are readable").0
}

#[test]
fn every_recorded_ping_has_the_verdict_of_its_name() {
    let Some(data) = data("every_recorded_ping_has_the_verdict_of_its_name") else { return };
    let results = check_paths(&[data.join("validation")], &registry(&data)).expect("the pings are readable");
    let wrong: Vec<_> = results.iter().filter(|result| !result.is_right()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let count = |expected| results.iter().filter(|result| result.expected == Some(expected)).count();
    assert_eq!((count(Expectation::Pass), count(Expectation::Fail)), (88, 33));
}

#[test]
fn every_schema_of_the_repository_loads_and_compiles() {
    let Some(data) = data("every_schema_of_the_repository_loads_and_compiles") else { return };
    let (registry, report) = Registry::load(&[data.join("schemas")]).expect("the schemas are readable");
    assert_eq!(report.broken, []);
    assert_eq!((report.loaded, registry.len()), (130, 130));
    let uncompiled: Vec<_> = registry.uncompiled().collect();
    assert!(uncompiled.is_empty(), "{uncompiled:#?}");
    assert!(registry.find("pioneer-study", "event", 1).is_some(), "the flat layout");
    assert!(registry.find("coverage", "coverage", 1).is_some(), "a document type named like its namespace");
}

/// Mutations of a recorded ping: some thousands over all.
const MUTATIONS: u64 = 60;

#[test]
fn mutated_pings_have_the_verdict_of_jsonschema() {
    let Some(data) = data("mutated_pings_have_the_verdict_of_jsonschema") else { return };
    let registry = registry(&data);
    let (mut pass, mut document) = (Pass::new(), Padded::new());
    let captures = Captures::new(&["/payload/*", "/type", "/environment/*/*", "/payload/histograms/*/sum"]).expect("pointers");
    let (mut json, mut valid, mut all) = (0, 0, 0);
    for result in check_paths(&[data.join("validation")], &registry).expect("the pings are readable") {
        let original = read(&result.path);
        if original.len() > 100_000 {
            continue;
        }
        let schema = common::schema_of(&registry, &result.path);
        for seed in 0..MUTATIONS {
            let mutated = mutate(&original, seed);
            document.set(&mutated);
            assert_backends_agree(schema.program(), &captures, &document);
            let verdict = schema.validate(&mut pass, &captures, &document);
            let tree = common::tree(&mutated);
            let expected = tree.as_ref().map(|tree| schema.is_valid_tree(tree));
            let actual = match &verdict {
                Ok(()) => Some(true),
                Err(invalid) if invalid.kind == InvalidKind::Schema => Some(false),
                Err(_) => None,
            };
            assert_eq!(actual, expected, "{} seed {seed}: {verdict:?}", result.path.display());
            all += 1;
            json += usize::from(expected.is_some());
            valid += usize::from(expected == Some(true));
        }
    }
    assert!(json * 5 > all && valid * 20 > all, "{json} JSON and {valid} valid of {all}");
}

/// Every backend finds the same in `document`.
fn assert_backends_agree(program: &Program, captures: &Captures, document: &Padded) {
    let find = |backend| {
        let mut pass = Pass::with_backend(backend);
        let verdict = pass.run(program, captures, document);
        let captured: Vec<_> = (0..captures.len()).map(|pointer| pass.captured(pointer).to_vec()).collect();
        let found = (pass.members().to_vec(), pass.deferred().to_vec(), captured);
        (verdict, verdict.is_ok().then_some(found))
    };
    let safe = find(Backend::Safe);
    for backend in [Backend::Sse2, Backend::Avx2] {
        assert_eq!(find(backend), safe, "{backend:?} on {}", String::from_utf8_lossy(document));
    }
}
