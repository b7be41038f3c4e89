//! What becomes of an answer: it is staged, to be published together with the checkpoint.

use super::{
    call::Context,
    emit::Stream,
    guest::Found,
    poison::Poison,
    rows::Rows,
    saved::Saved,
    slot::{Counters, Running, Slot},
    staged::Made,
};
use crate::{
    graphs::{Aggregation, Alert, ColumnShape, GraphShape, PENDING_CELLS_MAX, RuleShape, Test},
    output::{OutboxEntry, idempotency_key},
    status::{Payload, PluginStatus},
};
use std::{sync::atomic::AtomicU64, time::Duration};
use tidemill_bus::{Checkpoint, crash_point};
use tidemill_message::MessageRef;
use tidemill_runtime::{self as runtime, CallError, Delivery};

/// Bytes of one message: a record of 10 MiB with its headers must hold it.
const MESSAGE_BYTES_MAX: usize = (10 << 20) - (64 << 10);
/// A cell may lie so many seconds ahead of the partition's time (or a row's width, if that is more): beyond it would push a whole
/// graph out of its window.
const CELL_AHEAD_S_MAX: i64 = 60;
/// A slot that has nothing to save saves its position so often, so that little is read again after a restart.
const POSITION_AGE_MAX: Duration = Duration::from_secs(10);

/// Alert ids of a plugin in a partition whose throttles are remembered.
const ALERT_IDS_MAX: usize = 4_096;

/// What a call answered.
pub enum Answer {
    /// An analysis plugin.
    Found(Box<Found>),
    /// An output plugin.
    Deliveries(Vec<Delivery>),
}

/// Whether the host can publish an answer: the runtime does not parse messages.
///
/// # Errors
/// What is wrong, as a sentence.
pub fn check(found: &Found) -> Result<(), String> {
    let (mut at, mut wrong) = (0, None);
    found.messages.for_each(|_, _, bytes| {
        if wrong.is_none() && bytes.len() > MESSAGE_BYTES_MAX {
            wrong = Some(format!("`messages[{at}]` has {} bytes, more than {MESSAGE_BYTES_MAX}", bytes.len()));
        }
        if let (None, Err(error)) = (&wrong, MessageRef::parse(bytes)) {
            wrong = Some(format!("`messages[{at}]` is not a Heka message: {error}"));
        }
        at += 1;
    });
    wrong.map_or(Ok(()), Err)
}

impl Running {
    /// Notes what the instance declared, in its own numbers.
    pub fn declare(&mut self, found: &Found) {
        for runtime::Graph { graph: _, title, rows, seconds_per_row } in &found.new_graphs {
            let shape = GraphShape { title: title.clone(), rows: *rows, seconds_per_row: *seconds_per_row };
            let (number, _) = self.declared.graph(shape);
            self.pending.declare(number);
        }
        for runtime::GraphColumn { graph, column: _, name, unit, aggregation } in &found.new_columns {
            let aggregation = match aggregation {
                runtime::Aggregation::Sum => Aggregation::Sum,
                runtime::Aggregation::Min => Aggregation::Min,
                runtime::Aggregation::Max => Aggregation::Max,
            };
            self.declared.column(*graph, ColumnShape { name: name.clone(), unit: unit.clone(), aggregation });
            self.pending.declare(*graph);
        }
        for rule in &found.new_rules {
            self.declared.rule(rule.graph, rule_shape(rule));
            self.pending.declare(rule.graph);
        }
    }
}

fn rule_shape(rule: &runtime::AlertRule) -> RuleShape {
    let runtime::AlertRule { graph: _, column, id, test, threshold, window_rows, throttle_s } = rule.clone();
    let test = match test {
        runtime::AlertTest::Inactive => Test::Inactive,
        runtime::AlertTest::Above => Test::Above,
        runtime::AlertTest::Below => Test::Below,
        runtime::AlertTest::PercentChange => Test::PercentChange,
    };
    RuleShape { column, id, test, threshold, window_rows, throttle_s }
}

impl Slot {
    pub(super) fn settle_rows(&mut self, rows: &Rows, answer: Answer, context: &mut Context<'_>) {
        self.count(|status| &status.messages_in, |counters| &counters.messages_in, rows.len());
        self.settled(rows);
        let now_ms = self.settled_watermark_ms.unwrap_or(0);
        match answer {
            Answer::Found(found) => self.stage_found(rows, now_ms, *found, context),
            Answer::Deliveries(deliveries) => self.stage_deliveries(rows, deliveries, context),
        }
    }

    pub(super) fn settle_timer(&mut self, now_ms: i64, found: Found, context: &mut Context<'_>) {
        self.is_dirty = true;
        self.stage_found(&Rows::default(), now_ms, found, context);
    }

    fn settled(&mut self, rows: &Rows) {
        self.is_dirty = true;
        self.rests = 0;
        self.queue_bytes = self.queue_bytes.saturating_sub(rows.value_bytes());
        self.settled_watermark_ms = self.settled_watermark_ms.max(rows.last().map(|row| row.watermark_ms));
    }

