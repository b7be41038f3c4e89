//! The stage on recorded and on broken messages.

mod broken;
mod duplicates;
mod guest;
mod plugins;
mod recorded;
mod steps;
mod support;
