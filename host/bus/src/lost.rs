//! Records that were removed before a stage read them: decided, counted and said in one place, so that every stage does the same.
//!
//! [`BusError::OutOfRange`] has stopped the partition when it is told. [`handle`] leaves it so, or lets it go on at the earliest record
//! that is there, as configured; a stage adds its own alert. What stands still is listed by [`stopped`] until [`moved`] is called.

use crate::{BusError, Member, TopicPartition};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// What a stage does where records were removed before it read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLost {
    /// The partition stands still until somebody decides.
    #[default]
    Stop,
    /// It goes on at the earliest record that is there.
    Continue,
}

/// A span of offsets that a stage will never read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The partition.
    pub partition: TopicPartition,
    /// Where the stage wanted to read.
    pub position: i64,
    /// How many offsets; 0 where the position lies behind the end of the partition instead.
    pub offsets: i64,
    /// Where it goes on; `None` where it stands still.
    pub resumed: Option<i64>,
}

/// A partition that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The stage that does not read it.
    pub stage: String,
    /// The partition.
    pub partition: TopicPartition,
    /// What is wrong, with the offsets.
    pub why: String,
}

/// All that stand still in this process, by stage.
static STOPPED: Mutex<BTreeMap<(String, TopicPartition), String>> = Mutex::new(BTreeMap::new());

/// Deals with a position that is gone; `None` where the error is another one. A position behind the end (the topic lost its end, or is
/// another one now) never goes on by itself: whatever is there was not meant.
pub fn handle(stage: &str, member: &mut dyn Member, error: &BusError, on_lost: OnLost) -> Option<Lost> {
    let BusError::OutOfRange { partition, position, start, end } = error else { return None };
    let offsets = start.saturating_sub(*position).max(0);
    let is_wanted = on_lost == OnLost::Continue && offsets > 0;
    let resumed = is_wanted.then_some(*start).filter(|start| match member.seek(partition, *start) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, stage, "the partition could not be moved");
            false
        }
    });
    let (topic, number) = (&*partition.topic, partition.partition);
    if note(stage, partition, error, resumed.is_none()) {
        tracing::error!(stage, topic, partition = number, position, start, end, ?resumed, "{}", advice(resumed));
        metrics::counter!("tidemill_lost_offsets_total", "stage" => stage.to_owned()).increment(offsets.unsigned_abs());
    }
    Some(Lost { partition: partition.clone(), position: *position, offsets, resumed })
}

/// A stage was given these partitions anew, or gave them up: they do not stand still any more, as far as is known.
pub fn moved<'p>(stage: &str, partitions: impl IntoIterator<Item = &'p TopicPartition>) {
    let mut all = STOPPED.lock();
    for partition in partitions {
        if all.remove(&(stage.to_owned(), partition.clone())).is_some() {
            gauge(stage, partition).set(0.0);
        }
    }
}

/// The partitions of this process that stand still.
pub fn stopped() -> Vec<Stopped> {
    let all = STOPPED.lock();
    let one = |((stage, partition), why): (&(String, TopicPartition), &String)| Stopped {
        stage: stage.clone(),
        partition: partition.clone(),
        why: why.clone(),
    };
    all.iter().map(one).collect()
}

fn advice(resumed: Option<i64>) -> &'static str {
    if resumed.is_some() {
        "records were removed before they were read; the partition goes on at the earliest that is there"
    } else {
        "records were removed before they were read; the partition stands still: set bus.on_lost = \"continue\" to go on without them"
    }
}

/// Whether it was not known yet.
fn note(stage: &str, partition: &TopicPartition, error: &BusError, is_stopped: bool) -> bool {
    if !is_stopped {
        moved(stage, [partition]);
        return true;
    }
    gauge(stage, partition).set(1.0);
    let why = error.to_string();
    STOPPED.lock().insert((stage.to_owned(), partition.clone()), why.clone()) != Some(why)
}

fn gauge(stage: &str, partition: &TopicPartition) -> metrics::Gauge {
    let labels = [("stage", stage.to_owned()), ("topic", partition.topic.to_string()), ("partition", partition.partition.to_string())];
    metrics::gauge!("tidemill_partition_stopped", &labels)
}
