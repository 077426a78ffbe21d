//! A graph's stream: which events an epoch takes, decoded, and how event time
//! moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::compute::{cast, max};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::execution::SessionState;
use parking_lot::Mutex;
use pluvio_catalog::{StartAt, StreamDef};
use pluvio_query::QueryError;
use pluvio_query::source::{Decoded, StreamDecoder};
use pluvio_query::sources::{StreamPartition, StreamTopic};
use pluvio_query::windows::TIME_TYPE;

use super::StreamRecord;

/// Bytes read from a partition at a time.
const READ_BYTES: usize = 4 << 20;

/// The stream of a graph.
pub struct Source {
    stream: StreamDef,
    functions: SessionState,
    topic: StreamTopic,
    partitions: Vec<Arc<dyn StreamPartition>>,
    decoders: Vec<Mutex<StreamDecoder>>,
    workers: usize,
    /// For each partition, when events last came (monotonic microseconds).
    active_us: Vec<u64>,
}

/// What one partition gives to an epoch.
pub struct Taken {
    /// Which partition.
    pub partition: usize,
    /// Its events, decoded; several pieces if there were many.
    pub pieces: Vec<Decoded>,
    /// The first offset not taken.
    pub next_offset: i64,
}

impl Source {
    /// A stream to be read; `functions` are those that compute its columns.
    pub fn new(stream: StreamDef, topic: StreamTopic, workers: usize, functions: SessionState) -> Self {
        Self {
            stream,
            functions,
            topic,
            partitions: Vec::new(),
            decoders: Vec::new(),
            workers,
            active_us: Vec::new(),
        }
    }

    pub fn stream(&self) -> &StreamDef {
        &self.stream
    }

    pub fn partitions(&self) -> &[Arc<dyn StreamPartition>] {
        &self.partitions
    }

    /// Why nothing can be read at the moment, if that is so.
    pub fn trouble(&self) -> Option<QueryError> {
        self.topic.trouble()
    }

    /// Looks for new partitions; whether there are any.
    pub fn refresh(&mut self, now_us: u64) -> Result<bool, QueryError> {
        let found = self.topic.partitions();
        while self.decoders.len() < found.len() {
            self.decoders.push(Mutex::new(StreamDecoder::new(&self.stream, &self.functions)?));
            self.active_us.push(now_us);
        }
        let more = found.len() > self.partitions.len();
        self.partitions = found;
        Ok(more)
    }

    /// Gives partitions without one a place in the record; `start` is where to
    /// begin if nothing was ever read under it.
    ///
    /// # Errors
    /// A time that cannot be looked up.
    pub fn begin(&self, record: &mut StreamRecord, start: Option<&StartAt>) -> Result<(), QueryError> {
        for (i, partition) in self.partitions.iter().enumerate().skip(record.cut.len()) {
            // Partitions that are added later are read from their beginning.
            record.cut.push(match start {
                Some(StartAt::Latest) => partition.newest_offset(),
                Some(StartAt::Time(time_ms)) => partition.offset_at(*time_ms)?,
                Some(StartAt::Offsets(offsets)) => match offsets.get(i) {
                    Some(offset) => (*offset).min(partition.newest_offset()).max(partition.start_offset()),
                    None => partition.start_offset(),
                },
                Some(StartAt::Earliest) | None => partition.start_offset(),
            });
            record.event_time_us.push(None);
        }
        Ok(())
    }

    /// How many events are waiting behind the cut and can be read.
    pub fn waiting(&self, cut: &[i64]) -> u64 {
        self.behind(cut, |partition| partition.end_offset())
    }

    /// How many events its topic holds, as far as is known.
    pub fn held(&self) -> u64 {
        let held =
            |p: &Arc<dyn StreamPartition>| u64::try_from(p.newest_offset() - p.start_offset()).unwrap_or(0);
        self.partitions.iter().map(held).sum()
    }

    /// How many events are behind the cut, as far as is known.
    pub fn lag(&self, cut: &[i64]) -> u64 {
        self.behind(cut, |partition| partition.newest_offset())
    }

    fn behind(&self, cut: &[i64], end: impl Fn(&dyn StreamPartition) -> i64) -> u64 {
        let behind =
            |(p, cut): (&Arc<dyn StreamPartition>, &i64)| u64::try_from(end(&**p) - cut).unwrap_or(0);
        self.partitions.iter().zip(cut).map(behind).sum()
    }

