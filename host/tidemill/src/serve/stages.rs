//! Starts and stops the stages of the configured roles.

use super::plugins::{Loaded, Ready};
use crate::exit::{Failure, surroundings, wrong_use};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tidemill_bus::{Bus, Clock, OnLost, SystemFiles};
use tidemill_config::{BusKind, Config, Role};
use tidemill_lake::{LakeHandle, LakeLimits, LakeOptions, LakeStage};
use tidemill_pipeline::{
    analysis::{PluginsOptions, StageHandle, StepOptions, start_analysis, start_output},
    decode::{
        DecodeLimits, DecodeSettings, DecodeStage, DecodeTopics, DecoderPlugin, DedupeOptions, StageOptions, StepLimits, VersionPointers,
    },
    deliver::{DeliverOptions, start_deliveries},
    geo::CityDatabase,
    graphs::{GraphsOptions, follow_alerts, follow_graphs, graphs_worker},
    status::LiveState,
};
use tidemill_schema::Registry;
use url::Url;

/// How long one delivery may take.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// The running stages, in the order of the stream.
pub struct Stages {
    decode: Option<DecodeStage>,
    lake: Option<LakeHandle>,
    running: Vec<(&'static str, StageHandle)>,
}

/// What every stage is made with.
struct Common<'a> {
    config: &'a Config,
    bus: &'a Arc<dyn Bus>,
    clock: &'a Arc<dyn Clock>,
    live: &'a Arc<LiveState>,
    workers: usize,
    io: &'a tokio::runtime::Handle,
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
        io: &tokio::runtime::Handle,
    ) -> Result<Self, Failure> {
        let partitions = bus.partitions("raw").map_err(surroundings)? as usize;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let common = Common { config, bus, clock, live, workers: cores.min(partitions), io };
        let needs_schemas = config.roles.iter().any(|role| matches!(role, Role::Decode | Role::Lake));
        let registry = if needs_schemas { registry(config)? } else { Arc::default() };
        let mut stages = Self { decode: None, lake: None, running: vec![] };
        let has = |role| config.roles.contains(&role);
        if has(Role::Analysis) {
            stages.running.push(("graphs", common.graphs()?));
            stages.running.push(("alerts", follow_alerts(Arc::clone(bus), Arc::clone(live)).map_err(surroundings)?));
            // The embedded bus has one host, which merges all graphs itself.
            if config.bus.kind == BusKind::Kafka {
                let followed = follow_graphs(Arc::clone(bus), Arc::clone(live), Arc::clone(clock)).map_err(surroundings)?;
                stages.running.push(("shown graphs", followed));
            }
            stages.running.push(("analysis", start_analysis(&common.plugins(&plugins.analyses)).map_err(wrong_use)?));
        }
        if has(Role::Output) && !plugins.outputs.is_empty() {
            stages.running.push(("output", start_output(&common.plugins(&plugins.outputs)).map_err(wrong_use)?));
            for plugin in &plugins.outputs {
                stages.running.push(("deliveries", start_deliveries(common.deliveries(plugin)).map_err(surroundings)?));
            }
        }
        if has(Role::Lake) {
            stages.lake = Some(common.lake(&registry)?);
        }
        if has(Role::Decode) {
            stages.decode = Some(common.decode(&plugins.decoders, &registry)?);
        }
        Ok(stages)
    }

    /// Stops from the front of the stream to its end, so that each stage still gets what the one before it has finished.
    pub fn stop(&mut self) {
        if let Some(decode) = self.decode.take() {
            decode.stop();
        }
        self.running.iter().for_each(|(_, stage)| stage.stop());
        for (name, stage) in self.running.drain(..) {
            if !stage.join() {
                tracing::error!(stage = name, "a worker panicked");
            }
        }
        if let Some(lake) = self.lake.take() {
            lake.stop();
        }
    }

    /// The name of a stage that has ended although nobody stopped it.
    pub fn fallen(&self) -> Option<&'static str> {
        if self.lake.as_ref().is_some_and(LakeHandle::has_ended) {
            return Some("lake");
        }
        self.running.iter().find(|(_, stage)| stage.has_ended()).map(|(name, _)| *name)
    }

    /// Rows in the lake by table.
    pub fn lake_rows(&self) -> Vec<(String, u64)> {
        let tables = self.lake.as_ref().map(|lake| lake.progress().tables).unwrap_or_default();
        tables.into_iter().map(|(name, table)| (name, table.rows)).collect()
    }
}

