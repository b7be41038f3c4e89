//! What the bus, its members, its readers and the writer share.

use super::{
    catalog::Catalog,
    groups::Groups,
    options::EmbeddedOptions,
    queue::{Queue, Request},
    store::Store,
};
use crate::{BusError, Clock};
use parking_lot::{Condvar, Mutex, RwLock};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// How long a step waits for room in the queue.
const STEP_PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Shared {
    pub(super) options: EmbeddedOptions,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) catalog: RwLock<Catalog>,
    pub(super) queue: Queue,
    pub(super) signal: Signal,
    pub(super) groups: Groups,
    /// Why the log accepts nothing any more.
    broken: Mutex<Option<String>>,
    free_bytes: AtomicU64,
    /// What all segments take on the disk; the writer says so.
    log_bytes: AtomicU64,
}

/// Wakes those who wait for records or for their turn in a group.
#[derive(Default)]
pub(super) struct Signal {
    version: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    pub(super) fn version(&self) -> u64 {
        *self.version.lock()
    }

    pub(super) fn bump(&self) {
        *self.version.lock() += 1;
        self.changed.notify_all();
    }

    /// Waits until something changed after `seen`, at most until `deadline`.
    pub(super) fn wait(&self, seen: u64, deadline: Instant) {
        let mut version = self.version.lock();
        while *version == seen && !self.changed.wait_until(&mut version, deadline).timed_out() {}
    }
}

impl Shared {
    pub(super) fn new(options: EmbeddedOptions, store: Store, clock: Arc<dyn Clock>, catalog: Catalog) -> Self {
        Self {
            queue: Queue::new(options.queue_bytes_max),
            groups: Groups::new(options.session_timeout),
            options,
            store,
            clock,
            catalog: RwLock::new(catalog),
            signal: Signal::default(),
            broken: Mutex::default(),
            free_bytes: AtomicU64::new(u64::MAX),
            log_bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ns() / 1_000_000
    }

    /// Puts a request into the queue and waits until it is durable.
    pub(super) fn write(&self, mut request: Request) -> Result<(), BusError> {
        let (done, result) = mpsc::sync_channel(1);
        request.ack = Box::new(move |result| drop(done.send(result)));
        self.queue.offer(request, STEP_PATIENCE);
        result.recv().unwrap_or_else(|_| Err(BusError::Unavailable("the log's writer ended".to_owned())))
    }

    /// Looks at the disk.
    pub(super) fn check_disk(&self) {
        match self.store.files().free_bytes(self.store.folder()) {
            Ok(free) => {
                let before = self.free_bytes.swap(free, Ordering::Relaxed);
                let reserve = self.options.reserve_bytes;
                if (before >= reserve) != (free >= reserve) {
                    tracing::warn!(free, reserve, accepting = free >= reserve, "the disk's free space passed the reserve");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot tell the free space of the disk"),
        }
    }

    pub(super) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_log_bytes(&self, bytes: u64) {
        self.log_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether a publish may come in: what [`Self::accepts`] says, and the log's own bound.
    pub(super) fn accepts_records(&self) -> Result<(), BusError> {
        self.accepts(self.options.reserve_bytes)?;
        let (bytes, most) = (self.log_bytes(), self.options.bytes_max);
        if bytes >= most {
            return Err(BusError::Full(format!("{} holds {bytes} bytes, at most {most} may", self.store.folder().display())));
        }
        Ok(())
    }

    /// Whether a request may come in that leaves `reserve_bytes` free.
    pub(super) fn accepts(&self, reserve_bytes: u64) -> Result<(), BusError> {
        if let Some(why) = &*self.broken.lock() {
            return Err(BusError::Unavailable(why.clone()));
        }
        let free = self.free_bytes.load(Ordering::Relaxed);
        if free < reserve_bytes {
            let folder = self.store.folder().display();
            return Err(BusError::Full(format!("{free} bytes are free on the disk of {folder}, {reserve_bytes} are kept in reserve")));
        }
        Ok(())
    }

    /// From now on nothing is accepted: what the disk holds is unknown until the log is opened again.
    pub(super) fn break_down(&self, why: &str) {
        let why = format!("the log stopped: {why}; repair the disk and start again");
        tracing::error!("{why}");
        self.broken.lock().get_or_insert(why);
        self.signal.bump();
    }
}
