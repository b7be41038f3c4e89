//! Why a plugin could not be run.

use tidemill_bus::BusError;
use tidemill_pipeline::{
    analysis::StageError,
    decode::{Aborted, DecoderError},
};
use tidemill_runtime::{CallError, RuntimeError};

/// Why a plugin could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error("the plugin's configuration must be a JSON object, for example {{\"channel\": \"nightly\"}}: {0}")]
    Config(String),
    /// The component.
    #[error(transparent)]
    Component(#[from] RuntimeError),
    /// `open` failed.
    #[error("plugin {plugin:?} cannot be opened: {error}{log}", log = last_words(error))]
    Open {
        /// The plugin.
        plugin: String,
        /// Why.
        error: Box<CallError>,
    },
    /// A decoder asks for something that is not possible.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// Another plugin asks for something that is not possible.
    #[error(transparent)]
    Stage(StageError),
    /// The decode stage failed itself.
    #[error(transparent)]
    Aborted(#[from] Aborted),
    /// The temporary folder.
    #[error("no temporary folder for the run: {0}")]
    Folder(std::io::Error),
    /// The bus in it.
    #[error("the bus of the run: {0}")]
    Bus(#[from] BusError),
}

impl RunError {
    /// Whether the caller's component or configuration is to blame, and not the surroundings.
    pub fn is_wrong_use(&self) -> bool {
        !matches!(self, Self::Folder(_) | Self::Bus(_) | Self::Aborted(_))
    }
}

impl From<StageError> for RunError {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Bus(error) => Self::Bus(error),
            StageError::Thread(error) => Self::Folder(error),
            error => Self::Stage(error),
        }
    }
}

/// The log lines of the failed call that its message does not hold already.
fn last_words(error: &CallError) -> String {
    let lines = error.log.iter().filter(|line| !error.message.contains(&line.text));
    lines.map(|line| format!("\n  it logged: {}", line.text)).collect()
}
