//! Feeding recorded pings to one plugin, without a running host: `tidemill plugin run`.
//!
//! The pings become raw messages as the edge makes them, and go through the code of the stages: the decode stage's
//! [`Decoder`](tidemill_pipeline::decode::Decoder), and for the other kinds a worker of their stage on an embedded bus in a
//! temporary folder. So traps, poison and restarts happen as they would in production. Time is injected, so two runs report the
//! same, fuel included.

mod capture;
mod decode;
mod error;
mod facts;
mod findings;
mod house;
mod messages;
mod print;
mod report;
mod stage;
mod watch;

#[cfg(test)]
mod tests;

pub use error::RunError;
pub use print::print;
pub use report::{
    AlertReport, CallsReport, CellReport, ColumnReport, DeliveryReport, FieldReport, FuelReport, GraphReport, LogReport, MessageReport,
    PayloadReport, PingReport, PingVerdict, PlanReport, PluginReport, Report, RequestReport, SectionReport,
};

use crate::Fixture;
use std::sync::Arc;
use tidemill_pipeline::plugins::Configured;
use tidemill_runtime::{Kind, Limits, Runtime, RuntimeOptions};
use tidemill_schema::Registry;

/// What to run.
#[derive(Clone)]
pub struct RunOptions {
    /// The plugin's name: that of the component's file.
    pub name: String,
    /// The component.
    pub component: Vec<u8>,
    /// The plugin's configuration, a JSON object.
    pub config: String,
    /// The recorded pings.
    pub fixtures: Vec<Fixture>,
    /// The schemas that they are validated against.
    pub registry: Arc<Registry>,
}

/// Runs the plugin over the pings, with the limits' defaults.
///
/// # Errors
/// Where the plugin cannot be run at all. What goes wrong on single pings is in the report.
pub fn run(options: &RunOptions) -> Result<Report, RunError> {
    let RunOptions { name, component, config, fixtures, registry } = options;
    check_config(config)?;
    let plugin = Runtime::new(RuntimeOptions::default())?.load(name, component)?;
    let configured = Configured { plugin, config: config.clone(), limits: Limits::default() };
    let (mut report, plan) = facts::open(&configured)?;
    match configured.plugin.kind() {
        Kind::Decoder => decode::run(&configured, fixtures, registry, &mut report)?,
        Kind::Analysis | Kind::Output => stage::run(&configured, &plan, fixtures, registry, &mut report)?,
    }
    Ok(report)
}

fn check_config(config: &str) -> Result<(), RunError> {
    match serde_json::from_str::<serde_json::Value>(config) {
        Ok(value) if value.is_object() => Ok(()),
        Ok(_) => Err(RunError::Config("it is JSON, but no object".to_owned())),
        Err(error) => Err(RunError::Config(error.to_string())),
    }
}
