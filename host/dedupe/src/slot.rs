//! The 64 bits that are kept of an id: 42 of fingerprint, 14 of its message's Uuid, 8 of time.
//!
//! Time is the number of the interval in which the id came, modulo 255 and plus 1, so that a slot is never 0, which is an empty one.
//! Ids live for 240 intervals; those that expired are removed before their number comes again.

/// Bits of the fingerprint.
pub const FINGERPRINT_BITS: u32 = 42;
const CHECK_BITS: u32 = 14;
const TIME_BITS: u32 = 8;
/// An id that came so many intervals ago is still known, one that is older is not.
pub const WINDOW: i64 = 240;
/// Numbers of intervals that can be told apart.
pub const CYCLE: i64 = 255;

/// A slot of this id, whose Uuid is told by `check`.
pub fn pack(hash: u64, check: u16, interval: i64) -> u64 {
    let time = interval.rem_euclid(CYCLE) as u64 + 1;
    hash << (CHECK_BITS + TIME_BITS) | (u64::from(check) & ((1 << CHECK_BITS) - 1)) << TIME_BITS | time
}

/// The low bits of the id's hash; the others are told by the slot's place.
pub fn fingerprint(slot: u64) -> u64 {
    slot >> (CHECK_BITS + TIME_BITS)
}

/// What tells the Uuid.
pub fn check(slot: u64) -> u16 {
    ((slot >> TIME_BITS) & ((1 << CHECK_BITS) - 1)) as u16
}

/// What tells a Uuid: two of 16,384 are taken for each other.
pub fn check_of(uuid: &[u8; 16]) -> u16 {
    (xxhash_rust::xxh3::xxh3_64(uuid) & ((1 << CHECK_BITS) - 1)) as u16
}

/// Reads slots at a time.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    now: i64,
    /// What is at most so old is live.
    live_max: i64,
    /// What is older may be overwritten.
    kept_max: i64,
}

impl Ages {
    /// At interval `now`, where ids since `start` are live and those since `kept` must not be lost.
    pub fn new(now: i64, start: i64, kept: i64) -> Self {
        let age_of = |interval: i64| now.saturating_sub(interval).clamp(-1, CYCLE - 1);
        Self { now: now.rem_euclid(CYCLE), live_max: age_of(start), kept_max: age_of(kept) }
    }

    /// How many intervals ago the slot's id came.
    pub fn age(&self, slot: u64) -> i64 {
        let age = self.now + 1 - (slot & ((1 << TIME_BITS) - 1)) as i64;
        if age < 0 { age + CYCLE } else { age }
    }

    /// Whether the slot's id is known; the slot is not empty.
    pub fn is_live(&self, slot: u64) -> bool {
        self.age(slot) <= self.live_max
    }

    /// Whether something else may be put into the slot.
    pub fn is_free(&self, slot: u64) -> bool {
        slot == 0 || self.age(slot) > self.kept_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_says_what_went_in() {
        for (hash, check_in, interval) in [(0, 0, 0), (u64::MAX, u16::MAX, -1), (0x1234_5678_9abc_def0, 0x1abc, 4_228_439)] {
            let slot = pack(hash, check_in, interval);
            assert_eq!(fingerprint(slot), hash & ((1 << FINGERPRINT_BITS) - 1));
            assert_eq!(check(slot), check_in & 0x3fff);
            assert_ne!(slot, 0);
            for age in 0..CYCLE {
                assert_eq!(Ages::new(interval + age, interval, interval).age(slot), age);
            }
        }
    }

    #[test]
    fn what_is_live_and_what_is_free() {
        let slot = pack(7, 7, 1_000);
        let ages = |now: i64, start: i64, kept: i64| Ages::new(now, start, kept);
        assert!(ages(1_240, 1_000, 990).is_live(slot));
        assert!(!ages(1_241, 1_001, 1_000).is_live(slot), "expired");
        assert!(!ages(1_241, 1_001, 1_000).is_free(slot), "but a failed step may bring it back");
        assert!(ages(1_241, 1_001, 1_001).is_free(slot));
        assert!(ages(1_241, 1_242, 1_242).is_free(slot), "nothing is kept");
        assert!(Ages::new(0, 0, 0).is_free(0));
    }
}
