//! The segment files of a span.
//!
//! Files `spans/{span id}/{segment, 20 digits}.seg`, frames as in
//! [`crate::framing`]. The head's `first` is the committed length of the segment
//! before: what stands behind it there was never committed. The last segment's
//! committed length is in the journal. One commit writes into one segment only.
//!
//! ```text
//! body    tag u64, commit time i64 (ms), rows u64, rows (Arrow IPC stream)
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use crc32fast::Hasher;
use pluvio_foundation::{Disk, DiskFile, OpenMode};

use crate::block;
use crate::error::{Result, TableError};
use crate::framing::{
    FILE_HEAD_BYTES, FRAME_HEAD_BYTES, Found, file_head, frame_head, read_file_head, read_frame,
};
use crate::journal::section::SpanEnd;
use crate::options::RECORD_BYTES_MAX;
use crate::wire::Fields;

const MAGIC: [u8; 8] = *b"PvSpan01";

/// Where an append stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) position: u64,
}

/// Rows ready to be written.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) tag: u64,
    pub(crate) time_ms: i64,
    pub(crate) rows: u64,
    pub(crate) block: Vec<u8>,
    pub(crate) hash: Hasher,
}

impl Record {
    /// Encodes rows.
    pub(crate) fn new(tag: u64, time_ms: i64, batch: &RecordBatch) -> Result<Self> {
        let mut block = Vec::new();
        block::encode(batch, &mut block)?;
        if block.len() as u64 + 24 > RECORD_BYTES_MAX {
            return Err(TableError::TooLarge {
                what: "one append to a span".to_owned(),
                bytes: block.len() as u64,
                limit: RECORD_BYTES_MAX,
                hint: "append fewer rows at once (a smaller trigger)",
            });
        }
        let mut hash = Hasher::new();
        hash.update(&block);
        Ok(Self { tag, time_ms, rows: batch.num_rows() as u64, block, hash })
    }

    fn head(&self) -> [u8; 24] {
        let mut head = [0; 24];
        head[..8].copy_from_slice(&self.tag.to_le_bytes());
        head[8..16].copy_from_slice(&self.time_ms.to_le_bytes());
        head[16..].copy_from_slice(&self.rows.to_le_bytes());
        head
    }
}

/// The end of a span's files, where appends go.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    /// What is committed.
    pub(crate) end: SpanEnd,
    file: Option<Box<dyn DiskFile>>,
    /// Which segment `file` is.
    file_segment: u64,
    /// Whether the present segment must not be written any more.
    roll: bool,
}

impl SegmentWriter {
    /// Continues behind what is committed.
    pub(crate) fn new(end: SpanEnd) -> Self {
        // Segment 0 stands for "none yet".
        Self { end, file: None, file_segment: 0, roll: end.segment == 0 }
    }

    /// Writes records and makes them durable. They count only once
    /// [`SegmentWriter::accept`] is called with the end that is returned.
    pub(crate) fn write(
        &mut self,
        disk: &dyn Disk,
        folder: &Path,
        segment_bytes: u64,
        records: &[Record],
    ) -> Result<(SpanEnd, Vec<Place>)> {
        let mut end = self.end;
        if let Some(last) = records.last() {
            end.last_tag = last.tag;
        }
        if records.iter().all(|record| record.rows == 0) {
            return Ok((end, Vec::new()));
        }
        if self.roll || end.length >= segment_bytes {
            self.file = Some(create(disk, folder, end.segment + 1, end.length)?);
            end = SpanEnd { segment: end.segment + 1, length: FILE_HEAD_BYTES, last_tag: end.last_tag };
        }
        let path = file_path(folder, end.segment);
        if self.file.is_none() {
            self.file = Some(disk.open(&path, OpenMode::Write).map_err(TableError::io("opening", &path))?);
        }
        self.file_segment = end.segment;
        let Some(file) = self.file.as_deref() else { return Err(TableError::Internal("no segment is open")) };
        let mut places = Vec::with_capacity(records.len());
        for record in records.iter().filter(|record| record.rows > 0) {
            places.push(Place { segment: end.segment, position: end.length });
            match write_record(file, end.length, record) {
                Ok(bytes) => end.length += bytes,
                Err(error) => {
                    self.reject();
                    return Err(TableError::io("appending to", &path)(error));
                }
            }
        }
        if let Err(error) = file.sync() {
            // After a failed sync nobody knows what the file holds.
            self.file = None;
            self.roll = true;
            return Err(TableError::io("syncing", &path)(error));
        }
        Ok((end, places))
    }

