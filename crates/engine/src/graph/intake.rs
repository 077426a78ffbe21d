//! How far a graph's views have read their streams.
//!
//! Views that have read a stream equally far take the same events from then on,
//! decoded once. A view that joins later reads behind them, from the stream's
//! beginning, until it has caught up.

use pluvio_catalog::StartAt;

use super::record::StreamRecord;
use super::source::Source;

/// Some views' way through one stream.
#[derive(Debug, Clone)]
pub struct Intake {
    /// The stream, by its place in the graph.
    pub stream: usize,
    /// The views.
    pub views: Vec<usize>,
    /// How far they are.
    pub record: StreamRecord,
    /// They have not read anything.
    pub fresh: bool,
    /// Where they begin.
    pub start: StartAt,
}

/// Puts views that have read equally far together.
pub fn unite(intakes: Vec<Intake>) -> Vec<Intake> {
    let mut united: Vec<Intake> = Vec::with_capacity(intakes.len());
    for intake in intakes {
        let same = |other: &&mut Intake| {
            other.stream == intake.stream
                && other.record.cut == intake.record.cut
                && other.fresh == intake.fresh
                && (!intake.fresh || other.start == intake.start)
        };
        match united.iter_mut().find(same) {
            Some(other) => {
                other.record.watermark_us = other.record.watermark_us.max(intake.record.watermark_us);
                other.views.extend(intake.views);
            }
            None => united.push(intake),
        }
    }
    united
}

/// The furthest that views of a stream have read, by partition.
pub fn front(intakes: &[Intake], stream: usize) -> Vec<i64> {
    let mut front: Vec<i64> = Vec::new();
    for intake in intakes.iter().filter(|intake| intake.stream == stream) {
        if front.len() < intake.record.cut.len() {
            front.resize(intake.record.cut.len(), i64::MIN);
        }
        front.iter_mut().zip(&intake.record.cut).for_each(|(front, cut)| *front = (*front).max(*cut));
    }
    front
}

/// The least that views of a stream have read, by partition.
pub fn rear(intakes: &[Intake], stream: usize) -> Option<Vec<i64>> {
    let cuts = intakes.iter().filter(|intake| intake.stream == stream).map(|intake| &intake.record.cut);
    cuts.cloned().reduce(|mut rear, cut| {
        rear.iter_mut().zip(&cut).for_each(|(rear, cut)| *rear = (*rear).min(*cut));
        rear.truncate(cut.len());
        rear
    })
}

impl Intake {
    /// Whether this has come as far as any other of its stream.
    pub fn is_in_front(&self, intakes: &[Self]) -> bool {
        self.record.cut == front(intakes, self.stream)
    }

    /// Events that can be read.
    pub fn waiting(&self, sources: &[Source]) -> u64 {
        sources[self.stream].waiting(&self.record.cut)
    }

    /// The watermark with the partitions as they are at `now_us` (monotonic).
    pub fn watermark_us(&self, sources: &[Source], now_us: u64) -> Option<i64> {
        sources[self.stream].watermark_us(&self.record, now_us)
    }
}
