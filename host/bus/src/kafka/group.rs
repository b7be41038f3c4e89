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
    error::{KafkaResult, RDKafkaErrorCode as Code},
    types::RDKafkaRespErr,
};
use std::{
    cell::Cell,
    collections::VecDeque,
    mem::ManuallyDrop,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// How long a closing consumer is waited for; leaving a group takes milliseconds.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

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

/// The least time between two changes of what a consumer reads. librdkafka 2.12 aborts the process (`rktp->rktp_started`), it seems
/// where a partition is taken away a second time before its fetcher has answered the first; the answer takes milliseconds.
const CHANGE_INTERVAL: Duration = Duration::from_millis(200);

/// The consumer; dropping it leaves the group.
pub(super) struct GroupConsumer {
    consumer: ManuallyDrop<BaseConsumer<Rebalances>>,
    /// When what it reads was changed last.
    changed: Cell<Option<Instant>>,
}

impl GroupConsumer {
    /// # Errors
    /// When librdkafka refuses the options or the topics.
    pub(super) fn new(cluster: &Cluster, group: &str, topics: &[String]) -> Result<Self, BusError> {
        let consumer = BaseConsumer::from_config_and_context(&cluster.options.consumer(group), Rebalances::default());
        let consumer = consumer.map_err(|error| unavailable("a consumer", error))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| meaning(&format!("group {group}"), &error))?;
        Ok(Self { consumer: ManuallyDrop::new(consumer), changed: Cell::new(None) })
    }

    /// Reads these partitions from now on.
    pub(super) fn assign(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        self.settle();
        self.consumer.assign(list)
    }

    /// Reads nothing from now on.
    pub(super) fn unassign(&self) -> KafkaResult<()> {
        self.settle();
        self.consumer.unassign()
    }

    fn settle(&self) {
        let since = self.changed.get().map_or(CHANGE_INTERVAL, |changed| changed.elapsed());
        thread::sleep(CHANGE_INTERVAL.saturating_sub(since));
        self.changed.set(Some(Instant::now()));
    }

    /// The next decision of the group that was heard of while polling.
    pub(super) fn decision(&self) -> Option<Rebalance> {
        self.consumer.context().queue.lock().pop_front()
    }
}

impl std::ops::Deref for GroupConsumer {
    type Target = BaseConsumer<Rebalances>;

    fn deref(&self) -> &Self::Target {
        &self.consumer
    }
}

#[expect(unsafe_code, reason = "the consumer is moved into the thread that closes it")]
impl Drop for GroupConsumer {
    /// Closing asks librdkafka to unassign, and where the group has put the member out at that moment the answer never comes: the
    /// closing is left to a thread of its own, which is waited for only so long.
    fn drop(&mut self) {
        // From now on nobody asks for decisions: they are answered as they come, else the close would wait for ever.
        self.consumer.context().is_closing.store(true, Ordering::Release);
        self.settle();
        // SAFETY: it is taken once, here, and this value is not used afterwards.
        let consumer = unsafe { ManuallyDrop::take(&mut self.consumer) };
        let (closed, is_closed) = mpsc::sync_channel(1);
        let close = move || {
            give_up(&consumer);
            drop(consumer);
            let _ = closed.send(());
        };
        if let Err(error) = thread::Builder::new().name("kafka-close".into()).spawn(close) {
            tracing::warn!(%error, "no thread to close a consumer in: it was closed in place");
        } else if is_closed.recv_timeout(CLOSE_WAIT).is_err() {
            tracing::warn!("a consumer does not close: it is left behind, and its group will put it out");
        }
    }
}
