//! Starting the analysis and the output stage.

use super::{
    driver::{Driver, StageHandle, StepOptions},
    emit::Outlet,
    spec::{Deployed, PluginSet, SpecError},
    staged::Outlets,
    work::{PluginsParts, PluginsWork, check_names},
};
use crate::{output::outbox_topic, status::LiveState};
use std::{sync::Arc, sync::atomic::AtomicBool};
use tidemill_bus::{Bus, BusError, Clock};
use tidemill_runtime::Kind;

/// What the stages share.
#[derive(Clone)]
pub struct PluginsOptions {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// Shared with the API.
    pub live: Arc<LiveState>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The plugins of the stage's kind; others are left out.
    pub plugins: Vec<Deployed>,
    /// Threads; each is a member of the group.
    pub workers: usize,
    /// When steps end.
    pub step: StepOptions,
    /// The configuration's number, for `tm-epoch`.
    pub epoch: u64,
}

/// Why a stage cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A plugin cannot be run.
    #[error(transparent)]
    Plugin(#[from] SpecError),
    /// Two plugins have one name.
    #[error("two plugins are named {0:?}: a name stands for a state, so give one of them another")]
    Name(String),
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// No thread.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

struct StageShape {
    group: &'static str,
    kind: Kind,
    inputs: &'static [&'static str],
}

const ANALYSIS: StageShape = StageShape { group: "analysis", kind: Kind::Analysis, inputs: &["validated", "errors"] };
const OUTPUT: StageShape = StageShape { group: "output", kind: Kind::Output, inputs: &["validated", "errors", "derived", "alerts"] };

/// Starts the workers of group `analysis`.
///
/// # Errors
/// See [`StageError`].
pub fn start_analysis(options: &PluginsOptions) -> Result<StageHandle, StageError> {
    start(&ANALYSIS, options)
}

/// Starts the workers of group `output`. The topics `outbox-<plugin>` must be there.
///
/// # Errors
/// See [`StageError`].
pub fn start_output(options: &PluginsOptions) -> Result<StageHandle, StageError> {
    start(&OUTPUT, options)
}

/// A worker of group `analysis`, to be driven by hand.
///
/// # Errors
/// See [`StageError`].
pub fn analysis_worker(options: &PluginsOptions) -> Result<Driver<PluginsWork>, StageError> {
    worker(&ANALYSIS, options)
}

/// A worker of group `output`, to be driven by hand.
///
/// # Errors
/// See [`StageError`].
pub fn output_worker(options: &PluginsOptions) -> Result<Driver<PluginsWork>, StageError> {
    worker(&OUTPUT, options)
}

fn start(shape: &StageShape, options: &PluginsOptions) -> Result<StageHandle, StageError> {
    let workers = (0..options.workers.max(1)).map(|_| worker(shape, options)).collect::<Result<Vec<_>, _>>()?;
    let threads = workers.into_iter().map(|worker| move |stop: &AtomicBool| worker.run(stop)).collect();
    Ok(StageHandle::start(shape.group, threads)?)
}

fn worker(shape: &StageShape, options: &PluginsOptions) -> Result<Driver<PluginsWork>, StageError> {
    let PluginsOptions { bus, live, clock, plugins, workers: _, step, epoch } = options;
    let plugins: Vec<_> = plugins.iter().filter(|plugin| plugin.component.kind() == shape.kind).cloned().collect();
    let set = PluginSet::new(&plugins, live)?;
    check_names(&set).map_err(StageError::Name)?;
    let mut outlets = Outlets::new(&**bus, shape.inputs, *epoch)?;
    match shape.kind {
        Kind::Output => {
            for spec in &set.plugins {
                outlets.outboxes.insert(spec.name().to_owned(), Outlet::new(&**bus, &outbox_topic(spec.name()))?);
            }
        }
        _ => {
            outlets.derived = Some(Outlet::new(&**bus, "derived")?);
            outlets.graphs = Some(Outlet::new(&**bus, crate::graphs::GRAPHS)?);
        }
    }
    let parts = PluginsParts { bus: Arc::clone(bus), set: Arc::new(set), outlets, live: Arc::clone(live), clock: Arc::clone(clock) };
    let member = bus.join(shape.group, shape.inputs)?;
    Ok(Driver::new(shape.group, member, PluginsWork::new(parts), *step, Arc::clone(clock)))
}
