//! Records that were removed before a stage read them: decided, counted and said in one place, so that every stage does the same.
//!
//! [`BusError::OutOfRange`] has stopped the partition when it is told. [`handle`] leaves it so, or lets it go on at the earliest record
//! that is there, as configured; a stage adds its own alert. What stands still is listed by [`stopped`].

use crate::{BusError, Member, TopicPartition, stopped};

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

fn advice(resumed: Option<i64>) -> &'static str {
    if resumed.is_some() {
        "records were removed before they were read; the partition goes on at the earliest that is there"
    } else {
        "records were removed before they were read; the partition stands still: set bus.on_lost = \"continue\" to go on without them"
    }
}

/// Whether it was not known yet.
fn note(stage: &str, partition: &TopicPartition, error: &BusError, is_stopped: bool) -> bool {
    if is_stopped {
        return stopped::stop(stage, partition, error.to_string());
    }
    stopped::moved(stage, [partition]);
    true
}
