//! Every keyword of every schema accepts something and refuses something, and the fast validator says the same as `jsonschema` each time.
//!
//! Documents are made from the schemas, beside the recorded ones. A naive evaluator, which has to agree as well, notes what each keyword
//! did; what none of the documents reaches stands here by name.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::agree::{Checker, Verdict};
use common::evaluate::{Deeds, Evaluator, escaped, names};
use common::generate::Generator;
use serde_json::Value;
use tidemill_schema::{DraftRule, Registry, Schema};

/// Keywords that say nothing about values, and containers of schemas that are reached by reference.
const SILENT: [&str; 13] = [
    "$schema",
    "$id",
    "id",
    "title",
    "description",
    "comment",
    "$comment",
    "format",
    "default",
    "examples",
    "definitions",
    "example",
    "exclusiveMinimum",
];

/// The pointers of the keywords that can accept or refuse something.
fn keywords(schema: &Value, place: &str, has_draft6: bool, found: &mut BTreeSet<String>) {
    let Value::Object(object) = schema else { return };
    for (keyword, argument) in object {
        let here = format!("{place}/{keyword}");
        let is_later = matches!(keyword.as_str(), "propertyNames" | "const" | "contains" | "if" | "then" | "else");
        if SILENT.contains(&keyword.as_str()) && !(keyword.starts_with("exclusive") && has_draft6) || (is_later && !has_draft6) {
            continue;
        }
        found.insert(here.clone());
        match (keyword.as_str(), argument) {
            ("properties" | "patternProperties" | "dependencies", Value::Object(named)) => {
                named.iter().for_each(|(key, schema)| keywords(schema, &format!("{here}/{}", escaped(key)), has_draft6, found));
            }
            ("items" | "allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas.iter().enumerate().for_each(|(at, schema)| keywords(schema, &format!("{here}/{at}"), has_draft6, found));
            }
            ("items" | "additionalItems" | "additionalProperties" | "not" | "propertyNames", schema) => {
                keywords(schema, &here, has_draft6, found);
            }
            _ => {}
        }
    }
}

/// What one rule of drafts and one repository came to.
#[derive(Default)]
struct Table {
    schemas: usize,
    documents: usize,
    valid: usize,
    /// By keyword: how many there are, accepted, refused, refused alone.
    rows: BTreeMap<String, [usize; 4]>,
    /// Keywords that did not do both.
    missing: Vec<String>,
}

impl Table {
    fn take(&mut self, schema: &Schema, has_draft6: bool, recorded: &[Vec<u8>], checker: &mut Checker) {
        let source = &schema.source;
        let mut evaluator = Evaluator::new(source, has_draft6);
        let mut documents: Vec<Vec<u8>> =
            Generator::new(source, has_draft6).documents().iter().map(|made| made.to_string().into_bytes()).collect();
        documents.sort();
        documents.dedup();
        for document in documents.iter().chain(recorded) {
            let verdict = checker.check(schema, document).unwrap_or_else(|reason| {
                panic!("{}: {reason} on {}", schema.name(), String::from_utf8_lossy(document));
            });
            let Some(tree) = common::deep_tree(document) else { continue };
            let is_valid = evaluator.document(&tree);
            assert_eq!(is_valid, verdict == Verdict::Valid, "{}: the evaluator on {tree}", schema.name());
            self.valid += usize::from(is_valid);
        }
        self.schemas += 1;
        self.documents += documents.len() + recorded.len();
        let mut all = BTreeSet::new();
        keywords(source, "", has_draft6, &mut all);
        for pointer in all {
            self.count(schema, source, &pointer, evaluator.deeds.get(&pointer).copied().unwrap_or_default());
        }
    }

    fn count(&mut self, schema: &Schema, source: &Value, pointer: &str, deeds: Deeds) {
        let keyword = pointer.rsplit('/').next().unwrap_or_default();
        let row = self.rows.entry(keyword.to_owned()).or_default();
        let Deeds { accepted, refused, refused_alone } = deeds;
        for (count, is_so) in row.iter_mut().zip([true, accepted, refused, refused_alone]) {
            *count += usize::from(is_so);
        }
        if let Some(why) = lack(source, pointer, deeds) {
            self.missing.push(format!("{}{pointer} {why}", schema.name()));
        }
    }

    fn print(&self, title: &str) {
        println!("{title}: {} schemas, {} documents, {} of them valid", self.schemas, self.documents, self.valid);
        println!("{:22} {:>8} {:>8} {:>8} {:>14}", "keyword", "places", "accepted", "refused", "refused alone");
        for (keyword, [places, accepted, refused, alone]) in &self.rows {
            println!("{keyword:22} {places:8} {accepted:8} {refused:8} {alone:14}");
        }
        println!("{} keywords without both", self.missing.len());
    }
}

