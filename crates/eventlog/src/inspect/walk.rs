//! A segment file from its beginning to its end: batches, and the stretches
//! between them that are none.

use crate::LogError;
use crate::error::IoContext;
use crate::scan::{Found, Scanner};
use pluvio_foundation::{Disk, OpenMode};
use pluvio_wire_kafka::records::BatchHeader;
use std::ops::ControlFlow;
use std::path::Path;

/// How far offsets can have gone on within damage.
const OFFSETS_LOST_MAX: i64 = 1 << 33;

/// What lies in a segment.
#[derive(Debug)]
pub enum Item<'a> {
    /// A whole batch.
    Batch {
        /// Where it begins in the file.
        position: u64,
        /// Its header.
        header: BatchHeader,
        /// All of it.
        bytes: &'a [u8],
    },
    /// Bytes that are no batch, up to the next whole one or the file's end.
    Damage {
        /// Where they begin in the file.
        position: u64,
        /// How many there are.
        bytes: u64,
        /// The first offset that is not readable.
        offset: i64,
        /// The next one that is; `None` if nothing whole follows.
        next_offset: Option<i64>,
        /// What is wrong.
        reason: String,
    },
}

pub(super) fn file_bytes(disk: &dyn Disk, path: &Path) -> Result<u64, LogError> {
    disk.open(path, OpenMode::Read).and_then(|file| file.len()).doing("measure", path)
}

/// Visits everything in a segment, until `visit` breaks off. Returns the offset
/// after the last batch.
pub(super) fn segment(
    disk: &dyn Disk,
    path: &Path,
    base_offset: i64,
    mut visit: impl FnMut(Item<'_>) -> ControlFlow<()>,
) -> Result<i64, LogError> {
    let file = disk.open(path, OpenMode::Read).doing("open", path)?;
    let end = file.len().doing("measure", path)?;
    let mut scanner = Scanner::new(&*file, end);
    let (mut position, mut offset, mut exact) = (0, base_offset, true);
    loop {
        let reason = match scanner.at(position, exact.then_some(offset)).doing("read", path)? {
            Found::End => return Ok(offset),
            Found::Damage(reason) => reason,
            Found::Batch(header) if header.base_offset < offset => {
                format!("a batch with the past offset {}", header.base_offset)
            }
            Found::Batch(header) => {
                let bytes = scanner.bytes(position, header.total_bytes()).doing("read", path)?;
                let on = visit(Item::Batch { position, header, bytes });
                position += header.total_bytes() as u64;
                (offset, exact) = (header.last_offset() + 1, true);
                if on.is_break() {
                    return Ok(offset);
                }
                continue;
            }
        };
        let offset_max = offset.saturating_add(OFFSETS_LOST_MAX);
        let next = scanner.next_whole(position + 1, offset, offset_max).doing("read", path)?;
        let to = next.map_or(end, |(position, _)| position);
        let next_offset = next.map(|(_, header)| header.base_offset);
        let on = visit(Item::Damage { position, bytes: to - position, offset, next_offset, reason });
        if on.is_break() {
            return Ok(offset);
        }
        (position, exact) = (to, false);
    }
}
