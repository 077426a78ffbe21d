//! Checked frames in an append-only file, shared by the journal and the spans.
//!
//! ```text
//! file    magic 8 bytes, first u64 (what it means is the owner's), frames
//! frame   magic "PvFr", length u32, crc32 u32, body
//! ```
//! All numbers are little-endian. The crc32 (IEEE) is over the frame's position
//! in the file (u64), then the body: bytes of a frame that were stored inside
//! another one, or left behind at another place, never pass for a frame.

use std::path::Path;

use crc32fast::Hasher;
use pluvio_foundation::DiskFile;

use crate::error::{Result, TableError};

const FRAME_MAGIC: [u8; 4] = *b"PvFr";
/// Bytes before the body of a frame.
pub(crate) const FRAME_HEAD_BYTES: u64 = 12;
/// Bytes before the first frame of a file.
pub(crate) const FILE_HEAD_BYTES: u64 = 16;

/// The head of a file.
pub(crate) fn file_head(magic: [u8; 8], first: u64) -> [u8; FILE_HEAD_BYTES as usize] {
    let mut head = [0; FILE_HEAD_BYTES as usize];
    head[..8].copy_from_slice(&magic);
    head[8..].copy_from_slice(&first.to_le_bytes());
    head
}

/// The `first` of a file's head; none if the file is not even that long or does
/// not begin with the magic, which a crash right after its creation can leave.
pub(crate) fn read_file_head(file: &dyn DiskFile, magic: [u8; 8]) -> std::io::Result<Option<u64>> {
    if file.len()? < FILE_HEAD_BYTES {
        return Ok(None);
    }
    let mut head = [0; FILE_HEAD_BYTES as usize];
    file.read_exact_at(&mut head, 0)?;
    let first = head[8..].try_into().map(u64::from_le_bytes).unwrap_or(0);
    Ok((head[..8] == magic).then_some(first))
}

/// The head of a frame for a body of two parts, the second one already hashed.
pub(crate) fn frame_head(position: u64, first: &[u8], second_length: usize, second: &Hasher) -> [u8; 12] {
    let mut hasher = Hasher::new();
    hasher.update(&position.to_le_bytes());
    hasher.update(first);
    hasher.combine(second);
    let length = u32::try_from(first.len() + second_length).unwrap_or(u32::MAX);
    let mut head = [0; 12];
    head[..4].copy_from_slice(&FRAME_MAGIC);
    head[4..8].copy_from_slice(&length.to_le_bytes());
    head[8..].copy_from_slice(&hasher.finalize().to_le_bytes());
    head
}

/// What stands at a position.
#[derive(Debug)]
pub(crate) enum Found {
    /// A whole frame and the position behind it.
    Frame(Vec<u8>, u64),
    /// The end of the file.
    End,
    /// Bytes that are no whole frame.
    Torn,
}

/// Reads the frame at a position of a file that has `length` bytes.
pub(crate) fn read_frame(
    file: &dyn DiskFile,
    path: &Path,
    position: u64,
    length: u64,
    body_max: u64,
) -> Result<Found> {
    let failed = "reading";
    if position >= length {
        return Ok(Found::End);
    }
    if length - position < FRAME_HEAD_BYTES {
        return Ok(Found::Torn);
    }
    let mut head = [0; FRAME_HEAD_BYTES as usize];
    file.read_exact_at(&mut head, position).map_err(TableError::io(failed, path))?;
    let field = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (size, crc) = (u64::from(field(4)), field(8));
    let end = position + FRAME_HEAD_BYTES + size;
    if head[..4] != FRAME_MAGIC || size > body_max || end > length {
        return Ok(Found::Torn);
    }
    let mut body = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut body, position + FRAME_HEAD_BYTES).map_err(TableError::io(failed, path))?;
    let mut hasher = Hasher::new();
    hasher.update(&position.to_le_bytes());
    hasher.update(&body);
    if hasher.finalize() == crc { Ok(Found::Frame(body, end)) } else { Ok(Found::Torn) }
}

/// Whether any whole frame begins behind `position`: then what stands at
/// `position` is no torn tail but damage.
pub(crate) fn frame_follows(
    file: &dyn DiskFile,
    path: &Path,
    position: u64,
    length: u64,
    body_max: u64,
) -> Result<bool> {
    const WINDOW: usize = 1 << 20;
    let mut window = vec![0; WINDOW];
    let mut start = position + 1;
    while start + FRAME_HEAD_BYTES <= length {
        let size = WINDOW.min(usize::try_from(length - start).unwrap_or(WINDOW));
        let bytes = &mut window[..size];
        file.read_exact_at(bytes, start).map_err(TableError::io("reading", path))?;
        for (offset, candidate) in bytes.windows(FRAME_MAGIC.len()).enumerate() {
            if candidate == FRAME_MAGIC
                && let Found::Frame(..) = read_frame(file, path, start + offset as u64, length, body_max)?
            {
                return Ok(true);
            }
        }
        // The windows overlap, so that a magic across two of them is seen.
        start += (size.max(FRAME_MAGIC.len()) - (FRAME_MAGIC.len() - 1)) as u64;
    }
    Ok(false)
}
