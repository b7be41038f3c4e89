//! The stage: a member of group `lake` that takes records into tables and moves on once they are durable there.

use crate::alert;
use crate::error::LakeError;
use crate::identity::{Identities, Identity};
use crate::options::{LakeLimits, LakeOptions, LakeProgress};
use crate::route::{ERRORS_TABLE, Routes};
use crate::store::Store;
use crate::table::{Arrival, Outcome, Shape, Shared, Table};
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tidemill_bus::{
    Bus, BusError, Clock, Event, FetchedBatch, Member, OnLost, RecordRef, Step, TopicPartition, crash_point, lost, stopped,
};
use tidemill_message::MessageRef;
use tokio::runtime::Runtime;

/// The consumer group.
const GROUP: &str = "lake";
const TOPICS: [&str; 2] = ["validated", "errors"];
/// How long a poll waits; also how late a commit that is due may be.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// Positions move at least so often, even where no table committed (all records were repeated, or made no rows).
const POSITIONS_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after the bus failed.
const BUS_PAUSE: Duration = Duration::from_millis(500);
/// How long stopping waits for a round of upkeep; cut off, it leaves a file that nobody reads, no more.
const UPKEEP_PATIENCE: Duration = Duration::from_secs(2);
/// Threads that wait for the object store.
const IO_THREADS: usize = 2;

/// Starts the lake.
pub struct LakeStage;

/// The running lake.
pub struct LakeHandle {
    shared: Arc<Shared>,
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LakeStage {
    /// Starts the lake with the default limits.
    ///
    /// # Errors
    /// Where the URL cannot be used, the bus cannot be joined or no thread can be had.
    pub fn start(options: LakeOptions) -> Result<LakeHandle, LakeError> {
        Self::start_with(options, LakeLimits::default())
    }

    /// Starts the lake.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(options: LakeOptions, limits: LakeLimits) -> Result<LakeHandle, LakeError> {
        let LakeOptions { bus, registry, url, commit_interval, commit_bytes, clock, files, on_lost } = options;
        let shared = Arc::new(Shared { store: Store::open(&url, files)?, limits, progress: Mutex::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(IO_THREADS).thread_name("lake-io").enable_all().build()?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            shared: Arc::clone(&shared),
            member: bus.join(GROUP, &TOPICS)?,
            bus,
            routes: Routes::new(registry),
            commit_interval,
            commit_bytes,
            on_lost,
            clock,
            runtime,
            partitions: Vec::new(),
            assigning: Vec::new(),
            tables: HashMap::new(),
            is_paused: false,
            positions_at: Duration::ZERO,
            upkeep: None,
            upkeep_at: Duration::ZERO,
            is_stopping: Arc::clone(&is_stopping),
        };
        let thread = std::thread::Builder::new().name("lake".to_owned()).spawn(move || worker.run())?;
        Ok(LakeHandle { shared, is_stopping, thread: Some(thread) })
    }
}

impl LakeHandle {
    /// What was done so far.
    pub fn progress(&self) -> LakeProgress {
        self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the stage has ended although nobody stopped it.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Commits what is buffered, moves the positions, and ends: within [`LakeLimits::stop_timeout`] and a little. What could not be
    /// committed is read again after the next start.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the lake's thread panicked");
        }
    }
}

impl Drop for LakeHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// A partition that is read.
struct Consumed {
    partition: TopicPartition,
    identities: Identities,
    /// The first record that was not taken in.
    next: i64,
    /// The group's position.
    committed: i64,
    /// The records at the end that may belong together with the next: a batch and how many of its records were taken in. Rows of
    /// one raw message are committed together.
    tail: Vec<(FetchedBatch, usize)>,
}

struct Worker {
    shared: Arc<Shared>,
    member: Box<dyn Member>,
    bus: Arc<dyn Bus>,
    routes: Routes,
    commit_interval: Duration,
    commit_bytes: u64,
    on_lost: OnLost,
    clock: Arc<dyn Clock>,
    runtime: Runtime,
    partitions: Vec<Consumed>,
    /// Assigned, and not looked up yet.
    assigning: Vec<(TopicPartition, i64)>,
    tables: HashMap<Arc<str>, Table>,
    is_paused: bool,
    positions_at: Duration,
    upkeep: Option<tokio::task::JoinHandle<()>>,
    upkeep_at: Duration,
    is_stopping: Arc<AtomicBool>,
}

