//! Where a run takes place: a bus in a temporary folder, and a clock that the run turns.

use super::error::RunError;
use parking_lot::Mutex;
use std::{
    sync::{Arc, mpsc},
    time::Duration,
};
use tempfile::TempDir;
use tidemill_bus::{
    Bus, BusError, Clock, Compression, RecordBuf, Start, Step, TopicPartition, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
};
use tidemill_pipeline::{
    analysis::{Driver, Work},
    status::LiveState,
};

/// How far the clock is turned from turn to turn.
const TURN: Duration = Duration::from_millis(1);
/// After so many turns without progress it is turned faster: the plugin rests.
const QUIET_TURNS: u32 = 20;
/// How far then.
const QUIET_TURN: Duration = Duration::from_secs(10);
/// After so many turns without progress the run is given up: the longest rest is 300 s, and this is more than ten of them.
const QUIET_TURNS_MAX: u32 = 400;

/// A clock that moves only when told so.
#[derive(Debug)]
pub(super) struct Hand {
    start_s: i64,
    passed: Mutex<Duration>,
}

impl Hand {
    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        *self.passed.lock() += time;
    }
}

impl Clock for Hand {
    fn now_ns(&self) -> i64 {
        self.start_s * 1_000_000_000 + self.passed.lock().as_nanos() as i64
    }

    fn elapsed(&self) -> Duration {
        *self.passed.lock()
    }
}

/// See the module.
pub(super) struct House {
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<Hand>,
    pub live: Arc<LiveState>,
    _folder: TempDir,
}

/// A record that was read back.
pub(super) struct Read {
    /// The header `tm-src`.
    pub source: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

impl House {
    /// A bus with these topics of one partition, and a clock that stands at `start_s`.
    pub fn new(topics: &[String], start_s: i64) -> Result<Self, RunError> {
        let folder = tempfile::Builder::new().prefix("tidemill-run-").tempdir().map_err(RunError::Folder)?;
        let options = EmbeddedOptions {
            // All pings are published at once, with times of their own.
            queue_bytes_max: 4 << 30,
            retention_age: Duration::from_secs(u64::from(u32::MAX)),
            reserve_bytes: 0,
            ..EmbeddedOptions::new(folder.path())
        };
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::open(options)?);
        let spec =
            |name: &String| TopicSpec { name: name.as_str().into(), partitions: 1, compacted: false, compression: Compression::None };
        bus.ensure_topics(&topics.iter().map(spec).collect::<Vec<_>>())?;
        let clock = Arc::new(Hand { start_s, passed: Mutex::default() });
        Ok(Self { bus, clock, live: Arc::default(), _folder: folder })
    }

    /// Publishes the records of a step.
    pub fn publish(&self, step: Step) -> Result<(), RunError> {
        step.publish.into_iter().try_for_each(|(to, records)| self.publish_to(&to, records))
    }

    fn publish_to(&self, to: &TopicPartition, records: RecordBuf) -> Result<(), RunError> {
        let (sender, receiver) = mpsc::channel();
        let ack = Box::new(move |result| drop(sender.send(result)));
        self.bus.publish(&to.topic, to.partition, records, ack);
        Ok(receiver.recv().unwrap_or_else(|_| Err(BusError::Unusable("the bus stopped".to_owned())))?)
    }

    /// All records of a topic.
    pub fn read(&self, topic: &str) -> Result<Vec<Read>, RunError> {
        let place = TopicPartition { topic: topic.into(), partition: 0 };
        let mut reader = self.bus.reader(&place, Start::Beginning)?;
        let mut found = Vec::new();
        while let Some(batch) = reader.poll(Duration::ZERO)? {
            found.extend(
                batch
                    .iter()
                    .map(|(_, record)| Read { source: record.header("tm-src").unwrap_or_default().to_vec(), value: record.value.to_vec() }),
            );
        }
        Ok(found)
    }

    /// Turns until the group and these plugins have worked on everything in the topics. `false` where they make no progress.
    pub fn drain<W: Work>(&self, worker: &mut Driver<W>, group: &str, topics: &[&str], plugins: &[&str]) -> Result<bool, RunError> {
        let (mut quiet, mut left) = (0, u64::MAX);
        while quiet < QUIET_TURNS_MAX {
            worker.turn();
            self.clock.pass(if quiet < QUIET_TURNS { TURN } else { QUIET_TURN });
            let now_left = self.left(group, topics, plugins)?;
            if now_left == 0 && worker.commit() && self.left(group, topics, plugins)? == 0 {
                return Ok(true);
            }
            quiet = if now_left == left { quiet + 1 } else { 0 };
            left = now_left;
        }
        Ok(false)
    }

    /// Records that the group or a plugin has not worked on.
    fn left(&self, group: &str, topics: &[&str], plugins: &[&str]) -> Result<u64, RunError> {
        let (infos, positions) = (self.bus.topics()?, self.bus.group_positions()?);
        let read = infos.iter().filter(|info| topics.contains(&&*info.name));
        let unread = read.map(|info| {
            let end = info.partitions.first().map_or(0, |range| range.end);
            let position = positions.iter().find(|position| &*position.group == group && position.partition.topic == info.name);
            end.saturating_sub(position.map_or(0, |position| position.position)).max(0) as u64
        });
        let unread: u64 = unread.sum();
        let status = plugins.iter().filter_map(|plugin| self.live.find_plugin(plugin));
        Ok(unread + status.map(|status| status.view(&infos).lag).sum::<u64>())
    }
}
