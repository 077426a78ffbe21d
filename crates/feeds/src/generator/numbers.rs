//! Which events of a generator are in the topic: all before the next one, but
//! for gaps that a loss of power left, where one partition kept more than
//! another.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The positions of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Positions {
    /// The number behind the last.
    next: u64,
    /// Those before it that are missing.
    gaps: Vec<Range<u64>>,
}

/// The numbers that are to be made.
#[derive(Debug)]
pub(crate) struct Numbers {
    next: u64,
    /// Ascending, apart from each other.
    gaps: Vec<Range<u64>>,
    /// Behind the last of all.
    end: u64,
}

impl Numbers {
    pub fn new(positions: Positions, end: u64) -> Self {
        Self { next: positions.next, gaps: positions.gaps, end }
    }

    /// These are in the topic.
    pub fn note(&mut self, range: Range<u64>) {
        if range.start > self.next {
            self.gaps.push(self.next..range.start);
        }
        self.next = self.next.max(range.end);
        let without = |gap: &Range<u64>| {
            let before = gap.start..gap.end.min(range.start);
            let behind = gap.start.max(range.end)..gap.end;
            [before, behind].into_iter().filter(|part| part.start < part.end)
        };
        if self.gaps.iter().any(|gap| gap.start < range.end && range.start < gap.end) {
            self.gaps = self.gaps.iter().flat_map(without).collect();
        }
    }

    /// What is missing is not missed.
    pub fn forgive(&mut self) {
        self.gaps.clear();
    }

    /// Whether all were made.
    pub fn is_over(&self) -> bool {
        self.gaps.is_empty() && self.next >= self.end
    }

    /// The next ones to make, at most so many.
    pub fn next(&self, count: u64) -> Range<u64> {
        let (start, end) = self.gaps.first().map_or((self.next, self.end), |gap| (gap.start, gap.end));
        start..end.min(start.saturating_add(count))
    }

    /// The first so many of [`Self::next`] were made.
    pub fn made(&mut self, count: u64) {
        match self.gaps.first_mut() {
            Some(gap) => {
                gap.start += count;
                if gap.start >= gap.end {
                    self.gaps.remove(0);
                }
            }
            None => self.next += count,
        }
    }

    pub fn positions(&self) -> Positions {
        Positions { next: self.next, gaps: self.gaps.clone() }
    }

    /// For people.
    pub fn show(&self) -> String {
        match self.end {
            u64::MAX => format!("event {}", self.next),
            end => format!("event {} of {end}", self.next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(numbers: &Numbers) -> (u64, Vec<(u64, u64)>) {
        let positions = numbers.positions();
        (positions.next, positions.gaps.into_iter().map(|gap| (gap.start, gap.end)).collect())
    }

    #[test]
    fn gaps_are_filled_first() {
        let mut numbers = Numbers::new(Positions::default(), 60);
        // Two partitions, of which one lost its end.
        for range in [0..10, 20..30, 40..50, 10..20] {
            numbers.note(range);
        }
        assert_eq!(known(&numbers), (50, vec![(30, 40)]));
        assert_eq!(numbers.next(7), 30..37);
        numbers.made(7);
        assert_eq!(numbers.next(7), 37..40);
        assert!(!numbers.is_over());
        numbers.made(3);
        assert_eq!(numbers.next(100), 50..60);
        numbers.made(10);
        assert!(numbers.is_over());
    }

    #[test]
    fn order_does_not_matter() {
        let ranges = [0..5, 5..9, 12..15, 15..16];
        for turn in 0..ranges.len() {
            let mut numbers = Numbers::new(Positions::default(), u64::MAX);
            let mut ranges = ranges.to_vec();
            ranges.rotate_left(turn);
            ranges.into_iter().for_each(|range| numbers.note(range));
            assert_eq!(known(&numbers), (16, vec![(9, 12)]));
        }
    }

    #[test]
    fn what_retention_took_is_not_made_again() {
        let mut numbers = Numbers::new(Positions::default(), u64::MAX);
        numbers.note(100..110);
        numbers.forgive();
        assert_eq!(numbers.next(5), 110..115);
    }

    #[test]
    fn more_than_the_end_is_enough() {
        let mut numbers = Numbers::new(Positions::default(), 5);
        numbers.note(0..9);
        assert!(numbers.is_over());
    }
}
