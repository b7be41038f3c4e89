//! A clock that is turned by hand.

use crate::Clock;
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock at this time since 1970.
    pub fn at(since_1970: Duration) -> Self {
        Self(AtomicI64::new(since_1970.as_nanos() as i64))
    }

    /// Moves it on.
    pub fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as i64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now_ns().unsigned_abs())
    }
}