    /// What was written is committed.
    pub(crate) fn accept(&mut self, end: SpanEnd) {
        self.roll = self.roll && end.segment == self.end.segment;
        self.end = end;
    }

    /// What was written is not committed: the next write goes over it. If a new
    /// segment was begun, it is begun again.
    pub(crate) fn reject(&mut self) {
        if let Some(file) = self.file.take() {
            // Only to give space back: what is behind the end never counts.
            let begun_anew = self.file_segment != self.end.segment;
            if let Err(error) = file.truncate(if begun_anew { 0 } else { self.end.length }) {
                tracing::debug!(%error, "a rejected append was not cut off");
            }
        }
    }
}

fn write_record(file: &dyn DiskFile, position: u64, record: &Record) -> std::io::Result<u64> {
    let first = record.head();
    let head = frame_head(position, &first, record.block.len(), &record.hash);
    file.write_all_at(&[&head[..], &first].concat(), position)?;
    let behind_head = position + FRAME_HEAD_BYTES + first.len() as u64;
    file.write_all_at(&record.block, behind_head)?;
    Ok(behind_head + record.block.len() as u64 - position)
}

fn create(disk: &dyn Disk, folder: &Path, segment: u64, before: u64) -> Result<Box<dyn DiskFile>> {
    let path = file_path(folder, segment);
    let failed = "creating";
    disk.create_dir_all(folder).map_err(TableError::io(failed, folder))?;
    if let Some(parent) = folder.parent().filter(|_| segment == 1) {
        disk.sync_dir(parent).map_err(TableError::io(failed, folder))?;
    }
    let file = disk.open(&path, OpenMode::Create).map_err(TableError::io(failed, &path))?;
    file.truncate(0).map_err(TableError::io(failed, &path))?;
    file.write_all_at(&file_head(MAGIC, before), 0).map_err(TableError::io(failed, &path))?;
    disk.sync_dir(folder).map_err(TableError::io(failed, &path))?;
    Ok(file)
}

/// Opens the segments that are named, each once.
pub(crate) fn open_all(
    disk: &dyn Disk,
    folder: &Path,
    segments: impl Iterator<Item = u64>,
) -> Result<BTreeMap<u64, Box<dyn DiskFile>>> {
    let mut files = BTreeMap::new();
    for segment in segments {
        if let std::collections::btree_map::Entry::Vacant(entry) = files.entry(segment) {
            let path = file_path(folder, segment);
            entry.insert(disk.open(&path, OpenMode::Read).map_err(TableError::io("opening", &path))?);
        }
    }
    Ok(files)
}

/// Reads one append back.
pub(crate) fn read_back(
    files: &BTreeMap<u64, Box<dyn DiskFile>>,
    folder: &Path,
    place: Place,
) -> Result<RecordBatch> {
    let path = file_path(folder, place.segment);
    let file = files.get(&place.segment).ok_or(TableError::Internal("a segment was not opened"))?;
    let length = file.len().map_err(TableError::io("reading", &path))?;
    match read_frame(&**file, &path, place.position, length, RECORD_BYTES_MAX)? {
        Found::Frame(body, _) => decode_body(&body, &path, place.position).map(|(_, _, batch)| batch),
        _ => Err(corrupt(&path, place.position, "a committed append is damaged")),
    }
}

