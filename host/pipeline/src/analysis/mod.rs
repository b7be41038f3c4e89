//! The analysis stage: group `analysis`, from `validated` and `errors` to `derived`, `graphs` and `alerts`; and what it shares with
//! the output stage, whose plugins are fed, called and recovered in the same way.
//!
//! [`Driver`] makes the steps, [`PluginsWork`] reads messages and feeds the slots, a slot is a plugin in a partition.

mod block;
mod call;
mod document;
mod driver;
mod emit;
mod feeding;
mod guest;
mod poison;
mod progress;
mod rows;
mod saved;
mod settle;
mod slot;
mod spec;
mod stage;
mod staged;
mod turns;
mod work;

#[cfg(test)]
pub(crate) mod tests;

pub use driver::{Driver, Refused, StageHandle, StepOptions, Work};
pub use emit::{Envelope, Numbering, Outlet};
pub use guest::{Component, Found, Guest, NewMessages};
pub use saved::Saved;
pub use spec::{Deployed, PluginSet, PluginSpec, SpecError};
pub use stage::{PluginsOptions, StageError, analysis_worker, output_worker, start_analysis, start_output};
pub use work::PluginsWork;
