//! Messages to Parquet and back, read by the parquet crate's own reader.

use arrow_array::{Array, RecordBatch, cast::AsArray, types};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tidemill_lake::encode::{Encoder, to_parquet};
use tidemill_message::{MessageRef, MessageWriter};

/// A message of `validated` with this document, and these sections moved out of it.
fn message(document: &str, sections: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = MessageWriter::new(&mut bytes, &[7; 16], 1_541_030_400_123_456_789);
    writer.type_(b"validated").logger(b"telemetry");
    for (name, text) in [("documentId", "d-1"), ("docType", "main"), ("appName", "Firefox"), ("geoCountry", "IS"), ("geoCity", "\u{fe}")] {
        writer.field_string(name, text.as_bytes());
    }
    writer.field_string("Host", b"\xff").field_integer("sampleId", "", 42);
    for (name, json) in sections {
        writer.field_bytes(name, "json", json.as_bytes());
    }
    writer.field_bytes("submission", "json", document.as_bytes());
    bytes
}

fn read(bytes: bytes::Bytes) -> RecordBatch {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a Parquet file").with_batch_size(10_000).build().expect("a reader");
    let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("a batch")).collect();
    arrow_select::concat::concat_batches(&batches[0].schema(), &batches).expect("one batch")
}

fn written(properties: Value, documents: &[&str]) -> (RecordBatch, u64) {
    let mut encoder = Encoder::new(&json!({"type": "object", "properties": properties})).expect("an encoder");
    for document in documents {
        encoder.push(&MessageRef::parse(&message(document, &[])).expect("a message"));
    }
    (read(encoder.finish().expect("a file").bytes), encoder.misfits())
}

