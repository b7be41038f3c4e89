//! Guests that break each promise of the contract, and what the host says then.
#![expect(missing_docs, reason = "tests")]

mod broken;
mod evil;
mod fuel_and_memory;
mod kinds;
mod loading;
mod sdk;
mod sound;
mod support;

use support::Guest;
use tidemill_runtime::{Batch, CallError, Instance, Limits, Plugin, Runtime, RuntimeOptions};

pub fn load(guest: Guest) -> Plugin {
    let runtime = Runtime::new(RuntimeOptions::default()).expect("a runtime");
    runtime.load("evil", &guest.build()).expect("a plugin")
}

pub fn open(guest: Guest, limits: &Limits) -> Instance {
    load(guest).open("{}", limits).expect("an instance")
}

/// A batch of three rows without columns.
pub fn batch() -> Batch {
    Batch { partition: 1, rows: 3, now_ms: 60_000, ..Batch::default() }
}

/// The error of one `process`.
pub fn fails(guest: Guest, limits: &Limits) -> CallError {
    open(guest, limits).process(&batch()).expect_err("an evil guest")
}
