//! What a run reports. As JSON its names are those of the fields here.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything a plugin did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The plugin.
    pub plugin: PluginReport,
    /// What it answered to `open`.
    pub plan: PlanReport,
    /// What became of each ping, in the order in which they were given.
    pub pings: Vec<PingReport>,
    /// The messages an analysis plugin injected.
    pub messages: Vec<MessageReport>,
    /// The graphs of an analysis plugin, by title.
    pub graphs: Vec<GraphReport>,
    /// Alerts by the plugin, by its rules and by the host about it.
    pub alerts: Vec<AlertReport>,
    /// What an analysis plugin shows, by name.
    pub payloads: Vec<PayloadReport>,
    /// What an output plugin sends.
    pub deliveries: Vec<DeliveryReport>,
    /// Its log lines, oldest first.
    pub log: Vec<LogReport>,
    /// Its counters.
    pub metrics: BTreeMap<String, f64>,
    /// What it used.
    pub fuel: FuelReport,
    /// Why the run was given up before all pings were worked on.
    pub gave_up: Option<String>,
}

/// The plugin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PluginReport {
    /// Its name.
    pub name: String,
    /// The first 12 hexadecimal digits of the component's blake3.
    pub version: String,
    /// `decoder`, `analysis` or `output`.
    pub kind: String,
    /// Whether it exports `timers`.
    pub timers: bool,
    /// Whether it exports `state`.
    pub state: bool,
}

/// What it answered to `open`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanReport {
    /// The message matcher.
    pub matcher: String,
    /// `stateless`, `partition` or `global`.
    pub scope: &'static str,
    /// Milliseconds between timers; 0 for none.
    pub tick_ms: u32,
    /// The columns it reads.
    pub columns: Vec<RequestReport>,
    /// The fields a decoder adds.
    pub fields: Vec<FieldReport>,
    /// The section plans of a decoder.
    pub section_plans: Vec<Vec<SectionReport>>,
}

/// A column it reads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestReport {
    /// Header, field or JSON pointer.
    pub path: String,
    /// `int64`, `float64`, `boolean`, `text`, `bytes` or `json`.
    pub kind: &'static str,
    /// `one`, `many` or `entries`.
    pub shape: &'static str,
    /// Whether rows without it are left out.
    pub required: bool,
}

/// A field a decoder adds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldReport {
    /// Its name.
    pub name: String,
    /// As of a column.
    pub kind: &'static str,
    /// Unit or format.
    pub representation: String,
}

/// A section of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SectionReport {
    /// JSON pointer.
    pub path: String,
    /// `own-field` or `drop`.
    pub fate: &'static str,
}

/// What became of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PingVerdict {
    /// It is in `validated`.
    Accepted,
    /// The host refused it: it is in `errors`.
    Refused,
    /// The decoder refused it: it is in `errors`.
    Rejected,
    /// The plugin failed on it alone, twice: it is in `errors`.
    Poison,
}

/// A ping.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PingReport {
    /// `NAMESPACE/FILE`.
    pub ping: String,
    /// `pass` or `fail`, by its name.
    pub expected: &'static str,
    /// What became of it.
    pub verdict: PingVerdict,
    /// Whether the plugin was given it.
    pub selected: bool,
    /// Why it was not, or why it is in `errors`; empty where there is nothing to say.
    pub reason: String,
    /// The log lines of the call that failed on it; empty for none.
    pub detail: String,
    /// The guest's frames where it trapped; empty for none.
    pub backtrace: String,
    /// Fuel of a decoder on this ping alone.
    pub fuel: Option<u64>,
    /// What a decoder added to it.
    pub fields: Vec<(String, Value)>,
    /// The sections that a decoder moved out of the document, and their bytes.
    pub sections: Vec<(String, usize)>,
}

/// A message it injected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MessageReport {
    /// The ping it was made of, for a timer's message the last one before it; `None` where there was none yet.
    pub ping: Option<String>,
    /// Seconds since 1970 UTC, RFC 3339.
    pub time: String,
    /// Type.
    pub r#type: Value,
    /// Logger.
    pub logger: Value,
    /// Payload.
    pub payload: Value,
    /// Fields; one of several values is an array.
    pub fields: BTreeMap<String, Value>,
}

