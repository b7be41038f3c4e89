//! What the host keeps beside a guest's own memory: its limits, what it uses of them, and its report.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::limits::{LimitExceeded, Limits, within};
use crate::report::CallReport;

/// The data of a wasmtime Store.
pub(crate) struct HostState {
    pub(crate) limits: Arc<Limits>,
    pub(crate) limiter: Limiter,
    pub(crate) report: CallReport,
}

impl HostState {
    pub(crate) fn new(limits: Arc<Limits>) -> Self {
        Self { limiter: Limiter::new(&limits), limits, report: CallReport::default() }
    }

    /// A call begins.
    pub(crate) fn begin(&mut self) {
        self.report.begin();
        self.limiter.refused = None;
    }
}

/// Sums memory and table elements over the Store; wasmtime's own limits hold for each memory and table by itself.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: Sum,
    table: Sum,
    counts: [usize; 3],
    /// The first growth refused since the call began: why a guest that gave up did so.
    pub(crate) refused: Option<LimitExceeded>,
}

#[derive(Debug)]
struct Sum {
    name: &'static str,
    limit: u64,
    used: u64,
    last: u64,
}

impl Sum {
    fn new(name: &'static str, limit: u64) -> Self {
        Self { name, limit, used: 0, last: 0 }
    }

    fn grow(&mut self, current: usize, desired: usize) -> Result<(), LimitExceeded> {
        self.last = 0;
        let more = desired.saturating_sub(current) as u64;
        within(self.name, self.limit, self.used, more)?;
        (self.used, self.last) = (self.used + more, more);
        Ok(())
    }

    /// A growth that was allowed did not happen.
    fn undo(&mut self) {
        self.used -= std::mem::take(&mut self.last);
    }
}

impl Limiter {
    fn new(limits: &Limits) -> Self {
        let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Self {
            memory: Sum::new("memory_bytes_max", limits.memory_bytes_max),
            table: Sum::new("table_elements_max", limits.table_elements_max),
            counts: [count(limits.instances_max), count(limits.tables_max), count(limits.memories_max)],
            refused: None,
        }
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory.used
    }

    fn answer(&mut self, grown: Result<(), LimitExceeded>) -> wasmtime::Result<bool> {
        let refusal = grown.err();
        let is_allowed = refusal.is_none();
        self.refused = self.refused.take().or(refusal);
        Ok(is_allowed)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let grown = self.memory.grow(current, desired);
        self.answer(grown)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.undo();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let grown = self.table.grow(current, desired);
        self.answer(grown)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table.undo();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.counts[0]
    }

    fn tables(&self) -> usize {
        self.counts[1]
    }

    fn memories(&self) -> usize {
        self.counts[2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_summed_over_memories_and_failed_growth_is_given_back() {
        let limits = Limits { memory_bytes_max: 100, ..Limits::default() };
        let mut limiter = Limiter::new(&limits);
        assert!(limiter.memory_growing(0, 60, None).expect("answer"));
        assert!(!limiter.memory_growing(0, 41, None).expect("answer"));
        let refused = LimitExceeded { name: "memory_bytes_max", limit: 100, current: 60, requested: 41 };
        assert_eq!(limiter.refused, Some(refused));
        limiter.memory_grow_failed(wasmtime::Error::msg("refused")).expect("noted");
        assert_eq!(limiter.memory_bytes(), 60);
        assert!(limiter.memory_growing(0, 40, None).expect("answer"));
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).expect("noted");
        assert_eq!(limiter.memory_bytes(), 60);
    }
}
