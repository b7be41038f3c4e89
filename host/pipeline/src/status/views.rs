//! What the API shows: names and shapes are those of the contract.

use super::PluginState;
use crate::graphs::{Alert, Ring};
use serde::Serialize;
use std::collections::BTreeMap;

/// A plugin as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PluginView {
    /// As configured.
    pub name: String,
    /// `decoder`, `analysis` or `output`.
    pub kind: String,
    /// Of the component.
    pub version: String,
    /// What it is doing.
    pub state: PluginState,
    /// Rows given to it.
    pub messages_in: u64,
    /// Messages and deliveries it returned.
    pub messages_out: u64,
    /// Rows refused.
    pub rejected: u64,
    /// Fuel of all calls.
    pub fuel_total: u64,
    /// Calls that failed.
    pub traps: u64,
    /// Instances made after the first.
    pub restarts: u64,
    /// Memory of its instances.
    pub memory_bytes: u64,
    /// Records between its positions and the end of its input.
    pub lag: u64,
    /// The longest time that one of its failing calls, with the recovery, held its worker, in milliseconds.
    pub stall_ms_max: f64,
    /// The counters that it adds to by `metric-add`.
    pub metrics: BTreeMap<String, f64>,
}

/// A graph as the API lists it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GraphView {
    /// Unique within the plugin.
    pub title: String,
    /// How many rows it holds.
    pub rows: u32,
    /// How wide a row is.
    pub seconds_per_row: u32,
    /// Its columns.
    pub columns: Vec<ColumnView>,
}

/// A column as the API lists it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnView {
    /// Unique within the graph.
    pub name: String,
    /// For example `count`.
    pub unit: String,
    /// `sum`, `min` or `max`.
    pub aggregation: &'static str,
}

/// A graph with its contents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GraphData {
    /// The graph.
    #[serde(flatten)]
    pub graph: GraphView,
    /// The beginning of the first row, seconds since 1970 UTC.
    pub start: i64,
    /// Rows by columns; null where there is no data.
    pub data: Vec<Vec<Option<f64>>>,
}

/// An alert as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertView {
    /// Seconds since 1970 UTC, in event time.
    pub time: f64,
    /// Whose alert it is.
    pub plugin: String,
    /// Names the alert and its throttle.
    pub id: String,
    /// What raised it.
    pub kind: String,
    /// A sentence.
    pub summary: String,
    /// More.
    pub detail: String,
}

impl AlertView {
    pub(super) fn of(alert: &Alert) -> Self {
        let Alert { time_ns, plugin, id, kind, summary, detail, measured: _ } = alert.clone();
        Self { time: time_ns as f64 / 1e9, plugin, id, kind, summary, detail }
    }
}

pub(super) fn graph_view(ring: &Ring) -> GraphView {
    let columns = ring.columns().iter().map(|column| ColumnView {
        name: column.shape.name.clone(),
        unit: column.shape.unit.clone(),
        aggregation: column.shape.aggregation.name(),
    });
    let shape = ring.shape();
    GraphView { title: shape.title.clone(), rows: shape.rows, seconds_per_row: shape.seconds_per_row, columns: columns.collect() }
}

pub(super) fn graph_data(ring: &Ring) -> GraphData {
    let head = ring.head().unwrap_or(0);
    let first = head - i64::from(ring.shape().rows) + 1;
    let row = |row| (0..ring.columns().len()).map(|column| ring.cell(column, row)).collect();
    GraphData { graph: graph_view(ring), start: first * i64::from(ring.shape().seconds_per_row), data: (first..=head).map(row).collect() }
}
