//! The step: what happens together or not at all.

use crate::RecordBuf;
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc};

/// A partition of a topic (the name without the prefix).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: u32,
}

/// Bytes saved under a key of the group; the next one of the key replaces it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// For example `doctype-monitor/validated/3`.
    pub key: String,
    /// The state; `None` forgets it.
    pub bytes: Option<Bytes>,
}

/// Records to publish, checkpoints to save and positions to advance, all or nothing.
#[derive(Debug, Default)]
pub struct Step {
    /// The records by the partition they go to.
    pub publish: BTreeMap<TopicPartition, RecordBuf>,
    /// The checkpoints.
    pub checkpoints: Vec<Checkpoint>,
    /// The next offset to read of each input partition.
    pub positions: Vec<(TopicPartition, i64)>,
}

impl Step {
    /// The buffer of records for a partition. A new one has memory of a step that this thread has finished with.
    pub fn records(&mut self, to: &TopicPartition) -> &mut RecordBuf {
        if !self.publish.contains_key(to) {
            self.publish.insert(to.clone(), RecordBuf::of_stock());
        }
        self.publish.get_mut(to).unwrap_or_else(|| unreachable!("inserted above"))
    }

    /// Whether the step would change nothing.
    pub fn is_empty(&self) -> bool {
        self.publish.values().all(RecordBuf::is_empty) && self.checkpoints.is_empty() && self.positions.is_empty()
    }

    /// The bytes to be published.
    pub fn bytes(&self) -> usize {
        self.publish.values().map(|records| records.bytes().len()).sum()
    }
}
