//! Putting a compacted file in the place of the segments it was made from, so
//! that a crash leaves the old or the new, and readers notice nothing.
//!
//! The file is written and synced as `.compacting`. Its renaming to
//! `.compacted` decides: from there on a start finishes what is left to do,
//! which is to remove the old segments and to give the file its final name.
//! Readers that are in an old segment keep its open file until they leave.

use super::output::Output;
use crate::LogError;
use crate::error::IoContext;
use crate::layout::{self, Listing};
use crate::partition::Partition;
use crate::scan::{Found, Scanner};
use crate::segment::Segment;
use pluvio_foundation::OpenMode;
use std::sync::Arc;

impl Partition {
    /// Puts `output` in the place of `old`, segments one after the other up to
    /// the offset `end`. Does nothing if one of them turned out to be damaged.
    pub(super) fn install(
        &self,
        old: &[Arc<Segment>],
        end: i64,
        mut output: Output<'_>,
    ) -> Result<(), LogError> {
        let Some(base_offset) = old.first().map(|first| first.base_offset) else { return Ok(()) };
        let prepared = output.finish().and_then(|()| self.retire(old));
        if !matches!(prepared, Ok(true)) {
            output.discard();
            return prepared.map(drop);
        }
        let decided = layout::compacted(&self.folder(), base_offset, end);
        if let Err(error) = self.shared.disk.rename(&output.path, &decided) {
            old.iter().for_each(|segment| segment.unretire());
            output.discard();
            return Err(error).doing("rename", &decided);
        }
        let bases: Vec<i64> = old.iter().map(|segment| segment.base_offset).collect();
        if let Err(error) = self.finish_swap(base_offset, end, &bases) {
            if !self.topic.is_deleted() {
                self.fail(&format!("a compaction could not be finished ({error}); a restart finishes it"));
            }
            return Err(error);
        }
        let path = layout::segment(&self.folder(), base_offset);
        let segment = Arc::new(Segment::new(base_offset, path, output.bytes()));
        let before: u64 = old.iter().map(|segment| segment.bytes()).sum();
        self.shared.cells.compacted_bytes.add(before.saturating_sub(output.bytes()));
        segment.keep_index(&self.shared, output.index);
        if let Err(error) = segment.write_sidecar(&self.shared) {
            tracing::warn!("{}: {error}", self.label());
        }
        let mut segments = self.segments.write();
        let from = segments.partition_point(|known| known.base_offset < base_offset);
        segments.splice(from..from + old.len(), [segment]);
        drop(segments);
        // Memory still has what fell out.
        self.shared.tails.drop_before(&self.topic.tail, &self.tail, end);
        Ok(())
    }

    /// Makes the segments keep their files and indexes, whatever their names
    /// come to mean. False, and nothing changed, if one of them is damaged.
    fn retire(&self, old: &[Arc<Segment>]) -> Result<bool, LogError> {
        // Whoever syncs may be about to write a sidecar.
        let _syncing = self.syncing.lock();
        for (count, segment) in old.iter().enumerate() {
            let retired = loop {
                match self.with_index(segment, |_| ()).and_then(|()| segment.retire(&self.shared)) {
                    Ok(None) => {}
                    Ok(Some(retired)) => break Ok(retired),
                    Err(error) => break Err(error),
                }
            };
            if !matches!(retired, Ok(true)) {
                old[..count].iter().for_each(|segment| segment.unretire());
                return retired;
            }
        }
        Ok(true)
    }

    /// Removes the segments with these base offsets and gives the compacted
    /// file their place. What is done already is not done again.
    fn finish_swap(&self, base_offset: i64, end: i64, bases: &[i64]) -> Result<(), LogError> {
        let (disk, folder) = (&self.shared.disk, self.folder());
        disk.sync_dir(&folder).doing("sync", &folder)?;
        for base in bases {
            let path = layout::segment(&folder, *base);
            let sidecar = path.with_extension("index");
            let log = (*base != base_offset).then_some(path);
            for path in [Some(sidecar), log].into_iter().flatten().filter(|path| disk.exists(path)) {
                disk.remove_file(&path).doing("remove", &path)?;
            }
        }
        disk.sync_dir(&folder).doing("sync", &folder)?;
        let from = layout::compacted(&folder, base_offset, end);
        disk.rename(&from, &layout::segment(&folder, base_offset)).doing("rename", &from)?;
        disk.sync_dir(&folder).doing("sync", &folder)
    }

    /// At a start: finishes or undoes what a crash interrupted. Returns what
    /// the folder holds then.
    pub(crate) fn finish_compaction(&self, listing: Listing) -> Result<Listing, LogError> {
        if listing.compacting.is_empty() && listing.compacted.is_empty() {
            return Ok(listing);
        }
        let (disk, folder) = (&self.shared.disk, self.folder());
        for (base_offset, end) in &listing.compacting {
            let path = layout::compacting(&folder, *base_offset, *end);
            disk.remove_file(&path).doing("remove", &path)?;
        }
        for (base_offset, end) in listing.compacted.iter().copied() {
            let path = layout::compacted(&folder, base_offset, end);
            let there = disk.exists(&layout::segment(&folder, base_offset));
            if there && !self.is_whole(base_offset, end)? {
                self.shared.report(format!(
                    "{}: {} is not what was synced; it is removed, and the segments it was made from stay. \
                     The disk lost what it had confirmed",
                    self.label(),
                    path.display()
                ));
                disk.remove_file(&path).doing("remove", &path)?;
                continue;
            }
            let within = listing.segments.iter().copied().filter(|base| (base_offset..end).contains(base));
            self.finish_swap(base_offset, end, &within.collect::<Vec<_>>())?;
        }
        disk.sync_dir(&folder).doing("sync", &folder)?;
        Ok(Listing::of(&disk.list(&folder).doing("list", &folder)?))
    }

    /// Whether a compacted file holds batches up to its end, all of them right.
    fn is_whole(&self, base_offset: i64, end: i64) -> Result<bool, LogError> {
        let path = layout::compacted(&self.folder(), base_offset, end);
        let file = self.shared.disk.open(&path, OpenMode::Read).doing("open", &path)?;
        let bytes = file.len().doing("measure", &path)?;
        let mut scanner = Scanner::new(&*file, bytes);
        let (mut position, mut offset) = (0, base_offset);
        loop {
            match scanner.at(position, Some(offset)).doing("read", &path)? {
                Found::Batch(header) => {
                    position += header.total_bytes() as u64;
                    offset = header.last_offset() + 1;
                }
                Found::Damage(_) => return Ok(false),
                Found::End => return Ok(offset == end),
            }
        }
    }
}
