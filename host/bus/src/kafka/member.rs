//! A member of a group.

use super::{
    checkpoints::Checkpoints,
    chunks,
    cluster::Cluster,
    creations::{self, Creations},
    errors::meaning,
    fetch::Waiting,
    group::GroupConsumer,
    produce,
    transaction::{Outcome, Transactions},
};
use crate::{BusError, Event, Member, Step, TopicPartition};
use bytes::Bytes;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer, ConsumerGroupMetadata},
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a seek may take.
const SEEK_MAX: Duration = Duration::from_secs(5);
/// How long a member that asks for its positions waits at most until the next look at its group.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// What the member does at its next poll.
pub(super) enum Phase {
    /// It reads.
    Reading,
    /// It was told that it loses its partitions. `by_group`: to others; else it starts over with them.
    Revoked { by_group: bool },
    /// It owns partitions and asks where to begin.
    Asking(Vec<TopicPartition>),
    /// It was told what it owns and may still change where to begin.
    Assigned,
}

/// A partition that the member owns.
pub(super) struct Owned {
    /// The next offset that is delivered.
    pub(super) next: i64,
    /// What the group has committed, or where it began.
    pub(super) committed: i64,
    pub(super) is_paused: bool,
    /// It was told that its next offset is not there.
    pub(super) is_lost: bool,
}

/// A step whose commit was not answered: its label is looked for among the committed positions.
pub(super) struct Doubt {
    pub(super) label: String,
    pub(super) partition: TopicPartition,
}

pub(super) struct KafkaMember {
    pub(super) cluster: Arc<Cluster>,
    pub(super) group: String,
    pub(super) consumer: GroupConsumer,
    pub(super) phase: Phase,
    pub(super) owned: BTreeMap<TopicPartition, Owned>,
    pub(super) creations: Creations,
    pub(super) membership: Option<Arc<ConsumerGroupMetadata>>,
    pub(super) waiting: Waiting,
    pub(super) refused: Option<KafkaError>,
    pub(super) transactions: Transactions,
    pub(super) checkpoints: Checkpoints,
    /// The member must start over with its partitions: what it was told about a step is not what became of it.
    pub(super) must_restart: bool,
    pub(super) doubt: Option<Doubt>,
    pub(super) steps: u64,
    pub(super) label: String,
}

impl KafkaMember {
    /// # Errors
    /// When a topic is not there or no broker answers.
    pub(super) fn join(cluster: &Arc<Cluster>, group: &str, topics: &[&str]) -> Result<Self, BusError> {
        let topics: Vec<String> = topics.iter().map(|topic| cluster.full(topic)).collect();
        topics.iter().try_for_each(|topic| cluster.partitions(topic).map(|_| ()))?;
        let checkpoints = Checkpoints::new(cluster, group)?;
        let mut transactions = Transactions::new(cluster, cluster.new_member(group));
        transactions.restart()?;
        Ok(Self {
            consumer: GroupConsumer::new(cluster, group, &topics)?,
            cluster: Arc::clone(cluster),
            group: group.to_owned(),
            phase: Phase::Reading,
            owned: BTreeMap::new(),
            creations: Creations::default(),
            membership: None,
            waiting: Waiting::default(),
            refused: None,
            transactions,
            checkpoints,
            must_restart: false,
            doubt: None,
            steps: 0,
            label: uuid::Uuid::new_v4().simple().to_string(),
        })
    }

    pub(super) fn full(&self, partition: &TopicPartition) -> String {
        self.cluster.full(&partition.topic)
    }

