//! An analysis plugin that tells what it saw, so that a crash run can check that it saw every message once.
//!
//! | `mode` | does | what a test expects of all its messages |
//! |---|---|---|
//! | `stateful` | numbers the messages of its partition, and says each number | in a partition of n messages 1 to n, each once |
//! | `timed` | says at every tick how many came since the last | the sum is the number of messages |
//! | `several` | says two things about each message | each document id with each of the two, once |
//!
//! Its state is what it would not know otherwise: the number, and how many came since the last tick.

use tidemill_guest::analysis::*;

/// What the messages are told apart by.
const TYPE: &str = "witness";
const STATE_FORMAT: u32 = 1;
/// The partition's time between ticks.
const TICK_MS: u32 = 250;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Stateful,
    Timed,
    Several,
}

/// See the module.
#[derive(Debug)]
pub struct Witness {
    mode: Mode,
    time: Column<Timestamp, Required>,
    id: Column<Text>,
    seen: u64,
    since_tick: u64,
}

impl Analysis for Witness {
    fn open(config: &Config<'_>, read: &mut Subscription, _: &mut Graphs) -> Result<Self, Failure> {
        let mode = match config.required_text("mode")? {
            "stateful" => Mode::Stateful,
            "timed" => Mode::Timed,
            "several" => Mode::Several,
            other => return Err(Failure::new(format!("no such mode: {other}"))),
        };
        read.matcher("Type == 'validated'");
        read.scope(Scope::Partition);
        if mode == Mode::Timed {
            read.tick_ms(TICK_MS);
        }
        Ok(Self { mode, time: read.timestamp(), id: read.column("Fields[documentId]"), seen: 0, since_tick: 0 })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let (time, id) = (row.get(self.time), row.get(self.id).unwrap_or_default());
        self.seen += 1;
        self.since_tick += 1;
        match self.mode {
            Mode::Stateful => say(out, "stateful", time, id, self.seen),
            Mode::Several => (0..2).for_each(|n| say(out, "several", time, id, n)),
            Mode::Timed => {}
        }
        Ok(())
    }
}

impl Timers for Witness {
    fn tick(&mut self, now: Time, out: &mut Findings<'_>) -> Result<(), Failure> {
        let count = std::mem::take(&mut self.since_tick);
        if self.mode == Mode::Timed && count > 0 {
            say(out, "timed", now, "", count);
        }
        Ok(())
    }
}

impl State for Witness {
    fn snapshot(&self) -> Vec<u8> {
        let mut state = StateWriter::new(STATE_FORMAT);
        state.u64(self.seen).u64(self.since_tick);
        state.finish()
    }

    fn restore(&mut self, bytes: &[u8], _: &str) -> Result<(), Failure> {
        let mut state = StateReader::new(bytes, STATE_FORMAT)?;
        (self.seen, self.since_tick) = (state.u64()?, state.u64()?);
        Ok(())
    }
}

/// The key keeps the messages of one input in one partition; the payload is what a test counts.
fn say(out: &mut Findings<'_>, mode: &str, time: Time, id: &str, number: u64) {
    let mut message = Message::new(TYPE, time);
    message.logger(mode).payload(number.to_string()).text("documentId", id);
    out.message(&message);
}

tidemill_guest::export_analysis!(Witness, state, timers);
