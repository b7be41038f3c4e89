//! The ids of a partition as checkpoints, by increments.
//!
//! A step saves one increment with the ids it has put in. Sixty-four increments of level 0, or as many as have a certain size, become one
//! of level 1, and so on to level 2, whose increments are forgotten when their newest id expires. So an id is written three times, and
//! a partition has some hundred keys at most, whatever the rate. Keys of levels 0 and 1 are used again in turn; the root says
//! which count.

use crate::{
    Options,
    root::{LEVELS, Range, Root},
    window::Noted,
};
use std::collections::VecDeque;

/// Increments of a level below the last.
const FAN: u64 = 64;
/// Increments that are forgotten in one step.
const FORGOTTEN_MAX: usize = 16;
/// An id in an increment: its hash and what tells its Uuid.
const ID_BYTES: usize = 8 + 2;
/// A level's increments become one of the next level when they have so many bytes: a part of all that is kept, because the host
/// holds them in memory until then. With a step's ids it stays below 4 MiB, from where on the Kafka bus cuts checkpoints into pieces.
const OPEN_PART: u64 = 32;
const OPEN_BYTES_MIN: u64 = 64 << 10;
const OPEN_BYTES_MAX: u64 = 3 << 19;
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 8;

/// A checkpoint to save, or (without bytes) to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its key.
    pub key: String,
    /// What it holds.
    pub bytes: Option<Vec<u8>>,
}

/// The increments of a partition.
#[derive(Debug)]
pub(crate) struct Ledger {
    prefix: String,
    interval_s: i64,
    /// When a level is written as one of the next.
    bytes_max: [usize; LEVELS - 1],
    ranges: [Range; LEVELS],
    /// The ids in the increments of the lower levels.
    open: [Vec<u8>; LEVELS - 1],
    /// The time of the newest id of each increment of the last level, in seconds.
    newest_s: VecDeque<i64>,
    pending: Option<Pending>,
}

/// What becomes of the ledger when the step is durable.
#[derive(Debug)]
struct Pending {
    ranges: [Range; LEVELS],
    written: Option<Written>,
    forgotten: usize,
}

#[derive(Debug)]
struct Written {
    level: usize,
    ids: Vec<u8>,
    newest_s: i64,
}

impl Ledger {
    pub(crate) fn new(prefix: String, options: &Options) -> Self {
        let last = (options.ids_max.saturating_mul(ID_BYTES as u64) / OPEN_PART).clamp(OPEN_BYTES_MIN, OPEN_BYTES_MAX) as usize;
        Self {
            prefix,
            interval_s: options.interval_s(),
            bytes_max: [last / 16, last],
            ranges: [Range::default(); LEVELS],
            open: [Vec::new(), Vec::new()],
            newest_s: VecDeque::new(),
            pending: None,
        }
    }

    fn key(&self, level: usize, number: u64) -> String {
        let number = if level + 1 < LEVELS { number % FAN } else { number };
        format!("{}/{level}/{number}", self.prefix)
    }

    /// What the root is to say of the ledger, with the step that is prepared.
    pub(crate) fn ranges(&self) -> [Range; LEVELS] {
        self.pending.as_ref().map_or(self.ranges, |pending| pending.ranges)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.open.iter().map(Vec::capacity).sum()
    }

    /// The checkpoints of a step that has put these ids in, where what came before `start_s` has expired.
    pub(crate) fn prepare(&mut self, noted: &[Noted], start_s: i64, saved: &mut Vec<Saved>) {
        let mut ranges = self.ranges;
        let forgotten = self.newest_s.iter().take(FORGOTTEN_MAX).take_while(|newest_s| **newest_s < start_s).count();
        for _ in 0..forgotten {
            let last = &mut ranges[LEVELS - 1];
            saved.push(Saved { key: self.key(LEVELS - 1, last.first), bytes: None });
            last.first += 1;
        }
        let written = noted.last().map(|newest| self.write(noted, newest.interval.saturating_mul(self.interval_s), &mut ranges, saved));
        self.pending = Some(Pending { ranges, written, forgotten });
    }

