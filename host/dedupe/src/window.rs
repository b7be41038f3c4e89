//! What is known within the window, and what the step being made has changed.

use crate::{
    Options,
    filter::Filter,
    slot::{self, Ages, CYCLE, WINDOW},
};

/// Expired ids are removed after so many intervals, at the end of a step.
const SWEEP_INTERVALS: i64 = 7;
/// And after so many within a step: the numbers of intervals come again.
const SWEEP_INTERVALS_MAX: i64 = CYCLE - 1 - WINDOW;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not seen within the window; from now on it is.
    New,
    /// The same message once more: it was delivered twice by ourselves.
    Redelivered,
    /// Another message with the same document.
    Duplicate {
        /// How long after the first, in intervals.
        intervals: u32,
    },
}

/// Ids that are not remembered as long as they should be, because there are too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Before their time was over.
    pub early: u64,
    /// Never remembered.
    pub at_once: u64,
}

impl Forgotten {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a partition's time stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    /// The greatest edge timestamp, ns since 1970 UTC.
    pub(crate) greatest_ns: i64,
    /// Its interval.
    pub(crate) now: i64,
    /// What came before this interval was forgotten early.
    pub(crate) floor: i64,
}

impl Time {
    pub(crate) fn new(greatest_ns: i64, floor: i64, interval_ns: i64) -> Self {
        Self { greatest_ns, now: greatest_ns.div_euclid(interval_ns), floor }
    }

    /// The first interval whose ids are live.
    pub(crate) fn start(&self) -> i64 {
        self.now.saturating_sub(WINDOW).max(self.floor)
    }
}

/// An id that the step being made has put in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    pub(crate) hash: u64,
    pub(crate) check: u16,
    pub(crate) interval: i64,
}

impl Noted {
    fn slot(&self) -> u64 {
        slot::pack(self.hash, self.check, self.interval)
    }
}

/// A place within a step.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    noted: usize,
    time: Time,
    forgotten: Forgotten,
}

/// The ids of a partition. What a step does can be undone exactly, unless its time moved on by more than [`SWEEP_INTERVALS_MAX`]
/// intervals: then ids were removed, and [`Window::undo`] says that all must be read again.
#[derive(Debug)]
pub(crate) struct Window {
    filter: Filter,
    interval_ns: i64,
    ids_max: u64,
    /// Of the last durable step.
    base: Time,
    time: Time,
    ages: Ages,
    /// What the slots hold came at most [`WINDOW`] intervals before this one.
    swept: i64,
    /// Ids by the number of their interval.
    counts: Vec<u32>,
    live: u64,
    noted: Vec<Noted>,
    forgotten: Forgotten,
    has_lost: bool,
}

impl Window {
    pub(crate) fn new(options: &Options, time: Time) -> Self {
        let interval_ns = options.interval_s().saturating_mul(1_000_000_000);
        let ages = Ages::new(time.now, time.start(), time.start());
        Self {
            filter: Filter::new(options.ids_max),
            interval_ns,
            ids_max: options.ids_max,
            base: time,
            time,
            ages,
            swept: time.now,
            counts: vec![0; CYCLE as usize],
            live: 0,
            noted: Vec::new(),
            forgotten: Forgotten::default(),
            has_lost: false,
        }
    }

    pub(crate) fn time(&self) -> Time {
        self.time
    }

    pub(crate) fn has_moved(&self) -> bool {
        self.time != self.base || !self.noted.is_empty()
    }

    pub(crate) fn noted(&self) -> &[Noted] {
        &self.noted
    }

