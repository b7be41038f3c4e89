//! Seconds of one message after the other.

use crate::Time;

/// One second of the graph's row that a time lies in. Times come in about their order, so a division is seldom needed.
#[derive(Debug)]
pub(super) struct Seconds {
    seconds_per_row: u32,
    begin_s: u32,
    begin_ns: i64,
    /// 0 where no row is at hand.
    width_ns: u64,
}

impl Seconds {
    pub(super) fn new(seconds_per_row: u32) -> Self {
        Self { seconds_per_row: seconds_per_row.max(1), begin_s: 0, begin_ns: 0, width_ns: 0 }
    }

    #[inline]
    pub(super) fn of(&mut self, time: Time) -> u32 {
        if (time.ns().wrapping_sub(self.begin_ns) as u64) < self.width_ns { self.begin_s } else { self.another(time) }
    }

    /// The second of the first of these times, and how many from the beginning lie in the same row of the graph.
    pub(super) fn of_run(&mut self, times: &[[u8; 8]]) -> Option<(u32, usize)> {
        let second = self.of(time(times.first()?));
        let is_within = |time: &[u8; 8]| (i64::from_le_bytes(*time).wrapping_sub(self.begin_ns) as u64) < self.width_ns;
        // A run is long as a rule, and each turn of a loop costs a check of fuel: eight times a turn, without a branch for each.
        let (blocks, _) = times.as_chunks::<8>();
        let whole = 8 * blocks.iter().take_while(|block| block.iter().fold(true, |all, time| all & is_within(time))).count();
        let rest = times[whole..].iter().take_while(|time| is_within(time)).count();
        Some((second, (whole + rest).max(1)))
    }

    #[inline(never)]
    fn another(&mut self, time: Time) -> u32 {
        let seconds = time.seconds();
        self.begin_s = seconds - seconds % self.seconds_per_row;
        self.begin_ns = i64::from(self.begin_s) * 1_000_000_000;
        // Times before 1970 and after 2106 count as the first and the last second: they are not told by a row's width.
        let is_whole = time.ns() >= 0 && self.begin_s.checked_add(self.seconds_per_row).is_some();
        self.width_ns = if is_whole { u64::from(self.seconds_per_row) * 1_000_000_000 } else { 0 };
        seconds
    }
}

/// A cell of a column of times.
#[inline]
pub(super) fn time(cell: &[u8; 8]) -> Time {
    Time::from_ns(i64::from_le_bytes(*cell))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_another_row_begins() {
        let times: Vec<_> = (0..300_i64).map(|second| (second * 1_000_000_000).to_le_bytes()).collect();
        let mut seconds = Seconds::new(100);
        let run = |seconds: &mut Seconds, begin: usize| seconds.of_run(&times[begin..]);
        assert_eq!(run(&mut seconds, 0), Some((0, 100)));
        assert_eq!(run(&mut seconds, 37), Some((0, 63)));
        assert_eq!(run(&mut seconds, 100), Some((100, 100)));
        assert_eq!(run(&mut seconds, 299), Some((299, 1)));
        assert_eq!(run(&mut seconds, 300), None);
        assert_eq!(seconds.of_run(&[(-1_i64).to_le_bytes(), (-1_i64).to_le_bytes()]), Some((0, 1)), "no row of the graph is before 1970");
    }

    #[test]
    fn every_time_is_of_the_row_that_its_second_is_of() {
        let end = i64::from(u32::MAX) * 1_000_000_000;
        let times = [0, 1, 59, 60, 61, -1, 119_999_999_999, 120_000_000_000, 59_999_999_999, i64::MIN, i64::MAX, end - 1, end, end + 1, 7];
        for seconds_per_row in [1, 60, 86_400, u32::MAX] {
            let mut seconds = Seconds::new(seconds_per_row);
            for time in times.into_iter().chain(times).map(Time::from_ns) {
                assert_eq!(seconds.of(time) / seconds_per_row, time.seconds() / seconds_per_row, "{time:?} in rows of {seconds_per_row} s");
            }
        }
    }
}
