//! Each target for some seconds on mutations of its corpus (`TIDEMILL_FUZZ_SECONDS`, else 5): none panics, hangs, or takes memory without
//! bound.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use tidemill_bus::Files;
use tidemill_bus::faults::FaultFiles;
use tidemill_fuzz::memory::{self, BYTES_MAX, LOG_BYTES_MAX};
use tidemill_mutate::{Budget, Fuzz};

fn run(name: &str, target: impl Fn(&[u8])) {
    run_within(name, BYTES_MAX, target);
}

fn run_within(name: &str, bytes_max: isize, target: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let most = Cell::new(0);
    let ran = Fuzz::on_folder(name, &folder).run(Budget::of_environment(), |bytes| {
        most.set(most.get().max(memory::within(bytes_max, bytes, &target)));
    });
    println!("{name}: {} inputs, at most {} KB of memory for one", ran.inputs, most.get() >> 10);
}

#[test]
fn heka_messages() {
    run("heka", tidemill_fuzz::heka);
}

#[test]
fn framed_streams() {
    run("framing", tidemill_fuzz::framing);
}

#[test]
fn matcher_expressions() {
    run("matcher", tidemill_fuzz::matcher);
}

#[test]
fn paths() {
    run("uri", tidemill_fuzz::uri);
}

#[test]
fn bodies() {
    run("body", tidemill_fuzz::body);
}

#[test]
fn raw_records() {
    run("record", tidemill_fuzz::record);
}

#[test]
fn documents() {
    run("json", tidemill_fuzz::json);
}

#[test]
fn logs() {
    run_within("log", LOG_BYTES_MAX, |bytes| {
        let files: Arc<dyn Files> = Arc::new(FaultFiles::default());
        tidemill_fuzz::log(&files, bytes);
    });
}
