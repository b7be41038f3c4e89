//! Columns from a JSON Schema.
//!
//! What a schema says clearly becomes a typed column: scalars, objects with properties (structs), objects with one schema for all
//! members (maps), arrays with one schema for all items (lists). Everything else (unions, tuples, combinators, no type at all) is
//! JSON text, so that nothing is lost and nothing is guessed. Everything may be null: documents are validated, not the lake.

use crate::names::snake;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// How deep columns nest; what is deeper is JSON text.
pub const DEPTH_MAX: usize = 12;

/// How many leaf columns a table has at most; what comes after is JSON text in its parent's place. Each open Parquet column
/// costs the writer some tens of kilobytes.
pub const LEAVES_MAX: usize = 2_000;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// Signed 64 bits.
    Long,
    /// IEEE 754 double.
    Double,
    /// Text.
    Text,
    /// JSON text.
    Json,
    /// Members with a column each.
    Struct(Vec<Column>),
    /// Elements of one type.
    List(Box<ColumnType>),
    /// Members of one type under any name.
    Map(Box<ColumnType>),
}

/// A column of a document's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The member's name in the document.
    pub key: String,
    /// The column's name: snake case, unique beside its siblings without regard to case.
    pub name: String,
    /// What it holds.
    pub kind: ColumnType,
}

/// The columns of a schema's documents. `taken` are names that the table has already; a property that would collide gets `_2`, `_3`, ...
/// in the order of the properties' names.
pub fn of_schema(schema: &Value, taken: &[&str]) -> Vec<Column> {
    let mut reading = Reading { root: schema, leaves: 0 };
    match reading.resolve(schema, 0).and_then(|schema| schema.get("properties")).and_then(Value::as_object) {
        Some(properties) => reading.members(properties, taken, 1),
        None => vec![],
    }
}

struct Reading<'a> {
    root: &'a Value,
    leaves: usize,
}

impl<'a> Reading<'a> {
    /// Follows local references; `None` where one leads nowhere or round in circles.
    fn resolve(&self, schema: &'a Value, depth: usize) -> Option<&'a Value> {
        match schema.get("$ref").and_then(Value::as_str) {
            None => Some(schema),
            Some(_) if depth > 8 => None,
            Some(reference) => self.resolve(self.root.pointer(reference.strip_prefix('#')?)?, depth + 1),
        }
    }

    fn members(&mut self, properties: &'a Map<String, Value>, taken: &[&str], depth: usize) -> Vec<Column> {
        let mut names: HashSet<String> = taken.iter().map(|name| (*name).to_owned()).collect();
        let mut keys: Vec<&String> = properties.keys().collect();
        keys.sort();
        let mut columns = Vec::with_capacity(keys.len());
        for key in keys {
            let name = unique(&snake(key), &mut names);
            let kind = self.kind(&properties[key], depth);
            columns.push(Column { key: key.clone(), name, kind });
        }
        columns
    }

    fn kind(&mut self, schema: &'a Value, depth: usize) -> ColumnType {
        if depth >= DEPTH_MAX || self.leaves >= LEAVES_MAX {
            return self.leaf(ColumnType::Json);
        }
        let Some(schema) = self.resolve(schema, 0) else { return self.leaf(ColumnType::Json) };
        match simple_type(schema) {
            Some("boolean") => self.leaf(ColumnType::Boolean),
            Some("integer") => self.leaf(ColumnType::Long),
            Some("number") => self.leaf(ColumnType::Double),
            Some("string") => self.leaf(ColumnType::Text),
            Some("array") => self.list(schema, depth),
            Some("object") => self.object(schema, depth),
            _ => self.leaf(ColumnType::Json),
        }
    }

    fn leaf(&mut self, kind: ColumnType) -> ColumnType {
        self.leaves += 1;
        kind
    }

    fn list(&mut self, schema: &'a Value, depth: usize) -> ColumnType {
        match schema.get("items") {
            Some(items) if items.is_object() => ColumnType::List(Box::new(self.kind(items, depth + 1))),
            _ => self.leaf(ColumnType::Json),
        }
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> ColumnType {
        match schema.get("properties").and_then(Value::as_object).filter(|properties| !properties.is_empty()) {
            Some(properties) => ColumnType::Struct(self.members(properties, &[], depth + 1)),
            None => match any_member(schema) {
                Some(member) => ColumnType::Map(Box::new(self.kind(member, depth + 1))),
                None => self.leaf(ColumnType::Json),
            },
        }
    }
}

/// The schema's one type besides null; integer and number together are number. `None` for unions, combinators and no type.
fn simple_type(schema: &Value) -> Option<&str> {
    if ["anyOf", "oneOf", "allOf", "not"].iter().any(|keyword| schema.get(keyword).is_some()) {
        return None;
    }
    match schema.get("type") {
        Some(Value::String(name)) => Some(name),
        Some(Value::Array(names)) => {
            let names: HashSet<&str> = names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect();
            match names.len() {
                1 => names.into_iter().next(),
                2 if names.contains("integer") && names.contains("number") => Some("number"),
                _ => None,
            }
        }
        None => {
            let texts = schema.get("enum")?.as_array()?;
            texts.iter().all(Value::is_string).then_some("string")
        }
        Some(_) => None,
    }
}

/// The one schema of an object's members, whatever their names.
fn any_member(schema: &Value) -> Option<&Value> {
    let patterns = schema.get("patternProperties").and_then(Value::as_object).filter(|patterns| !patterns.is_empty());
    let additional = schema.get("additionalProperties").filter(|additional| additional.is_object());
    match (patterns, additional) {
        (Some(patterns), None) if patterns.len() == 1 => patterns.values().next(),
        (None, additional) => additional,
        _ => None,
    }
}

fn unique(name: &str, names: &mut HashSet<String>) -> String {
    let found =
        std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}_{number}"))).find(|candidate| !names.contains(candidate));
    let found = found.unwrap_or_else(|| name.to_owned());
    names.insert(found.clone());
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: Value, expected: &str) {
        let columns = of_schema(&json!({"type": "object", "properties": {"x": schema.clone()}}), &[]);
        assert_eq!(show(&columns[0].kind), expected, "{schema}");
    }

