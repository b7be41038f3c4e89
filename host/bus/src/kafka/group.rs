//! A consumer in a group whose assignments wait until the member has dealt with them.

use super::{
    admin,
    cluster::Cluster,
    errors::{logs, meaning, unavailable},
};
use crate::BusError;
use parking_lot::Mutex;
use rdkafka::{
    TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata},
    error::RDKafkaErrorCode as Code,
    types::RDKafkaRespErr,
};
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
};

/// What the group decided. librdkafka waits with its answer to the group until `assign` or `unassign` is called, for at most
/// `max.poll.interval.ms`.
pub(super) enum Rebalance {
    /// The partitions, and under which membership; `None` where that is over already.
    Assigned(TopicPartitionList, Option<ConsumerGroupMetadata>),
    Revoked,
}

/// Keeps what the group decided until the member asks.
#[derive(Default)]
pub(super) struct Rebalances {
    queue: Mutex<VecDeque<Rebalance>>,
    is_closing: AtomicBool,
}

logs!(Rebalances);

impl ConsumerContext for Rebalances {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, decision: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if self.is_closing.load(Ordering::Acquire) {
            give_up(consumer);
        } else if Code::from(decision) == Code::AssignPartitions {
            self.queue.lock().push_back(Rebalance::Assigned(partitions.clone(), membership(consumer)));
        } else {
            self.queue.lock().push_back(Rebalance::Revoked);
        }
    }
}

/// The membership that fences this assignment: kept as it is now, because a later one could be no member's and would pass.
/// The generation is read afterwards: if it is one now it was one before.
fn membership(consumer: &BaseConsumer<Rebalances>) -> Option<ConsumerGroupMetadata> {
    let membership = consumer.group_metadata()?;
    admin::generation(consumer.client().native_ptr()).map(|_| membership)
}

fn give_up(consumer: &BaseConsumer<Rebalances>) {
    if let Err(error) = consumer.unassign() {
        tracing::debug!(%error, "partitions could not be given up");
    }
}

/// The consumer; dropping it leaves the group.
pub(super) struct GroupConsumer(BaseConsumer<Rebalances>);

impl GroupConsumer {
    /// # Errors
    /// When librdkafka refuses the options or the topics.
    pub(super) fn new(cluster: &Cluster, group: &str, topics: &[String]) -> Result<Self, BusError> {
        let consumer = BaseConsumer::from_config_and_context(&cluster.options.consumer(group), Rebalances::default());
        let consumer = consumer.map_err(|error| unavailable("a consumer", error))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| meaning(&format!("group {group}"), &error))?;
        Ok(Self(consumer))
    }

    /// The next decision of the group that was heard of while polling.
    pub(super) fn decision(&self) -> Option<Rebalance> {
        self.0.context().queue.lock().pop_front()
    }
}

impl std::ops::Deref for GroupConsumer {
    type Target = BaseConsumer<Rebalances>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        // From now on nobody asks for decisions: they are answered as they come, else the close would wait for ever.
        self.0.context().is_closing.store(true, Ordering::Release);
        give_up(&self.0);
    }
}
