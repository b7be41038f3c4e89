//! Each target for some seconds on mutations of its corpus (`TIDEMILL_FUZZ_SECONDS`, else 5): none panics, hangs, or takes memory without
//! bound.
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use tidemill_bus::Files;
use tidemill_bus::faults::FaultFiles;
use tidemill_mutate::{Budget, Fuzz};

/// What one input of some KB may make a target hold at once. The largest is a document of 1 MiB and what is made of it, or a matcher's
/// pattern.
const BYTES_MAX: isize = 64 << 20;

/// A log may state topics of 65,536 partitions, of some hundred bytes each.
const LOG_BYTES_MAX: isize = 512 << 20;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends may allocate after its counters are gone.
    let live = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        live.get()
    });
    let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.unwrap_or(0))));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn run(name: &str, target: impl Fn(&[u8])) {
    run_within(name, BYTES_MAX, target);
}

fn run_within(name: &str, bytes_max: isize, target: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let most = Cell::new(0);
    let ran = Fuzz::on_folder(name, &folder).run(Budget::of_environment(), |bytes| {
        let before = LIVE.get();
        PEAK.set(before);
        target(bytes);
        let taken = PEAK.get() - before;
        most.set(most.get().max(taken));
        assert!(taken <= bytes_max, "{taken} bytes of memory for an input of {}", bytes.len());
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
