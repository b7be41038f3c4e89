//! The JSON Schema of the file.

use crate::{KEYS, Key, Kind, PLUGIN_KEYS};
use serde_json::{Map, Value, json};

/// The configuration's JSON Schema (draft 2020-12), with every default and doc line.
pub fn json_schema() -> Value {
    let mut root = object(&[]);
    for key in KEYS {
        insert(&mut root, key.path, key);
    }
    let mut plugin = object(&["name", "component"]);
    for key in PLUGIN_KEYS {
        insert(&mut plugin, key.path, key);
    }
    root["properties"]["plugins"] = json!({"type": "array", "items": plugin, "description": "The plugins to run."});
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Tidemill configuration");
    root
}

fn object(required: &[&str]) -> Value {
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": {}})
}

fn insert(schema: &mut Value, path: &str, key: &Key) {
    match path.split_once('.') {
        None => schema["properties"][path] = describe(key),
        Some((section, rest)) => {
            let section = &mut schema["properties"][section];
            if section.is_null() {
                *section = object(&[]);
            }
            insert(section, rest, key);
        }
    }
}

fn describe(key: &Key) -> Value {
    let mut found = match key.kind {
        Kind::Text | Kind::Path => json!({"type": "string"}),
        Kind::Texts | Kind::Paths => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Integer(least) => json!({"type": "integer", "minimum": least}),
        Kind::Number => json!({"type": "number", "exclusiveMinimum": 0}),
        Kind::OneOf(choices) => json!({"enum": choices}),
        Kind::Table => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Kind::TableOfTexts => json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}),
        Kind::Any => json!({"type": "object"}),
    };
    found["description"] = json!(key.doc);
    if let Some(default) = key.default.and_then(default_json) {
        found["default"] = default;
    }
    found
}

fn default_json(text: &str) -> Option<Value> {
    let table: Map<String, Value> = toml::from_str(&format!("v = {text}")).ok()?;
    table.get("v").cloned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_key_is_described() {
        let schema = super::json_schema();
        assert_eq!(schema["properties"]["bus"]["properties"]["step_ms"]["default"], 100);
        assert_eq!(schema["properties"]["plugins"]["items"]["required"][1], "component");
        assert_eq!(schema["additionalProperties"], false);
    }
}
