//! What an epoch takes from the streams: events read, decoded, and run through
//! what needs no state, partitions in parallel.
//!
//! Promise: taking changes nothing, so it may be done ahead, while the epoch
//! before commits. What was taken counts only for an epoch that begins where the
//! taking began, and is thrown away otherwise.

use pluvio_query::QueryError;
use pluvio_query::source::{Decoded, with_processing_time};

use super::epoch::Pipeline;
use super::intake::{self, Intake};
use super::outputs::{DeadLetter, Outputs, Place};
use super::source::Taken;
use crate::operators::Delta;

/// Most of what an epoch takes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From each way through a stream.
    pub rows: usize,
    /// From all of them.
    pub bytes: usize,
}

/// See the module.
pub struct Taking {
    pub outputs: Outputs,
    /// The ways through the streams behind what was taken.
    pub intakes: Vec<Intake>,
    /// Events taken, and their bytes.
    pub events: u64,
    pub bytes: u64,
    /// When the events were appended: (Unix milliseconds, events).
    pub appended: Vec<(i64, u32)>,
    /// Partitions that had events: the stream and the partition.
    pub active: Vec<(usize, usize)>,
    /// The instant of processing, where somebody wants to know.
    pub instant_us: Option<i64>,
    /// The cuts where it began.
    began: Vec<Vec<i64>>,
}

impl Taking {
    /// Whether it began where these ways are now.
    pub fn begins_at(&self, intakes: &[Intake]) -> bool {
        self.began.iter().eq(intakes.iter().map(|intake| &intake.record.cut))
    }
}

impl Pipeline {
    /// Reads the streams from where the pipeline is. Nothing while a view takes in
    /// the rows of others.
    ///
    /// # Errors
    /// Storage that cannot be read.
    pub fn take(&self, limits: Limits, now_us: i64) -> Result<Taking, QueryError> {
        self.take_from(&self.intakes, limits, self.instant_us(now_us))
    }

    /// Whether the next epoch may take before this one is committed: nothing that
    /// is done where events are decoded asks what the time is, or what a view of
    /// this graph holds, and no stream waits for another.
    pub fn may_take_ahead(&self) -> bool {
        self.goes_through()
            && self.max_drift_us.is_none()
            && !self.asks_itself
            && self.instant_us(0).is_none()
    }

    /// Reads the streams from behind what another epoch takes.
    ///
    /// # Errors
    /// Storage that cannot be read.
    pub fn take_ahead(&self, behind: &[Intake], limits: Limits) -> Result<Taking, QueryError> {
        self.take_from(behind, limits, None)
    }

    fn take_from(
        &self,
        intakes: &[Intake],
        limits: Limits,
        instant_us: Option<i64>,
    ) -> Result<Taking, QueryError> {
        let mut taking = Taking {
            outputs: Outputs::new(&self.views, self.goes_through()),
            intakes: intakes.to_vec(),
            events: 0,
            bytes: 0,
            appended: Vec::new(),
            active: Vec::new(),
            instant_us,
            began: intakes.iter().map(|intake| intake.record.cut.clone()).collect(),
        };
        if self.catching_up.is_some() {
            return Ok(taking);
        }
        let ways = intakes.iter().filter(|intake| intake.waiting(&self.sources) > 0).count();
        let limits = Limits { bytes: limits.bytes / ways.max(1), ..limits };
        let (front, behind): (Vec<_>, Vec<_>) =
            (0..intakes.len()).partition(|i| intakes[*i].is_in_front(intakes));
        for (place, is_in_front) in front.iter().map(|i| (*i, true)).chain(behind.iter().map(|i| (*i, false)))
        {
            if self.is_ahead(place) {
                continue;
            }
            let stream = intakes[place].stream;
            let until = (!is_in_front).then(|| intake::front(&taking.intakes, stream));
            self.take_one(&mut taking, place, until.as_deref(), limits)?;
        }
        for intake in &mut taking.intakes {
            intake.fresh &= intake.record.cut.is_empty();
        }
        Ok(taking)
    }

    /// Whether the event time of this way is so far ahead of another's that it
    /// waits. The other has events to go on with, so that it will not wait for ever.
    fn is_ahead(&self, place: usize) -> bool {
        let (Some(drift_us), Some(own_us)) = (self.max_drift_us, self.intakes[place].record.watermark_us)
        else {
            return false;
        };
        let others = self.intakes.iter().enumerate().filter(|(i, intake)| {
            *i != place && self.sources[intake.stream].has_time() && intake.waiting(&self.sources) > 0
        });
        let slowest = others.map(|(_, intake)| intake.record.watermark_us.unwrap_or(i64::MIN)).min();
        slowest.is_some_and(|slowest_us| own_us.saturating_sub(slowest_us) > drift_us)
    }

    fn take_one(
        &self,
        taking: &mut Taking,
        place: usize,
        until: Option<&[i64]>,
        Limits { rows, bytes }: Limits,
    ) -> Result<(), QueryError> {
        let (intake, instant_us) = (taking.intakes[place].clone(), taking.instant_us);
        let source = &self.sources[intake.stream];
        let work = |taken: Taken| -> Result<(Outputs, Taken), QueryError> {
            let mut outputs = Outputs::new(&self.views, self.goes_through());
            for piece in &taken.pieces {
                self.feed_piece(&intake, (taken.partition, piece), instant_us, &mut outputs)?;
            }
            Ok((outputs, taken))
        };
        for (outputs, taken) in source.take(&intake.record.cut, until, (rows, bytes), work)? {
            taking.outputs.merge(outputs);
            let record = &mut taking.intakes[place].record;
            record.cut[taken.partition] = taken.next_offset;
            taking.active.push((intake.stream, taken.partition));
            for piece in taken.pieces {
                let time = &mut record.event_time_us[taken.partition];
                *time = (*time).max(source.event_time_us(&piece));
                taking.events += piece.events as u64;
                taking.bytes += piece.bytes as u64;
                taking.appended.extend(piece.appended);
            }
        }
        Ok(())
    }

    /// Runs decoded events of a partition through the reads of the views on this
    /// way.
    fn feed_piece(
        &self,
        intake: &Intake,
        (partition, piece): (usize, &Decoded),
        instant_us: Option<i64>,
        outputs: &mut Outputs,
    ) -> Result<(), QueryError> {
        let stream = self.sources[intake.stream].stream();
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let place = Place { stream: intake.stream, partition, offsets: &piece.offsets };
        let rows = with_processing_time(stream, piece.rows.clone(), instant_us.unwrap_or_default())?;
        for view in intake.views.iter().filter(|_| rows.num_rows() > 0) {
            for (read, runner) in self.views[*view].reads.iter().enumerate() {
                if !runner.is_stream || runner.name != stream.name {
                    continue;
                }
                if stream.has_changes() {
                    let weights = piece.weights.clone();
                    outputs.feed_changes((*view, read), Delta { rows: rows.clone(), weights });
                } else {
                    outputs.feed(&self.views, (*view, read), &rows, &place, true);
                }
            }
        }
        outputs.dead_letters.extend(piece.rejected.iter().map(|rejected| DeadLetter {
            stream: intake.stream,
            partition: Some(partition),
            offset: Some(rejected.offset),
            reason: rejected.reason.clone(),
            value: String::from_utf8_lossy(&rejected.preview).into_owned(),
        }));
        Ok(())
    }
}
