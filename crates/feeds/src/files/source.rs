//! One file that is followed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use pluvio_foundation::hash::stable_hash;

use super::book::Known;
use super::pattern::Found;
use crate::mark::{FileId, Head};
use crate::splitting::Split;

/// Bytes by which a file is told from another.
const HEAD_BYTES: usize = 1024;
/// How far before a file's end the beginning of its last line is looked for.
const LAST_LINE_BYTES_MAX: u64 = 1 << 20;

/// What a look into a file found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// So many bytes from the position on.
    Bytes(usize),
    /// It began anew, or lost its end; its position is another one.
    Anew,
    /// Its path leads to another file.
    Elsewhere,
}

/// A file that is followed.
#[derive(Debug)]
pub(crate) struct Source {
    known: Known,
    /// Its first bytes, as many of [`HEAD_BYTES`] as lie before the position.
    head: Vec<u8>,
    /// Whether `head` was compared with what the book says.
    is_checked: bool,
    /// Where it is now.
    path: PathBuf,
    file: Option<File>,
    /// Whether the feed's pattern finds it.
    pub is_matched: bool,
    /// Its length and time of change, as last seen, and when it was read to the
    /// end for the last time.
    now: (u64, i128),
    at_end: Option<(u64, i128)>,
    grew_us: u64,
    pub read_us: u64,
}

impl Source {
    /// A file that was never seen before.
    pub fn new(found: Found, now_us: u64) -> Self {
        let path = found.path.to_string_lossy().into_owned();
        let head = Head { length: 0, hash: stable_hash(b"") };
        let known = Known { id: found.id, path, generation: 0, position: 0, head, skipping: false };
        Self::known(known, found, now_us)
    }

    /// A file that was taken up to somewhere before.
    pub fn known(known: Known, found: Found, now_us: u64) -> Self {
        Self {
            known,
            head: Vec::new(),
            is_checked: false,
            path: found.path,
            file: None,
            is_matched: true,
            now: (found.length, found.changed_ns),
            at_end: None,
            grew_us: now_us,
            read_us: now_us,
        }
    }