fn text(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let column = batch.column_by_name(column).expect("the column").as_string::<i32>();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

fn extras(batch: &RecordBatch, row: usize) -> Value {
    text(batch, "additional_properties", row).map_or(Value::Null, |text| serde_json::from_str(&text).expect("JSON"))
}

#[test]
fn leading_columns_come_from_the_message() {
    let (batch, _) = written(json!({}), &["{}"]);
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut expected: Vec<_> = tidemill_lake::layout::LEADING_COLUMNS.to_vec();
    expected.retain(|name| *name != "submission_date");
    assert_eq!(names, expected);
    assert_eq!((text(&batch, "document_id", 0).as_deref(), text(&batch, "namespace", 0).as_deref()), (Some("d-1"), Some("telemetry")));
    assert_eq!((text(&batch, "doc_type", 0).as_deref(), text(&batch, "normalized_os", 0)), (Some("main"), None));
    let timestamp = batch.column_by_name("submission_timestamp").expect("it").as_primitive::<types::TimestampMicrosecondType>();
    assert_eq!(timestamp.value(0), 1_541_030_400_123_456);
    assert_eq!(batch.column_by_name("sample_id").expect("it").as_primitive::<types::Int32Type>().value(0), 42);
    let metadata = batch.column_by_name("metadata").expect("it").as_struct();
    let inner = |part: &str, name: &str| {
        let column =
            metadata.column_by_name(part).expect("a part").as_struct().column_by_name(name).expect("a text").as_string::<i32>().clone();
        column.is_valid(0).then(|| column.value(0).to_owned())
    };
    assert_eq!((inner("geo", "country").as_deref(), inner("geo", "city").as_deref()), (Some("IS"), Some("\u{fe}")));
    assert_eq!((inner("uri", "app_name").as_deref(), inner("uri", "uri")), (Some("Firefox"), None));
    assert_eq!(inner("header", "host").as_deref(), Some("\u{fffd}"), "text that is not UTF-8 is repaired");
}

#[test]
fn documents_become_nested_columns() {
    let properties = json!({
        "n": {"type": "integer"}, "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "number"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}}, "any": {}, "flag": {"type": "boolean"},
    });
    let (batch, misfits) = written(
        properties,
        &[
            r#"{"n": 9007199254740993, "list": [{"a": 1.5}, {}, null], "map": {"x": 1, "y": null}, "any": {"k": [1, 2]}, "flag": true}"#,
            "{}",
            r#"{"map":{"x":1,"x":2,"z":3},"n":1,"n":2,"list":[],"any":null}"#,
        ],
    );
    assert_eq!(misfits, 0);
    let n = batch.column_by_name("n").expect("n").as_primitive::<types::Int64Type>();
    assert_eq!((n.value(0), n.is_null(1), n.value(2)), (9_007_199_254_740_993, true, 2));
    let list = batch.column_by_name("list").expect("list").as_list::<i32>();
    assert_eq!((list.value(0).len(), list.is_null(1), list.value(2).len()), (3, true, 0));
    let elements = list.value(0);
    assert_eq!((elements.is_null(0), elements.is_null(1), elements.is_null(2)), (false, false, true));
    assert_eq!(elements.as_struct().column(0).as_primitive::<types::Float64Type>().value(0), 1.5);
    let map = batch.column_by_name("map").expect("map").as_map();
    let entries = map.value(2);
    let keys: Vec<_> = entries.column(0).as_string::<i32>().iter().flatten().collect();
    let values: Vec<_> = entries.column(1).as_primitive::<types::Int64Type>().iter().collect();
    assert_eq!((keys, values), (vec!["x", "z"], vec![Some(2), Some(3)]), "of duplicate keys the last counts");
    assert_eq!((map.value(0).len(), map.value(0).column(1).is_null(1)), (2, true));
    assert_eq!((text(&batch, "any", 0).as_deref(), text(&batch, "any", 2)), (Some(r#"{"k": [1, 2]}"#), None));
    assert!(batch.column_by_name("flag").expect("flag").as_boolean().value(0));
    assert_eq!((0..3).map(|row| extras(&batch, row)).collect::<Vec<_>>(), [Value::Null, Value::Null, Value::Null]);
}

#[test]
fn what_has_no_column_is_kept_at_its_path() {
    let properties = json!({
        "n": {"type": "integer"}, "s": {"type": "string"},
        "o": {"type": "object", "properties": {"in": {"type": "object", "properties": {"x": {"type": "integer"}}}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    });
    let check = |document: &str, kept: Value, count: u64| {
        let (batch, misfits) = written(properties.clone(), &[document]);
        assert_eq!((extras(&batch, 0), misfits), (kept, count), "{document}");
    };
    check(r#"{"n": 18446744073709551615, "s": 1}"#, json!({"n": 18_446_744_073_709_551_615_u64, "s": 1}), 2);
    check(
        r#"{"new": [1], "o": {"in": {"y": {"z": 2}, "x": "t"}, "q": null}, "s": "ok"}"#,
        json!({"new": [1], "o": {"in": {"y": {"z": 2}, "x": "t"}, "q": null}}),
        1,
    );
    check(r#"{"list": [{"a": 1}, {"a": "b", "c": 3}, 4]}"#, json!({"list": {"1": {"a": "b", "c": 3}, "2": 4}}), 2);
    check(r#"{"map": {"x": 1.5, "y": 1}, "o": []}"#, json!({"map": {"x": 1.5}, "o": []}), 2);
    check(r#"{"u": 1, "n": "bad", "u": 2, "n": 3, "\u0075": 4}"#, json!({"u": 4}), 1);
    check(r#"{"map": {"x": "bad", "x": 1}, "o": {"k": 1}, "o": {}}"#, json!(null), 1);
    check(r#"{"a\"b": {"x": 1}}"#, json!({"a\"b": {"x": 1}}), 0);
    check("[1, 2]", json!([1, 2]), 1);
    check("\"text\"", json!("text"), 1);
}

#[test]
fn sections_that_a_decoder_moved_are_columns_all_the_same() {
    let schema = json!({"properties": {"environment": {"properties": {"system": {"type": "object", "properties": {"os": {"type": "string"}}},
        "build": {"type": "string"}}, "type": "object"}, "payload": {"type": "object", "properties": {"n": {"type": "integer"}}}}});
    let moved =
        message(r#"{"environment":{"build":"b"}}"#, &[("environment.system", r#"{"os":"Linux","kernel":6}"#), ("payload", r#"{"n":5}"#)]);
    let whole = message(r#"{"environment":{"build":"b","system":{"os":"Linux","kernel":6}},"payload":{"n":5}}"#, &[]);
    let batch = read(to_parquet(&schema, [&moved[..], &whole]).expect("a file").bytes);
    for column in batch.columns() {
        assert_eq!(column.slice(0, 1).to_data(), column.slice(1, 1).to_data());
    }
    assert_eq!(extras(&batch, 0), json!({"environment": {"system": {"kernel": 6}}}));
}

#[test]
fn a_document_that_is_broken_is_a_row_all_the_same() {
    let properties = json!({"a": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}}}});
    for document in ["", "{", "{\"a\":[", "{\"a\":[{\"b\":\"", "{\"a\"", "[", "\"", "{\"a\":[}]", "]", "{]}", "nul"] {
        let (batch, _) = written(properties.clone(), &[document, r#"{"a":[{"b":"next"}]}"#]);
        assert_eq!(batch.num_rows(), 2, "{document}");
        assert_eq!(batch.column_by_name("a").expect("a").as_list::<i32>().value(1).len(), 1, "{document}");
    }
}

/// The recorded pings, where they are.
fn recorded() -> Option<(PathBuf, PathBuf)> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/pipeline-schemas");
    data.exists().then(|| (data.join("schemas"), data.join("validation")))
}

/// Compares a column's value with what the document says; objects and arrays member by member.
fn compare(found: &Value, expected: &Value, path: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(_)) if found.is_empty() => {}
        (Value::Number(found), Value::Number(expected)) => assert_eq!(found.as_f64(), expected.as_f64(), "{path}"),
        (found, expected) => assert_eq!(found, expected, "{path}"),
    }
}

#[test]
fn recorded_pings_keep_every_value() {
    let Some((schemas, pings)) = recorded() else {
        eprintln!("SKIPPED recorded_pings_keep_every_value: the recorded pings are not there");
        return;
    };
    for (name, ping) in [
        ("telemetry/main/main.4", "telemetry/main.4.sample.pass.json"),
        ("telemetry/event/event.4", "telemetry/event.4.sample.pass.json"),
        ("telemetry/health/health.4", "telemetry/health.4.sample.pass.json"),
        ("telemetry/crash/crash.4", "telemetry/crash.4.sample.pass.json"),
    ] {
        let (Ok(schema), Ok(ping)) =
            (std::fs::read(schemas.join(format!("{name}.schema.json"))), std::fs::read_to_string(pings.join(ping)))
        else {
            eprintln!("SKIPPED {name}: not among the recorded pings");
            continue;
        };
        let schema: Value = serde_json::from_slice(&schema).expect("a schema");
        let document: Value = serde_json::from_str(&ping).expect("a ping");
        let mut encoder = Encoder::new(&schema).expect("an encoder");
        encoder.push(&MessageRef::parse(&message(&ping, &[])).expect("a message"));
        let leaves = encoder.layout().leaves();
        let columns = encoder.layout().columns.clone();
        let batch = read(encoder.finish().expect("a file").bytes);
        let mut rebuilt = Value::Object(rebuild(&columns, &batch));
        let extras = extras(&batch, 0);
        if !extras.is_null() {
            add(&mut rebuilt, &extras);
        }
        prune(&mut rebuilt);
        let mut expected = document;
        prune(&mut expected);
        same(&rebuilt, &expected, "");
        eprintln!("{name}: {leaves} leaves, {} misfits", encoder.misfits());
    }
}

/// The document as the columns tell it.
fn rebuild(columns: &[tidemill_lake::columns::Column], batch: &RecordBatch) -> serde_json::Map<String, Value> {
    columns
        .iter()
        .map(|column| (column.key.clone(), value_of(&column.kind, batch.column_by_name(&column.name).expect("a column"), 0)))
        .collect()
}

fn value_of(kind: &tidemill_lake::columns::ColumnType, array: &arrow_array::ArrayRef, row: usize) -> Value {
    use tidemill_lake::columns::ColumnType as T;
    if array.is_null(row) {
        return Value::Null;
    }
    match kind {
        T::Boolean => array.as_boolean().value(row).into(),
        T::Long => array.as_primitive::<types::Int64Type>().value(row).into(),
        T::Double => array.as_primitive::<types::Float64Type>().value(row).into(),
        T::Text => array.as_string::<i32>().value(row).into(),
        T::Json => serde_json::from_str(array.as_string::<i32>().value(row)).expect("JSON text"),
        T::Struct(columns) => {
            let inner = array.as_struct();
            let member = |column: &tidemill_lake::columns::Column| {
                value_of(&column.kind, inner.column_by_name(&column.name).expect("a member"), row)
            };
            Value::Object(columns.iter().map(|column| (column.key.clone(), member(column))).collect())
        }
        T::List(inner) => {
            let elements = array.as_list::<i32>().value(row);
            Value::Array((0..elements.len()).map(|at| value_of(inner, &elements, at)).collect())
        }
        T::Map(inner) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>().clone(), std::sync::Arc::clone(entries.column(1)));
            Value::Object((0..entries.len()).map(|at| (keys.value(at).to_owned(), value_of(inner, &values, at))).collect())
        }
    }
}

/// Puts the additional properties back.
fn add(to: &mut Value, extras: &Value) {
    match (to, extras) {
        (Value::Object(to), Value::Object(extras)) => {
            for (key, extra) in extras {
                add(to.entry(key.clone()).or_insert(Value::Null), extra);
            }
        }
        (Value::Array(to), Value::Object(extras)) => {
            for (key, extra) in extras {
                add(&mut to[key.parse::<usize>().expect("a position")], extra);
            }
        }
        (to, Value::Null) => drop(to.take()),
        (to, extra) => *to = extra.clone(),
    }
}

/// Nulls and absent members are the same in a lake.
fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, member| !member.is_null());
        }
        Value::Array(elements) => elements.iter_mut().for_each(prune),
        _ => {}
    }
}

fn same(found: &Value, expected: &Value, path: &str) {
    match (found, expected) {
        (Value::Object(a), Value::Object(b)) => {
            let names = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<std::collections::BTreeSet<_>>();
            assert_eq!(names(a), names(b), "members of {path}");
            b.iter().for_each(|(key, expected)| same(&a[key], expected, &format!("{path}/{key}")));
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            a.iter().zip(b).enumerate().for_each(|(at, (found, expected))| same(found, expected, &format!("{path}/{at}")));
        }
        (found, expected) => compare(found, expected, path),
    }
}
