//! A plugin in a partition: what it was given and has not worked on yet, and what is remembered for it.
//!
//! A slot that keeps up is fed from the records that the stage reads for all plugins. One that falls behind (it rests after
//! failures, or its queue is full) is detached: it goes on from a reader of its own and joins the others again when it has caught
//! up. Its position is its own, in its own checkpoint; only its own lag grows.

use super::{
    block::Block,
    emit::Numbering,
    guest::Guest,
    rows::{Fed, RowBlock, Rows},
    saved::Saved,
    spec::PluginSpec,
    staged::{Progress, Staged},
};
use crate::graphs::{Declared, Pending};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tidemill_bus::{Reader, TopicPartition};
use tidemill_runtime::{BATCH_BYTES_MAX, Batch, Columns, ColumnsBuilder};

/// Bytes of records that wait for a slot before it is detached: about a second of main pings of one partition.
pub const QUEUE_BYTES_MAX: usize = 32 << 20;
/// Bytes of records in one batch, whose memory is held until the batch is settled.
pub const BATCH_RECORD_BYTES_MAX: usize = 8 << 20;
/// How long rows wait for a batch to fill.
pub const BATCH_AGE_MAX: Duration = Duration::from_millis(20);

/// A call that is to be made.
#[derive(Debug)]
pub enum Task {
    /// Rows.
    Rows {
        /// In the order of the partition, at least one.
        rows: Rows,
        /// Their columns; filled again where the rows are a part of a batch that failed.
        columns: Option<Box<Columns>>,
        /// How often it failed alone on the restored state.
        failures: u8,
    },
    /// A tick.
    Timer {
        /// Its time.
        now_ms: i64,
        /// How often it failed on the restored state.
        failures: u8,
    },
}

/// An input that was settled since the snapshot: given again to a new instance.
#[derive(Debug)]
pub enum Input {
    /// A batch.
    Rows(Batch),
    /// A tick.
    Timer(i64),
}

/// An instance and what it declared: numbers of graphs are those of the instance.
pub struct Running {
    /// The instance.
    pub guest: Box<dyn Guest>,
    /// Its graphs by number.
    pub declared: Declared,
    /// Their changes that are not staged yet.
    pub pending: Pending,
    /// Its memory, as counted in the status.
    pub memory_bytes: u64,
}

/// The plugin's counters: to look each up for every call costs more than a small batch.
pub(super) struct Counters {
    pub messages_in: metrics::Counter,
    pub messages_out: metrics::Counter,
    pub rejected: metrics::Counter,
    pub fuel: metrics::Counter,
    pub traps: metrics::Counter,
}

impl Counters {
    fn new(plugin: &str) -> Self {
        let counter = |name: &'static str| metrics::counter!(name, "plugin" => plugin.to_owned());
        Self {
            messages_in: counter("tidemill_plugin_messages_in_total"),
            messages_out: counter("tidemill_plugin_messages_out_total"),
            rejected: counter("tidemill_plugin_rejected_total"),
            fuel: counter("tidemill_plugin_fuel_total"),
            traps: counter("tidemill_plugin_traps_total"),
        }
    }
}

