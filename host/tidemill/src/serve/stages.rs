//! Starts and stops the stages of the configured roles.

use super::plugins::{Loaded, Ready};
use crate::exit::{Failure, surroundings, wrong_use};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_bus::{Bus, Clock, SystemFiles};
use tidemill_config::{Config, Role};
use tidemill_pipeline::{
    analysis::{StageHandle, StepOptions},
    decode::{DecodeLimits, DecodeSettings, DecodeTopics, Decoder, DecoderPlugin, Fence, StepLimits, VersionPointers, Worker, WorkerParts},
    geo::CityDatabase,
    graphs::{GraphsOptions, follow_alerts, graphs_worker},
    status::LiveState,
};
use tidemill_schema::Registry;

/// The running stages, in the order of the stream.
pub struct Stages {
    running: Vec<(&'static str, StageHandle)>,
}

/// What every stage is made with.
struct Common<'a> {
    config: &'a Config,
    bus: &'a Arc<dyn Bus>,
    clock: &'a Arc<dyn Clock>,
    live: &'a Arc<LiveState>,
    workers: usize,
}

impl Stages {
    /// Starts the stages of the configured roles.
    ///
    /// # Errors
    /// What is wrong with the configuration or the surroundings.
    pub fn start(
        config: &Config,
        bus: &Arc<dyn Bus>,
        clock: &Arc<dyn Clock>,
        live: &Arc<LiveState>,
        plugins: Loaded,
        _io: &tokio::runtime::Handle,
    ) -> Result<Self, Failure> {
        let partitions = bus.partitions("raw").map_err(surroundings)? as usize;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let common = Common { config, bus, clock, live, workers: cores.min(partitions) };
        let mut stages = Self { running: vec![] };
        if config.roles.contains(&Role::Decode) {
            stages.running.push(("decode", common.decode(&plugins.decoders)?));
        }
        if config.roles.contains(&Role::Analysis) {
            stages.running.push(("graphs", common.graphs()?));
        }
        Ok(stages)
    }

    /// Stops from the front of the stream to its end, so that each stage still gets what the one before it has finished.
    pub fn stop(&mut self) {
        for (name, stage) in self.running.drain(..) {
            if !stage.join() {
                tracing::error!(stage = name, "a worker panicked");
            }
        }
    }

    /// The name of a stage that has ended although nobody stopped it.
    pub fn fallen(&self) -> Option<&'static str> {
        self.running.iter().find(|(_, stage)| stage.has_ended()).map(|(name, _)| *name)
    }

    /// Rows in the lake by table.
    pub fn lake_rows(&self) -> Vec<(String, u64)> {
        vec![]
    }
}

impl Common<'_> {
    fn step_options(&self) -> StepOptions {
        StepOptions { step_ms: self.config.bus.step_ms, ..StepOptions::default() }
    }

    fn decode(&self, decoders: &[Ready]) -> Result<StageHandle, Failure> {
        let settings = self.decode_settings(decoders)?;
        let fence = Arc::new(Fence::open(Arc::new(SystemFiles), &self.config.data_dir.join("fence")).map_err(surroundings)?);
        let mut workers = Vec::with_capacity(self.workers);
        for number in 0..self.workers {
            let parts = WorkerParts {
                member: self.bus.join("decode", &["raw"]).map_err(surroundings)?,
                decoder: Decoder::new(&settings).map_err(wrong_use)?,
                limits: StepLimits { step_ms: self.config.bus.step_ms, ..StepLimits::default() },
                clock: Arc::clone(self.clock),
                fence: Some((Arc::clone(&fence), fence.note(number as u32).map_err(surroundings)?)),
            };
            let worker = Worker::new(parts);
            workers.push(move |stop: &std::sync::atomic::AtomicBool| worker.run(stop));
        }
        StageHandle::start("decode", workers).map_err(surroundings)
    }

    fn decode_settings(&self, decoders: &[Ready]) -> Result<DecodeSettings, Failure> {
        let city = match &self.config.geoip.city {
            Some(path) => Some(Arc::new(CityDatabase::open(path).map_err(wrong_use)?)),
            None => None,
        };
        let plugin = |ready: &Ready| DecoderPlugin {
            plugin: ready.plugin.clone(),
            config: ready.config.clone(),
            limits: ready.limits.clone(),
            matcher: ready.matcher.clone(),
            status: Arc::clone(&ready.status),
        };
        let topics = DecodeTopics {
            raw_incarnation: self.bus.incarnation("raw").map_err(surroundings)?,
            validated_partitions: self.bus.partitions("validated").map_err(surroundings)?,
            errors_partitions: self.bus.partitions("errors").map_err(surroundings)?,
        };
        Ok(DecodeSettings {
            registry: registry(self.config)?,
            city,
            version_pointers: version_pointers(self.config),
            plugins: decoders.iter().map(plugin).collect(),
            limits: DecodeLimits::default(),
            topics,
            generation: 0,
            epoch: 0,
        })
    }

    fn graphs(&self) -> Result<StageHandle, Failure> {
        let options = GraphsOptions { step: self.step_options(), ..GraphsOptions::default() };
        let worker = graphs_worker(&**self.bus, Arc::clone(self.live), Arc::clone(self.clock), options).map_err(surroundings)?;
        StageHandle::start("graphs", vec![move |stop: &std::sync::atomic::AtomicBool| worker.run(stop)]).map_err(surroundings)
    }
}

/// Loads the configured schemas; broken ones are named in the log and left out.
fn registry(config: &Config) -> Result<Arc<Registry>, Failure> {
    let (registry, report) = Registry::load(&config.schemas.paths).map_err(wrong_use)?;
    for broken in &report.broken {
        tracing::warn!(path = %broken.path.display(), reason = broken.reason, "a schema was left out");
    }
    tracing::info!(schemas = registry.len(), compiled = registry.iter().filter(|schema| schema.is_compiled()).count(), "schemas loaded");
    Ok(Arc::new(registry))
}

fn version_pointers(config: &Config) -> VersionPointers {
    let pointers = |members: &Vec<String>| members.iter().map(|member| format!("/{member}")).collect();
    let by_namespace: BTreeMap<_, _> = config.schemas.version_members.iter().map(|(namespace, members)| (namespace.clone(), pointers(members))).collect();
    VersionPointers { by_namespace }
}
