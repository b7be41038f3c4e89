//! The embedded log: the conformance suite, and what only a log in a folder can be asked.

#[path = "embedded/clock.rs"]
mod clock;
mod conformance;
#[path = "embedded/disk.rs"]
mod disk;
#[path = "embedded/errors.rs"]
mod errors;
#[path = "embedded/log.rs"]
mod log;
#[path = "embedded/members.rs"]
mod members;
#[path = "embedded/reclaim.rs"]
mod reclaim;
#[path = "embedded/recovery.rs"]
mod recovery;
#[path = "embedded/retention.rs"]
mod retention;
#[path = "embedded/told.rs"]
mod told;

use conformance::*;
use std::{sync::Arc, time::Duration};
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

    fn open_narrow(&self) -> Arc<dyn Bus> {
        let options = EmbeddedOptions::new(self.0.path().join("log"));
        let narrow = EmbeddedOptions { queue_bytes_max: 100_000, session_timeout: Duration::from_secs(2), ..options };
        Arc::new(EmbeddedBus::open(narrow).expect("opened"))
    }

    fn delete_topics(&self) {
        std::fs::remove_dir_all(self.0.path().join("log")).expect("removed");
    }

    const PARTITIONS: u32 = 10_000;
}

conformance!(Folder);