/// See the module.
pub struct Slot {
    /// The plugin.
    pub spec: Arc<PluginSpec>,
    /// The partition.
    pub place: TopicPartition,
    /// The instance; shared ones are in the worker's pool.
    pub running: Option<Running>,
    /// Whether there was an instance before: the next one is a restart.
    pub was_opened: bool,
    pub(super) builder: ColumnsBuilder,
    pub(super) rows_max: u32,
    pub(super) rows: Rows,
    /// Memory for the rows of the next batch.
    pub(super) spare_rows: Rows,
    pub(super) rows_bytes: usize,
    pub(super) rows_since: Option<Duration>,
    pub(super) queue: VecDeque<Task>,
    /// Bytes of the records that wait.
    pub(super) queue_bytes: usize,
    /// The next offset to be fed.
    pub fed: i64,
    /// Fed from the stage's records; else it is detached.
    pub joined: bool,
    /// What it goes on from when it is detached, and when that may be tried again after a failure.
    pub reader: Option<Box<dyn Reader>>,
    pub(super) read_not_before: Duration,
    pub(super) watermark_ms: Option<i64>,
    pub(super) settled_watermark_ms: Option<i64>,
    /// The greatest event time that was ever seen here, also by what was undone: the time of the host's own alerts.
    pub(super) seen_ms: Option<i64>,
    tick_ms: Option<i64>,
    pub(super) next_tick_ms: Option<i64>,
    /// The snapshot that a new instance begins with, and what was settled since.
    pub(super) base: Option<(Bytes, String)>,
    pub(super) replay: Vec<Input>,
    pub(super) replay_bytes: usize,
    /// Fuel of the last snapshot, and of all calls since.
    pub(super) snapshot_fuel: u64,
    pub(super) fuel_since: u64,
    /// Rows up to this offset are worked on with care: one of them failed.
    pub(super) careful_until: i64,
    /// Failures without a row settled in between.
    pub(super) failures_in_row: u32,
    pub(super) rest_until: Option<Duration>,
    pub(super) rests: u32,
    /// Measured time that it may use; negative after an expensive call.
    pub(super) credit_ns: i64,
    pub(super) raised_ms: BTreeMap<String, i64>,
    pub(super) numbering: [Numbering; 3],
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) counters: Counters,
    /// What waits for the checkpoint.
    pub staged: Staged,
    /// Something was settled since the last checkpoint.
    pub(super) is_dirty: bool,
    /// The last durable checkpoint, and one that waits for its step.
    pub(super) committed: Saved,
    pub(super) saving: Option<Saved>,
    pub(super) saved_at: Duration,
    /// The position in the plugin's status.
    pub(super) shown_position: i64,
    pub(super) shown: Option<Progress>,
    pub(super) shown_at: Duration,
}

impl Slot {
    /// A slot with what its checkpoint says; a batch has at most `rows_max` rows.
    pub fn new(spec: Arc<PluginSpec>, place: TopicPartition, saved: Saved, rows_max: u32, now: Duration) -> Self {
        let builder = spec.builder();
        let base = saved.state.clone().filter(|_| spec.has_state()).map(|state| (state, saved.version.clone()));
        saved.metrics.iter().for_each(|(name, value)| spec.status.add_metric(name, *value));
        spec.status.set_position(&place, Some(saved.position));
        Self {
            running: None,
            was_opened: false,
            builder,
            rows_max,
            rows: Rows::default(),
            spare_rows: Rows::default(),
            rows_bytes: 0,
            rows_since: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
            fed: saved.position,
            shown_position: saved.position,
            joined: true,
            reader: None,
            read_not_before: Duration::ZERO,
            watermark_ms: saved.watermark_ms,
            settled_watermark_ms: saved.watermark_ms,
            seen_ms: saved.watermark_ms,
            tick_ms: spec.tick_ms(),
            next_tick_ms: saved.next_tick_ms,
            base,
            replay: Vec::new(),
            replay_bytes: 0,
            snapshot_fuel: 0,
            fuel_since: 0,
            careful_until: i64::MIN,
            failures_in_row: 0,
            rest_until: None,
            rests: 0,
            credit_ns: 0,
            raised_ms: saved.raised_ms.clone(),
            numbering: saved.numbering,
            metrics: saved.metrics.clone(),
            counters: Counters::new(spec.name()),
            staged: Staged::default(),
            // The first step pins the position, also of a plugin that never ran before.
            is_dirty: true,
            committed: saved,
            saving: None,
            saved_at: now,
            shown: None,
            shown_at: now,
            spec,
            place,
        }
    }

    /// Whether it wants to see a record that its matcher does not select: time passes.
    pub fn wants_time(&self) -> bool {
        self.tick_ms.is_some()
    }