    /// Goes to where the file's last line begins that has no line end yet.
    pub fn skip_to_end(&mut self) -> io::Result<()> {
        let file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(LAST_LINE_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
        file.read_exact_at(&mut bytes, from)?;
        let place = memchr::memrchr(b'\n', &bytes).map(|place| from + place as u64 + 1);
        // A line that is longer than any that is taken is not looked for.
        self.known.skipping = place.is_none() && from > 0;
        self.known.position = place.unwrap_or(if from > 0 { length } else { 0 });
        let head = usize::try_from(self.known.position).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
        self.head = vec![0; head];
        file.read_exact_at(&mut self.head, 0)?;
        self.is_checked = true;
        self.set_head();
        Ok(())
    }

    pub fn id(&self) -> FileId {
        self.known.id
    }

    pub fn position(&self) -> u64 {
        self.known.position
    }

    pub fn is_skipping(&self) -> bool {
        self.known.skipping
    }

    /// The path under which it was first found.
    pub fn first_path(&self) -> &str {
        &self.known.path
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn generation(&self) -> u64 {
        self.known.generation
    }

    /// What is known of it, to be written down.
    pub fn entry(&self) -> &Known {
        &self.known
    }

    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    pub fn close(&mut self) {
        self.file = None;
    }

    /// It was found in a folder.
    pub fn see(&mut self, found: Found, now_us: u64) {
        self.path = found.path;
        self.grow((found.length, found.changed_ns), now_us);
    }

    /// Looks at the open file itself, for one that no folder shows any more.
    pub fn see_open(&mut self, now_us: u64) -> io::Result<()> {
        if let Some(file) = &self.file {
            let found = Found::of(PathBuf::new(), &file.metadata()?);
            self.grow((found.length, found.changed_ns), now_us);
        }
        Ok(())
    }

    fn grow(&mut self, now: (u64, i128), now_us: u64) {
        if now.0 != self.now.0 {
            self.grew_us = now_us;
        }
        self.now = now;
    }

    /// Whether there is something to read, or to compare.
    pub fn has_changed(&self) -> bool {
        self.at_end != Some(self.now)
    }

    /// It was read to the end, as it was when it was last seen.
    pub fn reached_end(&mut self) {
        self.at_end = Some(self.now);
    }

    /// Whether nothing is written behind its last line any more, as far as one
    /// can tell: it bears another name or none, and has not grown since then.
    pub fn is_left(&self) -> bool {
        !self.is_matched || self.path != Path::new(&self.known.path)
    }

    /// When it was last seen to grow.
    pub fn grew_us(&self) -> u64 {
        self.grew_us
    }

    /// Whether it has bytes that were not taken.
    pub fn has_rest(&self) -> bool {
        self.now.0 > self.known.position
    }

    /// Reads up to `bytes` bytes from the position on.
    pub fn read(&mut self, buffer: &mut Vec<u8>, bytes: usize, now_us: u64) -> io::Result<Seen> {
        self.read_us = now_us;
        if !self.open()? {
            return Ok(Seen::Elsewhere);
        }
        let Some(file) = self.file.take() else { return Ok(Seen::Elsewhere) };
        let seen = self.read_from(&file, buffer, bytes);
        self.file = Some(file);
        seen
    }

    fn read_from(&mut self, file: &File, buffer: &mut Vec<u8>, bytes: usize) -> io::Result<Seen> {
        if !self.is_checked {
            let length = usize::try_from(self.known.head.length).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
            self.head.resize(length, 0);
            let count = fill(file, &mut self.head, 0)?;
            if count < length || stable_hash(&self.head) != self.known.head.hash {
                self.restart();
                return Ok(Seen::Anew);
            }
            self.is_checked = true;
        }
        buffer.resize(bytes, 0);
        let count = fill(file, buffer, self.known.position)?;
        // Only now: what was read belongs to a file that still begins as it did.
        let mut head = [0; HEAD_BYTES];
        let head = &mut head[..self.head.len()];
        let is_same = fill(file, head, 0)? == self.head.len() && *head == *self.head;
        let length = file.metadata()?.len();
        if is_same && (count > 0 || length >= self.known.position) {
            return Ok(Seen::Bytes(count));
        }
        if is_same && self.head.len() == HEAD_BYTES && length >= HEAD_BYTES as u64 {
            self.cut(length);
        } else {
            self.restart();
        }
        Ok(Seen::Anew)
    }

    /// The file lost its end, and what is left of it was taken.
    fn cut(&mut self, length: u64) {
        self.known.generation += 1;
        self.known.position = length;
        self.known.skipping = false;
    }

    /// `false` if the path leads to another file now.
    fn open(&mut self) -> io::Result<bool> {
        if self.file.is_some() {
            return Ok(true);
        }
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let is_it = Found::of(PathBuf::new(), &file.metadata()?).id == self.known.id;
        self.file = is_it.then_some(file);
        Ok(is_it)
    }

    /// The file is another one, under the same inode.
    fn restart(&mut self) {
        self.known.generation += 1;
        self.known.position = 0;
        self.known.skipping = false;
        self.known.path = self.path.to_string_lossy().into_owned();
        self.head.clear();
        self.is_checked = true;
        self.set_head();
    }

    /// Goes behind what was taken of `bytes`, which were read from the position on.
    pub fn advance(&mut self, bytes: &[u8], split: &Split) {
        let taken = &bytes[..split.taken];
        let wanted = HEAD_BYTES - self.head.len();
        // Unless the head is complete the position is at its end.
        self.head.extend_from_slice(&taken[..taken.len().min(wanted)]);
        self.known.position += split.taken as u64;
        self.known.skipping = split.skipping;
        self.set_head();
    }

    fn set_head(&mut self) {
        if self.known.head.length as usize != self.head.len() || self.head.is_empty() {
            self.known.head = self.head_before(u64::MAX);
        }
    }

    /// The head as it was when the position was `position`.
    pub fn head_before(&self, position: u64) -> Head {
        let length = usize::try_from(position).unwrap_or(usize::MAX).min(self.head.len());
        Head { length: u32::try_from(length).unwrap_or(0), hash: stable_hash(&self.head[..length]) }
    }
}

/// Reads until `buffer` is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
