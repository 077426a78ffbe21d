//! Opening a partition: finding its segments, its end and its producers.
//!
//! Closed segments before the checkpoint's durable offset are taken as they
//! are, and so is the newest if the log was closed cleanly. Anything else is
//! checked batch by batch. The first batch at or after the durable offset that
//! does not check out ends the log: it was never acknowledged as durable. It is
//! cut off and reported; if whole batches follow it, everything cut is kept in
//! a `.cut` file. Damage before the durable offset is quarantined instead.

use crate::checkpoint::Known;
use crate::error::IoContext;
use crate::index::Index;
use crate::layout::{self, Listing};
use crate::partition::{Partition, Writer};
use crate::scan::Scanner;
use crate::segment::{Damage, Segment};
use crate::walk::{Step, Walk};
use crate::{LogError, snapshot};
use pluvio_foundation::OpenMode;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const SNAPSHOT_BYTES_MAX: u64 = 64 << 20;

/// What the checkpoint file says about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checkpointed {
    /// This.
    Known(Known),
    /// There is no usable file: closed segments count as durable.
    Lost,
}

/// How a segment was found.
struct Scanned {
    /// The offset after its last batch.
    next_offset: i64,
    /// Whether what follows was cut off.
    cut: bool,
    /// From which position on nothing was known to be durable, if any is.
    unsure_from: Option<u64>,
}

/// What is to be made durable again: segments, and from which position on.
type Unsure = Vec<(Arc<Segment>, u64)>;

const REWRITE_BYTES: usize = 1 << 20;

impl Partition {
    /// Finds what the folder holds. Called once, before the partition is shared.
    pub(crate) fn recover(&self, checkpointed: Checkpointed) -> Result<(), LogError> {
        let folder = self.folder();
        let names = self.shared.disk.list(&folder).doing("list", &folder)?;
        let listing = self.finish_compaction(Listing::of(&names))?;
        let mut writer = self.writer.lock();
        writer.folder_made = !names.is_empty();
        let known = match checkpointed {
            Checkpointed::Known(known) => known,
            Checkpointed::Lost => {
                let durable_offset = listing.segments.last().copied().unwrap_or(0);
                Known { start_offset: 0, durable_offset }
            }
        };
        let bases = self.drop_expired(&listing, known)?;
        let first = bases.first().copied().unwrap_or(known.durable_offset);
        if bases.is_empty() && known.start_offset < known.durable_offset {
            self.report_missing(known.start_offset, known.durable_offset);
        }
        let (end, unsure) = self.recover_segments(&listing, &bases, known.durable_offset)?;
        let start = known.start_offset.max(first).min(end.max(known.durable_offset));
        self.start.store(start, Ordering::Release);
        self.end.store(end, Ordering::Release);
        if end < known.durable_offset {
            self.report_missing(end, known.durable_offset);
            self.end.store(known.durable_offset, Ordering::Release);
            // Their offsets are not given out again.
            let newest = self.segments.read().last().cloned();
            self.make_segment(&mut writer, known.durable_offset)?;
            if let Some(newest) = newest {
                newest.places.lock().gap_told = true;
                newest.close(&self.shared);
            }
        }
        self.recover_producers(&mut writer, &listing)?;
        if !unsure.is_empty() || writer.names_unsynced {
            self.sync_recovered(&mut writer, &unsure)?;
        } else {
            // An empty segment's name may be as new as the crash.
            writer.names_unsynced = !bases.is_empty();
        }
        self.durable.store(self.end_offset(), Ordering::Release);
        Ok(())
    }

    pub(crate) fn report_missing(&self, from: i64, to: i64) {
        let line = format!(
            "{}: the events from offset {from} to before {to} were durable and are missing from the disk; \
             restore {} from a backup if there is one",
            self.label(),
            self.folder().display()
        );
        self.shared.report(line);
    }

    /// Removes segments that lie wholly before the start; the others' bases.
    fn drop_expired(&self, listing: &Listing, known: Known) -> Result<Vec<i64>, LogError> {
        let mut bases = listing.segments.clone();
        while let [first, second, ..] = bases[..]
            && second <= known.start_offset
        {
            self.remove_segment_files(first)?;
            bases.remove(0);
        }
        Ok(bases)
    }

    pub(crate) fn remove_segment_files(&self, base_offset: i64) -> Result<(), LogError> {
        let path = layout::segment(&self.folder(), base_offset);
        let sidecar = path.with_extension("index");
        if self.shared.disk.exists(&sidecar) {
            self.shared.disk.remove_file(&sidecar).doing("remove", &sidecar)?;
        }
        self.shared.disk.remove_file(&path).doing("remove", &path)
    }

