//! A bus that can be silent or refuse.

use parking_lot::Mutex;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tidemill_bus::{
    Ack, Bus, BusError, Compression, GroupPosition, Member, Reader, RecordBuf, Start, SystemClock, TopicInfo, TopicPartition, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
    faults::FaultFiles,
};
use tidemill_message::MessageRef;

/// How the bus behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Up,
    /// Publishes are neither taken nor refused, until it is up again: then they are taken.
    Silent,
    Refusing,
    /// Every publish is too large for it.
    Narrow,
}

/// A publish that was not answered.
type Held = (String, u32, RecordBuf, Ack);

/// A real log with a door.
pub struct Double {
    log: EmbeddedBus,
    mode: Mutex<Mode>,
    held: Mutex<Vec<Held>>,
    asked: AtomicUsize,
    /// Partitions from here on are not there any more.
    partitions: AtomicU32,
}

/// A ping as the bus has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub id: String,
    pub uuid: [u8; 16],
    pub partition: u32,
}

impl Double {
    pub fn new(mode: Mode) -> Arc<Self> {
        let options = EmbeddedOptions::new(PathBuf::from("/bus"));
        let log = EmbeddedBus::open_with(options, Arc::new(FaultFiles::default()), Arc::new(SystemClock::default())).expect("a log");
        let raw = TopicSpec { name: "raw".into(), partitions: 3, compacted: false, compression: Compression::None };
        log.ensure_topics(&[raw]).expect("a topic");
        Arc::new(Self { log, mode: Mutex::new(mode), held: Mutex::default(), asked: AtomicUsize::new(0), partitions: AtomicU32::new(3) })
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock() = mode;
        if mode == Mode::Up {
            let held = std::mem::take(&mut *self.held.lock());
            held.into_iter().for_each(|(topic, partition, records, ack)| self.log.publish(&topic, partition, records, ack));
        }
    }

    /// The topic is there with so many partitions from now on.
    pub fn keep_partitions(&self, count: u32) {
        self.partitions.store(count, Ordering::Relaxed);
    }

    /// How many publishes came, from requests and the drain.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Everything it took, partition by partition in order.
    pub fn seen(&self) -> Vec<Seen> {
        let topic = &self.log.topics().expect("topics")[0];
        let mut seen = vec![];
        for (partition, range) in topic.partitions.iter().enumerate() {
            let at = TopicPartition { topic: "raw".into(), partition: partition as u32 };
            let mut reader = self.log.reader(&at, Start::Beginning).expect("a reader");
            let mut next = range.start;
            while next < range.end {
                let batch = reader.poll(Duration::from_secs(5)).expect("readable").expect("records");
                next = batch.next_offset().expect("records");
                seen.extend(batch.iter().map(|(_, record)| Seen {
                    id: String::from_utf8_lossy(record.key).into_owned(),
                    uuid: *MessageRef::parse(record.value).expect("a message").uuid(),
                    partition: partition as u32,
                }));
            }
        }
        seen
    }
}

impl Bus for Double {
    fn kind(&self) -> &'static str {
        "double"
    }

    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        self.log.ensure_topics(topics)
    }

    fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        self.health()?;
        Ok(self.log.partitions(topic)?.min(self.partitions.load(Ordering::Relaxed)))
    }

    fn incarnation(&self, topic: &str) -> Result<Arc<str>, BusError> {
        self.log.incarnation(topic)
    }

    fn publish(&self, topic: &str, partition: u32, records: RecordBuf, ack: Ack) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match *self.mode.lock() {
            Mode::Up if partition >= self.partitions.load(Ordering::Relaxed) => {
                ack(Err(BusError::NotFound(format!("topic {topic} partition {partition}"))));
            }
            Mode::Up => self.log.publish(topic, partition, records, ack),
            Mode::Silent => self.held.lock().push((topic.to_owned(), partition, records, ack)),
            Mode::Refusing => ack(Err(BusError::Unavailable("refused".to_owned()))),
            Mode::Narrow => ack(Err(BusError::TooLarge { topic: topic.to_owned(), size: records.largest(), limit: 1 })),
        }
    }

    fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Member>, BusError> {
        self.log.join(group, topics)
    }

    fn reader(&self, partition: &TopicPartition, start: Start) -> Result<Box<dyn Reader>, BusError> {
        self.log.reader(partition, start)
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        self.log.topics()
    }

    fn group_positions(&self) -> Result<Vec<GroupPosition>, BusError> {
        self.log.group_positions()
    }

    fn health(&self) -> Result<(), BusError> {
        match *self.mode.lock() {
            Mode::Up | Mode::Narrow => Ok(()),
            mode => Err(BusError::Unavailable(format!("it is {mode:?}"))),
        }
    }
}
