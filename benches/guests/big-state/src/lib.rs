//! Keeps counters whose snapshot has a size of its configuration: what checkpoints cost.

use tidemill_guest::analysis::*;

/// The format of the state: the counters one behind the other.
const STATE_FORMAT: u32 = 1;
/// Bytes of a counter in the state.
const COUNTER_BYTES: usize = 8;

/// The counters; each message adds to one.
#[derive(Debug)]
pub struct BigState {
    time: Column<Timestamp, Required>,
    counters: Vec<u64>,
}

impl Analysis for BigState {
    fn open(config: &Config<'_>, read: &mut Subscription, _: &mut Graphs) -> Result<Self, Failure> {
        let bytes = config.u32("bytes")?.unwrap_or(1 << 20) as usize;
        Ok(Self { time: read.timestamp(), counters: vec![0; (bytes / COUNTER_BYTES).max(1)] })
    }

    fn message(&mut self, row: Row<'_>, _: &mut Findings<'_>) -> Result<(), Failure> {
        let counters = self.counters.len();
        self.counters[row.get(self.time).ns() as usize % counters] += 1;
        Ok(())
    }
}

impl State for BigState {
    fn snapshot(&self) -> Vec<u8> {
        let mut state = StateWriter::new(STATE_FORMAT);
        for counter in &self.counters {
            state.u64(*counter);
        }
        state.finish()
    }

    fn restore(&mut self, bytes: &[u8], _: &str) -> Result<(), Failure> {
        let mut state = StateReader::new(bytes, STATE_FORMAT)?;
        for counter in &mut self.counters {
            *counter = state.u64()?;
        }
        Ok(())
    }
}

tidemill_guest::export_analysis!(BigState, state);
