//! What `process` and `on-timer` answered, checked.

use crate::bindings::tidemill::plugin::types as wit;
use crate::declared::Declared;
use crate::error::{Broken, broken};
use crate::limits::{Limits, within};
use crate::messages::{Messages, check_row};
use crate::report::cut;

/// Longest title, name, unit, id or media type in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// The answer of an analysis plugin. Numbers of graphs and columns are those of this instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Messages for the `derived` topic.
    pub messages: Messages,
    /// Graphs declared for the first time on this instance.
    pub new_graphs: Vec<Graph>,
    /// Columns declared for the first time on this instance.
    pub new_columns: Vec<GraphColumn>,
    /// Alert rules; one whose id was there replaces it.
    pub new_rules: Vec<AlertRule>,
    /// Changes of graphs, in the plugin's order.
    pub cells: Vec<GraphCell>,
    /// Things to show.
    pub payloads: Vec<Payload>,
    /// Alerts about single messages.
    pub alerts: Vec<Alert>,
}

/// A circular-buffer graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Its number on this instance.
    pub graph: u32,
    /// Its title, unique within the plugin.
    pub title: String,
    /// Rows it keeps.
    pub rows: u32,
    /// Seconds of one row.
    pub seconds_per_row: u32,
}

/// A column of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphColumn {
    /// The graph's number on this instance.
    pub graph: u32,
    /// The column's number within the graph.
    pub column: u32,
    /// Its name, unique within the graph.
    pub name: String,
    /// Unit of its values.
    pub unit: String,
    /// How cells merge.
    pub aggregation: Aggregation,
}

/// How cells merge: free of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregation {
    /// By addition.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

/// A rule that the owner of the merged graph evaluates.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRule {
    /// The graph's number on this instance.
    pub graph: u32,
    /// The column's number within the graph.
    pub column: u32,
    /// Names the alert and its throttle.
    pub id: String,
    /// What is tested.
    pub test: AlertTest,
    /// Finite; for `PercentChange` in per cent.
    pub threshold: f64,
    /// At least 1, at most the graph's rows.
    pub window_rows: u32,
    /// Seconds during which the same id is not raised again.
    pub throttle_s: u32,
}

/// What an alert rule tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertTest {
    /// No data in the last window although there was some in the one before.
    Inactive,
    /// The last window's aggregate is above the threshold.
    Above,
    /// It is below.
    Below,
    /// It differs from the window before by more than `threshold` per cent.
    PercentChange,
}

/// A change of one cell of a graph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GraphCell {
    /// The graph's number on this instance.
    pub graph: u32,
    /// The column's number within the graph.
    pub column: u32,
    /// Seconds since 1970.
    pub time_s: u32,
    /// Never NaN.
    pub value: f64,
}

/// Something to show, replaced by the next of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its content.
    pub data: Vec<u8>,
}

/// An alert about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The row it is about, [`TIMER_ROW`](crate::TIMER_ROW) from a timer.
    pub row: u32,
    /// Names the alert and its throttle.
    pub id: String,
    /// One line, cut to `log_line_bytes_max`.
    pub summary: String,
    /// More lines, cut to `log_line_bytes_max`.
    pub detail: String,
    /// Seconds during which the same id is not raised again.
    pub throttle_s: u32,
}

impl Findings {
    /// `rows` is `None` for a timer. `declared` is what the instance declared in earlier calls, and grows.
    pub(crate) fn check(raw: wit::Findings, rows: Option<u32>, declared: &mut Declared, limits: &Limits) -> Result<Self, Broken> {
        let wit::Findings { messages, new_graphs, new_columns, new_rules, cells, payloads, alerts } = raw;
        Ok(Self {
            messages: Messages::check(messages, rows, limits)?,
            new_graphs: declared.graphs(new_graphs, limits)?,
            new_columns: declared.columns(new_columns, limits)?,
            new_rules: declared.rules(new_rules, limits)?,
            cells: check_cells(cells, declared, limits)?,
            payloads: check_payloads(payloads, limits)?,
            alerts: check_alerts(alerts, rows, limits)?,
        })
    }
}

fn check_cells(raw: wit::Cells, declared: &Declared, limits: &Limits) -> Result<Vec<GraphCell>, Broken> {
    let wit::Cells { graph, column, time_s, value } = raw;
    within("cells_max", limits.cells_max, 0, graph.len() as u64)?;
    let lengths = [("column", column.len()), ("time-s", time_s.len()), ("value", value.len())];
    if let Some((list, len)) = lengths.into_iter().find(|(_, len)| *len != graph.len()) {
        return Err(broken!("`cells.{list}` has {len} elements, `cells.graph` has {}", graph.len()));
    }
    let mut cells = Vec::with_capacity(graph.len());
    for (at, (((graph, column), time_s), value)) in graph.into_iter().zip(column).zip(time_s).zip(value).enumerate() {
        declared.check_column(&format_args!("cells.graph[{at}]"), &format_args!("cells.column[{at}]"), graph, column)?;
        if value.is_nan() {
            return Err(broken!("`cells.value[{at}]` is NaN"));
        }
        cells.push(GraphCell { graph, column, time_s, value });
    }
    Ok(cells)
}

fn check_payloads(raw: Vec<wit::Payload>, limits: &Limits) -> Result<Vec<Payload>, Broken> {
    within("payloads_max", limits.payloads_max, 0, raw.len() as u64)?;
    let checked = raw.into_iter().enumerate().map(|(at, wit::Payload { name, media_type, data })| {
        check_name(&format_args!("payloads[{at}].name"), &name)?;
        check_name(&format_args!("payloads[{at}].media-type"), &media_type)?;
        Ok(Payload { name, media_type, data })
    });
    checked.collect()
}

fn check_alerts(raw: Vec<wit::Alert>, rows: Option<u32>, limits: &Limits) -> Result<Vec<Alert>, Broken> {
    within("alerts_max", limits.alerts_max, 0, raw.len() as u64)?;
    let shorten = |mut text: String| {
        text.truncate(cut(&text, limits.log_line_bytes_max).len());
        text
    };
    let checked = raw.into_iter().enumerate().map(|(at, wit::Alert { row, id, summary, detail, throttle_s })| {
        check_row(&format_args!("alerts[{at}].row"), row, rows)?;
        check_name(&format_args!("alerts[{at}].id"), &id)?;
        Ok(Alert { row, id, summary: shorten(summary), detail: shorten(detail), throttle_s })
    });
    checked.collect()
}

/// A name for humans and machines: not empty, short, one line.
pub(crate) fn check_name(what: &dyn std::fmt::Display, name: &str) -> Result<(), Broken> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
        let shown = cut(name, 64);
        return Err(broken!("`{what}` is {shown:?}: use 1 to {NAME_BYTES_MAX} bytes without control characters"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
