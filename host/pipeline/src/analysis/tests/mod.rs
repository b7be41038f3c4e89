//! The stages on the embedded bus, with plugins that do what a test scripts.

pub mod support;

mod failures;
mod flaky;
mod flow;
