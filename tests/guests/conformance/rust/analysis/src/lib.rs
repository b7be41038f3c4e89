//! The conformance analysis guest; `../../README.md` says what it does.

#[path = "../../rows.rs"]
#[allow(dead_code, reason = "shared with the decoder")]
mod rows;

use rows::{FLOAT, NUMBER, Rows, TEXT, TIMESTAMP, begin, subscription};
use tidemill_guest::bindings::analysis_plugin as bindings;
use tidemill_guest::bindings::analysis_plugin::exports::tidemill::plugin::analysis::Guest;
use tidemill_guest::bindings::imports::tidemill::plugin::types::{
    Aggregation, Alert, AlertRule, AlertTest, Batch, Cells, Failure, Findings, Graph, GraphColumn, Messages, Payload, Scope, Subscription,
};

struct Analysis;

impl Guest for Analysis {
    fn open(config: String) -> Result<Subscription, Failure> {
        subscription(&config, Scope::Partition)
    }

    fn process(input: Batch) -> Result<Findings, Failure> {
        begin(&input)?;
        let rows = Rows::new(&input);
        let head = format!("{} {} {}\n", input.partition, input.now_ms, input.rows);
        Ok(Findings {
            messages: messages(&rows),
            new_graphs: graphs(),
            new_columns: graph_columns(),
            new_rules: rules(),
            cells: cells(&rows),
            payloads: vec![payload(&rows, head)],
            alerts: alerts(&rows),
        })
    }
}

fn messages(rows: &Rows<'_>) -> Messages {
    let mut messages = Messages { row: vec![], keys: vec![], offsets: vec![0], arena: vec![] };
    for row in (0..rows.len()).filter(|row| !rows.is_null(TEXT, *row)) {
        messages.row.push(row as u32);
        messages.keys.push(rows.text(row));
        write_message(&mut messages.arena, row, rows.int64(TIMESTAMP, row), &rows.line(row));
        messages.offsets.push(messages.arena.len() as u32);
    }
    messages
}

/// A Heka message: Uuid is field 1, Timestamp 2, Type 3, Payload 6.
fn write_message(out: &mut Vec<u8>, row: usize, timestamp: i64, line: &str) {
    out.extend([0x0a, 16]);
    out.extend([row as u8; 16]);
    out.push(0x10);
    write_varint(out, timestamp as u64);
    write_bytes(out, 0x1a, b"conformance");
    write_bytes(out, 0x32, line.as_bytes());
}

fn write_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    write_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn graphs() -> Vec<Graph> {
    let graph = |title: &str, rows, seconds_per_row| Graph { title: title.into(), rows, seconds_per_row };
    vec![graph("numbers ⊕", 1_440, 60), graph("rows", 11_520, 1)]
}

fn graph_columns() -> Vec<GraphColumn> {
    let column = |graph, name: &str, unit: &str, aggregation| GraphColumn { graph, name: name.into(), unit: unit.into(), aggregation };
    vec![
        column(0, "int64", "count", Aggregation::Sum),
        column(0, "float64", "ms", Aggregation::Min),
        column(1, "rows", "", Aggregation::Max),
    ]
}

fn rules() -> Vec<AlertRule> {
    let rule = |graph, column, id: &str, test, threshold, window_rows, throttle_s| AlertRule {
        graph,
        column,
        id: id.into(),
        test,
        threshold,
        window_rows,
        throttle_s,
    };
    vec![
        rule(0, 0, "inactive", AlertTest::Inactive, 0.0, 5, 60),
        rule(0, 1, "above", AlertTest::Above, 0.1, 1_440, u32::MAX),
        rule(0, 1, "below", AlertTest::Below, -0.0, 1, 0),
        rule(1, 0, "percent", AlertTest::PercentChange, 1e300, 11_520, 1),
    ]
}

fn cells(rows: &Rows<'_>) -> Cells {
    let mut cells = Cells { graph: vec![], column: vec![], time_s: vec![], value: vec![] };
    for row in 0..rows.len() {
        let time_s = (rows.int64(TIMESTAMP, row) as u64 / 1_000_000_000) as u32;
        let mut add = |graph, column, value| {
            cells.graph.push(graph);
            cells.column.push(column);
            cells.time_s.push(time_s);
            cells.value.push(value);
        };
        if !rows.is_null(NUMBER, row) {
            add(0, 0, rows.int64(NUMBER, row) as f64);
        }
        if !rows.is_null(FLOAT, row) {
            add(0, 1, rows.float64(FLOAT, row));
        }
        add(1, 0, 1.0);
    }
    cells
}

fn payload(rows: &Rows<'_>, head: String) -> Payload {
    let data = (0..rows.len()).fold(head, |text, row| text + &rows.line(row) + "\n");
    Payload { name: "rows ⊕".into(), media_type: "text/plain".into(), data: data.into_bytes() }
}

fn alerts(rows: &Rows<'_>) -> Vec<Alert> {
    let alert =
        |row: usize| Alert { row: row as u32, id: "least".into(), summary: rows.text(row), detail: rows.line(row), throttle_s: u32::MAX };
    (0..rows.len()).filter(|row| rows.is_least(*row)).map(alert).collect()
}

bindings::export_analysis_plugin!(Analysis with_types_in bindings);
