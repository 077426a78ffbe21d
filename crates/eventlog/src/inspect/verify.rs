//! Checking a partition: every batch's checksum and offset, how the segments
//! fit together and to the checkpoint, and what the sidecars say of them.

use super::walk::{self, Item};
use super::{InspectedTopic, Inspection};
use crate::error::IoContext;
use crate::index::Index;
use crate::{LogError, layout, snapshot};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

const SIDECAR_BYTES_MAX: u64 = 64 << 20;

/// Something worth telling about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether events are lost or wrong; if not, the next start deals with it.
    pub is_damage: bool,
    /// What, where, and what it means.
    pub text: String,
}

/// What a partition holds, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionCheck {
    /// How many segment files there are.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// How many whole batches.
    pub batches: u64,
    /// How many records.
    pub records: u64,
    /// The first offset that can be read.
    pub start_offset: i64,
    /// The offset after the last whole batch.
    pub end_offset: i64,
    /// Up to where the checkpoint says that events are on disk; `None` if
    /// there is none. The truth may be further on.
    pub durable_offset: Option<i64>,
    /// In the order of offsets.
    pub findings: Vec<Finding>,
}

impl PartitionCheck {
    /// Whether events are lost or wrong.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.is_damage)
    }

    fn tell(&mut self, is_damage: bool, text: String) {
        self.findings.push(Finding { is_damage, text });
    }
}

impl Inspection {
    /// Checks a partition. `read` is called with the bytes of each batch, for
    /// whoever shows how far this is.
    pub fn verify(
        &self,
        topic: &InspectedTopic,
        partition: u32,
        mut read: impl FnMut(u64),
    ) -> Result<PartitionCheck, LogError> {
        let folder = self.folder(topic, partition);
        let listing = self.listing(&folder)?;
        let known = self.known(topic, partition);
        let durable = known.map_or(i64::MAX, |known| known.durable_offset);
        let mut check = PartitionCheck {
            segments: listing.segments.len(),
            durable_offset: known.map(|known| known.durable_offset),
            ..PartitionCheck::default()
        };
        let begin = known.map_or(0, |known| known.start_offset);
        let first = listing.segments.first().copied();
        check.start_offset = begin.max(first.unwrap_or(begin));
        let mut expected = first.unwrap_or(check.start_offset);
        for (place, base) in listing.segments.iter().copied().enumerate() {
            if base != expected {
                let what = if base > expected { "are missing" } else { "are there twice" };
                let (from, to) = (base.min(expected), base.max(expected));
                check.tell(true, format!("the events from offset {from} to before {to} {what}"));
            }
            let path = layout::segment(&folder, base);
            let is_newest = place + 1 == listing.segments.len();
            let end = self.verify_segment(&mut check, (&path, base), (durable, is_newest), &mut read)?;
            let lost = check.findings.last().is_some_and(|finding| finding.is_damage);
            let next = listing.segments.get(place + 1).copied();
            // Where a segment ends in damage, that was told already.
            expected = next.filter(|next| lost && *next > end).unwrap_or(end);
        }
        check.end_offset = expected;
        if known.is_some_and(|known| known.durable_offset > expected) {
            let text =
                format!("the events from offset {expected} to before {durable} were durable and are missing");
            check.tell(true, text);
        }
        for offset in &listing.snapshots {
            let path = layout::snapshot(&folder, *offset);
            let file = self.disk.read(&path, SIDECAR_BYTES_MAX).doing("read", &path)?;
            if snapshot::decode(&file, *offset).is_none() {
                check.tell(false, format!("{} is torn; it is made again", path.display()));
            }
        }
        let aside = listing.quarantined.len() + listing.cut.len();
        if aside > 0 {
            let text = format!("{aside} files in {} keep what was cut off or is damaged", folder.display());
            check.tell(false, text);
        }
        if !listing.compacted.is_empty() || !listing.compacting.is_empty() {
            check.tell(false, "a compaction was interrupted; the next start finishes or undoes it".into());
        }
        Ok(check)
    }

    fn verify_segment(
        &self,
        check: &mut PartitionCheck,
        (path, base_offset): (&Path, i64),
        (durable, is_newest): (i64, bool),
        read: &mut impl FnMut(u64),
    ) -> Result<i64, LogError> {
        let bytes = walk::file_bytes(&*self.disk, path)?;
        check.bytes += bytes;
        let mut index = Index::new(base_offset);
        let mut starts = Vec::new();
        let shown = path.display();
        let end = walk::segment(&*self.disk, path, base_offset, |item| {
            match item {
                Item::Batch { position, header, bytes } => {
                    index.push(&header, position);
                    starts.push((position, header.base_offset));
                    check.batches += 1;
                    check.records += u64::from(header.records_count.unsigned_abs());
                    read(bytes.len() as u64);
                }
                Item::Damage { position, bytes, offset, next_offset, reason } => {
                    read(bytes);
                    let torn = is_newest && next_offset.is_none() && offset >= durable;
                    let text = match (torn, next_offset) {
                        (true, _) => format!(
                            "{shown} ends torn at offset {offset} ({reason}): {bytes} bytes that were never \
                             acknowledged as durable; the next start cuts them off"
                        ),
                        (false, Some(next)) => format!(
                            "{shown}: the events from offset {offset} to before {next} are damaged ({reason}), \
                             {bytes} bytes at position {position}"
                        ),
                        (false, None) => format!(
                            "{shown}: the events from offset {offset} to the segment's end are damaged \
                             ({reason}), {bytes} bytes at position {position}"
                        ),
                    };
                    check.tell(!torn, text);
                }
            }
            ControlFlow::Continue(())
        })?;
        self.verify_sidecar(check, path.with_extension("index"), &index, &starts, bytes)?;
        Ok(end)
    }

    /// An index that leads astray is damage: readers would follow it.
    fn verify_sidecar(
        &self,
        check: &mut PartitionCheck,
        path: PathBuf,
        made: &Index,
        starts: &[(u64, i64)],
        bytes: u64,
    ) -> Result<(), LogError> {
        if !self.disk.exists(&path) {
            return Ok(());
        }
        let shown = path.display();
        let file = self.disk.read(&path, SIDECAR_BYTES_MAX).doing("read", &path)?;
        let Some(stored) = Index::decode(&file, made.base_offset()) else {
            check.tell(false, format!("{shown} is torn; it is made again"));
            return Ok(());
        };
        let strays = stored.places().any(|place| starts.binary_search(&place).is_err());
        let whole = stored.covered_bytes == bytes && made.covered_bytes == bytes;
        let ends_elsewhere = whole && stored.next_offset != made.next_offset;
        if stored.covered_bytes > bytes {
            check.tell(false, format!("{shown} covers more than its segment has; it is made again"));
        } else if strays || ends_elsewhere {
            let lost = check.findings.iter().any(|finding| finding.is_damage);
            // What it points into may be what is damaged.
            check.tell(!lost, format!("{shown} does not fit its segment; remove it, and it is made again"));
        }
        Ok(())
    }
}
