//! The write-ahead log of all tables: one frame per commit.
//!
//! Files `journal/{first seq, 20 digits}.log`, frames as in [`crate::framing`],
//! bodies as in [`section`]. The head's `first` is the sequence number of the
//! first frame the file may hold; a frame of an earlier file with that number or
//! a later one is void (its write failed and could not be taken back).
//!
//! Promises: [`Journal::append`] returns once the frame is durable, or leaves
//! nothing of it behind; a file is durable by name before it holds a durable
//! frame. Recovery cuts off only what cannot have been acknowledged: a torn
//! frame behind which no whole frame follows.

pub(crate) mod recovery;
pub(crate) mod section;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;
use pluvio_foundation::{Disk, DiskFile, OpenMode};

use crate::error::{Result, TableError};
use crate::framing::{FILE_HEAD_BYTES, FRAME_HEAD_BYTES, file_head, frame_head};
use crate::options::FRAME_BYTES_MAX;

/// First bytes of every new journal file, with the format's version.
pub(crate) const MAGIC: [u8; 8] = *b"PvJrnl03";
/// Those of earlier versions, whose frames tell otherwise or not how many rows
/// tables have: still read.
pub(crate) const OLD_MAGICS: [[u8; 8]; 2] = [*b"PvJrnl01", *b"PvJrnl02"];

/// Largest second part that is copied to make one write of the two.
const JOIN_BYTES_MAX: usize = 256 << 10;

/// A file that is only read any more.
#[derive(Debug)]
struct OldFile {
    path: PathBuf,
    /// The sequence number behind its last frame.
    end_seq: u64,
    bytes: u64,
}

#[derive(Debug)]
struct OpenFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// The sequence number behind its last frame.
    end_seq: u64,
    position: u64,
}

impl OpenFile {
    fn ended(self) -> OldFile {
        OldFile { path: self.path, end_seq: self.end_seq, bytes: self.position }
    }
}

/// The log being written.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    old: Vec<OldFile>,
    open: Option<OpenFile>,
}

impl Journal {
    /// A journal without files yet.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        Self { disk, folder: folder.to_owned(), old: Vec::new(), open: None }
    }

    /// Bytes in all files.
    pub(crate) fn bytes(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |open| open.position);
        self.old.iter().map(|file| file.bytes).sum::<u64>() + open
    }

    /// Makes a frame durable. The body is `first` (which begins with `seq`) and
    /// `second`, whose hash is given.
    pub(crate) fn append(&mut self, seq: u64, first: &[u8], second: &[u8], hash: &Hasher) -> Result<()> {
        let length = (first.len() + second.len()) as u64;
        if length > FRAME_BYTES_MAX {
            let what = "the rows and notes of one commit together".to_owned();
            let hint = "commit fewer rows at once (a smaller trigger)";
            return Err(TableError::TooLarge { what, bytes: length, limit: FRAME_BYTES_MAX, hint });
        }
        let open = self.opened(seq)?;
        let head = frame_head(open.position, first, second.len(), hash);
        let written = write_frame(open, &head, first, second);
        let synced = written.and_then(|()| open.file.sync().map_err(|error| (error, true)));
        match synced {
            Ok(()) => {
                open.position += FRAME_HEAD_BYTES + length;
                open.end_seq = seq + 1;
                Ok(())
            }
            Err((error, by_sync)) => {
                let path = open.path.clone();
                self.take_back(by_sync);
                Err(TableError::io("writing the journal", &path)(error))
            }
        }
    }

    /// Removes what a failed write left. After a failed sync, or if removing
    /// fails too, the file is not written any more.
    fn take_back(&mut self, by_sync: bool) {
        let Some(open) = self.open.take() else { return };
        let cut = open.file.truncate(open.position).and_then(|()| open.file.sync());
        if cut.is_ok() && !by_sync {
            self.open = Some(open);
        } else {
            tracing::warn!(path = %open.path.display(), "the journal file is given up after a failed write");
            self.old.push(open.ended());
        }
    }

    fn opened(&mut self, seq: u64) -> Result<&mut OpenFile> {
        if self.open.is_none() {
            self.open = Some(self.create(seq)?);
        }
        self.open.as_mut().ok_or(TableError::Internal("the journal has no open file"))
    }

    fn create(&mut self, first_seq: u64) -> Result<OpenFile> {
        let path = file_path(&self.folder, first_seq);
        let failed = "creating";
        // A file of this name has no acknowledged frame: it is left from a try
        // that failed, or from a crash before its first frame.
        self.old.retain(|file| file.path != path);
        if self.disk.exists(&path) {
            self.disk.remove_file(&path).map_err(TableError::io(failed, &path))?;
        }
        let file = self.disk.open(&path, OpenMode::Create).map_err(TableError::io(failed, &path))?;
        file.write_all_at(&file_head(MAGIC, first_seq), 0).map_err(TableError::io(failed, &path))?;
        file.sync().map_err(TableError::io(failed, &path))?;
        self.disk.sync_dir(&self.folder).map_err(TableError::io(failed, &path))?;
        Ok(OpenFile { file, path, end_seq: first_seq, position: FILE_HEAD_BYTES })
    }

    /// Ends the present file, so that it can be deleted once applied. The next
    /// append opens another.
    pub(crate) fn roll(&mut self) {
        if let Some(open) = self.open.take() {
            self.old.push(open.ended());
        }
    }

    /// Gives up the ended files all of whose frames are `applied_seq` or earlier:
    /// they are the caller's to delete. One that is left is read, and found
    /// applied, by the next start.
    pub(crate) fn take_applied(&mut self, applied_seq: u64) -> Vec<PathBuf> {
        let applied = self.old.iter().take_while(|file| file.end_seq <= applied_seq + 1).count();
        self.old.drain(..applied).map(|file| file.path).collect()
    }
}

/// Deletes files that the journal gave up.
pub(crate) fn delete(disk: &dyn Disk, files: &[PathBuf]) -> Result<()> {
    for path in files {
        disk.remove_file(path).map_err(TableError::io("deleting", path))?;
    }
    match files.first().and_then(|path| path.parent()) {
        Some(folder) => disk.sync_dir(folder).map_err(TableError::io("deleting files in", folder)),
        None => Ok(()),
    }
}

fn write_frame(
    open: &OpenFile,
    head: &[u8],
    first: &[u8],
    second: &[u8],
) -> std::result::Result<(), (std::io::Error, bool)> {
    let failed = |error| (error, false);
    let joined = if second.len() <= JOIN_BYTES_MAX { second } else { &[] };
    let bytes = [head, first, joined].concat();
    open.file.write_all_at(&bytes, open.position).map_err(failed)?;
    if second.len() > joined.len() {
        open.file.write_all_at(second, open.position + bytes.len() as u64).map_err(failed)?;
    }
    Ok(())
}

fn file_path(folder: &Path, first_seq: u64) -> PathBuf {
    folder.join(format!("{first_seq:020}.log"))
}
