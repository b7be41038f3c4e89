//! Tools that are not ours read the tables: delta-rs' Python build and DuckDB's delta extension.

use crate::kit::*;
use crate::upkeep::compacted;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const ORDER: &str = "shop/order_v1";

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What both tools say to a query; they must agree. `None` where the tools are not installed.
fn ask(test: &str, world: &World, table: &str, query: &str) -> Option<Value> {
    let python = root().join(".deps/venv/bin/python");
    if !python.exists() {
        eprintln!("SKIPPED {test}: the project's Python environment is not set up (make test does it)");
        return None;
    }
    let answers = ["deltalake", "duckdb"].map(|tool| {
        let script = root().join("tests/lake/read.py");
        let done = Command::new(&python).arg(script).arg(tool).arg(world.table_folder(table)).arg(query).output().expect("python");
        assert!(done.status.success(), "{tool}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice::<Value>(&done.stdout).expect("JSON")
    });
    assert_eq!(answers[0], answers[1], "deltalake and duckdb disagree on {query}");
    answers.into_iter().next()
}

#[test]
fn they_read_rows_and_nested_columns() {
    let world = World::new();
    let lake = world.start();
    world.orders(0, &[r#"{"n":1,"o":{"text":"a"}}"#, r#"{"n":2,"o":{"text":"b"},"x":null}"#, "{}"]);
    world.errors(3, 2, "error");
    until("rows", || lake.progress().rows() == 5);
    lake.stop();
    let query = "SELECT document_id, n, o.text, metadata.geo.country, submission_date, strftime(submission_timestamp, '%H:%M:%S.%f') FROM t ORDER BY 1";
    let Some(rows) = ask("they_read_rows_and_nested_columns", &world, ORDER, query) else { return };
    let expected = json!([
        ["id-0", 1, "a", "NZ", "2018-11-01", "00:00:00.123456"],
        ["id-1", 2, "b", "NZ", "2018-11-01", "00:00:01.123456"],
        ["id-2", null, null, "NZ", "2018-11-01", "00:00:02.123456"],
    ]);
    assert_eq!(rows, expected);
    let filtered = ask(
        "",
        &world,
        ORDER,
        "SELECT count(*) FROM t WHERE submission_date = DATE '2018-11-01' AND submission_timestamp > TIMESTAMPTZ '2018-11-01 00:00:01Z'",
    );
    assert_eq!(filtered, Some(json!([[2]])), "statistics in the log agree with the rows");
    assert_eq!(
        ask("", &world, "errors", "SELECT error_type, octet_length(payload), count(*) FROM t GROUP BY ALL"),
        Some(json!([["schema", 3, 2]]))
    );
}

#[test]
fn they_read_compacted_and_evolved_tables() {
    let world = World::new();
    compacted(&world);
    world.schema(
        json!({"n": {"type": "integer"}, "o": {"type": "object", "properties": {"text": {"type": "string"}, "deep": {"type": "boolean"}}},
        "tags": {"type": "object", "additionalProperties": {"type": "integer"}}}),
    );
    let lake = world.start();
    world.orders(10, &[r#"{"n":4,"o":{"text":"t","deep":true},"tags":{"a":1}}"#]);
    until("positions", || world.lag() == 0);
    lake.stop();
    let query = "SELECT count(*), sum(n), count(o.deep), count(tags), max(tags['a']) FROM t WHERE o.text = 't'";
    let Some(rows) = ask("they_read_compacted_and_evolved_tables", &world, ORDER, query) else { return };
    assert_eq!(rows, json!([[11, 34, 1, 1, 1]]));
}
