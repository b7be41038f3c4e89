//! A consumer in a group whose assignments wait until the member has dealt with them.

use super::{
    admin,
    cluster::Cluster,
    errors::{logs, meaning, unavailable},
    messages::MessageQueue,
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
    cell::{Cell, RefCell},
    collections::VecDeque,
    ffi::CString,
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

/// What is read is told the messages' queue again after so long, because librdkafka ends it where it stops a partition; at first,
const FORWARD_FIRST: Duration = Duration::from_millis(10);
/// and at last, each time twice as long after the last.
const FORWARD_LAST: Duration = Duration::from_secs(5);

/// The consumer; dropping it leaves the group. Its own queue has the group's decisions, another one the messages.
pub(super) struct GroupConsumer {
    consumer: ManuallyDrop<BaseConsumer<Rebalances>>,
    messages: ManuallyDrop<MessageQueue>,
    forwarding: RefCell<Forwarding>,
    /// When what it reads was changed last.
    changed: Cell<Option<Instant>>,
}

/// What the messages' queue has to get, and when it is told so next.
#[derive(Default)]
struct Forwarding {
    partitions: Vec<(CString, i32)>,
    next: Option<Instant>,
    interval: Duration,
}

impl GroupConsumer {
    /// # Errors
    /// When librdkafka refuses the options or the topics.
    pub(super) fn new(cluster: &Cluster, group: &str, topics: &[String]) -> Result<Self, BusError> {
        let consumer = BaseConsumer::from_config_and_context(&cluster.options.consumer(group), Rebalances::default());
        let consumer = consumer.map_err(|error| unavailable("a consumer", error))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| meaning(&format!("group {group}"), &error))?;
        // SAFETY: dropping this value, or the thread that it leaves the consumer to, drops the queue first.
        #[expect(unsafe_code, reason = "librdkafka's own queue")]
        let messages = unsafe { MessageQueue::new(consumer.client().native_ptr()) };
        let messages = messages.ok_or_else(|| unavailable("a queue for messages", "librdkafka refuses it"))?;
        let (consumer, messages) = (ManuallyDrop::new(consumer), ManuallyDrop::new(messages));
        Ok(Self { consumer, messages, forwarding: RefCell::default(), changed: Cell::new(None) })
    }

    /// Where the messages come; those of partitions that were read before they were forwarded come from the consumer's own queue.
    pub(super) fn messages(&self) -> &MessageQueue {
        &self.messages
    }

    /// Tells librdkafka where messages go, where that is due.
    pub(super) fn forward_messages(&self) {
        let mut forwarding = self.forwarding.borrow_mut();
        let Some(next) = forwarding.next else { return };
        let now = Instant::now();
        if now < next {
            return;
        }
        for (topic, partition) in &forwarding.partitions {
            self.messages.forward(topic, *partition);
        }
        forwarding.next = Some(now + forwarding.interval);
        forwarding.interval = (forwarding.interval * 2).min(FORWARD_LAST);
    }

    /// Reads these partitions from now on.
    pub(super) fn assign(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        self.settle();
        let partitions = list.elements().iter().map(|found| (CString::new(found.topic()).unwrap_or_default(), found.partition())).collect();
        // Before librdkafka begins to read: so no message comes to the consumer's own queue.
        *self.forwarding.borrow_mut() = Forwarding { partitions, next: Some(Instant::now()), interval: FORWARD_FIRST };
        self.forward_messages();
        self.consumer.assign(list)
    }

    /// Reads nothing from now on.
    pub(super) fn unassign(&self) -> KafkaResult<()> {
        self.settle();
        *self.forwarding.borrow_mut() = Forwarding::default();
        self.consumer.unassign()
    }

    fn settle(&self) {
        let since = self.changed.get().map_or(CHANGE_INTERVAL, |changed| changed.elapsed());
        thread::sleep(CHANGE_INTERVAL.saturating_sub(since));
        self.changed.set(Some(Instant::now()));
    }

    /// Whether the group decided something that was not asked for yet.
    pub(super) fn has_decision(&self) -> bool {
        !self.consumer.context().queue.lock().is_empty()
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
        // SAFETY: each is taken once, here, and this value is not used afterwards.
        let left = unsafe { Left { messages: ManuallyDrop::take(&mut self.messages), consumer: ManuallyDrop::take(&mut self.consumer) } };
        let (closed, is_closed) = mpsc::sync_channel(1);
        let close = move || {
            left.close();
            let _ = closed.send(());
        };
        if let Err(error) = thread::Builder::new().name("kafka-close".into()).spawn(close) {
            tracing::warn!(%error, "no thread to close a consumer in: it was closed in place");
        } else if is_closed.recv_timeout(CLOSE_WAIT).is_err() {
            tracing::warn!("a consumer does not close: it is left behind, and its group will put it out");
        }
    }
}

/// What a consumer leaves behind, in the order in which it must go.
struct Left {
    messages: MessageQueue,
    consumer: BaseConsumer<Rebalances>,
}

impl Left {
    fn close(self) {
        let Self { messages, consumer } = self;
        give_up(&consumer);
        drop(messages);
        drop(consumer);
    }
}
