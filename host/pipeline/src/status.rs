//! Live state shared with the API.

use std::sync::atomic::{AtomicU64, Ordering};

/// The figures of one plugin, summed over all its instances; written by the stages, read by the API.
///
/// They are counts since the process started, but for `memory_bytes` (the greatest instance's) and `lag`.
#[derive(Debug, Default)]
pub struct PluginStatus {
    /// Messages that its matcher selected.
    pub messages_in: AtomicU64,
    /// Messages it decoded, injected or delivered.
    pub messages_out: AtomicU64,
    /// Messages that ended in `errors` because of it.
    pub rejected: AtomicU64,
    /// Fuel of all calls, also of those that failed.
    pub fuel_total: AtomicU64,
    /// Calls that trapped, or ran out of fuel or memory, or gave a broken answer.
    pub traps: AtomicU64,
    /// Instances made in place of lost ones.
    pub restarts: AtomicU64,
    /// Bytes of linear memory of the greatest instance.
    pub memory_bytes: AtomicU64,
    /// Messages it has not seen yet.
    pub lag: AtomicU64,
}

impl PluginStatus {
    /// Adds to a count.
    pub fn add(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }

    /// What a count stands at.
    pub fn get(count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }
}
