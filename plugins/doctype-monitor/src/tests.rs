use super::*;
use tidemill_guest::testing::{self, Row};

const SECOND: i64 = 1_000_000_000;

fn row(kind: &str, doc_type: &str, channel: Option<&str>, time_s: i64) -> Row {
    let row = Row::document("{}").set("Timestamp", time_s * SECOND).set("Type", kind).set("Logger", "telemetry").set("Fields[docType]", doc_type);
    let row = if kind == "error" { row.set("Fields[content]", "gzip").set("Fields[DecodeErrorType]", "json").set("Fields[docTypeKnown]", true) } else { row.set("Fields[submission]", "{\"a\": 1}") };
    match channel {
        Some(channel) => row.set("Fields[normalizedChannel]", channel),
        None => row,
    }
}

#[test]
fn volume_size_and_errors_are_counted_by_type_and_channel() {
    let rows = [row("validated", "main", Some("beta"), 61), row("validated", "main", Some("beta"), 119), row("validated", "core", None, 60), row("error", "main", Some("beta"), 70)];
    let found = testing::Analysis::<DoctypeMonitor>::open("{}").and_then(|mut plugin| plugin.feed(&rows)).unwrap();
    for (graph, column, expected) in [
        ("telemetry/main volume", "beta", Some(2.0)),
        ("telemetry/main size", "beta", Some(20.0)),
        ("telemetry/main errors", "beta", Some(1.0)),
        ("telemetry/core volume", "none", Some(1.0)),
        ("telemetry/core errors", "none", None),
    ] {
        let total: f64 = [60, 61, 70, 119].iter().filter_map(|time| found.cell(graph, column, *time)).sum();
        assert_eq!((total > 0.0).then_some(total), expected, "{graph} {column}");
    }
}

#[test]
fn errors_of_unknown_types_share_one_set_of_graphs() {
    let unknown = |n| row("error", &format!("type-{n}"), None, 60).set("Fields[docTypeKnown]", false);
    let mut rows: Vec<Row> = (0..50).map(unknown).collect();
    rows.push(row("error", "main", None, 60).set("Fields[docTypeKnown]", false).set("Fields[DecodeErrorType]", "plugin_trap"));
    let found = testing::Analysis::<DoctypeMonitor>::open("{}").and_then(|mut plugin| plugin.feed(&rows)).unwrap();
    assert_eq!(found.cell("OTHER errors", "none", 60), Some(50.0));
    assert_eq!(found.cell("telemetry/main errors", "none", 60), Some(1.0));
    assert_eq!(found.cell("telemetry/type-0 errors", "none", 60), None);
}

#[test]
fn types_without_end_share_one_set_of_graphs() {
    let rows: Vec<Row> = (0..TYPES_MAX + 30).map(|n| row("validated", &format!("type-{n}"), None, 60)).collect();
    let found = testing::Analysis::<DoctypeMonitor>::open("{}").and_then(|mut plugin| plugin.feed(&rows)).unwrap();
    assert_eq!(found.cell("OTHER volume", "none", 60), Some(30.0));
}

#[test]
fn batches_do_not_matter() {
    let rows: Vec<Row> = (0..60).map(|n| row(["validated", "error"][usize::from(n % 5 == 0)], ["main", "core"][n % 2], Some(["beta", "release"][n % 2]), 60 + n as i64)).collect();
    testing::assert_analysis_invariant::<DoctypeMonitor>("{}", &rows);
}
