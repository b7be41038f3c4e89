//! Short words for what the tests do.

use bytes::Bytes;
use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use tidemill_bus::{Bus, BusError, Compression, Event, GroupPosition, Member, Reader, RecordBuf, Start, Step, TopicPartition, TopicSpec};

/// How long a test waits for what must come: a Kafka group takes seconds to settle.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a test waits for what must not come.
pub const SILENCE: Duration = Duration::from_millis(700);

/// A record as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub partition: TopicPartition,
    pub offset: i64,
    pub value: Vec<u8>,
}

pub fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: Arc::from(topic), partition }
}

pub fn spec(name: &str, partitions: u32, compression: Compression) -> TopicSpec {
    TopicSpec { name: Arc::from(name), partitions, compacted: false, compression }
}

/// `in` uncompressed and `out` with zstd, of so many partitions each.
pub fn in_and_out(bus: &dyn Bus, partitions: u32) {
    let topics = [spec("in", partitions, Compression::None), spec("out", partitions, Compression::Zstd(1))];
    bus.ensure_topics(&topics).expect("topics are made");
}

pub fn records<V: AsRef<[u8]>>(values: &[V]) -> RecordBuf {
    let mut made = RecordBuf::default();
    for value in values {
        made.push(1_700_000_000_000, value.as_ref(), &[("tm-v", b"1")], value.as_ref());
    }
    made
}

/// Publishes and waits for the ack.
pub fn publish(bus: &dyn Bus, topic: &str, partition: u32, records: RecordBuf) -> Result<(), BusError> {
    let (acked, ack) = mpsc::channel();
    bus.publish(topic, partition, records, Box::new(move |result| drop(acked.send(result))));
    ack.recv_timeout(PATIENCE).expect("the ack is called")
}

pub fn publish_values(bus: &dyn Bus, topic: &str, partition: u32, values: &[&str]) {
    publish(bus, topic, partition, records(values)).expect("published");
}

/// The positions of all groups once they are as `expected` says: a broker tells those of a step a moment after it acknowledged it.
pub fn group_positions(bus: &dyn Bus, expected: impl Fn(&[GroupPosition]) -> bool) -> Vec<GroupPosition> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = bus.group_positions().expect("listed");
        if expected(&found) || Instant::now() > deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn step_to(topic: &str, partition: u32, values: &[&str]) -> Step {
    let mut step = Step::default();
    *step.records(&at(topic, partition)) = records(values);
    step
}

/// Reads `count` records from the beginning of a partition, then makes sure that no more come.
pub fn read_all(bus: &dyn Bus, topic: &str, partition: u32, count: usize) -> Vec<Seen> {
    let mut reader = bus.reader(&at(topic, partition), Start::Beginning).expect("a reader");
    let mut seen = read(&mut *reader, count);
    while let Some(batch) = reader.poll(SILENCE).expect("a poll") {
        seen.extend(batch.iter().map(|(offset, record)| one(&batch.partition, offset, record.value)));
    }
    seen
}

pub fn read(reader: &mut dyn Reader, count: usize) -> Vec<Seen> {
    let (mut seen, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while seen.len() < count && Instant::now() < deadline {
        if let Some(batch) = reader.poll(Duration::from_millis(200)).expect("a poll") {
            seen.extend(batch.iter().map(|(offset, record)| one(&batch.partition, offset, record.value)));
        }
    }
    seen
}

fn one(partition: &TopicPartition, offset: i64, value: &[u8]) -> Seen {
    Seen { partition: partition.clone(), offset, value: value.to_vec() }
}

pub fn values(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| String::from_utf8_lossy(&seen.value).into_owned()).collect()
}

/// A member of a group and what it was told.
pub struct Consumer {
    pub member: Box<dyn Member>,
    pub owned: Vec<(TopicPartition, i64)>,
    pub seen: Vec<Seen>,
    pub assigned: usize,
    pub revoked: usize,
}

impl Consumer {
    pub fn join(bus: &dyn Bus, group: &str, topics: &[&str]) -> Self {
        let member = bus.join(group, topics).expect("joined");
        Self { member, owned: Vec::new(), seen: Vec::new(), assigned: 0, revoked: 0 }
    }

    /// Joins and polls until something is assigned.
    pub fn joined(bus: &dyn Bus, group: &str, topics: &[&str]) -> Self {
        let mut made = Self::join(bus, group, topics);
        made.until("an assignment", |made| !made.owned.is_empty());
        made
    }

    /// One poll.
    pub fn poll(&mut self, wait: Duration) {
        match self.member.poll(wait).expect("a poll") {
            Event::Assigned(owned) => {
                self.owned = owned;
                self.assigned += 1;
            }
            Event::Revoked(lost) => {
                self.owned.retain(|(partition, _)| !lost.contains(partition));
                self.revoked += 1;
            }
            Event::Batch(batch) => {
                assert_eq!(batch.offsets.len(), batch.iter().count(), "an offset a record");
                self.seen.extend(batch.iter().map(|(offset, record)| one(&batch.partition, offset, record.value)));
            }
            Event::Idle => {}
        }
    }

    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what} did not come; seen {:?}", values(&self.seen));
            self.poll(Duration::from_millis(100));
        }
    }

    /// Polls until so many records were seen in all.
    pub fn until_seen(&mut self, count: usize) {
        self.until(&format!("record {count}"), |made| made.seen.len() >= count);
    }

    /// Polls for a while.
    pub fn during(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            self.poll(left.min(Duration::from_millis(100)));
        }
    }

    /// The values of a partition in the order seen.
    pub fn values_of(&self, partition: &TopicPartition) -> Vec<String> {
        values(&self.seen.iter().filter(|seen| seen.partition == *partition).cloned().collect::<Vec<_>>())
    }

    /// The position after the last record seen of a partition.
    pub fn next(&self, partition: &TopicPartition) -> i64 {
        self.seen.iter().filter(|seen| seen.partition == *partition).map(|seen| seen.offset + 1).max().expect("something was seen")
    }

    pub fn checkpoint(&mut self, key: &str) -> Option<Bytes> {
        self.member.checkpoint(key).expect("a look-up")
    }
}
