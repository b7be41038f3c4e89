//! Steady state: once a pass has seen documents of a kind, it allocates nothing.
#![expect(unsafe_code, reason = "an allocator that counts")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tidemill_json::{Captures, Padded, Pass, index};
use tidemill_schema::{DraftRule, Schema, SchemaName};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends may allocate after its counter is gone.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The text of the schema that the name of a recorded ping states.
fn schema_text(ping: &std::path::Path) -> (SchemaName, Vec<u8>) {
    let name = ping.file_name().and_then(|name| name.to_str()).expect("a name");
    let mut parts = name.split('.');
    let (doctype, version) = (parts.next().expect("a document type"), parts.next().expect("a version"));
    let namespace = ping.parent().and_then(|folder| folder.file_name()).and_then(|name| name.to_str()).expect("a namespace");
    let folder = ping.ancestors().nth(3).expect("the repository").join("schemas").join(namespace);
    let file = format!("{doctype}.{version}.schema.json");
    let text = std::fs::read(folder.join(doctype).join(&file)).or_else(|_| std::fs::read(folder.join(&file))).expect("a schema");
    (SchemaName { namespace: namespace.into(), doctype: doctype.into(), version: version.parse().expect("a number") }, text)
}

#[test]
fn a_pass_in_steady_state_allocates_nothing() {
    let captures = Captures::new(&["/payload/*/*", "/environment/system/os/name", "/payload/histograms/*/sum", ""]).expect("pointers");
    let (mut pass, mut header) = (Pass::new(), Vec::new());
    let mut checked = 0;
    for path in common::recorded_pings("a_pass_in_steady_state_allocates_nothing") {
        if !path.to_string_lossy().ends_with(".pass.json") {
            continue;
        }
        let (name, text) = schema_text(&path);
        let schema = Schema::new(name, &text, DraftRule::default()).expect("a schema");
        let text = std::fs::read(&path).expect("a readable ping");
        let mut document = Padded::new();
        let mut run = || {
            document.set(&text);
            schema.validate(&mut pass, &captures, &document).expect("valid");
            header.clear();
            index::encode(pass.members(), &document, &mut header)
        };
        run();
        let before = ALLOCATIONS.get();
        assert!(run() && run());
        assert_eq!(ALLOCATIONS.get() - before, 0, "{}", path.display());
        checked += 1;
    }
    assert!(checked == 88 || checked == 0, "{checked} pings");
}