    /// Takes the segments in; the offset after the last event found, and what
    /// was not known to be durable.
    fn recover_segments(
        &self,
        listing: &Listing,
        bases: &[i64],
        durable: i64,
    ) -> Result<(i64, Unsure), LogError> {
        let mut expected = bases.first().copied().unwrap_or(durable);
        let mut unsure = Vec::new();
        for (position, base) in bases.iter().copied().enumerate() {
            let next = bases.get(position + 1).copied();
            if base < expected || (base > expected && base > durable) {
                self.set_aside(&bases[position..], expected)?;
                break;
            }
            if base > expected {
                self.report_missing(expected, base);
                if let Some(before) = self.segments.read().last() {
                    before.places.lock().gap_told = true;
                }
            }
            let segment = self.find_segment(listing, base)?;
            self.segments.write().push(Arc::clone(&segment));
            if let Some(next) = next.filter(|next| *next <= durable) {
                expected = next;
                continue;
            }
            let scanned = self.scan_segment(&segment, durable)?;
            expected = scanned.next_offset;
            if let Some(from) = scanned.unsure_from {
                unsure.push((Arc::clone(&segment), from));
            }
            // A write that failed can leave its beginning where a segment ends;
            // nothing is missing then.
            if scanned.cut && next != Some(expected) {
                self.set_aside(&bases[position + 1..], expected)?;
                break;
            }
            if next.is_some() {
                segment.close(&self.shared);
            }
        }
        Ok((expected, unsure))
    }

    fn find_segment(&self, listing: &Listing, base_offset: i64) -> Result<Arc<Segment>, LogError> {
        let path = layout::segment(&self.folder(), base_offset);
        let file = self.shared.disk.open(&path, OpenMode::Read).doing("open", &path)?;
        let bytes = file.len().doing("measure", &path)?;
        let segment = Arc::new(Segment::new(base_offset, path, bytes));
        let of_this = listing.quarantined.iter().filter(|(base, ..)| *base == base_offset);
        segment.places.lock().damage =
            of_this.map(|(_, from, bytes)| Damage { from: *from, to: from.saturating_add(*bytes) }).collect();
        Ok(segment)
    }

    /// Goes through a segment that was being written to, and makes its index.
    fn scan_segment(&self, segment: &Arc<Segment>, durable: i64) -> Result<Scanned, LogError> {
        let path = &segment.path;
        let mut index = match segment.read_sidecar(&self.shared) {
            Some(index) => index,
            None => {
                self.remove_if_there(&segment.sidecar_path())?;
                Index::new(segment.base_offset)
            }
        };
        let whole = index.covered_bytes == segment.bytes();
        if whole && index.next_offset <= durable {
            let next_offset = index.next_offset;
            segment.keep_growing(index, self.shared.clock.now_ms());
            return Ok(Scanned { next_offset, cut: false, unsure_from: None });
        }
        let file = segment.file(&self.shared)?;
        let from = (index.covered_bytes, index.next_offset);
        let mut walk = Walk::new(self, segment, &*file, from).with_durable(durable);
        let mut unsure_from = None;
        let torn = loop {
            match walk.step()? {
                Step::Batch(position, header) => {
                    index.push(&header, position);
                    if header.base_offset >= durable {
                        unsure_from = unsure_from.or(Some(position));
                    }
                }
                Step::Torn(reason) => break Some(reason),
                Step::End => break None,
            }
        };
        let (position, next_offset) = (walk.position, walk.offset);
        if let Some(reason) = &torn {
            self.keep_what_is_cut(segment, &mut walk.scanner, position, next_offset, reason)?;
            file.truncate(position).doing("truncate", path)?;
            segment.set_bytes(position);
        }
        index.covered_bytes = position;
        index.last_append_ms = self.shared.clock.now_ms();
        segment.keep_growing(index, self.shared.clock.now_ms());
        if torn.is_some() {
            unsure_from = unsure_from.or(Some(position));
        }
        Ok(Scanned { next_offset, cut: torn.is_some(), unsure_from })
    }

    /// Reports a torn tail; copies it aside if it holds a whole batch.
    fn keep_what_is_cut(
        &self,
        segment: &Segment,
        scanner: &mut Scanner<'_>,
        position: u64,
        offset: i64,
        reason: &str,
    ) -> Result<(), LogError> {
        let (path, end) = (&segment.path, segment.bytes());
        let after = scanner.next_whole(position + 1, offset, i64::MAX).doing("read", path)?;
        let bytes = end - position;
        let mut line = format!(
            "{}: the log ended torn at offset {offset} ({reason}); {bytes} bytes that were never \
             acknowledged as durable were cut off",
            self.label()
        );
        if after.is_some() {
            let copy = self.free_cut_name(offset);
            self.copy_aside(scanner, position, end, &copy)?;
            line.push_str(&format!("; they hold whole batches and were kept in {}", copy.display()));
        }
        self.shared.report(line);
        Ok(())
    }

    fn free_cut_name(&self, offset: i64) -> PathBuf {
        let folder = self.folder();
        let mut attempt = 1;
        while self.shared.disk.exists(&layout::cut(&folder, offset, attempt)) {
            attempt += 1;
        }
        layout::cut(&folder, offset, attempt)
    }

