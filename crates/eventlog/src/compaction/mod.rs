//! Compaction: of the events with the same key only the newest stays, so that
//! a topic can be kept for ever in the size of its keys.
//!
//! Only closed segments are compacted, and only events that are durable, in no
//! ongoing transaction, older than the topic's lag and needed by no holder. A
//! pass notes the newest offset of each key in the part that was never
//! compacted (`key_map.rs`), then goes through all segments from the first and
//! writes those anew from which something falls out (`filter.rs`,
//! `output.rs`), small neighbours together, and swaps them in (`swap.rs`). If
//! the keys do not fit into memory the map ends early, and another pass
//! follows.
//!
//! Offsets stay what they were. A batch that loses records keeps its first and
//! last offset; one that loses all of them goes, and leaves a gap that the
//! batch after it is marked for. The last batch of a segment stays, if only as
//! a header, so that a missing segment is still noticed. A segment with damage
//! is left as it is.

mod filter;
mod key_map;
mod output;
mod progress;
mod swap;

use crate::error::IoContext;
use crate::partition::Partition;
use crate::segment::Segment;
use crate::topic_config::PPM;
use crate::walk::{Step, Walk};
use crate::{LogError, TopicConfig};
use filter::{Filter, Left};
use key_map::KeyMap;
use output::Output;
use pluvio_foundation::limits::RECORD_BATCH_INFLATED_BYTES_MAX;
use pluvio_wire_kafka::records::{BatchHeader, for_each_record, parse_header};
pub(crate) use progress::UNKNOWN;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A closed segment and the offset after its last.
type Closed = (Arc<Segment>, i64);

impl Partition {
    /// Compacts what is due; does nothing in a topic that is not compacted.
    pub(crate) fn compact(&self, now_ms: i64) -> Result<(), LogError> {
        let config = self.config();
        if !config.cleanup.compacts() || self.check_usable().is_err() {
            return Ok(());
        }
        let _upkeep = self.upkeep.lock();
        let closed = self.compactable(&config, now_ms)?;
        let Some(end) = closed.last().map(|(_, end)| *end) else { return Ok(()) };
        let mut from = self.compacted_to();
        self.forget_compacted(from);
        if !self.is_due(&config, &closed, from, now_ms)? {
            return Ok(());
        }
        let mut segments = closed;
        while from < end {
            from = self.compact_once(&config, &segments, from, now_ms)?;
            self.set_compacted_to(from)?;
            let present = self.segments.read().clone();
            segments = with_ends(&present).into_iter().take_while(|(_, next)| *next <= end).collect();
        }
        Ok(())
    }

    /// The closed segments from the first on that may be compacted.
    fn compactable(&self, config: &TopicConfig, now_ms: i64) -> Result<Vec<Closed>, LogError> {
        let unstable = self.first_unstable.load(Ordering::SeqCst);
        let limit = self.durable_offset().min(self.held_from()).min(unstable);
        let present = self.segments.read().clone();
        let mut closed = with_ends(&present);
        closed.retain(|(_, end)| *end <= limit);
        if config.compaction_lag_min_ms > 0 {
            let newest_ms = now_ms.saturating_sub(config.compaction_lag_min_ms);
            for count in 0..closed.len() {
                if self.newest_ms(&closed[count].0)? > newest_ms {
                    closed.truncate(count);
                    break;
                }
            }
        }
        Ok(closed)
    }

    fn is_due(
        &self,
        config: &TopicConfig,
        closed: &[Closed],
        from: i64,
        now_ms: i64,
    ) -> Result<bool, LogError> {
        let sum = |segments: &[Closed]| segments.iter().map(|(segment, _)| segment.bytes()).sum::<u64>();
        let clean = closed.partition_point(|(_, end)| *end <= from);
        let (all, dirty) = (sum(closed), sum(&closed[clean..]));
        if dirty == 0 {
            return Ok(false);
        }
        let ratio_ppm = u128::from(dirty) * u128::from(PPM) / u128::from(all);
        if ratio_ppm >= u128::from(config.dirty_ratio_min_ppm) {
            return Ok(true);
        }
        let Some((oldest, _)) = closed.get(clean) else { return Ok(false) };
        let oldest_ms = now_ms.saturating_sub(config.compaction_lag_max_ms);
        let file = oldest.file(&self.shared)?;
        let mut walk = Walk::new(self, oldest, &*file, (0, oldest.base_offset));
        Ok(matches!(walk.step()?, Step::Batch(_, header) if header.max_timestamp < oldest_ms))
    }

    /// Forgets aborted transactions whose events a pass removed before this
    /// one. Not in the pass itself: a reader may still be among them.
    fn forget_compacted(&self, upto: i64) {
        let upto = self.tail.first_offset().map_or(upto, |first| first.min(upto));
        self.transactions.write().forget_before(upto.max(self.start_offset()));
    }

