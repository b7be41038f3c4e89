//! Answers as text that shows every byte.

use std::fmt::Write;

use tidemill_runtime::{CallReport, Cell, Decoded, Findings, LogLine, Plan, TIMER_ROW};

/// A line for each of these.
fn lines<T>(items: impl IntoIterator<Item = T>, line: impl Fn(T) -> String) -> String {
    items.into_iter().map(|item| line(item) + "\n").collect()
}

pub fn plan(plan: &Plan) -> String {
    let Plan { subscription, fields, section_plans } = plan;
    let mut text = format!("matcher {:?}, scope {:?}, tick-ms {}\n", subscription.matcher, subscription.scope, subscription.tick_ms);
    text += &lines(&subscription.columns, |column| format!("{column:?}"));
    text += &lines(fields, |field| format!("{field:?}"));
    text + &lines(section_plans, |sections| format!("section plan {sections:?}"))
}

pub fn decoded(decoded: &Decoded, plan: &Plan) -> String {
    let mut text = String::new();
    for row in 0..decoded.rows() {
        text += &format!("row {row}: section plan {}\n", decoded.plan_of(row));
        let fields = plan.fields.iter().enumerate();
        text += &lines(fields, |(at, field)| format!("  {} = {}", field.name, cell(decoded.cell(at, row))));
    }
    text + &lines(&decoded.rejections, |rejection| format!("{rejection:?}"))
}

fn cell(cell: Cell<'_>) -> String {
    match cell {
        Cell::Float64(value) => format!("Float64({})", double(value)),
        Cell::Bytes(bytes) => format!("Bytes({})", hexadecimal(bytes)),
        Cell::Json(bytes) => format!("Json({:?})", String::from_utf8_lossy(bytes)),
        other => format!("{other:?}"),
    }
}

pub fn findings(findings: &Findings) -> String {
    let Findings { messages, new_graphs, new_columns, new_rules, cells, payloads, alerts } = findings;
    let mut text = lines(messages.iter(), |message| {
        assert_ne!(message.row, TIMER_ROW);
        format!("message of row {}, key {:?}: {}", message.row, message.key, hexadecimal(message.bytes))
    });
    text += &lines(new_graphs, |graph| format!("new graph {graph:?}"));
    text += &lines(new_columns, |column| format!("new graph column {column:?}"));
    text += &lines(new_rules, |rule| format!("{rule:?}"));
    text += &lines(cells, |cell| format!("graph {} column {} time {}: {}", cell.graph, cell.column, cell.time_s, double(cell.value)));
    text += &lines(payloads, |payload| {
        let data = String::from_utf8(payload.data.clone()).expect("the guest's payload is text");
        format!("payload {:?} {:?}: {data:?}", payload.name, payload.media_type)
    });
    text + &lines(alerts, |alert| format!("{alert:?}"))
}

pub fn report(report: &CallReport) -> String {
    log(&report.log) + &lines(&report.metrics, |metric| format!("metric {:?} {}", metric.name, double(metric.delta)))
}

pub fn log(log: &[LogLine]) -> String {
    lines(log, |line| format!("log {:?} {:?}", line.level, line.text))
}

/// Its value for the reader, its bits for the comparison.
fn double(value: f64) -> String {
    format!("{value:?} {:016x}", value.to_bits())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("strings take everything");
        digits
    })
}
