//! The bus as the edge sees it: how many partitions `raw` has, and whether it is worth asking.
//!
//! A bus that failed or was late once is *out*: no request waits for it until the drain of the spool, or a look at its health where
//! the spool is empty, found it in order again. One failure is enough, because being out costs little (an fsync on the local disk)
//! and being wrong about a bus that is away costs every request its whole patience.

use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tidemill_bus::{Ack, Bus, BusError, Clock, RecordBuf, partition_of};

/// The topic of pings.
const RAW: &str = "raw";
/// How often a bus that is out is asked for its health.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// How often one that is in order is asked for the partitions, to which an administrator may have added some.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(10);

/// What an error says, without the words about the bus in front: the reader is told which part it is.
pub(crate) fn reason(error: &BusError) -> String {
    match error {
        BusError::Full(why) | BusError::Unavailable(why) => why.clone(),
        other => other.to_string(),
    }
}

/// The bus, shared by requests and the drain.
pub(crate) struct Line {
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    /// How long the bus may take for a ping.
    pub(crate) patience: Duration,
    /// Of `raw`; 0: not known yet.
    partitions: AtomicU32,
    /// When the bus was asked for them, and its answer.
    counted: Mutex<(Duration, u32)>,
    is_out: AtomicBool,
    /// Why it is out.
    trouble: Mutex<Option<String>>,
    probed: Mutex<Option<Duration>>,
}

impl Line {
    pub(crate) fn new(bus: Arc<dyn Bus>, clock: Arc<dyn Clock>, patience: Duration) -> Self {
        let (counted, trouble, probed) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { bus, clock, patience, partitions: AtomicU32::new(0), counted, is_out: AtomicBool::new(false), trouble, probed }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Asks the bus for the partitions of `raw`; may block.
    pub(crate) fn find_partitions(&self) -> Result<u32, BusError> {
        let found = self.bus.partitions(RAW)?;
        self.partitions.store(found, Ordering::Relaxed);
        Ok(found)
    }

    /// The partitions of `raw`, where they are known.
    pub(crate) fn partitions(&self) -> Option<u32> {
        Some(self.partitions.load(Ordering::Relaxed)).filter(|partitions| *partitions > 0)
    }

    /// The partition a ping goes to, where that is known.
    pub(crate) fn partition(&self, key: &[u8]) -> Option<u32> {
        self.partitions().map(|partitions| partition_of(key, partitions))
    }

    /// Whether the bus failed and was not found in order since.
    pub(crate) fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Relaxed)
    }

    pub(crate) fn publish(&self, partition: u32, records: RecordBuf, ack: Ack) {
        self.bus.publish(RAW, partition, records, ack);
    }

    /// The bus failed or was late.
    pub(crate) fn out(&self, error: &BusError) {
        *self.trouble.lock() = Some(reason(error));
        // The number may have changed: a topic is made anew, or there are more partitions.
        if matches!(error, BusError::NotFound(_)) {
            self.partitions.store(0, Ordering::Relaxed);
        }
        if !self.is_out.swap(true, Ordering::AcqRel) {
            metrics::gauge!("tidemill_edge_bus_out").set(1.0);
            tracing::warn!(%error, "the bus does not take pings: they go to the spool until it does");
        }
    }

    /// The bus took pings in time.
    pub(crate) fn up(&self) {
        if self.is_out.swap(false, Ordering::AcqRel) {
            *self.trouble.lock() = None;
            metrics::gauge!("tidemill_edge_bus_out").set(0.0);
            tracing::info!("the bus takes pings again");
        }
    }

    /// Asks the bus now and then how many partitions there are, and where it is out, whether it still is; may block.
    pub(crate) fn probe(&self) {
        let now = self.clock.elapsed();
        if !self.is_out() {
            return self.count_again(now);
        }
        if self.probed.lock().is_some_and(|probed| now.saturating_sub(probed) < PROBE_INTERVAL) {
            return;
        }
        let healthy = self.bus.health().and_then(|()| self.partitions().map_or_else(|| self.find_partitions(), Ok));
        let done = self.clock.elapsed();
        *self.probed.lock() = Some(done);
        match healthy {
            Ok(_) if done.saturating_sub(now) <= self.patience => self.up(),
            Ok(_) => {}
            Err(error) => *self.trouble.lock() = Some(reason(&error)),
        }
    }

    /// Partitions that were added are written to once they were seen twice: by then those who publish know of them too. That there
    /// are fewer is said by what becomes of pings.
    fn count_again(&self, now: Duration) {
        let (asked, before) = *self.counted.lock();
        if now.saturating_sub(asked) < PARTITIONS_INTERVAL {
            return;
        }
        let found = self.bus.partitions(RAW).unwrap_or(0);
        *self.counted.lock() = (now, found);
        let known = self.partitions.load(Ordering::Relaxed);
        if found > known && found == before {
            tracing::info!(before = known, now = found, "pings go to the partitions that were added too");
            self.partitions.store(found, Ordering::Relaxed);
        }
    }

    /// Ok where the bus would be asked and is in order; may block.
    pub(crate) fn health(&self) -> Result<(), String> {
        if self.is_out() {
            return Err(self.trouble.lock().clone().unwrap_or_else(|| "it failed".to_owned()));
        }
        self.bus.health().map_err(|error| reason(&error))
    }
}
