//! Making calls, and what follows when one fails.
//!
//! A failed call takes its instance with it. The next one begins with the last snapshot and is given again what was settled since,
//! its outputs suppressed; then the batch is worked on in halves, in order, until the failure is one row. A row is poison only when
//! it fails alone on the restored state, twice. While this goes on each settled part is followed by a snapshot, so that the
//! next failure replays nothing. Each turn makes one call: a neighbour waits for one failing call, never for the whole search.

use super::{
    guest::{Found, Guest},
    rows::Rows,
    settle::Answer,
    slot::{Input, Running, Slot, Task},
    spec::PluginSet,
    staged::Outlets,
};
use crate::{
    analysis::document::{Located, Places},
    columns::FillScratch,
    graphs::{Alert, Declared, Pending},
    status::{LogEntry, PluginStatus},
};
use std::{collections::BTreeMap, time::Duration};
use tidemill_bus::{Clock, crash_point};
use tidemill_message::{FoundFields, MessageRef};
use tidemill_runtime::{Batch, CallError, CallErrorKind, CallReport, Columns, ColumnsBuilder, Kind};

/// How often a row must fail alone on the restored state.
const ROW_FAILURES_MAX: u8 = 2;
/// Failures without a row settled in between, after which the plugin rests.
const FAILURES_IN_ROW_MAX: u32 = 16;
/// The first rest; each further one doubles it.
const REST_MIN: Duration = Duration::from_secs(1);
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(300);
/// Bytes of settled batches that are kept since the snapshot; beyond it a snapshot is taken early where it is cheap. That many are
/// still near at hand when they are filled again; where the state is larger, twice as many as it has.
const REPLAY_BYTES_MIN: usize = 128 << 10;
/// A snapshot is cheap when it uses one part in so many of the fuel that was used since the last one.
const SNAPSHOT_SHARE: u64 = 16;
/// Bytes that are kept however dear a snapshot is.
const REPLAY_BYTES_MAX: usize = 4 << 20;
/// Calls that are kept since the snapshot.
const REPLAY_CALLS_MAX: usize = 1_024;

/// What calls need beside the slot.
pub struct Context<'a> {
    /// The plugins.
    pub set: &'a PluginSet,
    /// The shared instances by plugin.
    pub pool: &'a mut BTreeMap<String, Running>,
    /// Where records go.
    pub outlets: &'a Outlets,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Memory for filling rows again.
    pub scratch: &'a mut FillScratch,
}

impl Slot {
    /// Makes the next call.
    pub fn run_one(&mut self, context: &mut Context<'_>) {
        let Some(task) = self.queue.pop_front() else { return };
        let began = context.clock.elapsed();
        let went_well = match task {
            Task::Rows { rows, columns, failures } => self.run_rows(rows, columns, failures, context),
            Task::Timer { now_ms, failures } => self.run_timer(now_ms, failures, context),
        };
        let held = context.clock.elapsed().saturating_sub(began);
        self.credit_ns -= held.as_nanos() as i64;
        if !went_well {
            self.spec.status.stalled(held);
        }
    }

    fn run_rows(&mut self, rows: Rows, columns: Option<Box<Columns>>, failures: u8, context: &mut Context<'_>) -> bool {
        let is_new = match self.revive(context) {
            Ok(is_new) => is_new,
            Err(error) => {
                self.queue.push_front(Task::Rows { rows, columns, failures });
                return self.instance_failed(&error, context);
            }
        };
        let columns = columns.map_or_else(|| self.refill(&rows, context), |columns| *columns);
        let now_ms = rows.last().map_or(0, |row| row.watermark_ms);
        let batch = Batch { partition: self.place.partition, rows: rows.len() as u32, now_ms, columns };
        match self.call(context, |guest, kind| match kind {
            Kind::Output => guest.write(&batch).map(Answer::Deliveries),
            _ => guest.process(&batch).and_then(checked).map(|found| Answer::Found(Box::new(found))),
        }) {
            Ok(answer) => {
                self.settle_rows(&rows, answer, context);
                self.recycle(rows);
                self.remember(Input::Rows(batch), context);
                !is_new
            }
            Err(error) => {
                self.rows_failed(rows, failures + u8::from(is_new), &error, context);
                false
            }
        }
    }

    fn recycle(&mut self, mut rows: Rows) {
        rows.clear();
        self.spare_rows = rows;
    }

    fn run_timer(&mut self, now_ms: i64, failures: u8, context: &mut Context<'_>) -> bool {
        let is_new = match self.revive(context) {
            Ok(is_new) => is_new,
            Err(error) => {
                self.queue.push_front(Task::Timer { now_ms, failures });
                return self.instance_failed(&error, context);
            }
        };
        match self.call(context, |guest, _| guest.on_timer(now_ms).and_then(checked)) {
            Ok(found) => {
                self.settle_timer(now_ms, found, context);
                self.remember(Input::Timer(now_ms), context);
                !is_new
            }
            Err(error) => {
                let failures = failures + u8::from(is_new);
                if failures < ROW_FAILURES_MAX {
                    self.queue.push_front(Task::Timer { now_ms, failures });
                } else {
                    tracing::error!(
                        plugin = self.spec.name(),
                        now_ms,
                        error = error.message,
                        "the timer failed twice; this tick is left out"
                    );
                    self.is_dirty = true;
                }
                self.instance_failed(&error, context)
            }
        }
    }

