//! The running platform: the bus, the stages of the configured roles, and the one listener.

mod bus;
mod intake;
pub mod logging;
pub mod plugins;
mod signals;
mod stages;
mod start;

pub use logging::init as init_logging;
pub use signals::wait as wait_for_signal;

use crate::exit::{Failure, surroundings};
use start::{Plan, Started};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tidemill_bus::{Bus, Clock, SystemClock};
use tidemill_config::{Config, Role};
use tidemill_control::Control;
use tidemill_edge::{Edge, Intake, Limits as EdgeLimits, Server};
use tidemill_pipeline::status::LiveState;
use tokio::sync::watch;

/// How long open requests may take when the platform stops.
const GRACE: Duration = Duration::from_secs(5);

/// What runs.
pub struct Platform {
    /// Where it listens.
    pub address: SocketAddr,
    /// What the stages know of themselves.
    pub live: Arc<LiveState>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    intake: Option<Arc<Intake>>,
    stages: Started,
    stop_listening: watch::Sender<bool>,
    listening: Option<tokio::task::JoinHandle<()>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Platform {
    /// Starts everything; returns when requests are accepted.
    ///
    /// # Errors
    /// What is wrong with the configuration or the surroundings, and what to do.
    pub fn start(config: &Config) -> Result<Self, Failure> {
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().map_err(surroundings)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("tidemill-io").build().map_err(surroundings)?;
        // The listener comes first: a port that is taken is the commonest mistake, and cheap to find.
        let listener = runtime.block_on(tidemill_edge::bind(&config.http.listen));
        let listener = listener.map_err(|error| surroundings(format!("cannot listen on http.listen {}: {error}", config.http.listen)))?;
        let address = listener.local_addr().map_err(surroundings)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let live = Arc::new(LiveState::default());
        let plugins = plugins::load(config, &live)?;
        let bus = bus::open(config, &plugins)?;
        let plan = Plan {
            topics: bus::topics(config, &plugins)?,
            config: config.clone(),
            bus: Arc::clone(&bus),
            clock: Arc::clone(&clock),
            live: Arc::clone(&live),
            plugins,
            io: runtime.handle().clone(),
        };
        let stages = if intake::has_spool(config) && bus.health().is_err() { plan.later()? } else { plan.now()? };
        let intake = intake::open(config, &bus, &clock)?;
        let takes = intake.as_ref().filter(|_| config.roles.contains(&Role::Edge));
        let edge = takes.map(|intake| Arc::new(Edge::new(Arc::clone(intake), clock, EdgeLimits::default())));
        let heartbeat = intake.as_ref().map(|intake| intake::heartbeat(intake, bus.kind()));
        let router = tidemill_control::router(Control { bus: Arc::clone(&bus), live: Arc::clone(&live), metrics, intake: heartbeat });
        let (stop_listening, stop) = watch::channel(false);
        let listening = Some(runtime.spawn(Server { edge, router }.run(listener, stop, GRACE)));
        Ok(Self { address, live, bus, intake, stages, stop_listening, listening, runtime: Some(runtime) })
    }

    /// Takes no more requests, lets the stages finish their steps and commits the lake.
    pub fn stop(mut self) {
        let _ = self.stop_listening.send(true);
        if let (Some(runtime), Some(listening)) = (&self.runtime, self.listening.take()) {
            let _ = runtime.block_on(listening);
        }
        if let Some(intake) = &self.intake {
            intake.stop();
        }
        self.stages.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }

    /// The name of a stage that has ended although nobody stopped it.
    pub fn fallen(&self) -> Option<&'static str> {
        self.stages.fallen()
    }

    /// Rows in the lake by table.
    pub fn lake_rows(&self) -> Vec<(String, u64)> {
        self.stages.lake_rows()
    }
}
