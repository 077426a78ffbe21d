//! Reading the journal back after a start.

use std::path::Path;
use std::sync::Arc;

use pluvio_foundation::{Disk, OpenMode};

use super::section::decode_body;
use super::{Journal, MAGIC, OLD_MAGICS, OldFile, file_path};
use crate::error::{Result, TableError};
use crate::framing::{FILE_HEAD_BYTES, Found, frame_follows, read_file_head, read_frame};
use crate::options::FRAME_BYTES_MAX;

/// A durable frame whose body decodes.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Its sequence number.
    pub(crate) seq: u64,
    /// What it says.
    pub(crate) body: Vec<u8>,
    /// Whether frames of its version tell how many rows tables had before them.
    pub(crate) counts: bool,
}

/// Hands every durable frame behind `applied_seq` to `replay`, in order, cuts
/// off a torn tail, and returns the journal with the last durable sequence
/// number (`applied_seq` if there is no later one).
pub(crate) fn recover(
    disk: Arc<dyn Disk>,
    folder: &Path,
    applied_seq: u64,
    mut replay: impl FnMut(Frame) -> Result<()>,
) -> Result<(Journal, u64)> {
    let mut firsts = Vec::new();
    for name in disk.list(folder).map_err(TableError::io("listing", folder))? {
        if let Some(first) = name.strip_suffix(".log").and_then(|digits| digits.parse::<u64>().ok()) {
            firsts.push(first);
        }
    }
    firsts.sort_unstable();
    let mut old = Vec::new();
    let mut last_seq = applied_seq;
    for (position, first) in firsts.iter().enumerate() {
        let next_first = firsts.get(position + 1).copied();
        let file = FileScan { disk: &*disk, folder, first: *first, next_first };
        if let Some(bytes) = file.scan(&mut last_seq, &mut replay)? {
            let end_seq = (last_seq + 1).max(*first);
            old.push(OldFile { path: file_path(folder, *first), end_seq, bytes });
        }
    }
    let mut journal = Journal::new(disk, folder);
    journal.old = old;
    Ok((journal, last_seq))
}

struct FileScan<'a> {
    disk: &'a dyn Disk,
    folder: &'a Path,
    first: u64,
    next_first: Option<u64>,
}

impl FileScan<'_> {
    /// Replays one file; its valid length, or none if it was empty and removed.
    fn scan(&self, last_seq: &mut u64, replay: &mut impl FnMut(Frame) -> Result<()>) -> Result<Option<u64>> {
        let path = file_path(self.folder, self.first);
        let failed = "reading";
        let file = self.disk.open(&path, OpenMode::Write).map_err(TableError::io(failed, &path))?;
        let length = file.len().map_err(TableError::io(failed, &path))?;
        let head = |magic| read_file_head(&*file, magic).map_err(TableError::io(failed, &path));
        let counts = head(MAGIC)? == Some(self.first);
        let mut is_known = counts;
        for magic in OLD_MAGICS {
            is_known = is_known || head(magic)? == Some(self.first);
        }
        if !is_known {
            if length > FILE_HEAD_BYTES && frame_follows(&*file, &path, 0, length, FRAME_BYTES_MAX)? {
                return Err(corrupt(&path, 0, "the file's head is damaged"));
            }
            self.disk.remove_file(&path).map_err(TableError::io("deleting", &path))?;
            return Ok(None);
        }
        let mut position = FILE_HEAD_BYTES;
        loop {
            match read_frame(&*file, &path, position, length, FRAME_BYTES_MAX)? {
                Found::End => return Ok(Some(position)),
                Found::Frame(body, end) => {
                    let Some((seq, _)) = decode_body(&body) else {
                        return Err(corrupt(
                            &path,
                            position,
                            "a frame with a right checksum does not decode",
                        ));
                    };
                    if self.next_first.is_some_and(|next| seq >= next) {
                        return Ok(Some(position));
                    }
                    if seq > *last_seq {
                        if seq != *last_seq + 1 {
                            let detail = format!("frame {seq} follows frame {last_seq}: some are missing");
                            return Err(corrupt(&path, position, &detail));
                        }
                        replay(Frame { seq, body, counts })?;
                        *last_seq = seq;
                    }
                    position = end;
                }
                Found::Torn => {
                    if frame_follows(&*file, &path, position, length, FRAME_BYTES_MAX)? {
                        return Err(corrupt(&path, position, "a damaged frame before whole ones"));
                    }
                    tracing::warn!(path = %path.display(), position, length, "a torn journal tail was cut off");
                    file.truncate(position).map_err(TableError::io("cutting", &path))?;
                    file.sync().map_err(TableError::io("cutting", &path))?;
                    return Ok(Some(position));
                }
            }
        }
    }
}

fn corrupt(path: &Path, position: u64, detail: &str) -> TableError {
    TableError::Corrupt { path: path.to_owned(), position, detail: detail.to_owned() }
}
