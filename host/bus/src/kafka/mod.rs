//! The bus on Apache Kafka: a step is a transaction, a member is a consumer of a classic group with the eager `range` assignment.
//!
//! * Names of topics, groups and transactional ids carry the configured prefix.
//! * Checkpoints are records of the compacted topic `checkpoints`, key `group/key`, written in the step's transaction; large ones are
//!   several records.
//! * Every step sends at least one position with the membership under which its partitions were assigned, so that the brokers
//!   refuse a member that was put out of its group.
//! * A topic's incarnation is the id that the cluster gave it. Committed positions carry it.

mod admin;
mod assignment;
mod checkpoints;
mod chunks;
mod cluster;
mod creations;
mod errors;
mod fetch;
mod group;
mod handles;
mod member;
mod messages;
mod options;
mod produce;
mod publish;
mod reader;
mod topics;
mod transaction;

pub use options::KafkaOptions;

use crate::{Ack, Bus, BusError, GroupPosition, Member, OffsetRange, Reader, RecordBuf, Start, TopicInfo, TopicPartition, TopicSpec};
use admin::{Isolation, Wanted};
use cluster::{CHECKPOINTS, Cluster};
use parking_lot::Mutex;
use publish::Publisher;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The room that a healthy bus has for the next publish: the largest body of a request.
const ROOM_BYTES: usize = 1 << 20;
/// How long an answer about the cluster's health is good for,
const HEALTH_AGE_MAX: Duration = Duration::from_secs(1);
/// and how long it may take.
const HEALTH_WAIT: Duration = Duration::from_secs(2);

/// A Kafka cluster as a bus. Dropping it waits at most two seconds for what was published and is not acknowledged.
pub struct KafkaBus {
    cluster: Arc<Cluster>,
    publisher: Publisher,
    health: Mutex<Option<(Instant, Option<String>)>>,
}

impl std::fmt::Debug for KafkaBus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KafkaBus").field("brokers", &self.cluster.options.brokers).finish_non_exhaustive()
    }
}

impl KafkaBus {
    /// Makes the clients. Brokers need not be there yet: the calls that need them say so.
    ///
    /// # Errors
    /// When an option is unknown to librdkafka, out of its range, or one that Tidemill sets itself.
    pub fn connect(options: KafkaOptions) -> Result<Self, BusError> {
        let publisher = Publisher::new(&options)?;
        let cluster = Arc::new(Cluster::new(options)?);
        Ok(Self { cluster, publisher, health: Mutex::new(None) })
    }

    /// Positions of one group in topics of the bus.
    fn positions_of(&self, full: &str) -> Result<Vec<GroupPosition>, BusError> {
        let Some(short) = self.cluster.short(full) else { return Ok(Vec::new()) };
        let group: Arc<str> = Arc::from(short);
        let committed = admin::committed(self.cluster.handle(), full, self.cluster.timeout())?;
        let position = |(topic, partition, position): (String, u32, i64)| {
            let topic = Arc::from(self.cluster.short(&topic)?);
            Some(GroupPosition { group: Arc::clone(&group), partition: TopicPartition { topic, partition }, position })
        };
        Ok(committed.into_iter().filter_map(position).collect())
    }

    fn ask_health(&self) -> Option<String> {
        let topic = self.cluster.full(CHECKPOINTS);
        let asked = self.cluster.admin.inner().fetch_metadata(Some(&topic), HEALTH_WAIT);
        asked.err().map(|error| format!("no broker of {} answers: {error}", self.cluster.options.brokers))
    }
}

impl Drop for KafkaBus {
    fn drop(&mut self) {
        self.publisher.close();
    }
}

impl Bus for KafkaBus {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        topics::ensure(&self.cluster, topics)
    }

    fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        self.cluster.partitions(&self.cluster.full(topic))
    }

    fn incarnation(&self, topic: &str) -> Result<Arc<str>, BusError> {
        let full = self.cluster.full(topic);
        let found = admin::topic_ids(self.cluster.handle(), &[&full], self.cluster.timeout())?;
        found.into_iter().next().unwrap_or_else(|| Err(BusError::NotFound(format!("topic {full}")))).map(Arc::from)
    }

    fn publish(&self, topic: &str, partition: u32, records: RecordBuf, ack: Ack) {
        let full = self.cluster.full(topic);
        self.publisher.publish(&full, partition, &records, self.cluster.compression(&full), ack);
    }

    fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Member>, BusError> {
        match self.cluster.partitions(&self.cluster.full(CHECKPOINTS)) {
            Ok(_) => {}
            Err(BusError::NotFound(_)) => topics::ensure(&self.cluster, &[])?,
            Err(error) => return Err(error),
        }
        Ok(Box::new(member::KafkaMember::join(&self.cluster, group, topics)?))
    }

    fn reader(&self, partition: &TopicPartition, start: Start) -> Result<Box<dyn Reader>, BusError> {
        Ok(Box::new(reader::KafkaReader::new(&self.cluster, partition, start)?))
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        let topics = self.cluster.topics()?;
        let all: Vec<_> = topics.iter().flat_map(|(topic, count)| (0..*count).map(move |partition| (topic.as_str(), partition))).collect();
        let starts = self.cluster.offsets(&all, Wanted::Earliest, Isolation::Committed)?;
        let ends = self.cluster.offsets(&all, Wanted::Latest, Isolation::Committed)?;
        let known = |offsets: &admin::Offsets, at: &(String, i32)| offsets.get(at).and_then(|found| found.ok()).unwrap_or(0);
        let info = |(topic, count): &(String, u32)| {
            let at = |partition: u32| (topic.clone(), partition as i32);
            let range = |partition| OffsetRange { start: known(&starts, &at(partition)), end: known(&ends, &at(partition)) };
            let name = Arc::from(self.cluster.short(topic).unwrap_or(topic));
            TopicInfo { name, partitions: (0..*count).map(range).collect() }
        };
        Ok(topics.iter().map(info).collect())
    }

    fn group_positions(&self) -> Result<Vec<GroupPosition>, BusError> {
        let groups = admin::groups(self.cluster.handle(), &self.cluster.options.topic_prefix, self.cluster.timeout())?;
        groups.iter().map(|group| self.positions_of(group)).collect::<Result<Vec<_>, _>>().map(|found| found.concat())
    }

    fn health(&self) -> Result<(), BusError> {
        let (waiting, most) = self.publisher.load();
        if waiting > 0 && waiting + ROOM_BYTES > most {
            return Err(BusError::Full(format!("{waiting} bytes wait for Kafka, at most {most} may")));
        }
        let mut health = self.health.lock();
        let known = health.take().filter(|(asked, _)| asked.elapsed() < HEALTH_AGE_MAX);
        let (asked, trouble) = known.unwrap_or_else(|| (Instant::now(), self.ask_health()));
        *health = Some((asked, trouble.clone()));
        trouble.map_or(Ok(()), |trouble| Err(BusError::Unavailable(trouble)))
    }
}
