//! What the running host knows of itself, shared between the stages that write it and the API that shows it.

mod views;

pub use views::{AlertView, ColumnView, GraphData, GraphView, PluginView};

use crate::graphs::{Alert, Delta, PluginGraphs};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tidemill_bus::{TopicInfo, TopicPartition};
use tidemill_runtime::{Level, LogLine};
use views::{graph_data, graph_view};

/// Alerts that are kept; older ones are in the `alerts` topic.
pub const ALERTS_MAX: usize = 1_000;

/// Log lines that are kept of each plugin.
pub const LOG_LINES_MAX: usize = 500;

/// Payloads that are kept of each plugin.
pub const PAYLOADS_MAX: usize = 64;

/// Shared by all stages and the API.
#[derive(Debug, Default)]
pub struct LiveState {
    plugins: RwLock<BTreeMap<String, Arc<PluginStatus>>>,
    /// Those that this host merges,
    graphs: RwLock<BTreeMap<String, PluginGraphs>>,
    /// and all of them, where another host may merge them.
    followed: RwLock<BTreeMap<String, PluginGraphs>>,
    alerts: RwLock<VecDeque<Alert>>,
    payloads: RwLock<BTreeMap<String, BTreeMap<String, Payload>>>,
}

/// What a plugin is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginState {
    /// It gets the stream.
    Live,
    /// It failed too often: its instances rest and its positions stand still until a back-off ends.
    Quarantined,
}

/// The figures of one plugin on this host, summed over all its instances; written by the stages, read by the API. They count
/// since the process started, but for `memory_bytes` and `lag`.
#[derive(Debug, Default)]
pub struct PluginStatus {
    name: String,
    kind: String,
    version: String,
    /// Rows given to the plugin; not counted again when they are given again after a trap.
    pub messages_in: AtomicU64,
    /// Messages and deliveries it returned.
    pub messages_out: AtomicU64,
    /// Rows that it refused or that it failed on alone.
    pub rejected: AtomicU64,
    /// Fuel of all calls.
    pub fuel_total: AtomicU64,
    /// Calls that failed.
    pub traps: AtomicU64,
    /// Instances made after the first.
    pub restarts: AtomicU64,
    /// Bytes of linear memory of its instances now.
    pub memory_bytes: AtomicU64,
    /// Messages it has not seen yet, beside those that its positions tell.
    pub lag: AtomicU64,
    stall_max_ns: AtomicU64,
    /// Partitions in which it rests.
    quarantined: AtomicI64,
    positions: Mutex<BTreeMap<TopicPartition, i64>>,
    metrics: Mutex<BTreeMap<String, f64>>,
    log: Mutex<VecDeque<LogEntry>>,
}

/// A line of a plugin's log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogEntry {
    /// Milliseconds since 1970 UTC, by the host's clock.
    pub time_ms: i64,
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The line.
    pub text: String,
}

/// Something a plugin shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    /// For example `application/json`.
    pub media_type: String,
    /// The bytes.
    pub data: Vec<u8>,
    /// In event time, milliseconds since 1970 UTC.
    pub time_ms: i64,
}

impl LogEntry {
    /// A line that a call logged.
    pub fn new(time_ms: i64, line: &LogLine) -> Self {
        let level = match line.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        Self { time_ms, level, text: line.text.clone() }
    }
}

impl LiveState {
    /// The status of a plugin, made where it is not there or of another version.
    pub fn plugin(&self, name: &str, kind: &str, version: &str) -> Arc<PluginStatus> {
        let mut plugins = self.plugins.write();
        if let Some(known) = plugins.get(name).filter(|known| known.version == version && known.kind == kind) {
            return Arc::clone(known);
        }
        let status = Arc::new(PluginStatus::new(name, kind, version));
        plugins.insert(name.to_owned(), Arc::clone(&status));
        status
    }

    /// The plugins by name, with their lag behind the ends of these topics.
    pub fn plugins(&self, topics: &[TopicInfo]) -> Vec<PluginView> {
        self.plugins.read().values().map(|plugin| plugin.view(topics)).collect()
    }

    /// One plugin.
    pub fn find_plugin(&self, name: &str) -> Option<Arc<PluginStatus>> {
        self.plugins.read().get(name).cloned()
    }

    /// The graphs of a plugin.
    pub fn graphs(&self, plugin: &str) -> Vec<GraphView> {
        let views = |found: &PluginGraphs| found.graphs.values().map(|graph| graph_view(&graph.ring)).collect();
        self.shown(plugin, views).unwrap_or_default()
    }

    /// A graph with its contents.
    pub fn graph(&self, plugin: &str, title: &str) -> Option<GraphData> {
        self.shown(plugin, |found| found.graphs.get(title).map(|graph| graph_data(&graph.ring))).flatten()
    }

    /// The graphs of a plugin as this host merges them, else as it sees another one merge them.
    fn shown<R>(&self, plugin: &str, show: impl FnOnce(&PluginGraphs) -> R) -> Option<R> {
        if let Some(merged) = self.graphs.read().get(plugin) {
            return Some(show(merged));
        }
        self.followed.read().get(plugin).map(show)
    }

