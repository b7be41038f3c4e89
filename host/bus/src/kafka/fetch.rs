//! From librdkafka's queue to batches of one partition, with one copy of each record.

use crate::{FetchedBatch, RecordBuf, TopicPartition};
use rdkafka::{
    consumer::{BaseConsumer, ConsumerContext},
    error::KafkaError,
    message::{BorrowedMessage, Headers, Message},
};
use std::{collections::VecDeque, time::Duration};

/// A batch ends at so many records,
const BATCH_RECORDS_MAX: usize = 4096;
/// or at so many bytes.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// So many bytes are taken at a time, on top of those that wait because their partition is held back: 4 batches.
const FILL_BYTES_MAX: usize = 4 << 20;
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
    fn is_of(&self, message: &BorrowedMessage<'_>) -> bool {
        let is_topic = || self.object == message.topic_ptr() as usize || self.topic == message.topic();
        self.partition.partition == message.partition() as u32 && is_topic()
    }

    fn is_full(&self) -> bool {
        self.offsets.len() >= BATCH_RECORDS_MAX || self.records.bytes().len() >= BATCH_BYTES_MAX
    }

    fn next(&self) -> i64 {
        self.offsets.last().map_or(self.floor, |last| last + 1)
    }
}

impl Waiting {
    /// Takes what the consumer has, waiting for the first message only. `owner` says what a message's partition is and which
    /// offset is the first that is wanted; `None` drops the message.
    ///
    /// # Errors
    /// What the consumer tells; what was taken before stays.
    pub(super) fn fill<C: ConsumerContext>(
        &mut self,
        consumer: &BaseConsumer<C>,
        wait: Duration,
        owner: impl Fn(&str, u32) -> Option<(TopicPartition, i64)>,
    ) -> Result<(), KafkaError> {
        let (mut wait, enough) = (wait, self.bytes + FILL_BYTES_MAX);
        while self.bytes < enough {
            let Some(message) = consumer.poll(wait) else { break };
            self.take(&message?, &owner);
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, owner: &impl Fn(&str, u32) -> Option<(TopicPartition, i64)>) {
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
    fn batch_of(
        &mut self,
        message: &BorrowedMessage<'_>,
        owner: &impl Fn(&str, u32) -> Option<(TopicPartition, i64)>,
    ) -> Option<&mut Gathered> {
        let newest = self.batches.iter().rposition(|batch| batch.is_of(message));
        let index = match newest {
            Some(index) if !self.batches[index].is_full() => index,
            Some(index) => {
                let (partition, floor) = (self.batches[index].partition.clone(), self.batches[index].next());
                self.begin(message, partition, floor)
            }
            None => {
                let (partition, floor) = owner(message.topic(), message.partition() as u32)?;
                self.begin(message, partition, floor)
            }
        };
        self.batches.get_mut(index)
    }

    fn begin(&mut self, message: &BorrowedMessage<'_>, partition: TopicPartition, floor: i64) -> usize {
        // Growing a fresh buffer for each batch costs a copy and a page fault every 4 KiB.
        let (offsets, records) = (Vec::with_capacity(OFFSETS_USUAL), RecordBuf::of_stock());
        let (topic, object) = (message.topic().to_owned(), message.topic_ptr() as usize);
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

fn push(records: &mut RecordBuf, message: &BorrowedMessage<'_>) {
    let timestamp_ms = message.timestamp().to_millis().unwrap_or(0);
    let key = message.key().unwrap_or_default();
    let value = message.payload().unwrap_or_default();
    let Some(found) = message.headers() else { return records.push(timestamp_ms, key, &[], value) };
    let header = |index| found.try_get(index).map_or(("", &[][..]), |header| (header.key, header.value.unwrap_or_default()));
    records.push_from(timestamp_ms, key, (0..found.count()).map(header), value);
}
