//! How far a slot has come: beside the others or behind them, and what of it is published.

use super::{
    emit::Stream,
    slot::Slot,
    staged::{Outlets, Progress},
};
use std::time::Duration;
use tidemill_bus::{Checkpoint, Step};

/// How often a partition's progress is published where no graph changed.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

impl Slot {
    /// A slot that keeps up is fed with the others; one that is ahead of them (it caught up further) too: it passes over what it has.
    pub(super) fn look_joined(&mut self, next: i64) {
        let keeps_up = self.fed >= next;
        if self.joined && (!keeps_up || self.is_full()) {
            self.joined = false;
        } else if !self.joined && keeps_up && self.has_room() {
            (self.joined, self.reader) = (true, None);
        }
    }

    /// Whether a detached slot wants to read on.
    pub(super) fn look_behind(&mut self, next: i64, now: Duration) -> bool {
        self.look_joined(next);
        self.reads_behind(now) && self.has_room()
    }

    pub(super) fn reads_behind(&self, now: Duration) -> bool {
        !self.joined && !self.is_resting(now) && now >= self.read_not_before
    }

    /// Whether the next step has something to save for it.
    pub(super) fn wants_saving(&self) -> bool {
        self.is_dirty
    }

    /// The progress to be published, where it is new and due.
    pub(super) fn progress(&self, is_idle: bool, now: Duration) -> Option<Progress> {
        let idle = is_idle && self.joined && self.is_drained();
        let progress = Progress { watermark_ms: self.settled_watermark_ms.max(self.drained_watermark_ms()), idle, offset: 0, n: 0 };
        let is_news = match &self.shown {
            None => true,
            Some(shown) => shown.idle != idle || shown.watermark_ms.map(seconds) != progress.watermark_ms.map(seconds),
        };
        let is_due = self.shown.is_none_or(|shown| shown.idle != idle) || now.saturating_sub(self.shown_at) >= PROGRESS_EVERY;
        (is_news && is_due || !self.staged.graphs.is_empty()).then_some(progress)
    }

    /// Rows that the plugin did not want move its time too.
    fn drained_watermark_ms(&self) -> Option<i64> {
        self.watermark_ms.filter(|_| self.is_drained())
    }
}

fn seconds(ms: i64) -> i64 {
    ms.div_euclid(1_000)
}

/// Puts a slot's checkpoint, what it staged and how far it has come into the step.
pub(super) fn publish(slot: &mut Slot, checkpoint: Option<Checkpoint>, is_idle: bool, now: Duration, outlets: &Outlets, step: &mut Step) {
    if let Some(checkpoint) = checkpoint {
        step.checkpoints.push(checkpoint);
    }
    let (name, place) = (slot.spec.name().to_owned(), slot.place.clone());
    if let Some(progress) = slot.progress(is_idle, now).filter(|_| outlets.graphs.is_some()) {
        let position = slot.position();
        let (offset, n) = slot.numbering[Stream::Graphs as usize].take_before(position);
        let progress = Progress { offset, n, ..progress };
        slot.staged.publish_graphs(&name, &place, progress, outlets, step);
        (slot.shown, slot.shown_at) = (Some(progress), now);
    }
    slot.staged.publish(&name, &place, outlets, step);
}
