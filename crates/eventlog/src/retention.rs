//! Removing what is old: whole closed segments, oldest first, never past what
//! a holder needs. The newest segment is closed when it is old itself, so that
//! a quiet partition's events expire too.
//!
//! A topic that is only compacted keeps the newest event of each key however
//! old it is: nothing here is for it, but [`Partition::delete_records`].

use crate::error::IoContext;
use crate::layout::{self, Listing};
use crate::partition::Partition;
use crate::producers::IDLE_MS_MAX;
use crate::segment::Segment;
use crate::{LogError, TopicConfig};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A segment is closed after this part of the retention time, so that an event
/// outlives it by no more than that (and the check's interval).
const ROLL_AFTER_PART: i64 = 4;
const ROLL_AFTER_MS_MIN: i64 = 60_000;

/// How long a segment is written to before it is closed.
fn age_ms_max(config: &TopicConfig, retention_ms: Option<i64>) -> i64 {
    let expires = retention_ms.map(|retention_ms| (retention_ms / ROLL_AFTER_PART).max(ROLL_AFTER_MS_MIN));
    let compacts = config.cleanup.compacts().then_some(config.compaction_lag_max_ms);
    expires.into_iter().chain(compacts).fold(config.segment_ms, i64::min)
}

impl Partition {
    /// Removes what is beyond the topic's retention.
    pub(crate) fn retain(&self, now_ms: i64) -> Result<(), LogError> {
        if self.check_usable().is_err() {
            return Ok(());
        }
        let config = self.config();
        self.roll_if_old(&config, now_ms)?;
        self.forget_idle_producers(now_ms.saturating_sub(IDLE_MS_MAX));
        let _upkeep = self.upkeep.lock();
        let mut removed = false;
        while let Some((oldest, next)) = self.oldest_closed() {
            let deleted = next <= self.start_offset();
            let held = next > self.held_from();
            if !deleted && (held || !self.is_expired(&oldest, &config, now_ms)?) {
                break;
            }
            self.remove_oldest(&oldest, next, &mut removed)?;
        }
        if removed { self.remove_side_files() } else { Ok(()) }
    }

    /// The oldest segment, if it is closed, and where the next one begins.
    fn oldest_closed(&self) -> Option<(Arc<Segment>, i64)> {
        let segments = self.segments.read();
        match &segments[..] {
            [oldest, next, ..] => Some((Arc::clone(oldest), next.base_offset)),
            _ => None,
        }
    }

    fn is_expired(&self, oldest: &Arc<Segment>, config: &TopicConfig, now_ms: i64) -> Result<bool, LogError> {
        if !config.cleanup.deletes() {
            return Ok(false);
        }
        if config.retention_bytes.is_some_and(|bytes_max| self.bytes() - oldest.bytes() >= bytes_max) {
            return Ok(true);
        }
        let Some(retention_ms) = config.retention_ms else { return Ok(false) };
        let newest_ms = self.newest_ms(oldest)?;
        Ok(newest_ms >= 0 && newest_ms < now_ms.saturating_sub(retention_ms))
    }

    /// The largest timestamp of a segment, or its last append's time if its
    /// events have none.
    pub(crate) fn newest_ms(&self, segment: &Arc<Segment>) -> Result<i64, LogError> {
        let known = segment.places.lock().times_ms;
        let (max_timestamp_ms, last_append_ms) = match known {
            Some(times) => times,
            None => self.with_index(segment, |index| (index.max_timestamp_ms, index.last_append_ms))?,
        };
        Ok(if max_timestamp_ms >= 0 { max_timestamp_ms } else { last_append_ms })
    }

    fn roll_if_old(&self, config: &TopicConfig, now_ms: i64) -> Result<(), LogError> {
        let retention_ms = config.retention_ms.filter(|_| config.cleanup.deletes());
        let age_ms_max = age_ms_max(config, retention_ms);
        let mut writer = self.writer.lock();
        let Some(newest) = self.segments.read().last().cloned() else { return Ok(()) };
        if newest.bytes() == 0 {
            return Ok(());
        }
        let (newest_ms, since_ms) = {
            let places = newest.places.lock();
            let times = places.index.as_ref().map(|index| (index.max_timestamp_ms, index.last_append_ms));
            let (timestamp_ms, append_ms) = times.unwrap_or((-1, -1));
            (if timestamp_ms >= 0 { timestamp_ms } else { append_ms }, places.growing_since_ms)
        };
        let oldest_kept_ms = retention_ms.map_or(i64::MIN, |kept_ms| now_ms.saturating_sub(kept_ms));
        let expired = newest_ms >= 0 && newest_ms < oldest_kept_ms;
        if !expired && now_ms.saturating_sub(since_ms) <= age_ms_max {
            return Ok(());
        }
        self.roll(&mut writer, &newest).map(drop)
    }

    /// Removes the oldest segment; the caller holds `upkeep`. `removed` says
    /// whether one was removed just before, and is set.
    fn remove_oldest(&self, oldest: &Arc<Segment>, next: i64, removed: &mut bool) -> Result<(), LogError> {
        // An empty segment's name carries the end offset: it must be durable
        // before the segments that say so too are removed.
        if !*removed && self.writer.lock().names_unsynced {
            self.sync_round();
            self.check_usable()?;
        }
        *removed = true;
        {
            let mut segments = self.segments.write();
            if segments.first().is_some_and(|first| Arc::ptr_eq(first, oldest)) {
                segments.remove(0);
            }
        }
        self.start.fetch_max(next, Ordering::SeqCst);
        self.followers.tell();
        self.shared.cells.removed_segments.add(1);
        self.remove_segment_files(oldest.base_offset)
    }

    /// Removes what was quarantined from, or cut off before, the events that
    /// are left.
    fn remove_side_files(&self) -> Result<(), LogError> {
        let (disk, folder) = (&self.shared.disk, self.folder());
        let listing = Listing::of(&disk.list(&folder).doing("list", &folder)?);
        let oldest = self.segments.read().first().map_or(0, |segment| segment.base_offset);
        let quarantined = listing.quarantined.iter().filter(|(base, ..)| *base < oldest);
        let quarantined =
            quarantined.map(|(base, from, bytes)| layout::quarantined(&folder, *base, *from, *bytes));
        let cut = listing.cut.iter().filter(|(offset, _)| *offset < oldest);
        let cut = cut.map(|(_, name)| folder.join(name));
        for path in quarantined.chain(cut) {
            disk.remove_file(&path).doing("remove", &path)?;
        }
        Ok(())
    }

    /// Removes all events before an offset, whatever holds them: they cannot
    /// be read any more when this returns, also after a crash. Returns the
    /// start offset.
    ///
    /// Fails with `OffsetOutOfRange` past the end, or `Io`.
    pub fn delete_records(&self, before: i64) -> Result<i64, LogError> {
        self.check_usable()?;
        if before > self.end_offset() {
            return Err(self.out_of_range(before));
        }
        // What is told to be deleted must not come back under another event's
        // offset: the start stays behind what is durable.
        self.sync(before)?;
        if self.start.fetch_max(before, Ordering::SeqCst) < before {
            self.followers.tell();
        }
        // Also if the start was there already: whoever moved it may not have
        // written that down yet.
        self.shared.write_checkpoint()?;
        let _upkeep = self.upkeep.lock();
        let mut removed = false;
        while let Some((oldest, next)) = self.oldest_closed().filter(|(_, next)| *next <= self.start_offset())
        {
            self.remove_oldest(&oldest, next, &mut removed)?;
        }
        if removed {
            self.remove_side_files()?;
        }
        Ok(self.start_offset())
    }
}
