//! The recorded pings of the real repository. `differential` has the same pings mutated.

mod common;

use common::data;
use tidemill_schema::{Expectation, Registry, check_paths};

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
