//! Fuzz targets: what reads bytes that nobody can vouch for.
//!
//! A target takes bytes and panics where something is wrong. `tests/targets.rs` runs each for some seconds on mutations of
//! `corpus/NAME`; `fuzz/` at the root of the project has the same targets under libFuzzer. The checks of guests' answers are a target
//! of the crate `runtime` itself.
#![forbid(unsafe_code)]

mod decode;
mod json;
mod log;
mod message;
mod uri;

pub use decode::{body, record};
pub use json::json;
pub use log::log;
pub use message::{framing, heka, matcher};
pub use uri::uri;
