//! The thread that brings what the spool holds to the bus: in order, at a bounded rate, and again where it failed.

use super::store::Store;
use crate::line::Line;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use tidemill_bus::{BusError, Event, FetchedBatch, Member, RecordBuf, RecordRef, Step, crash_point, partition_of};

/// How long it waits for new records before it looks around.
const POLL_WAIT: Duration = Duration::from_millis(200);
/// A nap between two looks at the order to stop.
const NAP: Duration = Duration::from_millis(50);
/// The pauses between two attempts, doubled from the first to the last.
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long what is under way may still be confirmed after the order to stop: then its position is saved and nothing is sent twice.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// A bus says in the end what became of a publish; one that does not is asked again.
const CONFIRM_MAX: Duration = Duration::from_secs(60);

pub(super) struct Drain {
    line: Arc<Line>,
    store: Arc<Store>,
    member: Box<dyn Member>,
    stop: Arc<AtomicBool>,
    bytes_per_s: u64,
    rest: Duration,
}

/// The order to stop came first.
struct Stopped;

impl Drain {
    pub(super) fn new(line: Arc<Line>, store: Arc<Store>, stop: Arc<AtomicBool>, bytes_per_s: u64) -> Result<Self, BusError> {
        let member = store.member()?;
        Ok(Self { line, store, member, stop, bytes_per_s, rest: REST.0 })
    }

    pub(super) fn run(mut self) {
        while !self.is_stopping() {
            match self.member.poll(POLL_WAIT) {
                Ok(Event::Batch(batch)) => {
                    let began = Instant::now();
                    if self.drain(&batch).is_ok() {
                        self.pace(batch.bytes.len(), began.elapsed());
                    }
                }
                Ok(_) => self.line.probe(),
                Err(error) => self.unreadable(&error),
            }
            self.store.show();
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Publishes a batch until all of it is confirmed, then saves the position behind it.
    fn drain(&mut self, batch: &FetchedBatch) -> Result<(), Stopped> {
        let mut left = self.split(batch.iter().map(|(_, record)| record))?;
        while !left.is_empty() {
            let began = Instant::now();
            match self.publish(&mut left) {
                Ok(()) => {
                    self.rest = REST.0;
                    if began.elapsed() <= self.line.patience {
                        self.line.up();
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the bus does not take what the spool holds");
                    self.line.out(&error);
                    self.pause()?;
                    // The topic may have been made anew, with other partitions.
                    if matches!(error, BusError::NotFound(_)) {
                        left = self.split(left.values().flat_map(RecordBuf::iter))?;
                    }
                }
            }
        }
        self.save(batch)
    }

    /// Records by the partition they go to; waits until the bus has said how many there are.
    fn split<'r>(&mut self, records: impl Iterator<Item = RecordRef<'r>>) -> Result<BTreeMap<u32, RecordBuf>, Stopped> {
        let partitions = loop {
            match self.line.partitions().map_or_else(|| self.line.find_partitions(), Ok) {
                Ok(partitions) => break partitions,
                Err(error) => {
                    self.line.out(&error);
                    self.pause()?;
                }
            }
        };
        let mut split: BTreeMap<u32, RecordBuf> = BTreeMap::new();
        for record in records {
            let headers: Vec<_> = record.headers().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value))).collect();
            let to = split.entry(partition_of(record.key, partitions)).or_default();
            to.push(record.timestamp_ms, record.key, &headers, record.value);
        }
        Ok(split)
    }

    /// Publishes what is left and takes away what is confirmed. What became of all of it is waited for, so that no attempt is made
    /// while another one may still succeed.
    fn publish(&self, left: &mut BTreeMap<u32, RecordBuf>) -> Result<(), BusError> {
        let (tell, told) = mpsc::channel();
        for (partition, records) in left.iter() {
            let (partition, tell) = (*partition, tell.clone());
            self.line.publish(partition, records.clone(), Box::new(move |result| drop(tell.send((partition, result)))));
        }
        drop(tell);
        let mut failed = None;
        let mut deadline = Instant::now() + CONFIRM_MAX;
        loop {
            match told.recv_timeout(NAP) {
                Ok((partition, Ok(()))) => drop(left.remove(&partition)),
                Ok((_, Err(error))) => drop(failed.get_or_insert(error)),
                Err(RecvTimeoutError::Disconnected) => return failed.map_or(Ok(()), Err),
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    return Err(BusError::Unavailable(format!("it did not say within {CONFIRM_MAX:?} what became of a publish")));
                }
                Err(RecvTimeoutError::Timeout) if self.is_stopping() => deadline = deadline.min(Instant::now() + LAST_WAIT),
                Err(RecvTimeoutError::Timeout) => self.store.show(),
            }
        }
    }

    /// Saves the position behind a batch. A disk that fails is asked again: without the position the next start publishes twice.
    fn save(&mut self, batch: &FetchedBatch) -> Result<(), Stopped> {
        crash_point("spool-before-position");
        loop {
            let positions = batch.next_offset().map(|next| (batch.partition.clone(), next));
            match self.member.commit(Step { positions: positions.into_iter().collect(), ..Step::default() }) {
                Ok(()) => {
                    self.rest = REST.0;
                    self.store.drained(batch.offsets.len(), batch.bytes.len());
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%error, "the spool's position cannot be saved; what it stands for would be published again");
                    self.line.probe();
                    self.pause()?;
                }
            }
        }
    }

    /// What was deleted or cannot be read is stepped over, loudly: it cannot be had again.
    fn unreadable(&mut self, error: &BusError) {
        tracing::error!(%error, "the spool cannot be read");
        if let BusError::OutOfRange { partition, start, .. } = error
            && let Err(error) = self.member.seek(partition, *start)
        {
            tracing::error!(%error, "the spool cannot be read from its beginning");
        }
        self.line.probe();
        // Stopping is looked at by the caller.
        let _ = self.pause();
    }

    /// Rests between two attempts, each time longer.
    fn pause(&mut self) -> Result<(), Stopped> {
        self.store.show();
        let rest = self.rest;
        self.rest = (rest * 2).min(REST.1);
        self.nap(rest)
    }

    /// Rests until the bytes are no more than the rate allows.
    fn pace(&self, bytes: usize, took: Duration) {
        let due = Duration::from_secs_f64(bytes as f64 / self.bytes_per_s.max(1) as f64);
        // Stopping is looked at by the caller.
        let _ = self.nap(due.saturating_sub(took));
    }

    fn nap(&self, time: Duration) -> Result<(), Stopped> {
        let end = Instant::now() + time;
        loop {
            if self.is_stopping() {
                return Err(Stopped);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}
