//! Fuzz targets: what reads bytes that nobody can vouch for.
//!
//! A target takes bytes and panics where something is wrong. `tests/targets.rs` runs each for some seconds on mutations of
//! `corpus/NAME`; being plain functions of bytes, they can be put under a fuzzer that is guided by coverage. The checks of guests'
//! answers are a target of the crate `runtime` itself. An hour each:
//!
//! `TIDEMILL_FUZZ_SECONDS=3600 cargo test -p tidemill-fuzz --test targets -- --nocapture`, and `-p tidemill-runtime --lib guests_answers`
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
