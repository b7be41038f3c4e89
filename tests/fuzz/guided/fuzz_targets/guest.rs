//! `tidemill_runtime::fuzzing`, the answers of guests, guided by coverage.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_fuzz::memory::{self, BYTES_MAX};

fuzz_target!(|bytes: &[u8]| {
    memory::within(BYTES_MAX, bytes, |bytes| {
        tidemill_runtime::fuzzing::check_answers(bytes);
    });
});
