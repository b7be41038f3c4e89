//! An analysis worker on batches in memory: everything between what the bus fetches and the step that it is given.

use crate::{harness::Watch, paths};
use anyhow::{Context, ensure};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tidemill_bus::{
    Bus, Compression, FetchedBatch, Member, Step, SystemClock, TopicPartition, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
};
use tidemill_pipeline::{
    analysis::{Deployed, Driver, PluginsOptions, PluginsWork, StepOptions, Work, analysis_worker},
    plugins::Configured,
    status::{LiveState, PluginStatus},
};
use tidemill_runtime::Limits;

/// Topics of a platform with the analysis role.
const TOPICS: [&str; 5] = ["validated", "errors", "derived", "graphs", "alerts"];
/// Batches of a step: 100 ms at a million small messages a second.
const STEP_BATCHES: usize = 32;

/// A plugin to run: its project, its name and its configuration.
pub struct Wanted<'a> {
    /// Below the project's root.
    pub project: &'a str,
    /// Its own among the others.
    pub name: String,
    /// A JSON object.
    pub config: String,
}

/// A bus in a folder with the topics of the stage, the validated one compressed as by default.
///
/// # Errors
/// The folder cannot be written.
pub fn open_bus(folder: &std::path::Path, partitions: u32) -> anyhow::Result<Arc<dyn Bus>> {
    let bus = EmbeddedBus::open(EmbeddedOptions::new(folder.join("log")))?;
    let topic = |name: &&str| TopicSpec { name: (*name).into(), partitions, compacted: false, compression: Compression::Zstd(1) };
    bus.ensure_topics(&TOPICS.iter().map(topic).collect::<Vec<_>>())?;
    Ok(Arc::new(bus))
}

/// What a stage with these plugins is made of, with fuel and limits on.
///
/// # Errors
/// A plugin is not built or cannot be opened.
pub fn options(bus: Arc<dyn Bus>, wanted: &[Wanted<'_>]) -> anyhow::Result<PluginsOptions> {
    let deploy = |wanted: &Wanted<'_>| {
        let plugin = paths::plugin_as(wanted.project, &wanted.name)?;
        let configured = Configured { plugin, config: wanted.config.clone(), limits: Limits::default() };
        Ok(Deployed { component: Arc::new(configured), matcher: String::new() })
    };
    Ok(PluginsOptions {
        bus,
        live: Arc::new(LiveState::default()),
        clock: Arc::new(SystemClock::default()),
        plugins: wanted.iter().map(deploy).collect::<anyhow::Result<_>>()?,
        workers: 1,
        step: StepOptions::default(),
        epoch: 1,
    })
}

/// The worker.
pub struct Worker {
    driver: Driver<PluginsWork>,
    member: Box<dyn Member>,
    live: Arc<LiveState>,
    names: Vec<String>,
    _folder: TempDir,
}

impl Worker {
    /// Opens the plugins.
    ///
    /// # Errors
    /// A plugin is not built or cannot be opened.
    pub fn new(wanted: &[Wanted<'_>]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(paths::target()).context("a folder")?;
        let options = options(open_bus(folder.path(), 1)?, wanted)?;
        let member = options.bus.join("bench", &["validated"])?;
        let (live, names) = (Arc::clone(&options.live), wanted.iter().map(|wanted| wanted.name.clone()).collect());
        Ok(Self { driver: analysis_worker(&options)?, member, live, names, _folder: folder })
    }

    /// Rows that the plugins were given so far, in all.
    pub fn rows(&self) -> u64 {
        let rows = |name: &String| self.live.find_plugin(name).map_or(0, |status| PluginStatus::get(&status.messages_in));
        self.names.iter().map(rows).sum()
    }

    /// Works on one partition's batches with new instances, a step every 32 of them. Steps go nowhere, but `seen` is shown each.
    ///
    /// # Errors
    /// Rows are left over.
    pub fn run(&mut self, batches: &[FetchedBatch], mut seen: impl FnMut(&Step)) -> anyhow::Result<Duration> {
        let place = TopicPartition { topic: "validated".into(), partition: 0 };
        let work = self.driver.work();
        work.assign(&mut *self.member, &place, 0)?;
        let mut step = Step::default();
        let mut time = Duration::ZERO;
        for part in batches.chunks(STEP_BATCHES) {
            let began = Watch::start();
            for batch in part {
                work.batch(batch, &mut step).map_err(|refused| refused.error)?;
                work.tick(&mut step);
                // A call's turn is bounded in time, and a plugin that is behind would read on from the bus, where nothing is.
                while work.is_busy() {
                    work.tick(&mut step);
                }
            }
            work.finish(&mut step);
            work.committed();
            time += began.elapsed();
            seen(&step);
            step = Step::default();
        }
        ensure!(!work.is_busy(), "rows are left over");
        work.release(&place);
        Ok(time)
    }
}
