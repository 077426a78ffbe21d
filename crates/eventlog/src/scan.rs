//! Walking a segment file batch by batch, each checked by its checksum, and
//! finding the way again after damage. Headers alone are not trusted: a wrong
//! length or count in one batch would put the blame on the next.

use pluvio_foundation::{DiskFile, limits};
use pluvio_wire_kafka::records::{BatchHeader, HEADER_BYTES, parse_header, verify_crc};
use std::io;

const WINDOW_BYTES: usize = 64 << 10;
const MAGIC_AT: usize = 16;

/// Reads a file from a position on, through a window that it uses again.
pub(crate) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
}

/// What lies at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole batch.
    Batch(BatchHeader),
    /// Something else, and why it is not a batch.
    Damage(String),
    /// The end of the file.
    End,
}

/// What a batch bears in place of the leader epoch if offsets are missing
/// before it: a checksum of its base offset, which no other checksum covers.
/// Where none are missing that place is 0, and counting checks the offset.
/// Only compaction leaves gaps; reading puts the 0 back.
pub(crate) fn gap_mark(base_offset: i64) -> i32 {
    (crc32c::crc32c(&base_offset.to_be_bytes()) | 1).cast_signed()
}

/// Whether a batch may come where one with offset `expected` would come if no
/// offsets were missing.
pub(crate) fn follows(header: &BatchHeader, expected: i64) -> bool {
    let marked = header.partition_leader_epoch == gap_mark(header.base_offset);
    header.base_offset == expected || (header.base_offset > expected && marked)
}

impl<'a> Scanner<'a> {
    /// Scans `file` up to position `end`.
    pub(crate) fn new(file: &'a dyn DiskFile, end: u64) -> Self {
        Self { file, end, window: Vec::new(), window_start: 0 }
    }

    /// Up to `length` bytes at `position`: fewer only at the end.
    pub(crate) fn bytes(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let window_end = self.window_start + self.window.len() as u64;
        if position < self.window_start || position + length as u64 > window_end {
            self.window.resize(length.max(WINDOW_BYTES).min(left), 0);
            self.window_start = position;
            if let Err(error) = self.file.read_exact_at(&mut self.window, position) {
                self.window.clear();
                return Err(error);
            }
        }
        let from = usize::try_from(position - self.window_start).unwrap_or(0);
        Ok(&self.window[from..from + length])
    }

    /// What lies at `position`. `expected_offset` is the base offset that a
    /// batch there must have, if that is known and none are missing before it:
    /// the checksum does not cover it.
    pub(crate) fn at(&mut self, position: u64, expected_offset: Option<i64>) -> io::Result<Found> {
        if position >= self.end {
            return Ok(Found::End);
        }
        let left = self.end - position;
        let header = match parse_header(self.bytes(position, HEADER_BYTES)?) {
            Ok(header) => header,
            Err(error) => return Ok(Found::Damage(error.to_string())),
        };
        if let Some(reason) = implausible(&header, left) {
            return Ok(Found::Damage(reason));
        }
        if let Some(expected) = expected_offset
            && !follows(&header, expected)
        {
            let found = header.base_offset;
            return Ok(Found::Damage(format!("a batch with offset {found} where {expected} should be")));
        }
        match verify_crc(self.bytes(position, header.total_bytes())?) {
            Ok(()) => Ok(Found::Batch(header)),
            Err(error) => Ok(Found::Damage(error.to_string())),
        }
    }

    /// The first position from `position` on with a whole batch, by checksum,
    /// whose base offset is in `[offset_min, offset_max]`.
    pub(crate) fn next_whole(
        &mut self,
        mut position: u64,
        offset_min: i64,
        offset_max: i64,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        while position + HEADER_BYTES as u64 <= self.end {
            let window = self.bytes(position, WINDOW_BYTES)?;
            let candidates = window.len() + 1 - HEADER_BYTES;
            let likely = (0..candidates).find(|at| {
                window[at + MAGIC_AT] == 2
                    && window[*at..]
                        .first_chunk::<8>()
                        .is_some_and(|bytes| (offset_min..=offset_max).contains(&i64::from_be_bytes(*bytes)))
            });
            let Some(likely) = likely else {
                position += candidates as u64;
                continue;
            };
            position += likely as u64;
            if let Found::Batch(header) = self.at(position, None)? {
                return Ok(Some((position, header)));
            }
            position += 1;
        }
        Ok(None)
    }
}

