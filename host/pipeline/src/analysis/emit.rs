//! Publishing into a step: the headers that every record carries, and which partition it goes to.

use crate::source::Source;
use std::sync::Arc;
use tidemill_bus::{Bus, BusError, Step, TopicPartition, partition_of};

/// A topic that a stage publishes to.
#[derive(Clone, Debug)]
pub struct Outlet {
    topic: Arc<str>,
    partitions: u32,
}

/// What a record carries beside its value.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Chooses the partition.
    pub key: &'a [u8],
    /// Where it comes from.
    pub source: Source<'a>,
    /// The configuration under which it was made.
    pub epoch: u64,
    /// Event time.
    pub timestamp_ns: i64,
}

impl Outlet {
    /// Looks the topic up.
    ///
    /// # Errors
    /// When there is no such topic or the bus cannot be reached.
    pub fn new(bus: &dyn Bus, topic: &str) -> Result<Self, BusError> {
        Ok(Self { topic: topic.into(), partitions: bus.partitions(topic)?.max(1) })
    }

    /// Publishes to the partition of the key.
    pub fn publish(&self, step: &mut Step, envelope: Envelope<'_>, value: &[u8]) {
        self.publish_to(partition_of(envelope.key, self.partitions), step, envelope, value);
    }

    /// Publishes to this partition, counted round where there are fewer.
    pub fn publish_to(&self, partition: u32, step: &mut Step, envelope: Envelope<'_>, value: &[u8]) {
        let Envelope { key, source, epoch, timestamp_ns } = envelope;
        let mut source_text = Vec::with_capacity(64);
        source.write_into(&mut source_text);
        let epoch = epoch.to_string();
        let headers: [(&str, &[u8]); 3] = [("tm-v", b"1"), ("tm-src", &source_text), ("tm-epoch", epoch.as_bytes())];
        let to = TopicPartition { topic: Arc::clone(&self.topic), partition: partition % self.partitions };
        step.records(&to).push(timestamp_ns.div_euclid(1_000_000), key, &headers, value);
    }
}

/// The streams of records that are numbered each for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Messages that a plugin injects.
    Derived,
    /// Alerts about messages.
    Alerts,
    /// Changes of graphs.
    Graphs,
}

/// Numbers the records made of one offset: they are told apart by `n` in their source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    /// The offset that was numbered last; `None` before the first.
    pub offset: Option<i64>,
    /// The next number for it.
    pub next: u32,
}

impl Numbering {
    /// The number of the next record made of this offset.
    pub fn take(&mut self, offset: i64) -> u32 {
        if self.offset != Some(offset) {
            *self = Self { offset: Some(offset), next: 0 };
        }
        self.next += 1;
        self.next - 1
    }

    /// Source of what comes from a timer or the clock: the offset before `position`, numbered on.
    pub fn take_before(&mut self, position: i64) -> (i64, u32) {
        let offset = position - 1;
        (offset, self.take(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_one_offset_are_numbered() {
        let mut numbering = Numbering::default();
        assert_eq!([7, 7, 8, 8].map(|offset| numbering.take(offset)), [0, 1, 0, 1]);
        assert_eq!(numbering.take_before(9), (8, 2));
        assert_eq!(numbering.take_before(12), (11, 0));
    }
}
