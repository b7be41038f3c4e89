//! Which draft of JSON Schema a schema is evaluated by.

use jsonschema::Draft;
use serde_json::Value;

/// By which draft schemas are evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DraftRule {
    /// Every schema by draft 4, whatever its `$schema` says: keywords of later drafts are ignored,
    /// as the original platform's validator did. Real repositories depend on it: 18 schemas of the
    /// public one declare draft 6, and a recorded ping of one of them (`glean/baseline`) passes only
    /// because `propertyNames` is ignored.
    #[default]
    AlwaysDraft4,
    /// Each by the draft that its `$schema` declares, draft 4 without one.
    Declared,
}

/// The drafts that the compiler tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Draft4,
    Draft6,
    Draft7,
    /// Left to `jsonschema` whole.
    Later,
}

impl DraftRule {
    /// The draft that `schema` is evaluated by.
    pub(crate) fn draft(self, schema: &Value) -> Draft {
        match (self, schema.get("$schema").and_then(Value::as_str)) {
            (Self::AlwaysDraft4, _) | (_, None) => Draft::Draft4,
            (Self::Declared, Some(declared)) => declared_draft(declared),
        }
    }
}

/// An unknown `$schema` is the default draft, not an error: many say `http://json-schema.org/schema#`.
fn declared_draft(declared: &str) -> Draft {
    let has = |part: &str| declared.contains(part);
    match () {
        () if has("draft-06") => Draft::Draft6,
        () if has("draft-07") => Draft::Draft7,
        () if has("2019-09") => Draft::Draft201909,
        () if has("2020-12") => Draft::Draft202012,
        () => Draft::Draft4,
    }
}

impl Dialect {
    pub fn of(draft: Draft) -> Self {
        match draft {
            Draft::Draft4 => Self::Draft4,
            Draft::Draft6 => Self::Draft6,
            Draft::Draft7 => Self::Draft7,
            _ => Self::Later,
        }
    }

    /// Whether keywords that came with draft 6 count, and `1.0` is an integer.
    pub fn has_draft6(self) -> bool {
        self != Self::Draft4
    }
}

/// Keywords that came after draft 4, which [`DraftRule::AlwaysDraft4`] ignores.
const LATER_KEYWORDS: [&str; 9] =
    ["propertyNames", "contains", "const", "if", "then", "else", "dependentRequired", "dependentSchemas", "prefixItems"];

/// The keywords in `schema` that draft 4 does not have, each once.
pub(crate) fn ignored_keywords(schema: &Value) -> Vec<&'static str> {
    let mut found = Vec::new();
    visit(schema, &mut |object| {
        for keyword in LATER_KEYWORDS.into_iter().filter(|keyword| object.contains_key(*keyword)) {
            if !found.contains(&keyword) {
                found.push(keyword);
            }
        }
    });
    found
}

/// Calls `seen` with each schema object in `schema`; keys that are property names are passed by.
fn visit(schema: &Value, seen: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    let Value::Object(object) = schema else { return };
    seen(object);
    for (keyword, value) in object {
        match (keyword.as_str(), value) {
            ("properties" | "patternProperties" | "definitions" | "dependencies", Value::Object(named)) => {
                named.values().for_each(|schema| visit(schema, seen));
            }
            ("items" | "allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas.iter().for_each(|schema| visit(schema, seen));
            }
            ("items" | "additionalItems" | "additionalProperties" | "not", schema) => visit(schema, seen),
            _ => {}
        }
    }
}
