//! The stages between the topics: decode, analysis, graphs, output and deliveries.

pub mod analysis;
pub mod columns;
pub mod decode;
pub mod deliver;
pub mod geo;
pub mod graphs;
mod lost;
pub mod output;
pub mod plugins;
pub mod source;
pub mod status;
