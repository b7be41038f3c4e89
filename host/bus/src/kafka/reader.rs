//! Reading one partition outside any group.

use super::{
    admin::{Isolation, Wanted},
    cluster::Cluster,
    errors::{Plain, meaning, unavailable},
    fetch::Waiting,
};
use crate::{BusError, FetchedBatch, Reader, Start, TopicPartition};
use rdkafka::{
    Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as Code},
};
use std::{sync::Arc, time::Duration};

/// librdkafka wants the name of a group for every consumer; nobody joins this one.
pub(super) const NO_GROUP: &str = "readers";

pub(super) struct KafkaReader {
    cluster: Arc<Cluster>,
    consumer: BaseConsumer<Plain>,
    partition: TopicPartition,
    position: i64,
    waiting: Waiting,
    refused: Option<KafkaError>,
}

impl KafkaReader {
    /// # Errors
    /// When there is no such partition or no broker answers.
    pub(super) fn new(cluster: &Arc<Cluster>, partition: &TopicPartition, start: Start) -> Result<Self, BusError> {
        let full = cluster.full(&partition.topic);
        cluster.check_partition(&full, partition.partition)?;
        let position = position(cluster, &full, partition.partition, start)?;
        let consumer = consumer(cluster, &[])?;
        assign(&consumer, &full, partition.partition, position)?;
        let (partition, waiting) = (partition.clone(), Waiting::default());
        Ok(Self { cluster: Arc::clone(cluster), consumer, partition, position, waiting, refused: None })
    }

    /// What waits already.
    fn taken(&mut self) -> Option<FetchedBatch> {
        let batch = self.waiting.pop(|_| false)?;
        self.position = batch.next_offset().unwrap_or(self.position);
        Some(batch)
    }

    fn refusal(&self, error: &KafkaError) -> Result<(), BusError> {
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                self.cluster.out_of_range(&self.partition, self.position)?.map_or(Ok(()), Err)
            }
            Some(Code::BrokerTransportFailure) => Ok(()),
            _ => Err(meaning(&format!("topic {} partition {}", self.partition.topic, self.partition.partition), error)),
        }
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, wait: Duration) -> Result<Option<FetchedBatch>, BusError> {
        // What waits comes before what is fetched: nobody waits for more, and little is read ahead.
        if let Some(batch) = self.taken() {
            return Ok(Some(batch));
        }
        let (partition, position) = (self.partition.clone(), self.position);
        if self.refused.is_none() {
            self.refused = self.waiting.fill(&self.consumer, wait, |_, _| Some((partition.clone(), position))).err();
        }
        if let Some(batch) = self.taken() {
            return Ok(Some(batch));
        }
        self.refused.take().map_or(Ok(()), |error| self.refusal(&error)).map(|()| None)
    }
}

/// A consumer that belongs to no group.
///
/// # Errors
/// When librdkafka refuses the options.
pub(super) fn consumer(cluster: &Cluster, options: &[(&str, &str)]) -> Result<BaseConsumer<Plain>, BusError> {
    let mut config = cluster.options.consumer(NO_GROUP);
    for (key, value) in options {
        config.set(*key, *value);
    }
    BaseConsumer::from_config_and_context(&config, Plain).map_err(|error| unavailable("a consumer", error))
}

/// Makes the consumer read this partition alone.
///
/// # Errors
/// When librdkafka refuses.
pub(super) fn assign(consumer: &BaseConsumer<Plain>, full: &str, partition: u32, position: i64) -> Result<(), BusError> {
    let mut list = TopicPartitionList::new();
    let added = list.add_partition_offset(full, partition as i32, Offset::Offset(position));
    added.and_then(|()| consumer.assign(&list)).map_err(|error| meaning(&format!("topic {full} partition {partition}"), &error))
}

fn position(cluster: &Cluster, full: &str, partition: u32, start: Start) -> Result<i64, BusError> {
    let ask = |wanted| cluster.offset(full, partition, wanted, Isolation::Committed);
    match start {
        Start::Beginning => ask(Wanted::Earliest),
        Start::End => ask(Wanted::Latest),
        Start::Offset(offset) => Ok(offset.max(ask(Wanted::Earliest)?)),
        Start::TimeMs(ms) => match ask(Wanted::AtTime(ms))? {
            none if none < 0 => ask(Wanted::Latest),
            offset => Ok(offset),
        },
    }
}
