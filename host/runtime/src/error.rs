//! Why a call failed.

use crate::limits::LimitExceeded;
use crate::report::LogLine;

/// A call that gave no answer. Everything the call did is gone; the input is not settled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// What kind of failure.
    pub kind: CallErrorKind,
    /// A sentence: which call, what went wrong, which limit.
    pub message: String,
    /// The guest's frames, demangled, innermost first, one a line; empty where there are none.
    pub backtrace: String,
    /// Fuel used until then.
    pub fuel: u64,
    /// The limit, where one was exceeded.
    pub limit: Option<Box<LimitExceeded>>,
    /// The log lines of the call, also where the instance is gone (a failed `open`).
    pub log: Vec<LogLine>,
}

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallErrorKind {
    /// The guest trapped.
    Trap,
    /// The call used up its fuel.
    Fuel {
        /// The limit.
        limit: u64,
    },
    /// More memory or table elements were refused, and the guest gave up.
    Memory,
    /// The answer breaks the contract or a limit.
    Output,
    /// The guest's own refusal. The instance can be called again, but its state may be half changed: treat it as a trap.
    Failure {
        /// The plugin's own number.
        code: u32,
    },
    /// The instance failed before; make a new one.
    Poisoned,
}

impl CallErrorKind {
    /// The `DecodeErrorType` of a row that fails so: `plugin_trap`, `plugin_fuel`, `plugin_memory`, `plugin_output`, or
    /// `internal` for a poisoned instance. A failure counts as a trap.
    pub fn error_type(self) -> &'static str {
        match self {
            Self::Trap | Self::Failure { .. } => "plugin_trap",
            Self::Fuel { .. } => "plugin_fuel",
            Self::Memory => "plugin_memory",
            Self::Output => "plugin_output",
            Self::Poisoned => "internal",
        }
    }

    /// Whether the instance is lost.
    pub fn poisons(self) -> bool {
        !matches!(self, Self::Failure { .. })
    }
}

/// What a checked conversion found wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// The contract.
    #[error("{0}")]
    Contract(String),
    /// A limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// Makes a [`Broken::Contract`] from format arguments.
macro_rules! broken {
    ($($part:tt)*) => { $crate::error::Broken::Contract(format!($($part)*)) };
}
pub(crate) use broken;
