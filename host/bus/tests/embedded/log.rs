//! A log in memory whose disk can be looked into.

use crate::conformance::*;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tidemill_bus::{
    Bus, BusError, Start,
    embedded::{EmbeddedBus, EmbeddedOptions},
    faults::{FaultFiles, ManualClock},
};

pub const FOLDER: &str = "/log";

/// 2026-07-01T00:00:00Z.
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Duration::from_secs(1_782_864_000)))
}

pub fn try_open(files: &FaultFiles) -> Result<EmbeddedBus, BusError> {
    EmbeddedBus::open_with(EmbeddedOptions::new(FOLDER), Arc::new(files.clone()), clock())
}

pub fn open(files: &FaultFiles) -> EmbeddedBus {
    try_open(files).expect("opened")
}

/// The segments, oldest first.
pub fn logs(files: &FaultFiles) -> Vec<PathBuf> {
    files.paths().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect()
}

pub fn content(files: &FaultFiles, path: &Path) -> Vec<u8> {
    files.content(path).expect("the file is there")
}

/// What can be read now, without waiting.
pub fn found(bus: &dyn Bus, topic: &str, partition: u32) -> Vec<Seen> {
    let mut reader = bus.reader(&at(topic, partition), Start::Beginning).expect("a reader");
    let mut seen = Vec::new();
    while let Some(batch) = reader.poll(Duration::ZERO).expect("a poll") {
        let one = |(offset, record): (i64, tidemill_bus::RecordRef<'_>)| Seen {
            partition: batch.partition.clone(),
            offset,
            value: record.value.to_vec(),
        };
        seen.extend(batch.iter().map(one));
    }
    seen
}

pub fn found_values(bus: &dyn Bus, topic: &str, partition: u32) -> Vec<String> {
    values(&found(bus, topic, partition))
}