    fn show(kind: &ColumnType) -> String {
        match kind {
            ColumnType::Struct(columns) => {
                let inner: Vec<_> = columns.iter().map(|column| format!("{}:{}", column.name, show(&column.kind))).collect();
                format!("{{{}}}", inner.join(","))
            }
            ColumnType::List(inner) => format!("[{}]", show(inner)),
            ColumnType::Map(inner) => format!("<{}>", show(inner)),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    #[test]
    fn clear_schemas_become_typed_columns() {
        check(json!({"type": ["integer", "null"]}), "long");
        check(json!({"type": ["integer", "number"]}), "double");
        check(json!({"enum": ["a", "b"]}), "text");
        check(json!({"type": "array", "items": {"type": "boolean"}}), "[boolean]");
        check(json!({"type": "object", "additionalProperties": {"type": "integer"}}), "<long>");
        check(json!({"type": "object", "patternProperties": {"^[0-9]+$": {"type": "string"}}, "additionalProperties": false}), "<text>");
        check(json!({"type": "object", "properties": {"aB": {"type": "string"}, "a_b": {"type": "number"}}}), "{a_b:text,a_b_2:double}");
    }

    #[test]
    fn unclear_schemas_become_json_text() {
        for schema in [
            json!({}),
            json!({"type": ["string", "integer"]}),
            json!({"type": "object"}),
            json!({"type": "array"}),
            json!({"type": "array", "items": [{"type": "string"}]}),
            json!({"oneOf": [{"type": "string"}], "type": "string"}),
            json!({"$ref": "#/nowhere"}),
            json!({"$ref": "#/properties/x"}),
        ] {
            check(schema, "json");
        }
    }

    #[test]
    fn names_of_the_table_are_not_taken_twice() {
        let columns = of_schema(
            &json!({"properties": {"metadata": {"type": "string"}, "documentId": {"type": "string"}}}),
            &["metadata", "document_id"],
        );
        let names: Vec<_> = columns.iter().map(|column| (column.key.as_str(), column.name.as_str())).collect();
        assert_eq!(names, [("documentId", "document_id_2"), ("metadata", "metadata_2")]);
    }

    #[test]
    fn endless_schemas_end() {
        let mut schema = json!({"type": "string"});
        for _ in 0..40 {
            schema = json!({"type": "object", "properties": {"a": schema}});
        }
        let columns = of_schema(&schema, &[]);
        assert_eq!(show(&columns[0].kind).matches("a:").count(), DEPTH_MAX - 1);
    }
}