impl Worker {
    fn run(mut self) {
        while !self.is_stopping.load(Ordering::Relaxed) {
            let done = self.assign().and_then(|()| {
                let polled = self.member.poll(POLL_WAIT);
                self.handle(polled)
            });
            if let Err(error) = done {
                tracing::warn!(%error, "the lake waits for the bus");
                std::thread::sleep(BUS_PAUSE);
            }
            let committed = self.flush(false) | self.relieve_memory();
            self.move_positions(committed);
            self.look_after_tables();
        }
        self.drain();
        if let Some(mut upkeep) = self.upkeep.take() {
            let ended = self.runtime.block_on(async { tokio::time::timeout(UPKEEP_PATIENCE, &mut upkeep).await });
            if ended.is_err() {
                upkeep.abort();
            }
        }
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }

    fn handle(&mut self, polled: Result<Event, BusError>) -> Result<(), BusError> {
        match polled {
            Ok(Event::Assigned(owned)) => {
                // Whatever was in memory is read again: positions never moved past it.
                self.forget();
                stopped::moved(GROUP, owned.iter().map(|(partition, _)| partition));
                self.assigning = owned;
                Ok(())
            }
            Ok(Event::Revoked(revoked)) => {
                self.drain();
                stopped::moved(GROUP, &revoked);
                self.forget();
                Ok(())
            }
            Ok(Event::Batch(batch)) => {
                self.take(batch);
                Ok(())
            }
            Ok(Event::Idle) => {
                // Steps are published whole: with nothing more to read, nothing more belongs to what was read.
                (0..self.partitions.len()).for_each(|at| self.take_tail(at));
                Ok(())
            }
            Err(BusError::Fenced(_)) => {
                self.forget();
                Ok(())
            }
            Err(error) => self.skip_lost(error),
        }
    }

    fn forget(&mut self) {
        self.tables.clear();
        self.partitions.clear();
        self.assigning.clear();
        self.is_paused = false;
    }

    /// Takes over what was assigned. A bus that cannot be asked which creation of a topic it is, is asked again.
    fn assign(&mut self) -> Result<(), BusError> {
        let mut known: HashMap<Arc<str>, Arc<str>> = HashMap::new();
        while let Some((partition, position)) = self.assigning.last() {
            let incarnation = match known.get(&partition.topic) {
                Some(known) => Arc::clone(known),
                None => self.bus.incarnation(&partition.topic)?,
            };
            known.insert(Arc::clone(&partition.topic), Arc::clone(&incarnation));
            let identities = Identities::new(&incarnation, partition.partition);
            let (partition, next) = (partition.clone(), *position);
            self.partitions.push(Consumed { partition, identities, next, committed: next, tail: Vec::new() });
            self.assigning.pop();
        }
        Ok(())
    }

    /// The log no longer holds what comes next; another error is handed back.
    fn skip_lost(&mut self, error: BusError) -> Result<(), BusError> {
        let Some(lost) = lost::handle(GROUP, &mut *self.member, &error, self.on_lost) else { return Err(error) };
        alert::publish_lost(&*self.bus, &lost, self.clock.now_ns());
        if let Some(next) = lost.resumed
            && let Some(at) = self.partitions.iter().position(|consumed| consumed.partition == lost.partition)
        {
            // What is held back was read before; nothing more belongs to it.
            self.take_tail(at);
            self.partitions[at].next = next;
        }
        Ok(())
    }

    /// Takes in what is surely whole; the last raw message's records wait for the next batch.
    fn take(&mut self, batch: FetchedBatch) {
        let Some(at) = self.partitions.iter().position(|consumed| consumed.partition == batch.partition) else { return };
        let whole = self.whole_records(at, &batch);
        if whole > 0 {
            self.take_tail(at);
            self.take_records(at, &batch, 0, whole);
        }
        self.partitions[at].tail.push((batch, whole));
    }

    /// How many records at the front do not share the last one's raw message.
    fn whole_records(&mut self, at: usize, batch: &FetchedBatch) -> usize {
        let identities = &mut self.partitions[at].identities;
        let raw = batch.iter().map(|(offset, record)| identities.of(&record, offset)).map(|identity| (identity.app_id, identity.offset));
        let raw: Vec<_> = raw.collect();
        let same = raw.iter().rev().take_while(|other| Some(*other) == raw.last()).count();
        raw.len() - same
    }

