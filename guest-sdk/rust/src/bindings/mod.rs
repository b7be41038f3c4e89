//! The WIT as Rust, written by `guest-sdk/bindgen`: nothing here is for plugin authors.
#![allow(
    unsafe_code,
    missing_docs,
    rust_2018_idioms,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated: the canonical ABI is raw pointers"
)]

pub mod analysis_plugin;
pub mod decoder_plugin;
pub mod imports;
pub mod output_plugin;
pub mod with_dictionary;
pub mod with_state;
pub mod with_timers;