    /// A list for librdkafka.
    pub(super) fn list<'p>(&self, partitions: impl IntoIterator<Item = (&'p TopicPartition, i64)>) -> Result<TopicPartitionList, BusError> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in partitions {
            let added = list.add_partition_offset(&self.full(partition), partition.partition as i32, Offset::Offset(offset));
            added.map_err(|error| BusError::Unusable(format!("position {offset} of {}: {error}", name(partition))))?;
        }
        Ok(list)
    }

    fn owned_mut(&mut self, partition: &TopicPartition) -> Result<&mut Owned, BusError> {
        self.owned.get_mut(partition).ok_or_else(|| BusError::Fenced(format!("{} is not owned by this member", name(partition))))
    }

    // Reading.

    fn fill(&mut self, wait: Duration) {
        let wait = if matches!(self.phase, Phase::Asking(_)) { wait.min(ASK_INTERVAL) } else { wait };
        let Self { cluster, consumer, waiting, owned, .. } = self;
        let owner = |full: &str, partition: u32| {
            let topic = Arc::from(cluster.short(full)?);
            let (partition, owned) = owned.get_key_value(&TopicPartition { topic, partition })?;
            Some((partition.clone(), owned.next))
        };
        self.refused = waiting.fill_from_group(consumer, wait, owner).err();
    }

    fn batch(&mut self) -> Option<Event> {
        let Self { waiting, owned, .. } = self;
        let batch = waiting.pop(|partition| owned.get(partition).is_none_or(|owned| owned.is_paused))?;
        if let (Some(owned), Some(next)) = (owned.get_mut(&batch.partition), batch.next_offset()) {
            owned.next = next;
        }
        self.checkpoints.trim();
        Some(Event::Batch(batch))
    }

    /// What the consumer told, where it is for the caller to know.
    fn refusal(&mut self, error: &KafkaError) -> Result<(), BusError> {
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.out_of_range(),
            Some(Code::BrokerTransportFailure | Code::PollExceeded) => Ok(()),
            Some(Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition) => {
                Err(BusError::NotFound(format!("topic that group {} reads: {error}", self.group)))
            }
            _ => Err(meaning(&format!("group {}", self.group), error)),
        }
    }

    /// librdkafka has stopped a partition and does not say which: one that was not told yet, where there are several. Where none is
    /// found, or nobody knows, all are begun anew.
    fn out_of_range(&mut self) -> Result<(), BusError> {
        self.must_restart = true;
        let mut found = None;
        for (partition, owned) in &self.owned {
            if let Some(error) = self.cluster.out_of_range(partition, owned.next)? {
                found = Some((partition.clone(), error));
                if !owned.is_lost {
                    break;
                }
            }
        }
        let Some((partition, error)) = found else { return Ok(()) };
        if let Some(topic) = self.creations.changed(&self.cluster, std::iter::once(&partition.topic))? {
            self.made_anew(topic);
            return Ok(());
        }
        self.must_restart = false;
        self.owned_mut(&partition)?.is_lost = true;
        Err(error)
    }

    /// A topic is another one than when its partitions were assigned: where to begin is asked again.
    fn made_anew(&mut self, topic: &str) {
        tracing::warn!(group = self.group, topic, "the topic was made anew: its positions are void");
        self.must_restart = true;
    }

    // Steps.

    /// The positions that go with a step: its own, or one that is committed again, so that the broker compares generations.
    fn offsets(&self, step: &Step, label: &str) -> Result<(TopicPartitionList, TopicPartition), BusError> {
        let stranger = step.positions.iter().find(|(partition, _)| !self.owned.contains_key(partition));
        if let Some((partition, _)) = stranger {
            return Err(BusError::Fenced(format!("{} is not owned by this member", name(partition))));
        }
        let again = self.owned.iter().map(|(partition, owned)| (partition, owned.committed)).next();
        let own = step.positions.iter().map(|(partition, next)| (partition, *next));
        let sent: Vec<_> = if step.positions.is_empty() { again.into_iter().collect() } else { own.collect() };
        let Some((first, _)) = sent.first() else { return Err(BusError::Fenced("this member owns no partition".to_owned())) };
        let first = (*first).clone();
        let list = self.list(sent.iter().copied())?;
        for (at, (mut found, (partition, _))) in list.elements().into_iter().zip(&sent).enumerate() {
            found.set_metadata(creations::metadata(self.creations.of(&partition.topic), (at == 0).then_some(label)));
        }
        Ok((list, first))
    }

    fn check(&self, step: &Step) -> Result<(), BusError> {
        for (to, records) in &step.publish {
            produce::check_sizes(&to.topic, records)?;
            self.cluster.check_partition(&self.full(to), to.partition)?;
        }
        step.checkpoints.iter().try_for_each(|checkpoint| chunks::check_size(self.checkpoints.topic(), checkpoint))
    }

    /// Whether all that the step has read is of the topics that were assigned: librdkafka reads on, at the same offset, in a topic
    /// that was made anew, and says nothing.
    fn check_creations(&mut self, step: &Step) -> Result<(), BusError> {
        let topics = step.positions.iter().map(|(partition, _)| &partition.topic);
        let Some(topic) = self.creations.changed(&self.cluster, topics)? else { return Ok(()) };
        self.made_anew(topic);
        Err(BusError::Fenced(format!("topic {topic} was made anew while it was read")))
    }

    fn committed(&mut self, step: &Step) {
        self.checkpoints.saved(step);
        for (partition, next) in &step.positions {
            if let Some(owned) = self.owned.get_mut(partition) {
                owned.committed = *next;
            }
        }
    }

    /// Finds out what became of a step whose commit was not answered.
    ///
    /// # Errors
    /// When no broker answers: the doubt stays.
    fn resolve(&mut self) -> Result<bool, BusError> {
        let Some(doubt) = &self.doubt else { return Ok(false) };
        self.transactions.restart()?;
        let list = self.list([(&doubt.partition, 0)])?;
        let what = format!("the positions of group {}", self.group);
        let found = self.consumer.committed_offsets(list, self.cluster.timeout()).map_err(|error| meaning(&what, &error))?;
        let happened = found.elements().iter().any(|found| creations::is_of_step(found.metadata(), &doubt.label));
        self.doubt = None;
        Ok(happened)
    }

    /// Before anything else is done: the caller was told that the step failed, so it starts over.
    fn clear_doubt(&mut self) -> Result<(), BusError> {
        if self.doubt.is_some() {
            self.resolve()?;
            self.must_restart = true;
        }
        Ok(())
    }
}