    fn take_tail(&mut self, at: usize) {
        for (batch, taken) in std::mem::take(&mut self.partitions[at].tail) {
            self.take_records(at, &batch, taken, batch.offsets.len());
        }
    }

    fn take_records(&mut self, at: usize, batch: &FetchedBatch, from: usize, to: usize) {
        for (offset, record) in batch.iter().take(to).skip(from) {
            let identity = self.partitions[at].identities.of(&record, offset);
            self.take_record(at, offset, identity, &record, &batch.partition.topic);
            self.partitions[at].next = offset + 1;
        }
    }

    fn take_record(&mut self, at: usize, offset: i64, identity: Identity, record: &RecordRef<'_>, topic: &str) {
        let message = match MessageRef::parse(record.value) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(topic, offset, %error, "a record is no message and makes no row");
                metrics::counter!("tidemill_lake_unreadable_total").increment(1);
                return;
            }
        };
        let is_error = topic == ERRORS_TABLE;
        if is_error && message.type_() != Some(b"error") {
            return;
        }
        let name = if is_error { Arc::from(ERRORS_TABLE) } else { self.routes.table(record, &message) };
        let table = match self.tables.get_mut(&name) {
            Some(table) => table,
            None => {
                let shape = if is_error { Shape::Errors } else { self.routes.shape(record) };
                self.tables.entry(Arc::clone(&name)).or_insert_with(|| Table::new(name.to_string(), shape))
            }
        };
        let arrival = Arrival { consumed: (at, offset), identity, message };
        self.runtime.block_on(table.admit(&self.shared, self.clock.elapsed(), arrival));
    }

    /// Commits the tables whose time has come, or all; says whether any was.
    fn flush(&mut self, all: bool) -> bool {
        let now = self.clock.elapsed();
        let (interval, bytes) = (self.commit_interval, self.commit_bytes);
        let due = |table: &Table| table.is_dirty() && (all || table.is_due(now, interval, bytes));
        let names: Vec<Arc<str>> = self.tables.iter().filter(|(_, table)| due(table)).map(|(name, _)| Arc::clone(name)).collect();
        self.commit_tables(&names, now)
    }

    /// All at the same time; says whether any was committed.
    fn commit_tables(&mut self, names: &[Arc<str>], now: Duration) -> bool {
        if names.is_empty() {
            return false;
        }
        // Rows of a topic that was made anew would be committed under the name of the one before, and once more when they are read
        // again. A bus that cannot be asked now does not keep rows back.
        if matches!(self.member.is_current(), Ok(false)) {
            self.forget();
            return false;
        }
        let (shared, limit) = (&self.shared, self.shared.limits.stop_timeout / 2);
        let commits = self.tables.iter_mut().filter(|(name, _)| names.contains(name)).map(|(name, table)| async move {
            let done = table.commit(shared, now, limit).await;
            (Arc::clone(name), done)
        });
        let commits = futures::stream::iter(commits).buffer_unordered(shared.limits.commits_at_once.max(1));
        let done: Vec<_> = self.runtime.block_on(commits.collect());
        for (name, _) in done.iter().filter(|(_, done)| matches!(done, Ok(Outcome::Superseded))) {
            self.read_again(name);
        }
        done.iter().any(|(_, done)| matches!(done, Ok(Outcome::Committed)))
    }

    /// Forgets what the table has in memory and goes back to its first record. The other tables have theirs and leave them out.
    fn read_again(&mut self, name: &Arc<str>) {
        let first = self.tables.get_mut(name).map(Table::forget).unwrap_or_default();
        tracing::info!(table = %name, "rows are read again: somebody else committed rows of the same sources");
        for (at, offset) in first {
            let Some(consumed) = self.partitions.get_mut(at) else { continue };
            consumed.tail.clear();
            consumed.next = consumed.next.min(offset);
            if let Err(error) = self.member.seek(&consumed.partition, consumed.next) {
                tracing::warn!(%error, "the partition is read again when it is assigned again");
            }
        }
    }

    /// Over the memory limit, the largest tables commit; where that does not help, reading pauses.
    fn relieve_memory(&mut self) -> bool {
        let limit = self.shared.limits.memory_bytes_max;
        let mut held: usize = self.tables.values().map(Table::bytes).sum();
        let mut committed = false;
        if held > limit {
            let now = self.clock.elapsed();
            let mut sizes: Vec<(usize, Arc<str>)> = self.tables.iter().map(|(name, table)| (table.bytes(), Arc::clone(name))).collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            for (_, name) in sizes {
                if held <= limit / 2 {
                    break;
                }
                if self.tables.get(&name).is_some_and(|table| table.may_try(now)) {
                    committed |= self.commit_tables(&[name], now);
                    held = self.tables.values().map(Table::bytes).sum();
                }
            }
        }
        if self.is_paused != (held > if self.is_paused { limit / 2 } else { limit }) {
            self.pause(!self.is_paused);
        }
        committed
    }

    fn pause(&mut self, paused: bool) {
        if paused {
            tracing::warn!(limit = self.shared.limits.memory_bytes_max, "tables cannot be written and memory is full: reading pauses");
        }
        self.is_paused = paused;
        for consumed in &self.partitions {
            if let Err(error) = self.member.pause(&consumed.partition, paused) {
                tracing::warn!(%error, paused, "a partition cannot be paused");
            }
        }
    }

    /// Moves the group's positions up to the first record that is not durable in its table.
    fn move_positions(&mut self, committed: bool) {
        let now = self.clock.elapsed();
        if !committed && now.saturating_sub(self.positions_at) < POSITIONS_INTERVAL {
            return;
        }
        self.positions_at = now;
        let durable =
            |at: usize, next: i64| self.tables.values().filter_map(|table| table.first_open(at)).chain([next]).min().unwrap_or(next);
        let reached: Vec<i64> = self.partitions.iter().enumerate().map(|(at, consumed)| durable(at, consumed.next)).collect();
        let moved = || self.partitions.iter().zip(&reached).filter(|(consumed, reached)| **reached > consumed.committed);
        let positions: Vec<_> = moved().map(|(consumed, reached)| (consumed.partition.clone(), *reached)).collect();
        if positions.is_empty() {
            return;
        }
        crash_point("lake-before-position");
        match self.member.commit(Step { positions, ..Step::default() }) {
            Ok(()) => {
                for (consumed, reached) in self.partitions.iter_mut().zip(reached) {
                    consumed.committed = consumed.committed.max(reached);
                }
            }
            // The next assignment begins anew; rows that are in tables already are left out.
            Err(error) => tracing::warn!(%error, "the lake's positions do not move now"),
        }
    }

    /// Commits everything, and the positions, as far as the time for stopping allows.
    fn drain(&mut self) {
        (0..self.partitions.len()).for_each(|at| self.take_tail(at));
        let begun = std::time::Instant::now();
        let mut committed = self.flush(true);
        while self.tables.values().any(Table::is_dirty) && begun.elapsed() < self.shared.limits.stop_timeout / 2 {
            std::thread::sleep(POLL_WAIT);
            committed |= self.flush(true);
        }
        self.move_positions(true);
        if !committed && self.tables.values().any(Table::is_dirty) {
            tracing::warn!("rows that could not be committed are read again after the next start");
        }
    }

    /// Starts the next round of upkeep, where this member is the owner and no round is under way.
    fn look_after_tables(&mut self) {
        let now = self.clock.elapsed();
        let is_owner = self.partitions.iter().any(|consumed| &*consumed.partition.topic == TOPICS[0] && consumed.partition.partition == 0);
        let is_busy = self.upkeep.as_ref().is_some_and(|upkeep| !upkeep.is_finished());
        if !is_owner || is_busy || now.saturating_sub(self.upkeep_at) < self.shared.limits.maintenance_interval {
            return;
        }
        self.upkeep_at = now;
        let shared = Arc::clone(&self.shared);
        let names: Vec<String> = self.tables.values().map(|table| table.name().to_owned()).collect();
        self.upkeep = Some(self.runtime.spawn(async move {
            for name in names {
                if let Err(error) = crate::compact::maintain(Arc::clone(&shared), name).await {
                    tracing::warn!(%error, "upkeep is tried again in the next round");
                }
            }
        }));
    }
}