    fn count(&self, figure: impl FnOnce(&PluginStatus) -> &AtomicU64, counter: impl FnOnce(&Counters) -> &metrics::Counter, count: usize) {
        if count > 0 {
            PluginStatus::add(figure(&self.spec.status), count as u64);
            counter(&self.counters).increment(count as u64);
        }
    }

    /// A row on which the plugin failed alone, twice.
    pub(super) fn settle_poison(&mut self, rows: &Rows, error: &CallError) {
        let Some(row) = rows.first() else { return };
        let rests = self.rests;
        self.settled(rows);
        self.rests = rests;
        self.count(|status| &status.messages_in, |counters| &counters.messages_in, 1);
        self.count(|status| &status.rejected, |counters| &counters.rejected, 1);
        let source = format!("{}/{}/{}", self.place.topic, self.place.partition, row.offset);
        tracing::warn!(plugin = self.spec.name(), source, error = error.message, "the plugin failed on a message");
        let Ok(message) = MessageRef::parse(rows.value(0)) else { return };
        if Poison::is_own_error(self.spec.name(), &message) {
            return;
        }
        let mut value = Vec::new();
        Poison { plugin: self.spec.name(), version: self.spec.component.version(), error, source: &source }.write(&message, &mut value);
        self.staged.grew(value.len());
        self.staged.errors.push(Made { offset: row.offset, n: 0, key: rows.key(0).to_vec(), timestamp_ns: row.timestamp_ns, value });
    }

    /// The offset and number of a record made of a row, or of a timer.
    fn identity(&mut self, stream: Stream, rows: &Rows, row: u32) -> (i64, u32) {
        let position = self.position();
        let numbering = &mut self.numbering[stream as usize];
        match rows.get(row as usize) {
            Some(row) => (row.offset, numbering.take(row.offset)),
            None => numbering.take_before(position),
        }
    }

    fn stage_found(&mut self, rows: &Rows, now_ms: i64, found: Found, context: &mut Context<'_>) {
        self.stage_graphs(now_ms, &found, context);
        self.count(|status| &status.messages_out, |counters| &counters.messages_out, found.messages.len());
        found.messages.for_each(|row, key, bytes| self.stage_message(rows, row, key, bytes));
        let mut alerts = found.alerts;
        alerts.sort_by_key(|alert| alert.row);
        alerts.into_iter().for_each(|alert| self.stage_alert(rows, now_ms, alert));
        for runtime::Payload { name, media_type, data } in found.payloads {
            self.staged.grew(data.len());
            self.staged.payloads.push((name, Payload { media_type, data, time_ms: now_ms }));
        }
    }

    fn stage_message(&mut self, rows: &Rows, row: u32, key: &str, bytes: &[u8]) {
        // It was checked.
        let Ok(message) = MessageRef::parse(bytes) else { return };
        let (offset, n) = self.identity(Stream::Derived, rows, row);
        let key = if key.is_empty() { message.uuid().to_vec() } else { key.as_bytes().to_vec() };
        self.staged.grew(bytes.len());
        self.staged.derived.push(Made { offset, n, key, timestamp_ns: message.timestamp(), value: bytes.to_vec() });
    }

    fn stage_alert(&mut self, rows: &Rows, now_ms: i64, alert: runtime::Alert) {
        let runtime::Alert { row, id, summary, detail, throttle_s } = alert;
        let time_ns = rows.get(row as usize).map_or(now_ms.saturating_mul(1_000_000), |row| row.timestamp_ns);
        let time_ms = time_ns.div_euclid(1_000_000);
        let until = self.raised_ms.get(&id).map(|last| last.saturating_add(i64::from(throttle_s) * 1_000));
        if until.is_some_and(|until| time_ms < until) {
            return;
        }
        self.remember_alert(&id, time_ms);
        let (offset, n) = self.identity(Stream::Alerts, rows, row);
        let plugin = self.spec.name().to_owned();
        let alert = Alert { time_ns, plugin, id, kind: "message".to_owned(), summary, detail, measured: None };
        self.staged.alert(offset, n, &alert);
    }

    fn remember_alert(&mut self, id: &str, time_ms: i64) {
        if self.raised_ms.len() >= ALERT_IDS_MAX && !self.raised_ms.contains_key(id) {
            let oldest = self.raised_ms.iter().min_by_key(|(_, time_ms)| **time_ms).map(|(id, _)| id.clone());
            oldest.map(|id| self.raised_ms.remove(&id));
        }
        self.raised_ms.insert(id.to_owned(), time_ms);
    }

    /// An alert of the host about the plugin.
    pub(super) fn stage_host_alert(&mut self, alert: &Alert) {
        let (offset, n) = self.identity(Stream::Alerts, &Rows::default(), u32::MAX);
        self.staged.alert(offset, n, alert);
        self.is_dirty = true;
    }

