//! Log lines: text on a terminal, JSON otherwise, always on stderr.

use crate::exit::{Failure, wrong_use};
use std::io::IsTerminal;
use tidemill_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read.
pub fn init(log: &Log) -> Result<(), Failure> {
    let filter = filter(log)?;
    let terminal = std::io::stderr().is_terminal();
    let text = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process keeps the first's lines.
    let _ = if text { lines.with_ansi(terminal).try_init() } else { lines.json().try_init() };
    Ok(())
}

/// Which lines are written.
///
/// # Errors
/// When the filter cannot be read.
pub fn filter(log: &Log) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(&log.filter).map_err(|error| wrong_use(format!("log.filter {:?}: {error}", log.filter)))
}