    pub(crate) fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.filter.memory_bytes() + self.noted.capacity() * size_of::<Noted>() + self.counts.len() * 4
    }

    /// A message of this time came by.
    pub(crate) fn observe(&mut self, timestamp_ns: i64) {
        if timestamp_ns <= self.time.greatest_ns {
            return;
        }
        self.time.greatest_ns = timestamp_ns;
        let now = timestamp_ns.div_euclid(self.interval_ns);
        if now != self.time.now {
            self.advance(now);
        }
    }

    fn advance(&mut self, now: i64) {
        let before = self.time.now;
        let next = Time { now, ..self.time };
        if now.saturating_sub(self.swept) > SWEEP_INTERVALS_MAX {
            self.has_lost |= self.live > 0 || !self.noted.is_empty();
            // Read at the time before: at the new one, numbers of intervals are ambiguous.
            self.filter.sweep(Ages::new(before, next.start(), next.start()));
            self.swept = now;
        }
        let first_new = before.saturating_add(1).max(now.saturating_sub(CYCLE - 1));
        (first_new..=now).for_each(|interval| self.counts[number(interval)] = 0);
        self.time = next;
        self.reckon();
    }

    /// After the time or the floor has changed.
    fn reckon(&mut self) {
        let Time { now, .. } = self.time;
        let start = self.time.start();
        self.ages = Ages::new(now, start, self.base.start().min(start));
        self.live = (start..=now).map(|interval| u64::from(self.counts[number(interval)])).sum();
    }

    pub(crate) fn knows(&self, hash: u64) -> bool {
        self.filter.find(hash, self.ages).is_some()
    }

    /// Says what a document is; a new one is known from now on.
    pub(crate) fn check(&mut self, hash: u64, check: u16) -> Verdict {
        if let Some(found) = self.filter.find(hash, self.ages) {
            return if found.check == check { Verdict::Redelivered } else { Verdict::Duplicate { intervals: found.age as u32 } };
        }
        if self.live >= self.ids_max {
            self.forget_oldest();
        }
        let noted = Noted { hash, check, interval: self.time.now };
        if self.live < self.ids_max && self.put(&noted) {
            self.noted.push(noted);
        } else {
            self.forgotten.at_once += 1;
        }
        Verdict::New
    }

    fn put(&mut self, noted: &Noted) -> bool {
        let has_room = self.filter.insert(noted.hash, noted.slot(), self.ages);
        if has_room {
            self.counts[number(noted.interval)] += 1;
            self.live += 1;
        }
        has_room
    }

    /// Forgets the oldest interval that has ids, unless it is the newest.
    fn forget_oldest(&mut self) {
        let Time { now, .. } = self.time;
        let oldest = (self.time.start()..now).find(|interval| self.counts[number(*interval)] > 0);
        if let Some(oldest) = oldest {
            self.forgotten.early += u64::from(self.counts[number(oldest)]);
            self.time.floor = oldest + 1;
            self.reckon();
        }
    }

    /// Puts in what a checkpoint holds; the oldest first, which are forgotten where there may be fewer than there were.
    pub(crate) fn restore(&mut self, noted: &Noted) {
        let is_live = (self.time.start()..=self.time.now).contains(&noted.interval);
        if !is_live || self.filter.find(noted.hash, self.ages).is_some() {
            return;
        }
        if self.live >= self.ids_max {
            self.forget_oldest();
            self.base = self.time;
            self.reckon();
        }
        if self.live < self.ids_max {
            self.put(noted);
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { noted: self.noted.len(), time: self.time, forgotten: self.forgotten }
    }

    /// As it was at the mark.
    pub(crate) fn roll_back(&mut self, mark: Mark) {
        while self.noted.len() > mark.noted {
            let Some(noted) = self.noted.pop() else { break };
            self.filter.remove(noted.hash, noted.slot());
            let count = &mut self.counts[number(noted.interval)];
            *count = count.saturating_sub(1);
        }
        self.time = mark.time;
        self.forgotten = mark.forgotten;
        self.swept = self.swept.min(self.time.now);
        self.reckon();
    }

    /// The step is durable.
    pub(crate) fn confirm(&mut self) {
        self.base = self.time;
        self.noted.clear();
        self.noted.shrink_to(1_024);
        self.forgotten = Forgotten::default();
        self.has_lost = false;
        self.reckon();
        if self.time.now.saturating_sub(self.swept) >= SWEEP_INTERVALS {
            self.filter.sweep(self.ages);
            self.swept = self.time.now;
        }
    }

    /// The step failed; `false` where all must be read again.
    #[must_use]
    pub(crate) fn undo(&mut self) -> bool {
        self.roll_back(Mark { noted: 0, time: self.base, forgotten: Forgotten::default() });
        !std::mem::take(&mut self.has_lost)
    }
}

fn number(interval: i64) -> usize {
    interval.rem_euclid(CYCLE) as usize
}