    /// Calls the instance and keeps the account; a failed call takes the instance with it.
    fn call<A>(
        &mut self,
        context: &mut Context<'_>,
        call: impl FnOnce(&mut dyn Guest, Kind) -> Result<A, CallError>,
    ) -> Result<A, CallError> {
        let kind = self.spec.component.kind();
        let mut running = match self.take_running(context) {
            Some(running) => running,
            None => return Err(failure("there is no instance".to_owned())),
        };
        let result = call(&mut *running.guest, kind);
        let report = running.guest.report();
        self.account(report, result.is_ok(), context.clock);
        self.spec.status.set_memory(running.memory_bytes, report.memory_bytes);
        running.memory_bytes = report.memory_bytes;
        match &result {
            Ok(_) => self.put_running(running, context),
            Err(error) => {
                tracing::debug!(plugin = self.spec.name(), error = error.message, "a call failed");
                self.lose(running);
            }
        }
        result
    }

    fn account(&mut self, report: &CallReport, went_well: bool, clock: &dyn Clock) {
        let status = &self.spec.status;
        PluginStatus::add(&status.fuel_total, report.fuel);
        self.counters.fuel.increment(report.fuel);
        self.fuel_since = self.fuel_since.saturating_add(report.fuel);
        let time_ms = clock.now_ns().div_euclid(1_000_000);
        for line in &report.log {
            status.push_log(LogEntry::new(time_ms, line));
        }
        if !went_well {
            PluginStatus::add(&status.traps, 1);
            self.counters.traps.increment(1);
            return;
        }
        for metric in report.metrics.iter().filter(|metric| metric.delta != 0.0) {
            status.add_metric(&metric.name, metric.delta);
            *self.metrics.entry(metric.name.clone()).or_insert(0.0) += metric.delta;
            metrics::gauge!("tidemill_plugin_metric", "plugin" => self.spec.name().to_owned(), "name" => metric.name.clone())
                .increment(metric.delta);
        }
    }

    fn take_running(&mut self, context: &mut Context<'_>) -> Option<Running> {
        if self.spec.is_shared() { context.pool.remove(self.spec.name()) } else { self.running.take() }
    }

    fn put_running(&mut self, running: Running, context: &mut Context<'_>) {
        match self.spec.is_shared() {
            true => drop(context.pool.insert(self.spec.name().to_owned(), running)),
            false => self.running = Some(running),
        }
    }

    /// An instance is gone; what it found before stays.
    fn lose(&mut self, mut running: Running) {
        self.spec.status.set_memory(running.memory_bytes, 0);
        self.staged.graphs.extend(running.pending.take(&running.declared));
    }

    /// Makes an instance with the slot's state where there is none. `true` where it is new.
    pub(super) fn revive(&mut self, context: &mut Context<'_>) -> Result<bool, CallError> {
        let is_there = if self.spec.is_shared() { context.pool.contains_key(self.spec.name()) } else { self.running.is_some() };
        if is_there {
            return Ok(false);
        }
        if std::mem::replace(&mut self.was_opened, true) {
            PluginStatus::add(&self.spec.status.restarts, 1);
        }
        let guest = self.spec.open()?;
        let mut running = Running { guest, declared: Declared::default(), pending: Pending::default(), memory_bytes: 0 };
        if self.spec.has_state() {
            self.restore(&mut running)?;
            if self.base.is_some() {
                crash_point("restore");
            }
        }
        self.put_running(running, context);
        Ok(true)
    }

    fn restore(&mut self, running: &mut Running) -> Result<(), CallError> {
        if let Some((state, version)) = &self.base {
            running.guest.restore(state, version)?;
        }
        for input in &self.replay {
            let found = match input {
                Input::Rows(batch) if self.spec.component.kind() == Kind::Output => {
                    running.guest.write(batch)?;
                    continue;
                }
                Input::Rows(batch) => running.guest.process(batch)?,
                Input::Timer(now_ms) => running.guest.on_timer(*now_ms)?,
            };
            // Outputs are suppressed, but what it declared it will not declare again.
            running.declare(&found);
        }
        Ok(())
    }

    /// Keeps an input for the next instance, or takes a snapshot in its place.
    fn remember(&mut self, input: Input, context: &mut Context<'_>) {
        self.failures_in_row = 0;
        if !self.spec.has_state() {
            if let Input::Rows(batch) = input {
                self.builder.recycle(batch.columns);
            }
            return;
        }
        self.replay_bytes += match &input {
            Input::Rows(batch) => batch.columns.byte_len(),
            Input::Timer(_) => 8,
        };
        self.replay.push(input);
        let state_bytes = self.base.as_ref().map_or(0, |(state, _)| state.len());
        let is_cheap = self.fuel_since / SNAPSHOT_SHARE >= self.snapshot_fuel;
        let bytes_max = if is_cheap { (2 * state_bytes).clamp(REPLAY_BYTES_MIN, REPLAY_BYTES_MAX) } else { REPLAY_BYTES_MAX };
        let is_long = self.replay_bytes > bytes_max || self.replay.len() > REPLAY_CALLS_MAX;
        if (is_long || self.is_careful())
            && let Err(error) = self.take_snapshot(context)
        {
            self.instance_failed(&error, context);
        }
    }