    fn stage_graphs(&mut self, now_ms: i64, found: &Found, context: &mut Context<'_>) {
        let is_shared = self.spec.is_shared();
        let name = self.spec.name().to_owned();
        let running = if is_shared { context.pool.get_mut(&name) } else { self.running.as_mut() };
        let Some(running) = running else { return };
        running.declare(found);
        let mut ahead = 0;
        for cell in &found.cells {
            let width = running.declared.graphs.get(cell.graph as usize).map_or(1, |graph| i64::from(graph.shape.seconds_per_row));
            let time_s = i64::from(cell.time_s);
            if time_s > now_ms.div_euclid(1_000) + width.max(CELL_AHEAD_S_MAX) {
                ahead += 1;
                continue;
            }
            running.pending.add(&running.declared, cell.graph, cell.column, time_s, cell.value);
        }
        if ahead > 0 {
            metrics::counter!("tidemill_graph_cells_ahead_total", "plugin" => name).increment(ahead);
        }
        // A shared instance serves other partitions in between; a large change does not wait for the step.
        if is_shared || running.pending.cells() >= PENDING_CELLS_MAX {
            let changes = running.pending.take(&running.declared);
            self.staged.grew(changes.iter().map(|change| change.cells.len() * 16).sum());
            self.staged.graphs.extend(changes);
        }
    }

    fn stage_deliveries(&mut self, rows: &Rows, deliveries: Vec<Delivery>, context: &Context<'_>) {
        self.count(|status| &status.messages_out, |counters| &counters.messages_out, deliveries.len());
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return };
        let incarnation = context.outlets.incarnations.get(&self.place.topic).map_or("", |incarnation| incarnation);
        for (n, delivery) in (0u32..).zip(deliveries) {
            let Delivery { target, first_row, last_row, body } = delivery;
            let source = |row: u32| {
                let offset = rows.get(row as usize).map_or(last.offset, |row| row.offset);
                format!("{}/{}/{offset}", self.place.topic, self.place.partition)
            };
            let key = idempotency_key(self.spec.name(), incarnation, self.place.partition, (first.offset, last.offset), n);
            let (first_source, last_source) = (source(first_row), source(last_row));
            let entry = OutboxEntry { plugin: self.spec.name().to_owned(), key, target, first_source, last_source, body };
            let mut value = Vec::new();
            entry.write(last.timestamp_ns, &mut value);
            self.staged.grew(value.len());
            let key = entry.key.into_bytes();
            self.staged.outbox.push(Made { offset: last.offset, n, key, timestamp_ns: last.timestamp_ns, value });
        }
    }

    /// The checkpoint, where there is something to save; staged outputs may be published with it.
    ///
    /// # Errors
    /// When the state cannot be had: the outputs must not be published.
    pub(super) fn save(&mut self, context: &mut Context<'_>) -> Result<Option<Checkpoint>, CallError> {
        let now = context.clock.elapsed();
        let is_old = now.saturating_sub(self.saved_at) >= POSITION_AGE_MAX && self.position() != self.committed.position;
        if !self.is_dirty && !is_old {
            return Ok(None);
        }
        if self.spec.has_state() {
            self.take_snapshot(context)?;
            crash_point("checkpoint");
        }
        if let Some(running) = &mut self.running {
            self.staged.graphs.extend(running.pending.take(&running.declared));
        }
        let saved = self.to_saved();
        let key = Saved::key(self.spec.name(), &self.place);
        let bytes = Some(saved.encode().into());
        metrics::counter!("tidemill_checkpoint_bytes_total").increment(saved.state.as_ref().map_or(0, |state| state.len() as u64));
        self.saving = Some(saved);
        (self.is_dirty, self.saved_at) = (false, now);
        Ok(Some(Checkpoint { key, bytes }))
    }

    fn to_saved(&self) -> Saved {
        let (state, version) = match &self.base {
            Some((state, version)) => (Some(state.clone()), version.clone()),
            None => (None, self.spec.component.version().to_owned()),
        };
        Saved {
            version,
            position: self.position(),
            incarnation: self.committed.incarnation.clone(),
            watermark_ms: self.settled_watermark_ms,
            next_tick_ms: self.pending_tick_ms(),
            state,
            raised_ms: self.raised_ms.clone(),
            numbering: self.numbering,
            metrics: self.metrics.clone(),
        }
    }

    /// The step with the checkpoint is durable.
    pub(super) fn saved(&mut self) {
        if let Some(saved) = self.saving.take() {
            self.show_position(saved.position);
            self.committed = saved;
        } else if !self.is_dirty {
            // Records that its matcher does not select leave nothing to save; it is past them all the same.
            self.show_position(self.position());
        }
    }

    fn show_position(&mut self, position: i64) {
        if std::mem::replace(&mut self.shown_position, position) != position {
            self.spec.status.set_position(&self.place, Some(position));
        }
    }
}
