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

#[cfg(test)]
mod tests {
    use super::*;

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