    fn write(&self, noted: &[Noted], newest_s: i64, ranges: &mut [Range; LEVELS], saved: &mut Vec<Saved>) -> Written {
        let ids = encode(noted, self.interval_s);
        let level = self.level_of(ids.len());
        let number = ranges[level].next;
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&number.to_le_bytes());
        self.open[..level].iter().rev().for_each(|open| bytes.extend_from_slice(open));
        bytes.extend_from_slice(&ids);
        saved.push(Saved { key: self.key(level, number), bytes: Some(bytes) });
        ranges[level].next += 1;
        ranges[..level].iter_mut().for_each(|range| range.first = range.next);
        Written { level, ids, newest_s }
    }

    /// The level whose increment takes so many bytes of ids together with those of the levels below.
    fn level_of(&self, bytes: usize) -> usize {
        let mut all = bytes;
        for level in 0..LEVELS - 1 {
            all += self.open[level].len();
            if all < self.bytes_max[level] && self.ranges[level].count() + 1 < FAN {
                return level;
            }
        }
        LEVELS - 1
    }

    /// The step is durable.
    pub(crate) fn confirm(&mut self) {
        let Some(Pending { ranges, written, forgotten }) = self.pending.take() else { return };
        self.ranges = ranges;
        self.newest_s.drain(..forgotten);
        let Some(Written { level, ids, newest_s }) = written else { return };
        if level == LEVELS - 1 {
            self.newest_s.push_back(newest_s);
        } else {
            let mut below: Vec<u8> = Vec::new();
            self.open[..level].iter().rev().for_each(|open| below.extend_from_slice(open));
            self.open[level].extend_from_slice(&below);
            self.open[level].extend_from_slice(&ids);
        }
        self.open[..level].iter_mut().for_each(|open| *open = Vec::new());
    }

    /// The step failed.
    pub(crate) fn undo(&mut self) {
        self.pending = None;
    }

    /// Goes on with the increments that the root names, oldest first, and shows their ids to `each`. Returns how many increments are
    /// not there or damaged.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn restore<B: AsRef<[u8]>, E>(
        &mut self,
        root: &Root,
        read: &mut impl FnMut(&str) -> Result<Option<B>, E>,
        mut each: impl FnMut(&Noted),
    ) -> Result<u64, E> {
        self.ranges = root.ranges;
        let mut missing = 0;
        for level in (0..LEVELS).rev() {
            let Range { first, next } = self.ranges[level];
            for number in first..next {
                let bytes = read(&self.key(level, number))?;
                let ids = bytes.as_ref().and_then(|bytes| ids_of(bytes.as_ref(), number));
                let newest_s = ids.and_then(|ids| decode(ids, self.interval_s, &mut each));
                missing += u64::from(newest_s.is_none());
                if level == LEVELS - 1 {
                    // One that cannot be read is forgotten with the next.
                    self.newest_s.push_back(newest_s.unwrap_or(i64::MIN));
                } else if newest_s.is_some() {
                    self.open[level].extend_from_slice(ids.unwrap_or_default());
                }
            }
        }
        Ok(missing)
    }

    /// Goes on behind the increments that the root names, none of which counts any more.
    pub(crate) fn discard(&mut self, root: &Root) {
        self.ranges = root.ranges;
        self.ranges[..LEVELS - 1].iter_mut().for_each(|range| range.first = range.next);
        let last = self.ranges[LEVELS - 1];
        self.newest_s = (last.first..last.next).map(|_| i64::MIN).collect();
    }
}

/// Groups of ids that came in one interval: the seconds of its start, their number, the ids.
fn encode(noted: &[Noted], interval_s: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(noted.len() * ID_BYTES + 12);
    for group in noted.chunk_by(|one, other| one.interval == other.interval) {
        let Some(first) = group.first() else { continue };
        out.extend_from_slice(&first.interval.saturating_mul(interval_s).to_le_bytes());
        out.extend_from_slice(&(group.len() as u32).to_le_bytes());
        for Noted { hash, check, interval: _ } in group {
            out.extend_from_slice(&hash.to_le_bytes());
            out.extend_from_slice(&check.to_le_bytes());
        }
    }
    out
}

/// The ids of the increment of this number.
fn ids_of(bytes: &[u8], number: u64) -> Option<&[u8]> {
    let (header, ids) = bytes.split_at_checked(HEADER_BYTES)?;
    (header[0] == VERSION && header[1..] == number.to_le_bytes()).then_some(ids)
}

