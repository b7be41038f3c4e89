//! Which documents were seen within a day, at 8 bytes each.
//!
//! [`Seen`] is the memory of one partition of `raw`: it says of a document whether it is new, a copy that a client sent, or the same
//! message delivered twice by ourselves. Time is the greatest edge timestamp seen in the partition, never the clock, so that doing
//! the same messages again decides the same.
//!
//! ```text
//! check --> Window: Filter (fingerprints) + journal of the step --confirm--> durable
//!                                             | undo: as before the step
//!                                             +-save--> Ledger: checkpoints by increments, merged by levels
//! ```
//!
//! * A [`Filter`](filter) keeps 64 bits an id: 42 of fingerprint, 14 that tell the message's Uuid, 8 of time. A document that was never seen is
//!   taken for a copy once in 9.3e9 look-ups in a full filter (2 · 236 · 2^-42), less where it holds less.
//! * What a step decides becomes durable with the step: [`Seen::save`] makes the checkpoints, [`Seen::confirm`] or [`Seen::undo`] follow.
//! * Memory is bounded by [`Options::ids_max`]. Beyond it the oldest ids are forgotten early; where even that does not help, an id
//!   is not remembered. Either way a document is let through rather than dropped, and [`Forgotten`] counts it.

pub mod filter;
mod ledger;
mod root;
mod seen;
mod slot;
mod window;

pub use ledger::Saved;
pub use seen::{Origin, Restored, Seen, root_key};
pub use window::{Forgotten, Mark, Verdict};

/// The window is divided into so many intervals.
pub const INTERVALS: i64 = slot::WINDOW;

/// How much is remembered of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// An id is remembered for so many hours of the partition's time. Default 24.
    pub window_h: u32,
    /// Ids of this partition that are remembered at most. Each takes 8.7 bytes where all are there. Default 8 million.
    pub ids_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { window_h: 24, ids_max: 8_000_000 }
    }
}

impl Options {
    /// The unit of [`Verdict::Duplicate`] and of expiry: 6 minutes of 24 hours.
    pub fn interval_s(&self) -> i64 {
        (i64::from(self.window_h.max(1)) * 3_600).div_euclid(slot::WINDOW)
    }
}

/// What stands for a message that left no document behind: all its bytes, so that no two different ones are taken for one.
pub fn hash_of_message(message: &[u8]) -> u64 {
    // Another function than that of documents, so that neither is taken for the other.
    xxhash_rust::xxh3::xxh3_64_with_seed(message, 1)
}

/// What stands for a document: its namespace, type and id, which has no case. `scratch` is memory that is reused.
pub fn hash_of(namespace: &str, doc_type: &str, document_id: &[u8], scratch: &mut Vec<u8>) -> u64 {
    scratch.clear();
    // No part of a path has a slash.
    for part in [namespace.as_bytes(), b"/", doc_type.as_bytes(), b"/"] {
        scratch.extend_from_slice(part);
    }
    scratch.extend(document_id.iter().map(u8::to_ascii_lowercase));
    xxhash_rust::xxh3::xxh3_64(scratch)
}
