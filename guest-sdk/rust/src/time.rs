//! The time of a message.

/// Nanoseconds since 1970 UTC, as messages carry them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// From nanoseconds since 1970 UTC.
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// From milliseconds since 1970 UTC; saturates.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// From seconds since 1970 UTC; saturates.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since 1970 UTC.
    pub const fn ns(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970 UTC.
    pub const fn ms(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Whole seconds since 1970 UTC, as graphs count them: 0 before 1970, the last second that fits after 2106.
    #[inline]
    pub const fn seconds(self) -> u32 {
        if self.0 < 0 {
            return 0;
        }
        // Of a number without sign: the machine has a multiplication for that.
        let seconds = self.0 as u64 / 1_000_000_000;
        if seconds > u32::MAX as u64 { u32::MAX } else { seconds as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn seconds_stay_within_what_graphs_count() {
        let check = |ns: i64, seconds: u32| assert_eq!(Time::from_ns(ns).seconds(), seconds, "{ns} ns");
        check(0, 0);
        check(999_999_999, 0);
        check(1_522_360_830_123_456_789, 1_522_360_830);
        check(-1, 0);
        check(i64::MIN, 0);
        check(i64::MAX, u32::MAX);
    }

    #[test]
    fn milliseconds_round_down() {
        assert_eq!(Time::from_ns(-1).ms(), -1);
        assert_eq!(Time::from_ms(1_522_360_830_123).ns(), 1_522_360_830_123_000_000);
        assert_eq!(Time::from_ms(i64::MAX).ns(), i64::MAX);
    }
}
