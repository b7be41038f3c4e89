//! Stands in for the host's log and metrics: what a plugin says is kept for the thread's test to look at.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::host::Level;

thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
    static METRICS: RefCell<BTreeMap<String, f64>> = const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn log(level: Level, text: &str) {
    LINES.with_borrow_mut(|lines| lines.push((level, text.into())));
}

pub(crate) fn metric_add(name: &str, delta: f64) {
    METRICS.with_borrow_mut(|metrics| *metrics.entry(name.into()).or_default() += delta);
}

/// The log lines since the last call of this function on this thread.
pub fn log_lines() -> Vec<(Level, String)> {
    LINES.take()
}

/// The plugin's counters since the last call of this function on this thread.
pub fn metrics() -> BTreeMap<String, f64> {
    METRICS.take()
}