    /// It was given everything before this offset.
    pub fn pass(&mut self, next: i64, watermark_ms: i64) {
        if next > self.fed {
            self.fed = next;
            // The least time stands for none: nothing of what was read is a message.
            if watermark_ms > i64::MIN {
                self.see(watermark_ms);
            }
        }
    }

    fn see(&mut self, watermark_ms: i64) {
        self.watermark_ms = self.watermark_ms.max(Some(watermark_ms));
        self.seen_ms = self.seen_ms.max(self.watermark_ms);
    }

    /// Gives the slot a record of its partition. `fill` appends the row to the batch where the plugin wants it.
    pub fn feed(&mut self, row: &Fed<'_>, now: Duration, fill: impl FnOnce(&PluginSpec, &mut ColumnsBuilder) -> bool) {
        if row.offset < self.fed {
            return;
        }
        self.fed = row.offset + 1;
        self.see(row.watermark_ms);
        self.tick_by_data();
        if !fill(&self.spec, &mut self.builder) {
            return;
        }
        self.queue_bytes += row.value.len();
        self.rows_bytes += row.value.len();
        self.rows_since.get_or_insert(now);
        // What was fetched before may be newer: the row's time is that of all rows up to it, however they were fetched.
        self.rows.push(&Fed { watermark_ms: self.watermark_ms.unwrap_or(row.watermark_ms), ..*row });
        self.cut_full();
    }

    /// Gives the slot those rows of a block that its matcher selects, as [`Slot::feed`] would one by one.
    pub fn feed_block(&mut self, block: &Block<'_>, rows: &Arc<RowBlock>, selected: &[u16], now: Duration) {
        let offset_of = |place: &u16| rows.rows()[usize::from(*place)].offset;
        let selected = &selected[selected.partition_point(|place| offset_of(place) < self.fed)..];
        let spec = Arc::clone(&self.spec);
        let (Some(last), Some(columns)) = (selected.last(), &spec.shared) else { return };
        let complete = block.complete(selected, columns);
        let mut left = complete.as_deref().unwrap_or(selected);
        while !left.is_empty() {
            let rows_max = self.rows_max.saturating_sub(self.builder.rows()) as usize;
            let bytes = BATCH_BYTES_MAX.saturating_sub(self.builder.byte_len());
            let room = block.rows_within(bytes, columns, self.builder.has_dictionaries()).min(rows_max);
            let (part, rest) = left.split_at(room.clamp(1, left.len()));
            self.builder.gather(block.columns(), &columns.numbers, part);
            // What was fetched before may be newer: a row's time is that of all rows up to it, however they were fetched.
            let bytes = self.rows.extend(rows, part, self.watermark_ms.unwrap_or(i64::MIN));
            self.queue_bytes += bytes;
            self.rows_bytes += bytes;
            self.rows_since.get_or_insert(now);
            self.cut_full();
            left = rest;
        }
        self.fed = offset_of(last) + 1;
        self.see(rows.rows()[usize::from(*last)].watermark_ms);
    }

    fn cut_full(&mut self) {
        if self.builder.is_full() || self.builder.rows() >= self.rows_max || self.rows_bytes >= BATCH_RECORD_BYTES_MAX {
            self.cut();
        }
    }

    /// A tick is due when the partition's time passes it: once for all that were passed, at the time of the last.
    fn tick_by_data(&mut self) {
        let (Some(tick_ms), Some(now_ms)) = (self.tick_ms, self.watermark_ms) else { return };
        let last = now_ms.div_euclid(tick_ms) * tick_ms;
        if self.next_tick_ms.is_some_and(|due| last >= due) {
            self.cut();
            self.queue.push_back(Task::Timer { now_ms: last, failures: 0 });
        }
        if self.next_tick_ms.is_none_or(|due| last >= due) {
            self.next_tick_ms = Some(last + tick_ms);
        }
    }

