//! When a failed delivery is tried again: exponential back-off with jitter, from a seed, so that a test can tell.

use std::time::Duration;

/// The first pause; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A source of jitter (SplitMix64).
#[derive(Clone, Debug)]
pub struct Jitter {
    state: u64,
}

impl Jitter {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The pause after so many failures (from 1): between half and the whole of the back-off, or what the target asked for, if
    /// that is longer; never over [`PAUSE_MAX`].
    pub fn pause(&mut self, failures: u32, asked: Option<Duration>) -> Duration {
        let whole = PAUSE_MIN.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(PAUSE_MAX);
        let half = whole / 2;
        let jitter = half.mul_f64((self.next() >> 11) as f64 / (1u64 << 53) as f64);
        (half + jitter).max(asked.unwrap_or_default()).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_bounds_and_follow_the_seed() {
        let pauses = |seed| {
            let mut jitter = Jitter::new(seed);
            (1..=12).map(|failures| jitter.pause(failures, None)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(7), pauses(7));
        assert_ne!(pauses(7), pauses(8));
        for (failures, pause) in pauses(1).into_iter().enumerate() {
            let whole = (PAUSE_MIN * 2u32.pow(failures as u32)).min(PAUSE_MAX);
            assert!((whole / 2..=whole).contains(&pause), "{failures}: {pause:?}");
        }
        assert_eq!(Jitter::new(1).pause(1, Some(Duration::from_secs(9))), Duration::from_secs(9));
        assert_eq!(Jitter::new(1).pause(u32::MAX, Some(Duration::from_secs(900))), PAUSE_MAX);
    }
}