/// What a keyword did not do although it could.
fn lack(source: &Value, pointer: &str, deeds: Deeds) -> Option<&'static str> {
    let (place, keyword) = pointer.rsplit_once('/')?;
    let beside = source.pointer(place)?;
    let argument = beside.get(keyword)?;
    match (deeds.accepted, deeds.refused) {
        (true, true) => None,
        _ if argument.as_object().is_some_and(serde_json::Map::is_empty) => None,
        _ if is_idle(beside, keyword) => Some("concerns no type that is allowed"),
        (true, false) if cannot_refuse(argument) => None,
        // A key is always a string.
        (true, false) if keyword == "type" && place.ends_with("/propertyNames") => None,
        (true, false) => Some("refused nothing"),
        (false, true) => Some("accepted nothing"),
        (false, false) => Some("was never asked"),
    }
}

/// Whether the keyword is about values that `type` beside it does not allow.
fn is_idle(beside: &Value, keyword: &str) -> bool {
    let concerns: &[&str] = match keyword {
        "minLength" | "maxLength" | "pattern" => &["string"],
        "minimum" | "maximum" | "multipleOf" | "exclusiveMaximum" => &["integer", "number"],
        "items" | "minItems" | "maxItems" | "uniqueItems" | "additionalItems" => &["array"],
        "properties" | "patternProperties" | "additionalProperties" | "required" | "minProperties" | "maxProperties" | "dependencies" => {
            &["object"]
        }
        _ => return false,
    };
    beside.get("type").is_some_and(|types| names(types).all(|name| !concerns.contains(&name)))
}

/// Whether a keyword that asks schemas has none that could refuse anything, or states nothing.
fn cannot_refuse(argument: &Value) -> bool {
    let says_nothing = |schema: &Value| match schema {
        Value::Bool(accepts) => *accepts,
        Value::Object(object) => object.keys().all(|keyword| SILENT.contains(&keyword.as_str())),
        _ => false,
    };
    match argument {
        Value::Object(schemas) => says_nothing(argument) || schemas.values().all(says_nothing),
        Value::Bool(accepts) => *accepts,
        Value::Array(items) => items.is_empty(),
        _ => *argument == 0,
    }
}

fn table(title: &str, schemas: &std::path::Path, pings: &std::path::Path, rule: DraftRule) -> Table {
    let (registry, _) = Registry::load_with(&[schemas.to_owned()], rule).expect("the schemas are readable");
    let mut table = Table::default();
    let mut checker = Checker::new();
    let mut all: Vec<_> = registry.iter().collect();
    all.sort_by_key(|schema| schema.name().clone());
    for schema in all {
        let declared = schema.source.get("$schema").and_then(Value::as_str).unwrap_or_default();
        let has_draft6 = rule == DraftRule::Declared && declared.contains("draft-06");
        if rule == DraftRule::Declared && !has_draft6 {
            continue;
        }
        let name = format!("{}.{}.", schema.doctype, schema.version);
        let folder = std::fs::read_dir(pings.join(&*schema.namespace)).into_iter().flatten();
        let own = folder.filter_map(Result::ok).filter(|entry| entry.file_name().to_string_lossy().starts_with(&name));
        let recorded: Vec<_> = own.map(|entry| common::read(&entry.path())).collect();
        table.take(schema, has_draft6, &recorded, &mut checker);
    }
    table.print(title);
    table
}

#[test]
fn every_keyword_accepts_and_refuses() {
    let root = common::root();
    let own = table("our own schemas", &root.join("schemas"), &root.join("tests/fixtures"), DraftRule::AlwaysDraft4);
    assert!(own.missing.is_empty(), "{:#?}", own.missing);
    let Some(data) = common::data("every_keyword_accepts_and_refuses") else { return };
    let real = |title: &str, rule| table(title, &data.join("schemas"), &data.join("validation"), rule);
    let draft4 = real("the public repository as draft 4", DraftRule::AlwaysDraft4);
    // `required` beside `"type": "array"`: the schema's authors meant it for the items.
    let idle = "telemetry/untrustedModules/4/properties/payload/properties/events/items/properties/modules/required";
    assert_eq!(draft4.missing, [format!("{idle} concerns no type that is allowed")]);
    let draft6 = real("its schemas that declare draft 6, as such", DraftRule::Declared);
    assert!(draft6.missing.is_empty(), "{:#?}", draft6.missing);
}
