//! Starts the stages when the bus is there: at once, or, where pings have a spool to wait in, as soon as it comes.

use super::{plugins::Loaded, stages::Stages};
use crate::exit::{Failure, surroundings};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tidemill_bus::{Bus, BusError, Clock, TopicSpec};
use tidemill_config::Config;
use tidemill_pipeline::status::LiveState;

/// How often a bus that is away is asked.
const RETRY: Duration = Duration::from_millis(500);

/// What the stages are started with.
pub struct Plan {
    pub config: Config,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    pub live: Arc<LiveState>,
    pub plugins: Loaded,
    pub topics: Vec<TopicSpec>,
    pub io: tokio::runtime::Handle,
}

/// The stages, or the attempt to start them.
pub struct Started {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

enum State {
    Waiting,
    Running(Stages),
    Failed,
}

impl Plan {
    /// Starts the stages now.
    ///
    /// # Errors
    /// What is wrong with the configuration or the surroundings.
    pub fn now(self) -> Result<Started, Failure> {
        self.bus.ensure_topics(&self.topics).map_err(surroundings)?;
        let state = State::Running(self.stages()?);
        Ok(Started { state: Arc::new(Mutex::new(state)), stop: Arc::default(), thread: None })
    }

    /// Starts the stages when the bus is there.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn later(self) -> Result<Started, Failure> {
        tracing::warn!("the bus is away: pings go to the spool, and the stages start when it comes back");
        let (state, stop) = (Arc::new(Mutex::new(State::Waiting)), Arc::new(AtomicBool::new(false)));
        let (outcome, stopping) = (Arc::clone(&state), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("start".to_owned()).spawn(move || {
            if let Some(reached) = self.wait(&stopping) {
                *outcome.lock() = reached;
            }
        });
        Ok(Started { state, stop, thread: Some(thread.map_err(surroundings)?) })
    }

    fn stages(self) -> Result<Stages, Failure> {
        let Self { config, bus, clock, live, plugins, topics: _, io } = self;
        Stages::start(&config, &bus, &clock, &live, plugins, &io)
    }

    /// Waits for the bus; `None` where the order to stop came first.
    fn wait(self, stop: &AtomicBool) -> Option<State> {
        while !stop.load(Ordering::Relaxed) {
            match self.bus.ensure_topics(&self.topics) {
                Ok(()) => {
                    let started = self.stages();
                    return Some(started.map_or_else(|failure| failed(&failure.text), State::Running));
                }
                Err(BusError::Unavailable(why)) => tracing::debug!(why, "the bus is still away"),
                Err(error) => return Some(failed(&error.to_string())),
            }
            std::thread::sleep(RETRY);
        }
        None
    }
}

fn failed(why: &str) -> State {
    tracing::error!(why, "the stages cannot be started");
    State::Failed
}

impl Started {
    /// The name of a stage that has ended although nobody stopped it.
    pub fn fallen(&self) -> Option<&'static str> {
        match &*self.state.lock() {
            State::Waiting => None,
            State::Running(stages) => stages.fallen(),
            State::Failed => Some("first"),
        }
    }

    /// Rows in the lake by table.
    pub fn lake_rows(&self) -> Vec<(String, u64)> {
        match &*self.state.lock() {
            State::Running(stages) => stages.lake_rows(),
            State::Waiting | State::Failed => vec![],
        }
    }

    /// Stops what runs.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the start of the stages panicked");
        }
        if let State::Running(stages) = &mut *self.state.lock() {
            stages.stop();
        }
    }
}
