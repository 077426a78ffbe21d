//! How many events are due.

/// Events that are made together at least, where many are asked for: what comes
/// in so many microseconds.
const TURN_US: u64 = 5_000;
/// What could not be made in time is made up for, but no more than this.
const LATE_US_MAX: u64 = 1_000_000;

/// A rate, held from some moment on.
#[derive(Debug)]
pub(crate) struct Pace {
    rows_per_second: u64,
    /// From when on, by the monotonic clock, and how many were made since.
    since_us: u64,
    made: u64,
}

impl Pace {
    /// `rows_per_second`: 0 for as many as there can be.
    pub fn new(rows_per_second: u64, now_us: u64) -> Self {
        Self { rows_per_second, since_us: now_us, made: 0 }
    }

    fn time_of(&self, rows: u64) -> u64 {
        let time_us = u128::from(rows) * 1_000_000 / u128::from(self.rows_per_second.max(1));
        u64::try_from(time_us).unwrap_or(u64::MAX)
    }

    /// How many may be made now.
    pub fn due(&mut self, now_us: u64) -> u64 {
        if self.rows_per_second == 0 {
            return u64::MAX;
        }
        let passed_us = now_us.saturating_sub(self.since_us);
        if passed_us.saturating_sub(self.time_of(self.made)) > LATE_US_MAX {
            (self.since_us, self.made) = (now_us - LATE_US_MAX, 0);
        }
        let passed_us = u128::from(now_us.saturating_sub(self.since_us));
        let rows = passed_us * u128::from(self.rows_per_second) / 1_000_000;
        u64::try_from(rows).unwrap_or(u64::MAX).saturating_sub(self.made)
    }

    /// So many were made.
    pub fn made(&mut self, rows: u64) {
        self.made = self.made.saturating_add(rows);
    }

    /// How long until one is due, or some are, where many are.
    pub fn wait_us(&self, now_us: u64) -> u64 {
        let next_us = self.since_us.saturating_add(self.time_of(self.made + 1)).saturating_add(1);
        next_us.saturating_sub(now_us).max(TURN_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_held() {
        let mut pace = Pace::new(1_000, 50);
        assert_eq!(pace.due(50), 0);
        assert_eq!(pace.wait_us(50), TURN_US);
        assert_eq!(pace.due(50 + TURN_US), 5);
        pace.made(5);
        assert_eq!(pace.due(50 + TURN_US), 0);
        assert_eq!(pace.due(50 + 500_000), 495);
    }

    #[test]
    fn slow_rates_wait_for_the_next() {
        let mut pace = Pace::new(2, 0);
        let wait_us = pace.wait_us(0);
        assert!((500_000..501_000).contains(&wait_us), "{wait_us}");
        assert_eq!((pace.due(wait_us - 2), pace.due(wait_us)), (0, 1));
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        let mut pace = Pace::new(1_000, 0);
        assert_eq!(pace.due(60_000_000), 1_000);
        pace.made(1_000);
        assert_eq!(pace.due(60_000_000), 0);
    }

    #[test]
    fn none_is_as_fast_as_can_be() {
        assert_eq!(Pace::new(0, 0).due(0), u64::MAX);
    }
}
