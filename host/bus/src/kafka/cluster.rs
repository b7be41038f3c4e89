//! The cluster as all parts of the bus see it: names, topics, offsets.

use super::{
    admin::{self, Handle, Isolation, Offsets, Wanted},
    errors::{Plain, meaning, of_code, unavailable},
    options::KafkaOptions,
};
use crate::{BusError, Compression, TopicPartition};
use parking_lot::{Mutex, RwLock};
use rdkafka::{
    admin::AdminClient,
    config::FromClientConfigAndContext,
    error::{IsError, RDKafkaErrorCode as Code},
    metadata::MetadataTopic,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// The bus's own topic of checkpoints.
pub(super) const CHECKPOINTS: &str = "checkpoints";

/// How often a leader is looked for that is being elected.
const LEADER_INTERVAL: Duration = Duration::from_millis(50);

/// A client that asks and administers, and what is known already.
pub(super) struct Cluster {
    pub(super) options: KafkaOptions,
    pub(super) admin: AdminClient<Plain>,
    /// This host's name in transactional ids.
    host: String,
    compressions: RwLock<HashMap<String, Compression>>,
    counts: RwLock<HashMap<String, u32>>,
    members: Mutex<HashMap<String, BTreeSet<u32>>>,
}

impl Cluster {
    /// # Errors
    /// When an option is not librdkafka's, or one of ours.
    pub(super) fn new(options: KafkaOptions) -> Result<Self, BusError> {
        options.check()?;
        let admin = AdminClient::from_config_and_context(&options.client(), Plain);
        let admin = admin.map_err(|error| BusError::Unusable(format!("librdkafka refuses the options: {error}")))?;
        let host = options.host.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        Ok(Self { options, admin, host, compressions: RwLock::default(), counts: RwLock::default(), members: Mutex::default() })
    }

    pub(super) fn handle(&self) -> Handle {
        self.admin.inner().native_ptr()
    }

    /// How long a call may take.
    pub(super) fn timeout(&self) -> Duration {
        self.options.call_timeout
    }

    /// The name on the cluster.
    pub(super) fn full(&self, topic: &str) -> String {
        format!("{}{topic}", self.options.topic_prefix)
    }

    /// The name without the prefix, where it has that.
    pub(super) fn short<'n>(&self, full: &'n str) -> Option<&'n str> {
        full.strip_prefix(&*self.options.topic_prefix)
    }

    pub(super) fn set_compression(&self, full: &str, compression: Compression) {
        self.compressions.write().insert(full.to_owned(), compression);
    }

    /// As the topic was last ensured; none where it never was.
    pub(super) fn compression(&self, full: &str) -> Compression {
        self.compressions.read().get(full).copied().unwrap_or(Compression::None)
    }

    /// The number of partitions as the cluster says now.
    ///
    /// # Errors
    /// When there is no such topic or no broker answers.
    pub(super) fn partitions(&self, full: &str) -> Result<u32, BusError> {
        let what = format!("topic {full}");
        let metadata = self.admin.inner().fetch_metadata(Some(full), self.timeout()).map_err(|error| meaning(&what, &error))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == full);
        let count = topic.map_or(Err(BusError::NotFound(what)), known_count)?;
        self.counts.write().insert(full.to_owned(), count);
        Ok(count)
    }

    /// # Errors
    /// When there is no such partition; when the cluster must be asked and does not answer.
    pub(super) fn check_partition(&self, full: &str, partition: u32) -> Result<(), BusError> {
        let known = self.counts.read().get(full).copied();
        if known.is_some_and(|count| partition < count) || partition < self.partitions(full)? {
            return Ok(());
        }
        Err(BusError::NotFound(format!("topic {full} partition {partition}")))
    }

    /// All topics with the prefix and their partitions; not Kafka's own ones and not the checkpoints.
    ///
    /// # Errors
    /// When no broker answers.
    pub(super) fn topics(&self) -> Result<Vec<(String, u32)>, BusError> {
        let metadata = self.admin.inner().fetch_metadata(None, self.timeout()).map_err(|error| meaning("the list of topics", &error))?;
        let of_the_bus = |name: &str| self.short(name).is_some_and(|short| !short.starts_with("__") && short != CHECKPOINTS);
        let found = metadata.topics().iter().filter(|topic| of_the_bus(topic.name()));
        let mut found: Vec<_> = found.filter_map(|topic| Some((topic.name().to_owned(), known_count(topic).ok()?))).collect();
        found.sort();
        Ok(found)
    }

    /// One offset of each partition; see [`admin::offsets`]. librdkafka asks with the leader epochs that it remembers and does not
    /// forget them when a leader says that they are old, as after every election: so the topics are looked up again.
    ///
    /// # Errors
    /// When no broker answers.
    pub(super) fn offsets(&self, partitions: &[(&str, u32)], wanted: Wanted, isolation: Isolation) -> Result<Offsets, BusError> {
        let found = admin::offsets(self.handle(), partitions, wanted, isolation, self.timeout())?;
        let refused: BTreeSet<&str> = found.iter().filter(|(_, offset)| offset.is_err()).map(|((topic, _), _)| topic.as_str()).collect();
        if refused.is_empty() {
            return Ok(found);
        }
        for topic in refused {
            match self.partitions(topic) {
                Ok(_) | Err(BusError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        admin::offsets(self.handle(), partitions, wanted, isolation, self.timeout())
    }

    /// One offset of each partition, in their order. A leader that is being elected is waited for.
    ///
    /// # Errors
    /// When a leader does not answer in time.
    pub(super) fn all_offsets(&self, partitions: &[(&str, u32)], wanted: Wanted, isolation: Isolation) -> Result<Vec<i64>, BusError> {
        let started = Instant::now();
        loop {
            let found = self.offsets(partitions, wanted, isolation)?;
            let offset = |&(topic, partition): &(&str, u32)| {
                let what = format!("topic {topic} partition {partition}");
                match found.get(&(topic.to_owned(), partition as i32)) {
                    Some(Ok(offset)) => Ok(*offset),
                    Some(Err(code)) => Err(of_code(&what, *code, code)),
                    None => Err(unavailable(&what, "its leader does not answer")),
                }
            };
            match partitions.iter().map(offset).collect() {
                Err(BusError::Unavailable(_)) if started.elapsed() < self.timeout() => thread::sleep(LEADER_INTERVAL),
                all => return all,
            }
        }
    }

    /// One offset of one partition; else as [`Cluster::all_offsets`].
    pub(super) fn offset(&self, full: &str, partition: u32, wanted: Wanted, isolation: Isolation) -> Result<i64, BusError> {
        Ok(self.all_offsets(&[(full, partition)], wanted, isolation)?[0])
    }

    /// Whether the position of a partition is out of the range it holds, and how.
    pub(super) fn out_of_range(&self, partition: &TopicPartition, position: i64) -> Result<Option<BusError>, BusError> {
        let full = self.full(&partition.topic);
        let start = self.offset(&full, partition.partition, Wanted::Earliest, Isolation::Committed)?;
        let end = self.offset(&full, partition.partition, Wanted::Latest, Isolation::Uncommitted)?;
        let is_out = position < start || position > end;
        Ok(is_out.then(|| BusError::OutOfRange { partition: partition.clone(), position, start, end }))
    }

    /// The transactional id of a new member: the lowest number that is free in this process, so that a restarted host uses the
    /// ids it used before.
    pub(super) fn new_member(self: &Arc<Self>, group: &str) -> MemberId {
        let mut members = self.members.lock();
        let taken = members.entry(group.to_owned()).or_default();
        let number = (0..).find(|number| !taken.contains(number)).unwrap_or(u32::MAX);
        taken.insert(number);
        let id = format!("{}{group}/{}/{number}", self.options.topic_prefix, self.host);
        MemberId { cluster: Arc::clone(self), group: group.to_owned(), number, id }
    }
}

/// A transactional id, taken until it is dropped.
pub(super) struct MemberId {
    cluster: Arc<Cluster>,
    group: String,
    number: u32,
    pub(super) id: String,
}

impl Drop for MemberId {
    fn drop(&mut self) {
        if let Some(taken) = self.cluster.members.lock().get_mut(&self.group) {
            taken.remove(&self.number);
        }
    }
}

fn known_count(topic: &MetadataTopic) -> Result<u32, BusError> {
    let what = format!("topic {}", topic.name());
    match topic.error().filter(IsError::is_error).map(Code::from) {
        None if topic.partitions().is_empty() => Err(BusError::NotFound(what)),
        None | Some(Code::LeaderNotAvailable) => Ok(topic.partitions().len() as u32),
        Some(code) => Err(of_code(&what, code, code)),
    }
}
