//! Numbers over the last two minutes: rates from counts, and what the page draws
//! before it has seen anything itself.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

/// Points kept: two minutes at four a second.
const POINTS_MAX: usize = 480;

/// One point of the lines.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Point {
    /// Unix milliseconds.
    pub(super) at: i64,
    pub(super) events: f64,
    pub(super) rows: f64,
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// The points, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Point>);

impl History {
    pub(super) fn push(&mut self, point: Point) {
        if self.0.len() == POINTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    pub(super) fn json(&self) -> Value {
        let column = |value: fn(&Point) -> Value| self.0.iter().map(value).collect::<Vec<_>>();
        json!({
            "at": column(|point| json!(point.at)),
            "events": column(|point| json!(point.events.round())),
            "rows": column(|point| json!(point.rows.round())),
            "p50": column(|point| json!(point.p50)),
            "p99": column(|point| json!(point.p99)),
        })
    }
}

/// Counts at some moments, for their rates over all of them.
#[derive(Debug)]
pub(super) struct Counts {
    samples_max: usize,
    samples: VecDeque<(u64, HashMap<String, u64>)>,
}

impl Counts {
    /// Counts of the newest `samples_max` moments.
    pub(super) fn over(samples_max: usize) -> Self {
        Self { samples_max, samples: VecDeque::new() }
    }

    /// Remembers all counts at a moment in monotonic microseconds.
    pub(super) fn push(&mut self, at_us: u64, counts: HashMap<String, u64>) {
        if self.samples.len() == self.samples_max {
            self.samples.pop_front();
        }
        self.samples.push_back((at_us, counts));
    }

    /// How much a count grew per second; none before two samples, and none for a
    /// count that began again.
    pub(super) fn rate(&self, name: &str) -> Option<f64> {
        let (newest_us, newest) = self.samples.back()?;
        let newest = newest.get(name)?;
        let earlier =
            self.samples.iter().find_map(|(at_us, counts)| counts.get(name).map(|count| (at_us, count)));
        let (oldest_us, oldest) = earlier?;
        let elapsed_us = newest_us.checked_sub(*oldest_us).filter(|elapsed| *elapsed > 0)?;
        Some(newest.checked_sub(*oldest)? as f64 * 1e6 / elapsed_us as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_kept_span() {
        let mut counts = Counts::over(9);
        for second in 0..20_u64 {
            counts.push(second * 1_000_000, HashMap::from([("events".to_owned(), second * second)]));
        }
        // From second 11 to second 19.
        assert_eq!(counts.rate("events"), Some((19.0 * 19.0 - 11.0 * 11.0) / 8.0));
        assert_eq!(counts.rate("nothing"), None);
        counts.push(20_000_000, HashMap::from([("events".to_owned(), 0)]));
        assert_eq!(counts.rate("events"), None);
    }

    #[test]
    fn history_is_bounded() {
        let mut history = History::default();
        for at in 0..1000 {
            history.push(Point { at, ..Point::default() });
        }
        assert_eq!(history.json()["at"].as_array().unwrap().len(), POINTS_MAX);
        assert_eq!(history.json()["at"][0], json!(520));
    }
}