    /// A delta that some host merges.
    pub fn follow_graphs(&self, plugin: &str, delta: Delta, now_ms: i64) {
        self.followed.write().entry(plugin.to_owned()).or_default().apply(delta, now_ms);
    }

    /// Gives the graphs of a plugin to the stage that merges them; made where they are not there.
    pub fn with_graphs<R>(&self, plugin: &str, change: impl FnOnce(&mut PluginGraphs) -> R) -> R {
        change(self.graphs.write().entry(plugin.to_owned()).or_default())
    }

    /// Replaces the graphs of a plugin, or forgets them.
    pub fn set_graphs(&self, plugin: &str, graphs: Option<PluginGraphs>) {
        match graphs {
            Some(graphs) => self.graphs.write().insert(plugin.to_owned(), graphs),
            None => self.graphs.write().remove(plugin),
        };
    }

    /// Keeps an alert; the newest [`ALERTS_MAX`] are kept.
    pub fn push_alert(&self, alert: Alert) {
        let mut alerts = self.alerts.write();
        // Partitions are read one after another: by time, newest last.
        let place = alerts.partition_point(|known| known.time_ns <= alert.time_ns);
        alerts.insert(place, alert);
        if alerts.len() > ALERTS_MAX {
            alerts.pop_front();
        }
    }

    /// The alerts, newest first.
    pub fn alerts(&self) -> Vec<AlertView> {
        self.alerts.read().iter().rev().map(AlertView::of).collect()
    }

    /// Keeps a plugin's payload in place of the one of that name. `false` where there are too many names already.
    pub fn set_payload(&self, plugin: &str, name: &str, payload: Payload) -> bool {
        let mut payloads = self.payloads.write();
        let known = payloads.entry(plugin.to_owned()).or_default();
        let has_room = known.len() < PAYLOADS_MAX || known.contains_key(name);
        if has_room {
            known.insert(name.to_owned(), payload);
        }
        has_room
    }

    /// A plugin's payloads by name.
    pub fn payloads(&self, plugin: &str) -> BTreeMap<String, Payload> {
        self.payloads.read().get(plugin).cloned().unwrap_or_default()
    }
}

impl PluginStatus {
    fn new(name: &str, kind: &str, version: &str) -> Self {
        Self { name: name.into(), kind: kind.into(), version: version.into(), ..Self::default() }
    }

    /// As configured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds to a count.
    pub fn add(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }

    /// What a count stands at.
    pub fn get(count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }

    /// An instance's memory changed from `before` to `after` bytes.
    pub fn set_memory(&self, before: u64, after: u64) {
        self.memory_bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    /// A failing call and its recovery held the worker for so long.
    pub fn stalled(&self, held: Duration) {
        self.stall_max_ns.fetch_max(held.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The longest time that a failing call and its recovery held the worker.
    pub fn stall_max(&self) -> Duration {
        Duration::from_nanos(self.stall_max_ns.load(Ordering::Relaxed))
    }

    /// One of its instances begins (`true`) or ends a rest.
    pub fn set_resting(&self, rests: bool) {
        self.quarantined.fetch_add(if rests { 1 } else { -1 }, Ordering::Relaxed);
    }

    /// What it is doing.
    pub fn state(&self) -> PluginState {
        if self.quarantined.load(Ordering::Relaxed) > 0 { PluginState::Quarantined } else { PluginState::Live }
    }

    /// How far it has come in a partition; `None` where the partition is another worker's now.
    pub fn set_position(&self, partition: &TopicPartition, position: Option<i64>) {
        let mut positions = self.positions.lock();
        match position {
            Some(position) => positions.insert(partition.clone(), position),
            None => positions.remove(partition),
        };
    }

    /// Adds to one of the plugin's own counters.
    pub fn add_metric(&self, name: &str, delta: f64) {
        let mut metrics = self.metrics.lock();
        match metrics.get_mut(name) {
            Some(value) => *value += delta,
            None => drop(metrics.insert(name.to_owned(), delta)),
        }
    }

    /// Keeps a log line; the newest [`LOG_LINES_MAX`] are kept.
    pub fn push_log(&self, entry: LogEntry) {
        let mut log = self.log.lock();
        if log.len() == LOG_LINES_MAX {
            log.pop_front();
        }
        log.push_back(entry);
    }

    /// The log, oldest first.
    pub fn log(&self) -> Vec<LogEntry> {
        self.log.lock().iter().cloned().collect()
    }

    /// As the API shows it, with its lag behind the ends of these topics.
    pub fn view(&self, topics: &[TopicInfo]) -> PluginView {
        PluginView {
            name: self.name.clone(),
            kind: self.kind.clone(),
            version: self.version.clone(),
            state: self.state(),
            messages_in: Self::get(&self.messages_in),
            messages_out: Self::get(&self.messages_out),
            rejected: Self::get(&self.rejected),
            fuel_total: Self::get(&self.fuel_total),
            traps: Self::get(&self.traps),
            restarts: Self::get(&self.restarts),
            memory_bytes: Self::get(&self.memory_bytes),
            lag: Self::get(&self.lag) + self.lag_behind(topics),
            stall_ms_max: self.stall_max().as_secs_f64() * 1_000.0,
            metrics: self.metrics.lock().clone(),
        }
    }

    fn lag_behind(&self, topics: &[TopicInfo]) -> u64 {
        let end = |partition: &TopicPartition| {
            let topic = topics.iter().find(|topic| topic.name == partition.topic)?;
            topic.partitions.get(partition.partition as usize).map(|range| range.end)
        };
        let positions = self.positions.lock();
        positions.iter().filter_map(|(partition, position)| end(partition).map(|end| end.saturating_sub(*position).max(0) as u64)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphs::{Aggregation, ColumnShape, Graph, GraphShape};
    use tidemill_bus::OffsetRange;

    fn alert(time_ns: i64) -> Alert {
        let text = String::new;
        Alert { time_ns, plugin: text(), id: text(), kind: text(), summary: text(), detail: text(), measured: None }
    }

    #[test]
    fn a_graph_is_shown_as_the_contract_says() {
        let live = LiveState::default();
        let mut graph = Graph::new(GraphShape { title: "volume".into(), rows: 3, seconds_per_row: 60 });
        for name in ["a", "b"] {
            graph.ring.column(&ColumnShape { name: name.into(), unit: "count".into(), aggregation: Aggregation::Sum });
        }
        graph.ring.add(0, 600, 1.0);
        graph.ring.add(1, 665, 2.5);
        live.with_graphs("monitor", |graphs| graphs.graphs.insert("volume".into(), graph));
        let columns = r#""columns":[{"name":"a","unit":"count","aggregation":"sum"},{"name":"b","unit":"count","aggregation":"sum"}]"#;
        let list = serde_json::to_string(&live.graphs("monitor")).unwrap();
        assert_eq!(list, format!(r#"[{{"title":"volume","rows":3,"seconds_per_row":60,{columns}}}]"#));
        let one = serde_json::to_string(&live.graph("monitor", "volume").unwrap()).unwrap();
        let data = r#""start":540,"data":[[null,null],[1.0,null],[null,2.5]]"#;
        assert_eq!(one, format!(r#"{{"title":"volume","rows":3,"seconds_per_row":60,{columns},{data}}}"#));
        assert_eq!(live.graph("monitor", "other"), None);
        assert_eq!(live.graphs("other"), []);
    }

    #[test]
    fn alerts_are_bounded_and_newest_first() {
        let live = LiveState::default();
        (0..=ALERTS_MAX as i64).rev().for_each(|second| live.push_alert(alert(second * 1_000_000_000)));
        let times: Vec<_> = live.alerts().iter().map(|alert| alert.time).collect();
        assert_eq!(times.len(), ALERTS_MAX);
        assert!(times.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn lag_is_what_lies_between_position_and_end() {
        let live = LiveState::default();
        let plugin = live.plugin("p", "analysis", "1");
        let place = |partition| TopicPartition { topic: "validated".into(), partition };
        plugin.set_position(&place(0), Some(5));
        plugin.set_position(&place(1), Some(9));
        plugin.set_position(&place(7), Some(0));
        let topic =
            TopicInfo { name: "validated".into(), partitions: vec![OffsetRange { start: 0, end: 15 }, OffsetRange { start: 0, end: 9 }] };
        assert_eq!(live.plugins(std::slice::from_ref(&topic))[0].lag, 10);
        plugin.set_position(&place(0), None);
        assert_eq!(live.plugins(&[topic])[0].lag, 0);
        assert!(Arc::ptr_eq(&plugin, &live.plugin("p", "analysis", "1")));
        assert!(!Arc::ptr_eq(&plugin, &live.plugin("p", "analysis", "2")), "another version counts anew");
    }

    #[test]
    fn states_log_and_payloads() {
        let live = LiveState::default();
        let plugin = live.plugin("p", "output", "1");
        plugin.set_resting(true);
        assert_eq!(serde_json::to_value(plugin.view(&[])).unwrap()["state"], "quarantined");
        plugin.set_resting(false);
        assert_eq!(serde_json::to_value(plugin.view(&[])).unwrap()["state"], "live");
        let entry = |text: String| LogEntry { time_ms: 0, level: "info", text };
        (0..=LOG_LINES_MAX).for_each(|number| plugin.push_log(entry(number.to_string())));
        assert_eq!((plugin.log().len(), &plugin.log()[0].text[..]), (LOG_LINES_MAX, "1"));
        let payload = Payload { media_type: "text/plain".into(), data: vec![1], time_ms: 0 };
        assert!((0..PAYLOADS_MAX).all(|number| live.set_payload("p", &number.to_string(), payload.clone())));
        assert!(!live.set_payload("p", "one more", payload.clone()));
        assert!(live.set_payload("p", "0", payload), "a known name is replaced");
    }
}