impl Common<'_> {
    fn step_options(&self) -> StepOptions {
        StepOptions { step_ms: self.config.bus.step_ms, on_lost: self.on_lost(), ..StepOptions::default() }
    }

    fn on_lost(&self) -> OnLost {
        match self.config.bus.on_lost {
            tidemill_config::OnLost::Stop => OnLost::Stop,
            tidemill_config::OnLost::Continue => OnLost::Continue,
        }
    }

    fn decode(&self, decoders: &[Ready], registry: &Arc<Registry>) -> Result<DecodeStage, Failure> {
        let options = StageOptions {
            bus: Arc::clone(self.bus),
            settings: self.decode_settings(decoders, registry)?,
            workers: self.workers as u32,
            pinned: false,
            limits: StepLimits { step_ms: self.config.bus.step_ms, on_lost: self.on_lost(), ..StepLimits::default() },
            clock: Arc::clone(self.clock),
            scratch: Some((Arc::new(SystemFiles), self.config.data_dir.join("fence"))),
            dedupe: dedupe_options(self.config),
        };
        DecodeStage::start(options).map_err(wrong_use)
    }

    fn lake(&self, registry: &Arc<Registry>) -> Result<LakeHandle, Failure> {
        let lake = &self.config.lake;
        let options = LakeOptions {
            bus: Arc::clone(self.bus),
            registry: Arc::clone(registry),
            url: lake_url(self.config)?,
            commit_interval: Duration::from_secs_f64(lake.commit_interval_s),
            commit_bytes: lake.commit_bytes,
            clock: Arc::clone(self.clock),
            files: Arc::new(SystemFiles),
            on_lost: self.on_lost(),
        };
        let limits = LakeLimits {
            maintenance_interval: Duration::from_secs_f64(lake.upkeep_interval_s),
            small_files_max: lake.small_files_max,
            checkpoint_commits: lake.checkpoint_commits,
            ..LakeLimits::default()
        };
        LakeStage::start_with(options, limits).map_err(surroundings)
    }

    fn plugins(&self, plugins: &[Ready]) -> PluginsOptions {
        PluginsOptions {
            bus: Arc::clone(self.bus),
            live: Arc::clone(self.live),
            clock: Arc::clone(self.clock),
            plugins: plugins.iter().map(Ready::deployed).collect(),
            workers: self.workers,
            step: self.step_options(),
            epoch: 0,
        }
    }

    fn deliveries(&self, plugin: &Ready) -> DeliverOptions {
        DeliverOptions {
            plugin: plugin.name.clone(),
            allow: plugin.allow.clone(),
            status: Arc::clone(&plugin.status),
            bus: Arc::clone(self.bus),
            clock: Arc::clone(self.clock),
            files: Arc::new(SystemFiles),
            runtime: self.io.clone(),
            timeout: DELIVERY_TIMEOUT,
            on_lost: self.on_lost(),
            seed: u64::from(std::process::id()),
            epoch: 0,
        }
    }

    fn decode_settings(&self, decoders: &[Ready], registry: &Arc<Registry>) -> Result<DecodeSettings, Failure> {
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
            registry: Arc::clone(registry),
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

/// The configured URL, or `lake/` in the data folder. A relative `file:` URL is relative to the working directory.
fn lake_url(config: &Config) -> Result<Url, Failure> {
    let wrong = |error: &dyn std::fmt::Display| wrong_use(format!("lake.url {:?}: {error}", config.lake.url));
    let path = match config.lake.url.as_str() {
        "" => config.data_dir.join("lake"),
        url => match url.strip_prefix("file:").filter(|path| !path.starts_with("//")) {
            Some(path) => path.into(),
            None => return Url::parse(url).map_err(|error| wrong(&error)),
        },
    };
    let path = std::path::absolute(&path).map_err(|error| wrong(&error))?;
    std::fs::create_dir_all(&path).map_err(|error| surroundings(format!("lake.url: {}: {error}", path.display())))?;
    Url::from_directory_path(&path).map_err(|()| wrong(&"it is no path"))
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

fn dedupe_options(config: &Config) -> Option<DedupeOptions> {
    let tidemill_config::Dedupe { enabled, window_h, ids_max } = config.dedupe;
    enabled.then_some(DedupeOptions { window_h, ids_max })
}

fn version_pointers(config: &Config) -> VersionPointers {
    let pointers = |members: &Vec<String>| members.iter().map(|member| format!("/{member}")).collect();
    let by_namespace: BTreeMap<_, _> =
        config.schemas.version_members.iter().map(|(namespace, members)| (namespace.clone(), pointers(members))).collect();
    VersionPointers { by_namespace }
}
