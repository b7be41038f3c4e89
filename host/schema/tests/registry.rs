//! Loading repositories and checking recorded pings, with everything that can be wrong with them.

use std::path::Path;

use tidemill_schema::{Expectation, Registry, check_paths};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
    std::fs::write(path, text).expect("a writable file");
}

fn repository() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    write(root.path(), "schemas/ns/doc/doc.1.schema.json", r#"{"type":"object","required":["a"]}"#);
    write(root.path(), "schemas/ns/doc/doc.2.schema.json", r#"{"type":"object","propertyNames":{"maxLength":1}}"#);
    write(root.path(), "schemas/same/same/same.1.schema.json", "{}");
    write(root.path(), "schemas/flat/event.1.schema.json", "{}");
    write(root.path(), "schemas/flat/event.1.parquetmr.txt", "message event {}");
    write(root.path(), "schemas/README.md", "not a schema");
    root
}

#[test]
fn both_layouts_load_and_other_files_are_ignored() {
    let root = repository();
    let (registry, report) = Registry::load(&[root.path().join("schemas")]).expect("readable");
    assert_eq!((report.loaded, report.broken.len()), (4, 0));
    for (namespace, doctype, version) in [("ns", "doc", 1), ("ns", "doc", 2), ("same", "same", 1), ("flat", "event", 1)] {
        assert!(registry.find(namespace, doctype, version).is_some(), "{namespace}/{doctype}/{version}");
    }
    assert!(registry.find("ns", "doc", 3).is_none() && registry.find("other", "doc", 1).is_none());
    let ignored: Vec<_> = report.ignored_keywords.iter().map(|(name, keywords)| (name.to_string(), keywords.clone())).collect();
    assert_eq!(ignored, [("ns/doc/2".to_owned(), vec!["propertyNames"])]);
    let header = String::from_utf8_lossy(registry.find("ns", "doc", 1).expect("a schema").header()).into_owned();
    let (name, hash) = header.split_once('#').expect("a hash");
    assert_eq!((name, hash.len()), ("ns/doc/1", 16));
}

#[test]
fn broken_schemas_are_reported_and_the_others_load() {
    let root = repository();
    write(root.path(), "schemas/ns/bad/bad.1.schema.json", "{");
    write(root.path(), "schemas/ns/bad/bad.2.schema.json", r#"{"type":"nothing"}"#);
    write(root.path(), "schemas/ns/bad/bad.schema.json", "{}");
    write(root.path(), "schemas/ns/bad/bad.0.schema.json", "{}");
    write(root.path(), "schemas/ns/doc.1.schema.json", "{}");
    let (registry, report) = Registry::load(&[root.path().join("schemas")]).expect("readable");
    let reasons: Vec<_> = report
        .broken
        .iter()
        .map(|broken| (broken.path.file_name().expect("a name").to_string_lossy().into_owned(), broken.reason.clone()))
        .collect();
    assert_eq!(
        reasons,
        [
            ("bad.0.schema.json".into(), "`bad.0.schema.json` is not named DOCTYPE.VERSION.schema.json".into()),
            ("bad.1.schema.json".into(), "not JSON: token at byte 1".into()),
            (
                "bad.2.schema.json".into(),
                "\"nothing\" is not valid under any of the schemas listed in the 'anyOf' keyword (at #/type)".into()
            ),
            ("bad.schema.json".into(), "`bad.schema.json` is not named DOCTYPE.VERSION.schema.json".into()),
            ("doc.1.schema.json".into(), "ns/doc/1 was already loaded from another file".to_owned()),
        ]
    );
    assert_eq!((report.loaded, registry.len()), (4, 4));
}

#[test]
fn a_missing_folder_is_an_error_that_names_it() {
    let error = Registry::load(&["/no/such/folder".into()]).map(drop).expect_err("missing");
    assert_eq!(
        error.to_string(),
        "schemas at /no/such/folder: No such file or directory (os error 2); check `schemas.paths` and its permissions"
    );
}

#[test]
fn the_epoch_hash_follows_the_schemas() {
    let root = repository();
    let hash = || Registry::load(&[root.path().join("schemas")]).expect("readable").0.epoch_hash();
    let before = hash();
    assert_eq!(hash(), before);
    write(root.path(), "schemas/flat/event.1.schema.json", "{ }");
    assert_ne!(hash(), before);
}

#[test]
fn recorded_pings_are_checked_by_their_names() {
    let root = repository();
    for (name, text) in [
        ("ns/doc.1.good.pass.json", r#"{"a":1}"#),
        ("ns/doc.1.bad.fail.json", "{}"),
        ("ns/doc.1.wrong.pass.json", "{}"),
        ("ns/doc.1.text.pass.json", "{"),
        ("ns/doc.9.other.pass.json", "{}"),
        ("ns/notes.json", "{}"),
    ] {
        write(root.path(), &format!("validation/{name}"), text);
    }
    let (registry, _) = Registry::load(&[root.path().join("schemas")]).expect("readable");
    let odd = root.path().join("validation/ns/notes.json");
    let results = check_paths(&[root.path().join("validation"), odd], &registry).expect("readable");
    let shown: Vec<_> = results
        .iter()
        .map(|result| {
            let name = result.path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, result.verdict, result.is_right(), result.reason.as_str())
        })
        .collect();
    let required = "namespace: ns schema: doc version: 1 error: SchemaURI: # Keyword: required DocumentURI: #";
    let expected = [
        ("doc.1.bad.fail.json", Some(Expectation::Fail), true, required),
        ("doc.1.good.pass.json", Some(Expectation::Pass), true, ""),
        ("doc.1.text.pass.json", Some(Expectation::Fail), false, "not JSON: token at byte 1"),
        ("doc.1.wrong.pass.json", Some(Expectation::Fail), false, required),
        ("doc.9.other.pass.json", None, false, "no schema ns/doc/9"),
        ("notes.json", None, false, "not named NAMESPACE/DOCTYPE.VERSION.NAME.(pass|fail).json"),
    ];
    assert_eq!(shown, expected.map(|(name, verdict, is_right, reason)| (name.to_owned(), verdict, is_right, reason)));
    let missing = check_paths(&["/no/such/ns/doc.1.x.pass.json".into()], &registry).expect_err("missing");
    assert_eq!(missing.to_string(), "/no/such/ns/doc.1.x.pass.json: No such file or directory (os error 2)");
}