    /// Takes segments that follow the end out of the log, keeping what they
    /// hold under another name.
    fn set_aside(&self, bases: &[i64], end: i64) -> Result<(), LogError> {
        let (disk, folder) = (&self.shared.disk, self.folder());
        for base in bases {
            let path = layout::segment(&folder, *base);
            let bytes =
                disk.open(&path, OpenMode::Read).and_then(|file| file.len()).doing("measure", &path)?;
            if bytes == 0 {
                self.remove_segment_files(*base)?;
                continue;
            }
            let kept = self.free_cut_name(*base);
            disk.rename(&path, &kept).doing("rename", &path)?;
            self.remove_if_there(&path.with_extension("index"))?;
            self.shared.report(format!(
                "{}: the log ends at offset {end}, before its segment of offset {base}, which was never \
                 acknowledged as durable and was kept as {}",
                self.label(),
                kept.display()
            ));
        }
        disk.sync_dir(&folder).doing("sync", &folder)
    }

    fn remove_if_there(&self, path: &std::path::Path) -> Result<(), LogError> {
        let disk = &self.shared.disk;
        if !disk.exists(path) {
            return Ok(());
        }
        let folder = self.folder();
        disk.remove_file(path).doing("remove", path)?;
        disk.sync_dir(&folder).doing("sync", &folder)
    }

    /// The newest usable snapshot, brought up to the end by the headers after it.
    fn recover_producers(&self, writer: &mut Writer, listing: &Listing) -> Result<(), LogError> {
        let (folder, end) = (self.folder(), self.end_offset());
        let mut from = self.segments.read().first().map_or(end, |segment| segment.base_offset);
        let mut found = false;
        for offset in listing.snapshots.iter().rev().copied() {
            let path = layout::snapshot(&folder, offset);
            if offset > end {
                self.remove_if_there(&path)?;
                continue;
            }
            writer.snapshots.insert(0, offset);
            if found {
                continue;
            }
            let file = self.shared.disk.read(&path, SNAPSHOT_BYTES_MAX).ok();
            if let Some((producers, transactions)) = file.and_then(|file| snapshot::decode(&file, offset)) {
                writer.producers = producers;
                *self.transactions.write() = transactions;
                from = offset;
                found = true;
            }
        }
        self.replay_producers(writer, from, end)?;
        self.settle_transactions();
        Ok(())
    }

    fn replay_producers(&self, writer: &mut Writer, from: i64, end: i64) -> Result<(), LogError> {
        let now_ms = self.shared.clock.now_ms();
        let segments = self.segments.read().clone();
        for (position, segment) in segments.iter().enumerate() {
            let next = segments.get(position + 1).map_or(end, |segment| segment.base_offset);
            if next <= from || segment.bytes() == 0 {
                continue;
            }
            let file = segment.file(&self.shared)?;
            let start = self.with_index(segment, |index| index.before_offset(from))?;
            let mut walk = Walk::new(self, segment, &*file, start);
            while let Step::Batch(position, header) = walk.step()? {
                if header.base_offset < from {
                    continue;
                }
                // Events may bear any time: a producer heard of now is not idle.
                writer.producers.note(&header, now_ms);
                if header.is_transactional() {
                    let bytes = walk.scanner.bytes(position, header.total_bytes());
                    self.replay_transaction(&header, bytes.doing("read", &segment.path)?);
                }
            }
        }
        Ok(())
    }

    /// What was found beyond the durable offset becomes durable now. It is
    /// written anew: if a sync failed before the program ended, the system may
    /// hold these bytes for written though the disk never got them, and a sync
    /// alone would do nothing.
    fn sync_recovered(&self, writer: &mut Writer, unsure: &Unsure) -> Result<(), LogError> {
        for (segment, from) in unsure {
            let file = segment.file(&self.shared)?;
            let mut scanner = Scanner::new(&*file, segment.bytes());
            let mut position = *from;
            loop {
                let bytes = scanner.bytes(position, REWRITE_BYTES).doing("read", &segment.path)?;
                if bytes.is_empty() {
                    break;
                }
                file.write_all_at(bytes, position).doing("write", &segment.path)?;
                position += bytes.len() as u64;
            }
            file.sync().doing("sync", &segment.path)?;
        }
        writer.names_unsynced = false;
        writer.sidecars_stale = true;
        self.sync_names()
    }

    /// Asks a segment's index, loading or making it if need be.
    pub(crate) fn with_index<T>(
        &self,
        segment: &Arc<Segment>,
        ask: impl FnOnce(&Index) -> T,
    ) -> Result<T, LogError> {
        if let Some(index) = segment.places.lock().index.as_ref() {
            return Ok(ask(index));
        }
        let mut index = segment.read_sidecar(&self.shared).unwrap_or_else(|| Index::new(segment.base_offset));
        let lacking = index.covered_bytes < segment.bytes();
        if lacking {
            let file = segment.file(&self.shared)?;
            let from = (index.covered_bytes, index.next_offset);
            let mut walk = Walk::new(self, segment, &*file, from);
            while let Step::Batch(position, header) = walk.step()? {
                index.push(&header, position);
            }
            index.covered_bytes = walk.position;
        }
        let answer = ask(&index);
        segment.keep_index(&self.shared, index);
        if lacking && let Err(error) = segment.write_sidecar(&self.shared) {
            tracing::warn!("{}: {error}", self.label());
        }
        Ok(answer)
    }
}