    /// One pass over `segments`, whose events before `from` were compacted
    /// already. Returns up to where they are now.
    fn compact_once(
        &self,
        config: &TopicConfig,
        segments: &[Closed],
        from: i64,
        now_ms: i64,
    ) -> Result<i64, LogError> {
        let random = &self.shared.random;
        let map =
            KeyMap::new(self.shared.options.compaction_map_bytes, (random.next_u64(), random.next_u64()));
        let mut filter = Filter {
            partition: self,
            map,
            map_end: i64::MAX,
            now_ms,
            horizon_ms: now_ms.saturating_add(config.delete_retention_ms),
            last_of_producers: self.writer.lock().producers.last_batches(),
            open: HashSet::new(),
            drops_marks: true,
            scratch: Vec::new(),
            keyless: 0,
        };
        let end = segments.last().map_or(from, |(_, end)| *end);
        filter.map_end = self.note_keys(&mut filter, segments, from)?.unwrap_or(end);
        let used = segments.partition_point(|(segment, _)| segment.base_offset < filter.map_end);
        for group in self.groups(&segments[..used], config.segment_bytes) {
            self.compact_group(&mut filter, group)?;
        }
        if filter.keyless > 0 {
            let (label, keyless) = (self.label(), filter.keyless);
            tracing::warn!("{label}: {keyless} events without a key were removed: the topic is compacted");
        }
        Ok(filter.map_end)
    }

    /// Notes the keys from `from` on. Returns the first offset that found no
    /// room, if any.
    fn note_keys(
        &self,
        filter: &mut Filter<'_>,
        segments: &[Closed],
        from: i64,
    ) -> Result<Option<i64>, LogError> {
        let mut scratch = Vec::new();
        let mut full = None;
        for (segment, _) in segments.iter().filter(|(_, end)| *end > from) {
            let file = segment.file(&self.shared)?;
            let start = self.with_index(segment, |index| index.before_offset(from))?;
            let mut walk = Walk::new(self, segment, &*file, start);
            while let Step::Batch(position, header) = walk.step()? {
                self.shared.check_open()?;
                if header.is_control() || (header.is_transactional() && filter.is_aborted(&header)) {
                    continue;
                }
                let batch =
                    walk.scanner.bytes(position, header.total_bytes()).doing("read", &segment.path)?;
                let map = &mut filter.map;
                // What cannot be taken apart stays as it is.
                let _ = for_each_record(batch, RECORD_BATCH_INFLATED_BYTES_MAX, &mut scratch, |record| {
                    if full.is_none()
                        && record.offset >= from
                        && record.key.is_some_and(|key| !map.note(key, record.offset))
                    {
                        full = Some(record.offset);
                    }
                    Ok(())
                });
                if full.is_some() {
                    return Ok(full);
                }
            }
        }
        Ok(None)
    }

    /// Neighbours that fit into one segment together; a damaged one is alone.
    fn groups<'a>(&self, segments: &'a [Closed], bytes_max: u64) -> Vec<&'a [Closed]> {
        let mut groups = Vec::new();
        let mut rest = segments;
        while let Some((first, _)) = rest.first() {
            let mut bytes = 0;
            let fits = |(segment, end): &&Closed| {
                bytes += segment.bytes();
                bytes <= bytes_max
                    && u32::try_from(end - first.base_offset).is_ok()
                    && !first.is_damaged()
                    && !segment.is_damaged()
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (group, after) = rest.split_at(count);
            groups.push(group);
            rest = after;
        }
        groups
    }

    fn compact_group(&self, filter: &mut Filter<'_>, group: &[Closed]) -> Result<(), LogError> {
        let [(first, _), ..] = group else { return Ok(()) };
        let Some(end) = group.last().map(|(_, end)| *end) else { return Ok(()) };
        let mut output = Output::new(self, first.base_offset, end);
        let filled = group.iter().try_for_each(|(segment, _)| {
            self.compact_segment(filter, segment, group.len() > 1, end, &mut output)
        });
        let damaged = group.iter().any(|(segment, _)| segment.is_damaged());
        if damaged {
            // What could not be read may be what a deletion or a marker is for.
            filter.drops_marks = false;
        }
        if filled.is_err() || damaged || !output.is_begun() {
            output.discard();
            return filled;
        }
        if let Some((last, _)) = group.last() {
            output.index.last_append_ms = self.with_index(last, |index| index.last_append_ms)?;
        }
        let old: Vec<_> = group.iter().map(|(segment, _)| Arc::clone(segment)).collect();
        self.install(&old, end, output)
    }

    fn compact_segment(
        &self,
        filter: &mut Filter<'_>,
        segment: &Arc<Segment>,
        merged: bool,
        end: i64,
        output: &mut Output<'_>,
    ) -> Result<(), LogError> {
        let file = segment.file(&self.shared)?;
        if merged {
            output.begin(&*file)?;
        }
        let mut walk = Walk::new(self, segment, &*file, (0, segment.base_offset));
        while let Step::Batch(position, header) = walk.step()? {
            self.shared.check_open()?;
            let batch = walk.scanner.bytes(position, header.total_bytes()).doing("read", &segment.path)?;
            let is_end = header.last_offset() + 1 == end;
            match filter.left(&header, batch, is_end) {
                // What cannot be taken apart stays.
                Ok(Left::AsItIs) | Err(_) => output.put(&header, batch)?,
                Ok(Left::Nothing) => output.begin(&*file)?,
                Ok(Left::Batch(made)) => {
                    output.begin(&*file)?;
                    output.put(&parsed(&made, header), &made)?;
                }
            }
        }
        Ok(())
    }
}

/// The header of a batch made from that of `old`.
fn parsed(made: &[u8], old: BatchHeader) -> BatchHeader {
    parse_header(made).unwrap_or(old)
}

/// All segments but the newest, each with the offset after its last.
fn with_ends(segments: &[Arc<Segment>]) -> Vec<Closed> {
    let pairs = segments.iter().zip(segments.iter().skip(1));
    pairs.map(|(segment, next)| (Arc::clone(segment), next.base_offset)).collect()
}
