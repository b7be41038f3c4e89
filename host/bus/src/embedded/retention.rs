//! Which segments go, and what of them is carried forward.

use super::{
    catalog::Catalog,
    format::FRAME_HEADER_BYTES,
    options::{DeclaredGroup, EmbeddedOptions},
    store::FrameError,
    writer::{Draft, Failure, Writer},
};
use crate::{TopicPartition, crash_point};

/// A segment that is not written to any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) segment: u32,
    pub(super) bytes: u64,
    pub(super) newest_ms: i64,
}

/// A declared group that has not read all of a segment.
struct Pin {
    group: String,
    partition: TopicPartition,
    lost: i64,
}

impl Writer {
    /// Deletes the oldest segments as the options say. Checkpoints are written anew, so they do not count: a log that holds hardly
    /// anything else would be written anew again and again. Nor is what a pass wrote looked at in it.
    pub(super) fn retain(&mut self) {
        let checkpoints = self.shared.catalog.read().checkpoint_bytes();
        for _ in 0..self.sealed.len() {
            let Some(oldest) = self.sealed.front().copied() else { return };
            let total = self.log_bytes().saturating_sub(checkpoints);
            if !is_over(&self.shared.options, &oldest, total, self.shared.now_ms()) {
                return;
            }
            let pins = pins(&self.shared.catalog.read(), &self.shared.options.declared_groups, oldest.segment);
            if !pins.is_empty() && total <= self.shared.options.pinned_bytes_max {
                return;
            }
            if let Err(why) = self.carry_forward(oldest.segment) {
                tracing::error!(segment = oldest.segment, why, "the segment is kept: what it holds could not be carried forward");
                return;
            }
            crash_point("log-retention");
            pins.iter().for_each(|pin| self.cut_loose(pin, total));
            self.delete(oldest);
        }
    }

    fn cut_loose(&self, pin: &Pin, total: u64) {
        let Pin { group, partition, lost } = pin;
        metrics::counter!("tidemill_bus_lost_records_total", "group" => group.clone()).increment(lost.unsigned_abs());
        tracing::error!(
            group,
            topic = &*partition.topic,
            partition = partition.partition,
            lost,
            total,
            pinned_bytes_max = self.shared.options.pinned_bytes_max,
            "the group is cut loose: records it has not read are deleted, because the log is at its limit"
        );
    }

    /// Writes the checkpoints that lie in this segment anew, so that it can go.
    fn carry_forward(&mut self, segment: u32) -> Result<(), String> {
        let kept = self.shared.catalog.read().checkpoints_within(segment);
        for (group, key, place) in kept {
            let bytes = match self.shared.store.read_frame(place) {
                Ok(bytes) => bytes,
                Err(FrameError::Damaged | FrameError::Gone) => {
                    let lost = place.length as usize - FRAME_HEADER_BYTES;
                    tracing::error!(%group, %key, lost, "a checkpoint is damaged and cannot be carried forward");
                    continue;
                }
                Err(FrameError::Io(error)) => return Err(error.to_string()),
            };
            let mut draft = Draft::default();
            draft.checkpoint(&group, &key, Some(bytes));
            self.append_kept(&draft)?;
        }
        Ok(())
    }

    fn append_kept(&mut self, draft: &Draft) -> Result<(), String> {
        self.append(draft).map_err(|failure| match failure {
            Failure::Full(why) => why,
            Failure::Broken(why) => {
                self.shared.break_down(&why);
                why
            }
        })
    }

    fn delete(&mut self, oldest: Sealed) {
        let Sealed { segment, bytes, newest_ms: _ } = oldest;
        self.sealed.pop_front();
        self.shared.catalog.read().partitions().for_each(|partition| partition.forget_through(segment));
        match self.shared.store.remove(segment) {
            Ok(()) => tracing::info!(segment, bytes, "deleted an old segment"),
            Err(error) => tracing::error!(segment, %error, "an old segment could not be deleted; it will be seen again after a restart"),
        }
    }
}

fn is_over(options: &EmbeddedOptions, oldest: &Sealed, total: u64, now_ms: i64) -> bool {
    let age_ms = i64::try_from(options.retention_age.as_millis()).unwrap_or(i64::MAX);
    total > options.retention_bytes || oldest.newest_ms < now_ms.saturating_sub(age_ms)
}

/// The declared groups that have not read all of a segment.
fn pins(catalog: &Catalog, groups: &[DeclaredGroup], segment: u32) -> Vec<Pin> {
    let mut found = Vec::new();
    for DeclaredGroup { group, topics } in groups {
        for partition in catalog.partitions().filter(|partition| topics.iter().any(|topic| **topic == *partition.name.topic)) {
            let Some(end) = partition.end_within(segment) else { continue };
            let position = catalog.position(group, &partition.name).unwrap_or(0).max(partition.range().start);
            if position < end {
                found.push(Pin { group: group.clone(), partition: partition.name.clone(), lost: end - position });
            }
        }
    }
    found
}
