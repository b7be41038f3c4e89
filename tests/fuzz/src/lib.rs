//! Fuzz targets: what reads bytes that nobody can vouch for.
//!
//! A target takes bytes and panics where something is wrong. Two runners begin with `corpus/NAME`, and both count what memory an input takes:
//!
//! * `tests/targets.rs`, part of `make test`: some seconds of mutations a target, which a seed repeats. An hour each:
//!   `TIDEMILL_FUZZ_SECONDS=3600 cargo test -p tidemill-fuzz --test targets -- --nocapture`
//! * `guided/`, a workspace of its own, by hand: libFuzzer, guided by coverage, with AddressSanitizer and checks of overflow.
//!   `make fuzz`, or `FUZZ_SECONDS=3600 make fuzz FUZZ=json`. What reaches more is kept in `guided/corpus/NAME` and is not checked in;
//!   what fails lies in `guided/artifacts/NAME` and, once its cause is mended, made smaller (`cargo fuzz tmin`) in `corpus/NAME`.
//!
//! The checks of guests' answers are a target of the crate `runtime` itself, which shows them to `guided` under the feature `fuzzing`; the mutations:
//! `cargo test -p tidemill-runtime --lib guests_answers`

mod decode;
mod json;
mod log;
pub mod memory;
mod message;
mod uri;

pub use decode::{body, record};
pub use json::json;
pub use log::log;
pub use message::{framing, heka, matcher};
pub use uri::uri;