/// Why the header cannot be one of ours, if it cannot.
fn implausible(header: &BatchHeader, bytes_left: u64) -> Option<String> {
    let bytes = header.total_bytes();
    if bytes as u64 > bytes_left {
        return Some(format!("a batch of {bytes} bytes where {bytes_left} are left"));
    }
    if bytes > limits::KAFKA_FRAME_BYTES_MAX {
        return Some(format!("a batch of {bytes} bytes, more than any batch has"));
    }
    if header.base_offset < 0 || header.last_offset_delta < 0 || header.records_count < 0 {
        return Some("a batch header with negative offsets".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::batch;
    use pluvio_foundation::{Disk, OpenMode};
    use pluvio_testkit::SimDisk;
    use std::path::Path;

    fn file(bytes: &[u8]) -> Box<dyn DiskFile> {
        let disk = SimDisk::new();
        let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    #[test]
    fn walks_small_and_large_batches() {
        let mut bytes = Vec::new();
        let mut starts = Vec::new();
        for (offset, size) in (0..200_i64).zip([10, 70_000, 100, 20_000].into_iter().cycle()) {
            starts.push(bytes.len() as u64);
            bytes.extend_from_slice(&batch(offset, 1, size));
        }
        let file = file(&bytes);
        let mut scanner = Scanner::new(&*file, bytes.len() as u64);
        let mut position = 0;
        for (offset, start) in (0..).zip(&starts) {
            assert_eq!(position, *start);
            let Found::Batch(header) = scanner.at(position, Some(offset)).unwrap() else {
                panic!("no batch at {position}")
            };
            position += header.total_bytes() as u64;
        }
        assert_eq!(scanner.at(position, None).unwrap(), Found::End);
    }

    #[test]
    fn finds_the_way_after_damage() {
        let whole = batch(5, 2, 100_000);
        let mut bytes = vec![2; 70_000];
        let start = bytes.len() as u64;
        bytes.extend_from_slice(&whole);
        let file = file(&bytes);
        let mut scanner = Scanner::new(&*file, bytes.len() as u64);
        assert!(matches!(scanner.at(0, Some(0)).unwrap(), Found::Damage(_)));
        let (position, header) = scanner.next_whole(0, 3, i64::MAX).unwrap().unwrap();
        assert_eq!((position, header.base_offset), (start, 5));
        assert_eq!(scanner.next_whole(0, 6, i64::MAX).unwrap(), None);
        let mut cut = Scanner::new(&*file, bytes.len() as u64 - 1);
        assert_eq!(cut.next_whole(0, 3, i64::MAX).unwrap(), None);
        assert!(matches!(cut.at(start, Some(5)).unwrap(), Found::Damage(_)));
    }

    #[test]
    fn a_gap_must_be_marked() {
        let mut bytes = batch(7, 1, 50).to_vec();
        let end = bytes.len() as u64;
        let is_batch = |bytes: &[u8], offset| {
            let found = Scanner::new(&*file(bytes), end).at(0, Some(offset)).unwrap();
            matches!(found, Found::Batch(_))
        };
        assert!(!is_batch(&bytes, 5));
        pluvio_wire_kafka::records::set_leader_epoch(&mut bytes, gap_mark(7));
        assert!(is_batch(&bytes, 5) && is_batch(&bytes, 7) && !is_batch(&bytes, 8));
        bytes[7] ^= 8;
        assert!(!is_batch(&bytes, 5));
    }

    #[test]
    fn a_wrong_offset_or_checksum_is_damage() {
        let mut bytes = batch(7, 1, 50).to_vec();
        let end = bytes.len() as u64;
        let found = |bytes: &[u8], offset| Scanner::new(&*file(bytes), end).at(0, Some(offset)).unwrap();
        assert!(matches!(found(&bytes, 7), Found::Batch(_)));
        assert!(matches!(found(&bytes, 8), Found::Damage(_)));
        *bytes.last_mut().unwrap() ^= 1;
        assert!(matches!(found(&bytes, 7), Found::Damage(_)));
    }
}