    /// A tick by the clock, for a partition in which nothing comes.
    pub fn tick_by_clock(&mut self, now_ms: i64) {
        let Some(tick_ms) = self.tick_ms else { return };
        let last = now_ms.div_euclid(tick_ms) * tick_ms;
        let due = *self.next_tick_ms.get_or_insert(last + tick_ms);
        if last >= due {
            self.next_tick_ms = Some(last + tick_ms);
            self.queue.push_back(Task::Timer { now_ms: last, failures: 0 });
        }
    }

    /// The rows collected so far are a batch.
    pub fn cut(&mut self) {
        (self.rows_since, self.rows_bytes) = (None, 0);
        if !self.rows.is_empty() {
            let spare = std::mem::take(&mut self.spare_rows);
            let (rows, columns) = (std::mem::replace(&mut self.rows, spare), Some(Box::new(self.builder.take())));
            self.queue.push_back(Task::Rows { rows, columns, failures: 0 });
        }
    }

    /// Cuts a batch that waited long enough.
    pub fn cut_old(&mut self, now: Duration) {
        if self.rows_since.is_some_and(|since| now.saturating_sub(since) >= BATCH_AGE_MAX) {
            self.cut();
        }
    }

    /// Gives it measured time for calls; it keeps no more than that.
    pub fn grant(&mut self, time: Duration) {
        let time = time.as_nanos() as i64;
        self.credit_ns = (self.credit_ns + time).min(time);
    }

    /// Whether it has time left.
    pub fn has_time(&self) -> bool {
        self.credit_ns > 0
    }

    /// Whether a call can be made now.
    pub fn is_ready(&self, now: Duration) -> bool {
        !self.queue.is_empty() && self.rest_until.is_none_or(|until| now >= until)
    }

    /// Whether it rests after failures.
    pub fn is_resting(&self, now: Duration) -> bool {
        self.rest_until.is_some_and(|until| now < until)
    }

    /// Whether it works on rows of which one failed.
    pub fn is_careful(&self) -> bool {
        self.first_pending().is_some_and(|offset| offset <= self.careful_until)
    }

    /// Whether nothing waits.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.rows.is_empty()
    }

    /// Whether it can take no more now.
    pub fn is_full(&self) -> bool {
        self.queue_bytes >= QUEUE_BYTES_MAX
    }

    /// Whether a detached slot has room for what its reader gives.
    pub fn has_room(&self) -> bool {
        self.queue_bytes < QUEUE_BYTES_MAX / 2
    }

    fn first_pending(&self) -> Option<i64> {
        let queued = self.queue.iter().find_map(|task| match task {
            Task::Rows { rows, .. } => rows.first(),
            Task::Timer { .. } => None,
        });
        queued.or(self.rows.first()).map(|row| row.offset)
    }

    /// The next offset that the plugin has to see: the first that waits, or the next that will be fed.
    pub fn position(&self) -> i64 {
        self.first_pending().unwrap_or(self.fed)
    }

    /// When the next tick is due that was not worked on.
    pub(super) fn pending_tick_ms(&self) -> Option<i64> {
        let queued = self.queue.iter().find_map(|task| match task {
            Task::Timer { now_ms, .. } => Some(*now_ms),
            Task::Rows { .. } => None,
        });
        queued.or(self.next_tick_ms)
    }

    /// The state of the last durable checkpoint, for tests.
    #[cfg(test)]
    pub(super) fn saved_state(&self) -> Option<Bytes> {
        self.committed.state.clone()
    }

    /// Counts the slot's part of the status away: the partition is another worker's, or begins anew.
    pub fn retire(&mut self) {
        self.spec.status.set_position(&self.place, None);
        self.metrics.iter().for_each(|(name, value)| self.spec.status.add_metric(name, -value));
        if self.rest_until.take().is_some() {
            self.spec.status.set_resting(false);
        }
        if let Some(running) = self.running.take() {
            self.spec.status.set_memory(running.memory_bytes, 0);
        }
    }
}
