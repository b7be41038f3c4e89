//! The embedded log: the conformance suite, and what only a log in a folder can be asked.

mod conformance;
#[path = "embedded/disk.rs"]
mod disk;
#[path = "embedded/log.rs"]
mod log;
#[path = "embedded/members.rs"]
mod members;
#[path = "embedded/recovery.rs"]
mod recovery;
#[path = "embedded/retention.rs"]
mod retention;

use conformance::*;
use std::sync::Arc;
use tidemill_bus::{
    Bus,
    embedded::{EmbeddedBus, EmbeddedOptions},
};

/// Logs in a temporary folder.
struct Folder(tempfile::TempDir);

impl Factory for Folder {
    fn make(_test: &str) -> Option<Self> {
        Some(Self(tempfile::tempdir().expect("a folder")))
    }

    fn open(&self) -> Arc<dyn Bus> {
        Arc::new(EmbeddedBus::open(EmbeddedOptions::new(self.0.path().join("log"))).expect("opened"))
    }
}

conformance!(Folder);