/// Shows all ids and returns the newest one's time; `None` where the bytes are damaged, from where on nothing is shown.
fn decode(mut ids: &[u8], interval_s: i64, each: &mut impl FnMut(&Noted)) -> Option<i64> {
    let mut newest_s = i64::MIN;
    while !ids.is_empty() {
        let (time, rest) = ids.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let time_s = i64::from_le_bytes(*time);
        let (group, rest) = rest.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(ID_BYTES)?)?;
        for id in group.chunks_exact(ID_BYTES) {
            let (hash, check) = id.split_first_chunk::<8>()?;
            let check = u16::from_le_bytes(check.try_into().ok()?);
            each(&Noted { hash: u64::from_le_bytes(*hash), check, interval: time_s.div_euclid(interval_s) });
        }
        newest_s = newest_s.max(time_s);
        ids = rest;
    }
    Some(newest_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(count: u64, interval: i64) -> Vec<Noted> {
        (0..count).map(|hash| Noted { hash, check: hash as u16, interval }).collect()
    }

    fn saved(ledger: &mut Ledger, ids: &[Noted], start_s: i64) -> Vec<String> {
        let mut saved = Vec::new();
        ledger.prepare(ids, start_s, &mut saved);
        ledger.confirm();
        let name = |saved: Saved| format!("{} {}", saved.key, saved.bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.len().to_string()));
        saved.into_iter().map(name).collect()
    }

    #[test]
    fn increments_are_merged_by_number_and_by_size() {
        let options = Options { window_h: 24, ids_max: 1_000 };
        let mut ledger = Ledger::new("p".into(), &options);
        assert_eq!(saved(&mut ledger, &noted(2, 10), i64::MIN), ["p/0/0 41"]);
        for number in 1..63 {
            assert_eq!(saved(&mut ledger, &noted(1, 10), i64::MIN), [format!("p/0/{number} 31")]);
        }
        // All 64 of them, and the keys of level 0 go on.
        assert_eq!(saved(&mut ledger, &noted(1, 10), i64::MIN), [format!("p/1/0 {}", 9 + 64 * 22 + 10)]);
        assert_eq!(saved(&mut ledger, &noted(1, 11), i64::MIN), ["p/0/63 31"]);
        assert_eq!(saved(&mut ledger, &noted(1, 11), i64::MIN), ["p/0/0 31"]);
        // A large one takes those below with it.
        assert_eq!(saved(&mut ledger, &noted(500, 11), i64::MIN), [format!("p/1/1 {}", 9 + 2 * 22 + 5_012)]);
        let all = 64 * 22 + 10 + 2 * 22 + 5_012;
        assert_eq!(saved(&mut ledger, &noted(7_000, 12), i64::MIN), [format!("p/2/0 {}", 9 + all + 70_012)]);
        assert_eq!(ledger.memory_bytes(), 0);
        assert_eq!(saved(&mut ledger, &noted(1, 13), 12 * 360), ["p/0/1 31"], "its newest id is live");
        assert_eq!(saved(&mut ledger, &[], 12 * 360 + 1), ["p/2/0 -"]);
        assert!(saved(&mut ledger, &[], i64::MAX).is_empty());
    }

    #[test]
    fn a_failed_step_leaves_no_trace() {
        let mut ledger = Ledger::new("p".into(), &Options::default());
        saved(&mut ledger, &noted(3, 1), i64::MIN);
        let before = (ledger.ranges(), ledger.open.clone());
        ledger.prepare(&noted(5, 2), i64::MIN, &mut Vec::new());
        ledger.undo();
        assert_eq!((ledger.ranges(), ledger.open.clone()), before);
    }

    #[test]
    fn damage_ends_what_is_shown() {
        let bytes = encode(&noted(3, 5), 360);
        let count = |bytes: &[u8]| {
            let mut count = 0;
            (decode(bytes, 360, &mut |_: &Noted| count += 1), count)
        };
        assert_eq!(count(&bytes), (Some(1_800), 3));
        assert_eq!(count(&bytes[..20]), (None, 0));
        let mut huge = bytes.clone();
        huge[8..12].fill(0xff);
        assert_eq!(count(&huge), (None, 0));
        assert_eq!(ids_of(&[VERSION, 1, 0, 0, 0, 0, 0, 0, 0, 7], 1), Some(&[7][..]));
        assert_eq!(ids_of(&[VERSION, 1, 0, 0, 0, 0, 0, 0, 0, 7], 2), None, "another one's bytes under the same key");
    }
}
