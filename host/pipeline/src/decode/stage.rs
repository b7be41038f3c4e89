//! The stage: its workers' threads.

use super::{
    decoder::{Decoder, DecoderError},
    duplicates::{DedupeOptions, DuplicatesParts},
    fence::Fence,
    settings::DecodeSettings,
    worker::{StepLimits, Worker, WorkerParts},
};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tidemill_bus::{Bus, BusError, Clock, Files};

/// The group that decodes `raw`.
pub const GROUP: &str = "decode";
/// What it decodes.
pub(super) const RAW: &str = "raw";
/// The pause before a worker whose code panicked is made anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// What the stage is started with.
#[derive(Clone)]
pub struct StageOptions {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// What its decoders are made of.
    pub settings: DecodeSettings,
    /// How many threads; one for each core.
    pub workers: u32,
    /// Whether each thread stays on a core of its own.
    pub pinned: bool,
    /// When steps end.
    pub limits: StepLimits,
    /// Tells when steps end.
    pub clock: Arc<dyn Clock>,
    /// Where the crash-loop fence keeps its notes; without it a message that kills the process does so for ever.
    pub scratch: Option<(Arc<dyn Files>, PathBuf)>,
    /// How long documents are remembered, so that copies are recognised; `None`: not at all.
    pub dedupe: Option<DedupeOptions>,
}

/// The stage cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A plugin or the configuration.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// The group cannot be joined.
    #[error("the decode stage cannot read raw messages: {0}")]
    Bus(#[from] BusError),
    /// The fence's folder.
    #[error("the decode stage's scratch folder {}: {source}", path.display())]
    Scratch {
        /// The folder.
        path: PathBuf,
        /// Why it cannot be used.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("a thread of the decode stage cannot be started: {0}")]
    Thread(io::Error),
}

/// The running stage; dropping it stops it.
pub struct DecodeStage {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl DecodeStage {
    /// Starts the workers.
    ///
    /// # Errors
    /// Where a plugin cannot be deployed, the bus cannot be reached or the scratch folder cannot be used.
    pub fn start(options: StageOptions) -> Result<Self, StageError> {
        let fence = options.scratch.clone().map(open_fence).transpose()?;
        let mut stage = Self { stop: Arc::default(), threads: Vec::new() };
        for number in 0..options.workers.max(1) {
            let seat = Seat { number, options: options.clone(), fence: fence.clone() };
            let worker = seat.worker()?;
            let stop = Arc::clone(&stage.stop);
            let thread = std::thread::Builder::new().name(format!("decode-{number}"));
            stage.threads.push(thread.spawn(move || seat.run(worker, &stop)).map_err(StageError::Thread)?);
        }
        Ok(stage)
    }

    /// Lets the workers commit what they have, and waits for them.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a decode worker panicked while it stopped");
            }
        }
    }
}

impl Drop for DecodeStage {
    fn drop(&mut self) {
        self.end();
    }
}

fn open_fence((files, path): (Arc<dyn Files>, PathBuf)) -> Result<Arc<Fence>, StageError> {
    Fence::open(files, &path).map(Arc::new).map_err(|source| StageError::Scratch { path, source })
}

/// One worker's place: what it is made of, again where it panics.
struct Seat {
    number: u32,
    options: StageOptions,
    fence: Option<Arc<Fence>>,
}

impl Seat {
    fn worker(&self) -> Result<Worker, StageError> {
        let StageOptions { bus, settings, limits, clock, scratch, dedupe, .. } = &self.options;
        let path = || scratch.as_ref().map(|(_, path)| path.clone()).unwrap_or_default();
        let with_note = |fence: &Arc<Fence>| Ok((Arc::clone(fence), fence.note(self.number)?));
        let fence = self.fence.as_ref().map(with_note).transpose().map_err(|source| StageError::Scratch { path: path(), source })?;
        let decoder = Decoder::new(settings)?;
        let record = (settings.generation, settings.epoch);
        let duplicates = dedupe.as_ref().map(|options| DuplicatesParts::new(options, &**bus, record)).transpose()?;
        let member = bus.join(GROUP, &[RAW])?;
        let worker = Worker::new(WorkerParts { member, decoder, limits: *limits, clock: Arc::clone(clock), fence, duplicates });
        Ok(worker.on(bus))
    }

    fn run(&self, worker: Worker, stop: &AtomicBool) {
        if self.options.pinned {
            pin(self.number);
        }
        let mut worker = Some(worker);
        while !stop.load(Ordering::Relaxed) || worker.is_some() {
            let Some(ready) = worker.take() else {
                std::thread::sleep(RESTART_PAUSE);
                worker = self.worker().inspect_err(|error| tracing::error!(%error, "a decode worker cannot start again")).ok();
                continue;
            };
            match catch_unwind(AssertUnwindSafe(|| ready.run(stop))) {
                Ok(()) => return,
                Err(_) => tracing::error!(worker = self.number, "a decode worker panicked; it starts again behind the last step"),
            }
        }
    }
}

/// Keeps this thread on one of the cores that the process may use.
fn pin(number: u32) {
    let pinned = rustix::thread::sched_getaffinity(None).and_then(|allowed| {
        let cores: Vec<_> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let mut own = rustix::thread::CpuSet::new();
        if let Some(core) = cores.get(number as usize % cores.len().max(1)) {
            own.set(*core);
        }
        rustix::thread::sched_setaffinity(None, &own)
    });
    if let Err(error) = pinned {
        tracing::warn!(%error, "a decode worker could not be pinned to a core");
    }
}
