//! From librdkafka's queue to batches of one partition, with one copy of each record.

use super::{group::GroupConsumer, messages::Message};
use crate::{FetchedBatch, RecordBuf, TopicPartition};
use rdkafka::{
    consumer::{BaseConsumer, ConsumerContext},
    error::KafkaError,
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A batch ends at so many records,
const BATCH_RECORDS_MAX: usize = 4096;
/// or at so many bytes.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// So many bytes are taken at a time, on top of those that wait because their partition is held back: 4 batches.
const FILL_BYTES_MAX: usize = 4 << 20;
/// How long the messages are waited for between two looks at what the group decides.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Records of a batch that is full of records of 1 KiB.
const OFFSETS_USUAL: usize = 1024;

/// What was taken from the queue and not asked for yet.
#[derive(Default)]
pub(super) struct Waiting {
    batches: VecDeque<Gathered>,
    bytes: usize,
}

/// A batch that may still grow.
struct Gathered {
    /// The topic's full name: what messages carry.
    topic: String,
    /// The address of librdkafka's object of the topic: messages with the same one need no comparison of names. It lives as long as
    /// the topic is subscribed to, which is longer than the batch.
    object: usize,
    partition: TopicPartition,
    /// Records below this offset were delivered before.
    floor: i64,
    offsets: Vec<i64>,
    records: RecordBuf,
}

impl Gathered {
    fn is_of(&self, message: Message<'_>) -> bool {
        let is_topic = || self.object == message.topic_object() || self.topic == message.topic();
        self.partition.partition == message.partition() && is_topic()
    }

    fn is_full(&self) -> bool {
        self.offsets.len() >= BATCH_RECORDS_MAX || self.records.bytes().len() >= BATCH_BYTES_MAX
    }

    fn next(&self) -> i64 {
        self.offsets.last().map_or(self.floor, |last| last + 1)
    }
}

impl Waiting {
    /// Takes what a member's consumer has, waiting for the first message only, and not beyond a decision of the group. `owner` says
    /// what a message's partition is and which offset is the first that is wanted; `None` drops the message.
    ///
    /// # Errors
    /// What the consumer tells; what was taken before stays.
    pub(super) fn fill_from_group(
        &mut self,
        consumer: &GroupConsumer,
        wait: Duration,
        owner: impl Fn(&str, u32) -> Option<(TopicPartition, i64)>,
    ) -> Result<(), KafkaError> {
        let (deadline, before) = (Instant::now() + wait, self.bytes);
        let enough = before + FILL_BYTES_MAX;
        loop {
            consumer.forward_messages();
            // What is on the consumer's own queue came before what is on the messages' queue.
            self.fill_up(consumer, Duration::ZERO, enough, &owner)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if consumer.has_decision() {
                return Ok(());
            }
            let mut wait = if self.bytes > before { Duration::ZERO } else { left.min(LOOK_INTERVAL) };
            while self.bytes < enough {
                let taken = consumer.messages().take(wait);
                if taken.is_empty() {
                    break;
                }
                taken.each(|message| self.take(message, &owner))?;
                wait = Duration::ZERO;
            }
            if self.bytes > before || left.is_zero() {
                return Ok(());
            }
        }
    }

    /// As for a member, from a consumer without group.
    ///
    /// # Errors
    /// What the consumer tells; what was taken before stays.
    pub(super) fn fill<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        wait: Duration,
        owner: impl Fn(&str, u32) -> Option<(TopicPartition, i64)>,
    ) -> Result<(), KafkaError> {
        self.fill_up(consumer, wait, self.bytes + FILL_BYTES_MAX, &owner)
    }

    fn fill_up<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        mut wait: Duration,
        enough: usize,
        owner: &impl Fn(&str, u32) -> Option<(TopicPartition, i64)>,
    ) -> Result<(), KafkaError> {
        while self.bytes < enough {
            let Some(message) = consumer.poll(wait) else { break };
            self.take(Message::from(&message?), owner);
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn take(&mut self, message: Message<'_>, owner: &impl Fn(&str, u32) -> Option<(TopicPartition, i64)>) {
        let Some(batch) = self.batch_of(message, owner) else { return };
        if message.offset() < batch.next() {
            return;
        }
        let before = batch.records.bytes().len();
        push(&mut batch.records, message);
        batch.offsets.push(message.offset());
        let grown = batch.records.bytes().len() - before;
        self.bytes += grown;
    }

    /// The newest batch of the message's partition, or a new one.
    fn batch_of(&mut self, message: Message<'_>, owner: &impl Fn(&str, u32) -> Option<(TopicPartition, i64)>) -> Option<&mut Gathered> {
        let newest = self.batches.iter().rposition(|batch| batch.is_of(message));
        let index = match newest {
            Some(index) if !self.batches[index].is_full() => index,
            Some(index) => {
                let (partition, floor) = (self.batches[index].partition.clone(), self.batches[index].next());
                self.begin(message, partition, floor)
            }
            None => {
                let (partition, floor) = owner(message.topic(), message.partition())?;
                self.begin(message, partition, floor)
            }
        };
        self.batches.get_mut(index)
    }

    fn begin(&mut self, message: Message<'_>, partition: TopicPartition, floor: i64) -> usize {
        // Growing a fresh buffer for each batch costs a copy and a page fault every 4 KiB.
        let (offsets, records) = (Vec::with_capacity(OFFSETS_USUAL), RecordBuf::of_stock());
        let (topic, object) = (message.topic().to_owned(), message.topic_object());
        self.batches.push_back(Gathered { topic, object, partition, floor, offsets, records });
        self.batches.len() - 1
    }

    /// The oldest batch of a partition that is not held back.
    pub(super) fn pop(&mut self, is_held: impl Fn(&TopicPartition) -> bool) -> Option<FetchedBatch> {
        let index = self.batches.iter().position(|batch| !batch.offsets.is_empty() && !is_held(&batch.partition))?;
        let Gathered { partition, offsets, records, topic: _, object: _, floor: _ } = self.batches.remove(index)?;
        self.bytes -= records.bytes().len();
        Some(FetchedBatch { partition, offsets, bytes: records.into_bytes() })
    }

    /// Forgets what waits of a partition.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.batches.retain(|batch| batch.partition != *partition);
        self.bytes = self.batches.iter().map(|batch| batch.records.bytes().len()).sum();
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }
}

fn push(records: &mut RecordBuf, message: Message<'_>) {
    records.push_from(message.timestamp_ms(), message.key(), message.headers(), message.value());
}