    /// Reads and decodes the next events of every partition behind the cut, and
    /// before `until`, in parallel, so many rows and bytes at most; hands each partition's to `work` on the thread
    /// that decoded them.
    pub fn take<T: Send>(
        &self,
        cut: &[i64],
        until: Option<&[i64]>,
        (rows_max, bytes_max): (usize, usize),
        work: impl Fn(Taken) -> Result<T, QueryError> + Sync,
    ) -> Result<Vec<T>, QueryError> {
        let active: Vec<usize> =
            (0..self.partitions.len()).filter(|i| self.end(*i, until) > cut[*i]).collect();
        let rows_each = (rows_max / active.len().max(1)).max(1);
        let bytes_each = bytes_max / active.len().max(1);
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(active.len()));
        let run = || {
            while let Some(&index) = active.get(next.fetch_add(1, Ordering::Relaxed)) {
                let taken =
                    self.take_partition(index, (cut[index], self.end(index, until)), rows_each, bytes_each);
                let result = taken.and_then(&work);
                results.lock().push((index, result));
            }
        };
        let workers = self.workers.min(active.len());
        std::thread::scope(|scope| {
            for _ in 1..workers {
                scope.spawn(run);
            }
            run();
        });
        let mut results = results.into_inner();
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn end(&self, partition: usize, until: Option<&[i64]>) -> i64 {
        let end = self.partitions[partition].end_offset();
        until.and_then(|until| until.get(partition)).map_or(end, |until| end.min(*until))
    }

    fn take_partition(
        &self,
        index: usize,
        (cut, end): (i64, i64),
        rows: usize,
        bytes: usize,
    ) -> Result<Taken, QueryError> {
        let partition = &self.partitions[index];
        let mut decoder = self.decoders[index].lock();
        let start = partition.start_offset();
        let mut next_offset = cut.max(start);
        if next_offset > cut {
            tracing::warn!(topic = %self.stream.topic, partition = index, from = cut, to = next_offset,
                "events were deleted by retention before the job read them");
        }
        let end = end.min(next_offset + i64::try_from(rows).unwrap_or(i64::MAX));
        let mut pieces = Vec::new();
        let mut taken = 0;
        while next_offset < end && taken < bytes {
            let piece = decoder.read(&**partition, next_offset, end, READ_BYTES.min(bytes))?;
            if piece.next_offset <= next_offset {
                break;
            }
            next_offset = piece.next_offset;
            taken += piece.bytes;
            pieces.push(piece);
        }
        Ok(Taken { partition: index, pieces, next_offset })
    }

    /// The newest event time among these rows, in microseconds.
    pub fn event_time_us(&self, decoded: &Decoded) -> Option<i64> {
        let watermark = self.stream.watermark.as_ref()?;
        let column = decoded.rows.column_by_name(&watermark.column)?;
        let times = cast(column, &TIME_TYPE).ok()?;
        max(times
            .as_any()
            .is::<datafusion::arrow::array::TimestampMicrosecondArray>()
            .then(|| times.as_primitive::<TimestampMicrosecondType>())?)
    }

    /// Remembers that a partition had events.
    pub fn mark_active(&mut self, partition: usize, now_us: u64) {
        self.active_us[partition] = now_us;
    }

    /// The watermark: the oldest of the partitions' newest event times, less the
    /// delay. Idle partitions do not count; it never goes back.
    pub fn watermark_us(&self, record: &StreamRecord, now_us: u64) -> Option<i64> {
        self.watermark_after(record, now_us, &|_| false)
    }

    /// The watermark after an epoch in which some partitions had events.
    pub fn watermark_after(
        &self,
        record: &StreamRecord,
        now_us: u64,
        had_events: &impl Fn(usize) -> bool,
    ) -> Option<i64> {
        let delay_us = self.stream.watermark.as_ref()?.delay_us;
        let idle_us = u64::try_from(self.stream.idle_timeout_ms).unwrap_or(u64::MAX).saturating_mul(1000);
        // One whose events wait to be read is late, not idle.
        let waits = |i: usize| record.cut.get(i).is_some_and(|cut| self.partitions[i].end_offset() > *cut);
        let is_idle =
            |i: usize| !had_events(i) && now_us.saturating_sub(self.active_us[i]) > idle_us && !waits(i);
        let times = || record.event_time_us.iter().enumerate().take(self.active_us.len());
        let active: Option<Vec<i64>> = times().filter(|(i, _)| !is_idle(*i)).map(|(_, t)| *t).collect();
        let newest = match active {
            // A partition that is not idle and has no event yet holds time back.
            None => None,
            Some(active) if !active.is_empty() => active.into_iter().min(),
            Some(_) => times().filter_map(|(_, t)| *t).max(),
        };
        let candidate = newest.map(|t| t.saturating_sub(delay_us));
        candidate.max(record.watermark_us)
    }

    /// Whether the stream has event time.
    pub fn has_time(&self) -> bool {
        self.stream.watermark.is_some()
    }

    /// Lets go of what all jobs of the graph have taken, and no more.
    pub fn hold(&self, graph: &str, cut: Option<&[i64]>) {
        for (i, partition) in self.partitions.iter().enumerate() {
            let cut = cut.and_then(|cut| cut.get(i).copied());
            partition.hold(graph, cut);
            if let Some(cut) = cut {
                partition.go_on(cut);
            }
        }
    }

    /// Waits until everything before the cut is on disk: an epoch must not
    /// include an event that a power failure could take back.
    pub fn make_durable(&self, cut: &[i64]) -> Result<(), QueryError> {
        for (partition, cut) in self.partitions.iter().zip(cut) {
            partition.make_durable(*cut)?;
        }
        Ok(())
    }
}
