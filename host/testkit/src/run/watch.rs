//! Two components around the plugin: one that keeps an account of its calls, and one that is given the same rows and notes which.

use super::{
    facts::log_line,
    report::{CallsReport, FuelReport, LogReport},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tidemill_pipeline::{
    analysis::{Component, Found, Guest},
    plugins::Configured,
};
use tidemill_runtime::{Batch, CallError, CallReport, ColumnKind, ColumnRequest, Delivery, Kind, Plan, Scope, Shape};

/// What the plugin's calls used and said.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// The calls; only what calls give is filled.
    pub fuel: FuelReport,
    /// The log lines.
    pub log: Vec<LogReport>,
    /// The counters; of calls that failed nothing counts.
    pub metrics: BTreeMap<String, f64>,
    /// The last failure.
    pub last_error: String,
}

/// The plugin, its calls accounted for.
pub(super) struct Watched {
    pub inner: Configured,
    pub account: Arc<Mutex<Account>>,
}

struct WatchedGuest {
    inner: Box<dyn Guest>,
    account: Arc<Mutex<Account>>,
}

impl Component for Watched {
    fn name(&self) -> &str {
        Component::name(&self.inner)
    }

    fn version(&self) -> &str {
        Component::version(&self.inner)
    }

    fn kind(&self) -> Kind {
        Component::kind(&self.inner)
    }

    fn has_state(&self) -> bool {
        Component::has_state(&self.inner)
    }

    fn has_timers(&self) -> bool {
        Component::has_timers(&self.inner)
    }

    fn has_dictionary(&self) -> bool {
        Component::has_dictionary(&self.inner)
    }

    fn open(&self) -> Result<Box<dyn Guest>, CallError> {
        let inner = Component::open(&self.inner)?;
        Ok(Box::new(WatchedGuest { inner, account: Arc::clone(&self.account) }))
    }
}

impl WatchedGuest {
    fn note<T>(&self, call: &'static str, rows: u32, answer: Result<T, CallError>) -> Result<T, CallError> {
        let report = self.inner.report();
        let account = &mut *self.account.lock();
        let failed = u64::from(answer.is_err());
        account.fuel.add_call(CallsReport { call, count: 1, failed, rows: u64::from(rows), fuel: report.fuel });
        account.fuel.call_max = account.fuel.call_max.max(report.fuel);
        account.fuel.memory_bytes = account.fuel.memory_bytes.max(report.memory_bytes);
        account.log.extend(report.log.iter().map(log_line));
        match &answer {
            Ok(_) => {
                for metric in report.metrics.iter().filter(|metric| metric.delta != 0.0) {
                    *account.metrics.entry(metric.name.clone()).or_default() += metric.delta;
                }
            }
            Err(error) => account.last_error = error.message.clone(),
        }
        answer
    }
}

impl Guest for WatchedGuest {
    fn plan(&self) -> &Plan {
        self.inner.plan()
    }

    fn process(&mut self, batch: &Batch) -> Result<Found, CallError> {
        let answer = self.inner.process(batch);
        self.note("process", batch.rows, answer)
    }

    fn write(&mut self, batch: &Batch) -> Result<Vec<Delivery>, CallError> {
        let answer = self.inner.write(batch);
        self.note("write", batch.rows, answer)
    }

    fn on_timer(&mut self, now_ms: i64) -> Result<Found, CallError> {
        let answer = self.inner.on_timer(now_ms);
        self.note("on-timer", 0, answer)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, CallError> {
        let answer = self.inner.snapshot();
        self.note("snapshot", 0, answer)
    }

    fn restore(&mut self, bytes: &[u8], from_version: &str) -> Result<(), CallError> {
        let answer = self.inner.restore(bytes, from_version);
        self.note("restore", 0, answer)
    }

    fn report(&self) -> &CallReport {
        self.inner.report()
    }
}

/// Subscribes as the plugin does, and notes the times of the rows it is given: no two pings have the same.
pub(super) struct Selection {
    name: String,
    kind: Kind,
    plan: Plan,
    /// Timestamps, in nanoseconds.
    pub seen: Arc<Mutex<BTreeSet<i64>>>,
}

impl Selection {
    /// Of the plugin of this kind that answered this plan.
    pub fn new(plugin: &str, kind: Kind, plan: &Plan) -> Self {
        let mut plan = plan.clone();
        plan.subscription.columns.push(ColumnRequest {
            path: "Timestamp".to_owned(),
            kind: ColumnKind::Int64,
            shape: Shape::One,
            required: false,
        });
        plan.subscription.scope = Scope::Stateless;
        plan.subscription.tick_ms = 0;
        Self { name: format!("{plugin}.selection"), kind, plan, seen: Arc::default() }
    }

    /// Its name among the plugins.
    pub fn name(&self) -> &str {
        &self.name
    }
}

struct SelectionGuest {
    plan: Plan,
    seen: Arc<Mutex<BTreeSet<i64>>>,
    report: CallReport,
}

impl Component for Selection {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        "1"
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn has_state(&self) -> bool {
        false
    }

    fn has_timers(&self) -> bool {
        false
    }

    fn open(&self) -> Result<Box<dyn Guest>, CallError> {
        Ok(Box::new(SelectionGuest { plan: self.plan.clone(), seen: Arc::clone(&self.seen), report: CallReport::default() }))
    }
}

impl SelectionGuest {
    /// The added column is the last of its kind.
    fn note(&self, batch: &Batch) {
        let cells = batch.columns.int64s.chunks_exact(8).filter_map(|cell| cell.first_chunk().copied().map(i64::from_le_bytes));
        let cells: Vec<_> = cells.collect();
        let begin = cells.len().saturating_sub(batch.rows as usize);
        self.seen.lock().extend(&cells[begin..]);
    }
}

impl Guest for SelectionGuest {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn process(&mut self, batch: &Batch) -> Result<Found, CallError> {
        self.note(batch);
        Ok(Found::default())
    }

    fn write(&mut self, batch: &Batch) -> Result<Vec<Delivery>, CallError> {
        self.note(batch);
        Ok(Vec::new())
    }

    fn on_timer(&mut self, _: i64) -> Result<Found, CallError> {
        Ok(Found::default())
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, CallError> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _: &[u8], _: &str) -> Result<(), CallError> {
        Ok(())
    }

    fn report(&self) -> &CallReport {
        &self.report
    }
}