/// A graph with its cells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GraphReport {
    /// Its title.
    pub title: String,
    /// How many rows it holds.
    pub rows: u32,
    /// How wide a row is.
    pub seconds_per_row: u32,
    /// Its columns.
    pub columns: Vec<ColumnReport>,
    /// The cells that have data, by row.
    pub cells: Vec<CellReport>,
}

/// A column of a graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnReport {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// `sum`, `min` or `max`.
    pub aggregation: &'static str,
}

/// A cell that has data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellReport {
    /// The column's name.
    pub column: String,
    /// The beginning of the row, RFC 3339.
    pub time: String,
    /// The value.
    pub value: f64,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertReport {
    /// Event time, RFC 3339.
    pub time: String,
    /// What names it and its throttle.
    pub id: String,
    /// What raised it.
    pub kind: String,
    /// A sentence.
    pub summary: String,
    /// More.
    pub detail: String,
}

/// Something it shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PayloadReport {
    /// Its name.
    pub name: String,
    /// For example `application/json`.
    pub media_type: String,
    /// Text, or `{"base64": ..}`.
    pub data: Value,
}

/// A delivery.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeliveryReport {
    /// Method and URL, or `object`, `append` or `bus` and what it names.
    pub target: String,
    /// The headers of a request.
    pub headers: Vec<(String, String)>,
    /// The first ping it settles.
    pub first: Option<String>,
    /// The last.
    pub last: Option<String>,
    /// Text, or `{"base64": ..}`.
    pub body: Value,
    /// The body's bytes.
    pub body_bytes: usize,
}

/// A log line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The line.
    pub text: String,
}

/// What it used. Figures compare within one version of the engine and its policy only.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FuelReport {
    /// Of all calls but `open`.
    pub total: u64,
    /// Of the first `open`.
    pub open: u64,
    /// A call, on average.
    pub per_call: u64,
    /// A row, on average, of the calls that have rows.
    pub per_message: u64,
    /// The call that used most.
    pub call_max: u64,
    /// What a call may use.
    pub call_fuel_max: u64,
    /// The calls by name.
    pub calls: Vec<CallsReport>,
    /// The most that an instance had, in bytes of linear memory.
    pub memory_bytes: u64,
    /// Calls that failed.
    pub traps: u64,
    /// Instances made after the first.
    pub restarts: u64,
    /// The engine and its policy.
    pub engine: String,
}

/// The calls of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallsReport {
    /// `decode`, `process`, `write`, `on-timer`, `snapshot` or `restore`.
    pub call: &'static str,
    /// How many.
    pub count: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Their rows.
    pub rows: u64,
    /// Their fuel.
    pub fuel: u64,
}

impl Report {
    /// Whether no call failed and nothing that is valid was refused by the plugin.
    pub fn is_sound(&self) -> bool {
        let is_refused = |ping: &PingReport| matches!(ping.verdict, PingVerdict::Poison | PingVerdict::Rejected);
        self.fuel.traps == 0 && self.gave_up.is_none() && !self.pings.iter().any(is_refused)
    }
}

impl FuelReport {
    /// Works out the sums and averages of the calls.
    pub(super) fn sum_up(&mut self) {
        let sum = |of: fn(&CallsReport) -> u64| self.calls.iter().map(of).sum::<u64>();
        let (count, rows) = (sum(|calls| calls.count), sum(|calls| calls.rows));
        let fuel_of_rows: u64 = self.calls.iter().filter(|calls| calls.rows > 0).map(|calls| calls.fuel).sum();
        self.total = sum(|calls| calls.fuel);
        self.per_call = self.total.checked_div(count).unwrap_or(0);
        self.per_message = fuel_of_rows.checked_div(rows).unwrap_or(0);
    }

    /// Counts a call.
    pub(super) fn add_call(&mut self, call: CallsReport) {
        match self.calls.iter_mut().find(|calls| calls.call == call.call) {
            Some(calls) => {
                calls.count += call.count;
                calls.failed += call.failed;
                calls.rows += call.rows;
                calls.fuel += call.fuel;
            }
            None => self.calls.push(call),
        }
    }
}
