//! Testing a plugin natively, with `cargo test`.
pub mod recorder;