impl Member for KafkaMember {
    fn poll(&mut self, wait: Duration) -> Result<Event, BusError> {
        let deadline = Instant::now() + wait;
        self.checkpoints.expire();
        self.settle_phase()?;
        if let Err(error) = self.clear_doubt() {
            // The group's decisions are heard all the same.
            self.fill(Duration::ZERO);
            return self.decided()?.ok_or(error);
        }
        loop {
            if let Some(event) = self.decided()? {
                return Ok(event);
            }
            if let Some(event) = self.batch() {
                return Ok(event);
            }
            if let Some(error) = self.refused.take() {
                self.refusal(&error)?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            self.fill(left);
            if !left.is_zero() {
                continue;
            }
            if let Some(event) = self.decided()?.or_else(|| self.batch()) {
                return Ok(event);
            }
            if let Some(topic) = self.creations.look(&self.cluster) {
                self.made_anew(&topic);
            }
            return Ok(self.decided()?.unwrap_or(Event::Idle));
        }
    }

    fn commit(&mut self, step: Step) -> Result<(), BusError> {
        if step.is_empty() {
            return Ok(());
        }
        if self.doubt.is_some() || self.must_restart {
            return Err(BusError::Fenced("the member starts over after a step that failed: poll it".to_owned()));
        }
        self.check(&step)?;
        self.check_creations(&step)?;
        self.steps += 1;
        let label = format!("{}/{}", self.label, self.steps);
        let (offsets, partition) = self.offsets(&step, &label)?;
        let Some(membership) = &self.membership else { return Err(BusError::Fenced("the group has put this member out".to_owned())) };
        self.checkpoints.expire();
        let refusal = match self.transactions.run(&step, &self.checkpoints, &offsets, membership) {
            Outcome::Committed => None,
            Outcome::Refused(error) => Some(error),
            Outcome::Lost(error) => {
                self.must_restart = true;
                Some(error)
            }
            Outcome::Unknown(error) => {
                self.doubt = Some(Doubt { label, partition });
                Some(error).filter(|_| !matches!(self.resolve(), Ok(true)))
            }
        };
        match refusal {
            Some(error) => Err(error),
            None => {
                self.committed(&step);
                Ok(())
            }
        }
    }

    fn is_current(&mut self) -> Result<bool, BusError> {
        let topics = self.owned.keys().map(|partition| Arc::clone(&partition.topic)).collect::<BTreeSet<_>>();
        let Some(topic) = self.creations.changed(&self.cluster, topics.iter())? else { return Ok(true) };
        self.made_anew(topic);
        Ok(false)
    }

    fn checkpoint(&mut self, key: &str) -> Result<Option<Bytes>, BusError> {
        self.clear_doubt()?;
        self.checkpoints.get(key)
    }

    fn release_checkpoints(&mut self) {
        self.checkpoints.clear();
    }

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        let owned = self.owned_mut(partition)?;
        (owned.next, owned.is_lost) = (offset, false);
        self.waiting.forget(partition);
        if !matches!(self.phase, Phase::Reading) {
            return Ok(());
        }
        let list = self.list([(partition, offset)])?;
        let sought = self.consumer.seek_partitions(list, SEEK_MAX);
        match sought {
            Ok(list) if list.elements().iter().all(|found| found.error().is_ok()) => Ok(()),
            // librdkafka has stopped the partition, after an error or because it has not begun: it is assigned anew.
            Ok(_) | Err(_) => self.begin_reading(),
        }
    }

    fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<(), BusError> {
        let owned = self.owned_mut(partition)?;
        let (changed, next) = (owned.is_paused != paused, owned.next);
        owned.is_paused = paused;
        if !changed || !matches!(self.phase, Phase::Reading) {
            return Ok(());
        }
        let list = self.list([(partition, next)])?;
        let done = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        done.map_err(|error| meaning(&name(partition), &error))
    }
}

pub(super) fn name(partition: &TopicPartition) -> String {
    format!("topic {} partition {}", partition.topic, partition.partition)
}
