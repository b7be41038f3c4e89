//! `tidemill serve`: the platform in the foreground.

use super::config;
use crate::{
    cli,
    exit::{DONE, Outcome, surroundings},
    serve::{Platform, init_logging, wait_for_signal},
};
use toml::Value;

pub fn run(command: &cli::Serve) -> Outcome {
    let mut flags = vec![];
    if let Some(data) = &command.data {
        flags.push(("data_dir", Value::String(data.to_string_lossy().into_owned())));
    }
    if !command.role.is_empty() {
        flags.push(("roles", Value::Array(command.role.iter().cloned().map(Value::String).collect())));
    }
    let loaded = config::load(command.config.as_deref(), &flags)?;
    init_logging(&loaded.config.log)?;
    let platform = Platform::start(&loaded.config)?;
    println!("listening on http://{}", platform.address);
    wait_for_signal(|| platform.fallen().is_some())?;
    let fallen = platform.fallen();
    tracing::info!("stopping");
    platform.stop();
    match fallen {
        None => Ok(DONE),
        Some(stage) => Err(surroundings(format!("the {stage} stage ended unexpectedly; the log above says why"))),
    }
}