    /// Makes the state at this moment the one that the next instance begins with.
    pub(super) fn take_snapshot(&mut self, context: &mut Context<'_>) -> Result<(), CallError> {
        if self.replay.is_empty() {
            return Ok(());
        }
        self.revive(context)?;
        self.fuel_since = 0;
        let state = self.call(context, |guest, _| guest.snapshot())?;
        self.snapshot_fuel = std::mem::take(&mut self.fuel_since);
        self.base = Some((state.into(), self.spec.component.version().to_owned()));
        self.replay_bytes = 0;
        for input in self.replay.drain(..) {
            if let Input::Rows(batch) = input {
                self.builder.recycle(batch.columns);
            }
        }
        Ok(())
    }

    fn rows_failed(&mut self, mut rows: Rows, failures: u8, error: &CallError, context: &mut Context<'_>) {
        self.careful_until = self.careful_until.max(rows.last().map_or(i64::MIN, |row| row.offset));
        if rows.len() > 1 {
            let right = rows.split_off(rows.len() / 2);
            self.queue.push_front(Task::Rows { rows: right, columns: None, failures: 0 });
            self.queue.push_front(Task::Rows { rows, columns: None, failures: 0 });
        } else if failures < ROW_FAILURES_MAX {
            self.queue.push_front(Task::Rows { rows, columns: None, failures });
        } else {
            self.settle_poison(&rows, error);
        }
        self.failures_in_row += 1;
        if self.failures_in_row >= FAILURES_IN_ROW_MAX {
            self.rest(error, context);
        }
    }

    /// A failure that is no row's: the instance rests before it is tried again.
    pub(super) fn instance_failed(&mut self, error: &CallError, context: &mut Context<'_>) -> bool {
        self.failures_in_row += 1;
        if self.failures_in_row >= 3 {
            self.rest(error, context);
        }
        false
    }

    /// Quarantine: the plugin's position stands still for a while, and others have the worker for themselves.
    fn rest(&mut self, error: &CallError, context: &mut Context<'_>) {
        let rest = (REST_MIN * 2u32.saturating_pow(self.rests.min(16))).min(REST_MAX);
        self.rests += 1;
        self.failures_in_row = 0;
        if self.rest_until.replace(context.clock.elapsed() + rest).is_none() {
            self.spec.status.set_resting(true);
        }
        let (topic, partition) = (&self.place.topic, self.place.partition);
        let summary = format!("plugin {} failed too often in {topic}/{partition} and rests for {} s", self.spec.name(), rest.as_secs());
        tracing::error!(
            plugin = self.spec.name(),
            topic = &**topic,
            partition,
            rest_s = rest.as_secs(),
            error = error.message,
            "{summary}"
        );
        let alert = Alert {
            time_ns: self.alert_time_ns(context.clock),
            plugin: self.spec.name().to_owned(),
            id: "quarantine".to_owned(),
            kind: "host".to_owned(),
            summary,
            detail: error.message.clone(),
            measured: None,
        };
        self.stage_host_alert(&alert);
    }

    /// When an alert of the host about the plugin happened, in the data's time; by the clock where there was no data yet.
    pub(super) fn alert_time_ns(&self, clock: &dyn Clock) -> i64 {
        self.seen_ms.map_or_else(|| clock.now_ns(), |seen_ms| seen_ms.saturating_mul(1_000_000))
    }

    /// Ends a rest that is over.
    pub fn wake(&mut self, now: Duration) {
        if self.rest_until.is_some_and(|until| now >= until) {
            self.rest_until = None;
            self.spec.status.set_resting(false);
        }
    }

    /// The columns of rows that are a part of a batch.
    fn refill(&self, rows: &Rows, context: &mut Context<'_>) -> Columns {
        let mut builder = ColumnsBuilder::new(self.spec.requests());
        let (mut places, mut found) = (Places::default(), FoundFields::default());
        for row in 0..rows.len() {
            let Ok(message) = MessageRef::parse_with(rows.value(row), &context.set.fields, &mut found) else { continue };
            let document = Located::new(&context.set.pointers, &message, found.json(), None, &mut places);
            // The same row was filled before: nothing required is missing.
            let _ = self.spec.columns.fill_row(&message, &document.of_plugin(&self.spec.pointers), &mut builder, context.scratch);
        }
        builder.take()
    }
}

/// The answer, if the host can publish it.
fn checked(found: Found) -> Result<Found, CallError> {
    super::settle::check(&found).map(|()| found).map_err(failure)
}

/// A broken answer.
fn failure(message: String) -> CallError {
    CallError { kind: CallErrorKind::Output, message, backtrace: String::new(), fuel: 0, limit: None, log: Vec::new() }
}