/// Deletes segments, oldest first.
pub(crate) fn delete(disk: &dyn Disk, folder: &Path, segments: Range<u64>) -> Result<()> {
    for segment in segments {
        let path = file_path(folder, segment);
        match disk.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(TableError::io("deleting", &path)(error));
            }
            _ => {}
        }
    }
    disk.sync_dir(folder).map_err(TableError::io("deleting files in", folder))
}

fn decode_body(body: &[u8], path: &Path, position: u64) -> Result<(u64, i64, RecordBatch)> {
    let mut fields = Fields(body);
    let (Some(tag), Some(time_ms), Some(rows)) = (fields.u64(), fields.i64(), fields.u64()) else {
        return Err(corrupt(path, position, "an append without its head"));
    };
    let batch = block::decode(fields.0)?;
    if batch.num_rows() as u64 != rows {
        return Err(corrupt(path, position, "an append with another number of rows"));
    }
    Ok((tag, time_ms, batch))
}

/// Reads all committed appends of a span, oldest first, and removes what was
/// not committed. Returns the oldest segment that is left.
pub(crate) fn recover(
    disk: &dyn Disk,
    folder: &Path,
    end: SpanEnd,
    mut found: impl FnMut(u64, i64, Place, RecordBatch),
) -> Result<u64> {
    let mut segments = Vec::new();
    for name in disk.list(folder).map_err(TableError::io("listing", folder))? {
        if let Some(segment) = name.strip_suffix(".seg").and_then(|digits| digits.parse::<u64>().ok()) {
            segments.push(segment);
        }
    }
    segments.sort_unstable();
    // Only what leads up to the end without a gap counts: a crash may undo the
    // deletion of an older segment and not that of a newer one.
    let mut oldest = end.segment;
    while oldest > 1 && segments.binary_search(&(oldest - 1)).is_ok() {
        oldest -= 1;
    }
    for segment in segments.iter().filter(|segment| **segment < oldest || **segment > end.segment) {
        let path = file_path(folder, *segment);
        disk.remove_file(&path).map_err(TableError::io("deleting", &path))?;
    }
    if end.segment == 0 {
        return Ok(1);
    }
    let mut lengths = BTreeMap::from([(end.segment, end.length)]);
    for segment in (oldest + 1)..=end.segment {
        let path = file_path(folder, segment);
        let file = disk.open(&path, OpenMode::Read).map_err(TableError::io("opening", &path))?;
        let before = read_file_head(&*file, MAGIC).map_err(TableError::io("reading", &path))?;
        let before = before.ok_or_else(|| corrupt(&path, 0, "the segment's head is damaged"))?;
        lengths.insert(segment - 1, before);
    }
    for (segment, length) in lengths {
        read_segment(disk, folder, segment, length, &mut found)?;
    }
    Ok(oldest)
}

fn read_segment(
    disk: &dyn Disk,
    folder: &Path,
    segment: u64,
    length: u64,
    found: &mut impl FnMut(u64, i64, Place, RecordBatch),
) -> Result<()> {
    let path = file_path(folder, segment);
    let file = disk.open(&path, OpenMode::Write).map_err(TableError::io("opening", &path))?;
    let present = file.len().map_err(TableError::io("reading", &path))?;
    if present < length {
        return Err(corrupt(&path, present, "the segment is shorter than what was committed"));
    }
    if present > length {
        file.truncate(length).map_err(TableError::io("cutting", &path))?;
    }
    let mut position = FILE_HEAD_BYTES;
    while position < length {
        let Found::Frame(body, next) = read_frame(&*file, &path, position, length, RECORD_BYTES_MAX)? else {
            return Err(corrupt(&path, position, "a committed append is damaged"));
        };
        let (tag, time_ms, batch) = decode_body(&body, &path, position)?;
        found(tag, time_ms, Place { segment, position }, batch);
        position = next;
    }
    Ok(())
}

fn file_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:020}.seg"))
}

fn corrupt(path: &Path, position: u64, detail: &str) -> TableError {
    TableError::Corrupt { path: path.to_owned(), position, detail: detail.to_owned() }
}
