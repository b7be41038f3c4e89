//! A bus whose steps fail when told so, and whose records can be gone.

use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tidemill_bus::{
    Ack, Bus, BusError, Event, GroupPosition, Member, Reader, RecordBuf, Start, Step, TopicInfo, TopicPartition, TopicSpec,
};

/// What the next commits do: `true` fails; then all go well.
pub type Verdicts = Arc<Mutex<VecDeque<bool>>>;

pub struct FlakyBus {
    pub inner: Arc<dyn Bus>,
    pub commits: Verdicts,
}

struct FlakyMember {
    inner: Box<dyn Member>,
    commits: Verdicts,
}

impl Bus for FlakyBus {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        self.inner.ensure_topics(topics)
    }

    fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        self.inner.partitions(topic)
    }

    fn incarnation(&self, topic: &str) -> Result<Arc<str>, BusError> {
        self.inner.incarnation(topic)
    }

    fn publish(&self, topic: &str, partition: u32, records: RecordBuf, ack: Ack) {
        self.inner.publish(topic, partition, records, ack);
    }

    fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Member>, BusError> {
        Ok(Box::new(FlakyMember { inner: self.inner.join(group, topics)?, commits: Arc::clone(&self.commits) }))
    }

    fn reader(&self, partition: &TopicPartition, start: Start) -> Result<Box<dyn Reader>, BusError> {
        self.inner.reader(partition, start)
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        self.inner.topics()
    }

    fn group_positions(&self) -> Result<Vec<GroupPosition>, BusError> {
        self.inner.group_positions()
    }

    fn health(&self) -> Result<(), BusError> {
        self.inner.health()
    }
}

impl Member for FlakyMember {
    fn poll(&mut self, wait: Duration) -> Result<Event, BusError> {
        self.inner.poll(wait)
    }

    fn commit(&mut self, step: Step) -> Result<(), BusError> {
        if self.commits.lock().pop_front().unwrap_or(false) {
            return Err(BusError::Unavailable("scripted".into()));
        }
        self.inner.commit(step)
    }

    fn checkpoint(&mut self, key: &str) -> Result<Option<Bytes>, BusError> {
        self.inner.checkpoint(key)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        self.inner.seek(partition, offset)
    }

    fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<(), BusError> {
        self.inner.pause(partition, paused)
    }
}
