//! Seeded mutations of bytes and JSON documents, and the runner of fuzz targets.
//!
//! Nothing here guides itself by coverage: it is what `make test` can run in seconds and repeat by a seed.
#![forbid(unsafe_code)]

pub mod bytes;
pub mod json;
mod random;
mod run;
mod shrink;

pub use random::Random;
pub use run::{Budget, Fuzz, Ran};
pub use shrink::shrink;
