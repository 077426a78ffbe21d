//! A clock that stands still until the test moves it.

use pluvio_foundation::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A clock under the test's control. Clones share the same time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    now_us: Arc<AtomicI64>,
    monotonic_us: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock that shows `now_ms` milliseconds since 1970.
    pub fn at_ms(now_ms: i64) -> Self {
        Self { now_us: Arc::new(AtomicI64::new(now_ms * 1000)), monotonic_us: Arc::default() }
    }

    /// Moves both clocks forward.
    pub fn advance_ms(&self, duration_ms: i64) {
        self.advance_us(duration_ms * 1000);
    }

    /// Moves both clocks forward.
    pub fn advance_us(&self, duration_us: i64) {
        self.now_us.fetch_add(duration_us, Ordering::SeqCst);
        self.monotonic_us.fetch_add(duration_us.max(0), Ordering::SeqCst);
    }

    /// Sets the wall clock, forward or back, as an operator would. The
    /// monotonic clock stays where it is.
    pub fn set_ms(&self, now_ms: i64) {
        self.now_us.store(now_ms * 1000, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at_ms(1_767_225_600_000)
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        self.now_us.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::SeqCst).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_time_and_monotonic_never_goes_back() {
        let clock = ManualClock::at_ms(5);
        let other = clock.clone();
        other.advance_ms(2);
        assert_eq!((clock.now_ms(), clock.monotonic_us()), (7, 2_000));
        other.set_ms(1);
        assert_eq!((clock.now_ms(), clock.monotonic_us()), (1, 2_000));
        other.advance_us(-500);
        assert_eq!((clock.now_us(), clock.monotonic_us()), (500, 2_000));
    }
}
