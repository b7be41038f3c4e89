//! The spool: an embedded log in a folder of its own that keeps pings while the bus does not take them.
//!
//! It has what the log has: one fsync for all that waits, repair of a torn tail, positions, deletion of what was read. Unlike the
//! stream's own log it is bounded by refusing: nothing that was acknowledged is ever cut loose.
//!
//! The drain publishes in the order of arrival and saves its position after the bus confirmed, so after a crash some pings are
//! published twice, byte for byte and with the same Uuid. New pings do not queue behind it: they go straight to the bus as soon as
//! that is up. Pings are documents of their own, nothing depends on the order of two of them, and a spool that took new ones
//! until it is empty would never be empty where they come faster than it drains.

mod drain;
mod store;

use crate::line::{Line, reason};
use drain::Drain;
use parking_lot::Mutex;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use store::Store;
use tidemill_bus::{
    Ack, BusError, Files, RecordBuf,
    embedded::{DeclaredGroup, EmbeddedOptions},
};

/// Segments are a sixteenth of the whole, between these: what was drained is given back segment by segment.
const SEGMENT_BYTES: (u64, u64) = (64 << 10, 64 << 20);
/// What waits for the disk at most; beyond it pings are refused.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// What the drain has in hand, for which one position is saved: a sixteenth of a second of its rate, between these.
const BATCH_BYTES: (u64, u64) = (16 << 10, 4 << 20);
/// At most 100 batches a second, each 32 bytes of memory: 12 MB an hour of outage.
const GROUP_INTERVAL: Duration = Duration::from_millis(10);

/// Where the spool lies and its limits.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// The folder, made where it is missing.
    pub folder: PathBuf,
    /// What it holds at most; beyond it pings are refused. 0: it takes none, and what it holds is drained.
    pub max_bytes: u64,
    /// How fast it is drained at most.
    pub drain_bytes_per_s: u64,
    /// What it leaves free on its disk.
    pub disk_reserve_bytes: u64,
}

/// How the spool is.
#[derive(Clone, Debug)]
pub struct SpoolHealth {
    /// Pings that wait for the bus.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What it takes on the disk, with what was drained and not deleted yet.
    pub disk_bytes: u64,
    /// What it may take; 0: it is off.
    pub max_bytes: u64,
    /// Why it takes nothing now, where it is on.
    pub trouble: Option<String>,
}

/// The spool and the thread that drains it.
pub(crate) struct Spool {
    store: Arc<Store>,
    max_bytes: u64,
    stop: Arc<AtomicBool>,
    drain: Mutex<Option<JoinHandle<()>>>,
}

impl Spool {
    pub(crate) fn open(options: SpoolOptions, files: Arc<dyn Files>, line: Arc<Line>) -> Result<Self, BusError> {
        let SpoolOptions { max_bytes, drain_bytes_per_s, .. } = options;
        let store = Arc::new(Store::open(log_options(options), files, Arc::clone(line.clock()))?);
        let stop = Arc::new(AtomicBool::new(false));
        let drain = Drain::new(line, Arc::clone(&store), Arc::clone(&stop), drain_bytes_per_s)?;
        let thread = std::thread::Builder::new().name("spool-drain".to_owned()).spawn(move || drain.run());
        let thread = thread.map_err(|source| BusError::Io { what: "cannot start the spool's drain".to_owned(), source })?;
        Ok(Self { store, max_bytes, stop, drain: Mutex::new(Some(thread)) })
    }

    /// Whether it is there for new pings, or only to be drained.
    pub(crate) fn takes(&self) -> bool {
        self.max_bytes > 0
    }

    /// Keeps records; the callback says when they are durable.
    pub(crate) fn append(&self, records: RecordBuf, ack: Ack) {
        self.store.append(records, ack);
    }

    pub(crate) fn health(&self) -> SpoolHealth {
        let trouble = if self.takes() { self.store.health().err().map(|error| reason(&error)) } else { None };
        let (records, bytes) = self.store.waiting();
        SpoolHealth { records, bytes, disk_bytes: self.store.disk_bytes(), max_bytes: self.max_bytes, trouble }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.drain.lock().take() else { return };
        if thread.join().is_err() {
            tracing::error!("the spool's drain panicked");
        }
        let (records, bytes) = self.store.waiting();
        if records > 0 {
            tracing::warn!(records, bytes, "pings are left in the spool: they are drained after the next start");
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.stop();
    }
}

fn log_options(options: SpoolOptions) -> EmbeddedOptions {
    let segment_bytes = (options.max_bytes / 16).clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1);
    EmbeddedOptions {
        segment_bytes,
        queue_bytes_max: QUEUE_BYTES_MAX,
        group_bytes_max: segment_bytes.min(8 << 20) as usize,
        // A segment goes as soon as the drain has read it, and never before.
        retention_bytes: 0,
        retention_age: Duration::ZERO,
        declared_groups: vec![DeclaredGroup { group: store::GROUP.to_owned(), topics: vec![store::TOPIC.to_owned()] }],
        pinned_bytes_max: u64::MAX,
        bytes_max: options.max_bytes,
        group_interval: GROUP_INTERVAL,
        reserve_bytes: options.disk_reserve_bytes,
        cache_bytes_max: 0,
        open_files_max: 16,
        fetch_bytes_max: (options.drain_bytes_per_s / 16).clamp(BATCH_BYTES.0, BATCH_BYTES.1) as usize,
        ..EmbeddedOptions::new(options.folder)
    }
}
