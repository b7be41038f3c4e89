//! The message crate through its public face.

mod framing;
mod matcher;
mod matcher_cases;
mod matcher_errors;
mod matcher_set;
mod message;
mod support;
