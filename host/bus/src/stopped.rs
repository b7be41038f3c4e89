//! Partitions of this process that a stage does not read, and why: noted in one place, so that the heartbeat can name them.

use crate::TopicPartition;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// A partition that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The stage that does not read it.
    pub stage: String,
    /// The partition.
    pub partition: TopicPartition,
    /// What is wrong, and what to do.
    pub why: String,
}

/// All of them, by stage.
static STOPPED: Mutex<BTreeMap<(String, TopicPartition), String>> = Mutex::new(BTreeMap::new());

/// A stage does not read the partition; whether that is new.
pub fn stop(stage: &str, partition: &TopicPartition, why: String) -> bool {
    gauge(stage, partition).set(1.0);
    STOPPED.lock().insert((stage.to_owned(), partition.clone()), why.clone()) != Some(why)
}

/// A stage reads these partitions again, was given them anew, or gave them up: they do not stand still any more, as far as is known.
pub fn moved<'p>(stage: &str, partitions: impl IntoIterator<Item = &'p TopicPartition>) {
    let mut all = STOPPED.lock();
    for partition in partitions {
        if all.remove(&(stage.to_owned(), partition.clone())).is_some() {
            gauge(stage, partition).set(0.0);
        }
    }
}

/// The partitions that stand still.
pub fn all() -> Vec<Stopped> {
    let all = STOPPED.lock();
    let one = |((stage, partition), why): (&(String, TopicPartition), &String)| Stopped {
        stage: stage.clone(),
        partition: partition.clone(),
        why: why.clone(),
    };
    all.iter().map(one).collect()
}

fn gauge(stage: &str, partition: &TopicPartition) -> metrics::Gauge {
    let labels = [("stage", stage.to_owned()), ("topic", partition.topic.to_string()), ("partition", partition.partition.to_string())];
    metrics::gauge!("tidemill_partition_stopped", &labels)
}
