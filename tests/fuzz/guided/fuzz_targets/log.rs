//! `tidemill_fuzz::log`, guided by coverage, on files in memory.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tidemill_bus::Files;
use tidemill_bus::faults::FaultFiles;
use tidemill_fuzz::memory::{self, LOG_BYTES_MAX};

fuzz_target!(|bytes: &[u8]| {
    let files: Arc<dyn Files> = Arc::new(FaultFiles::default());
    memory::within(LOG_BYTES_MAX, bytes, |bytes| tidemill_fuzz::log(&files, bytes));
});
