//! All files of a feed: finds them, reads what is new in turns, and appends it.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use pluvio_catalog::{FileStart, FilesDef, LINE_BYTES_MAX};
use pluvio_wire_kafka::records::BatchBuilder;

use super::book::{Book, FILE, POSITION, Positions};
use super::pattern::{Found, Pattern};
use super::source::{Seen, Source};
use crate::FeedError;
use crate::checkpoint::{self, Checkpoint};
use crate::context::Context;
use crate::mark::{FileId, MARK, Mark};
use crate::scan::scan;
use crate::splitting::{Line, Split, last_line, split};
use crate::status::FeedState;
use crate::target::{Target, Waiter, seal};

/// Bytes read at once.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes of one file before others have their turn.
const TURN_BYTES: u64 = 4 << 20;
/// Digits of a position, at most.
const POSITION_BYTES: usize = 20;
/// How often files that are not followed are looked for under other names.
const SWEEP_MS: u64 = 5_000;
/// Most files kept open that a folder still shows.
const OPEN_MAX: usize = 256;

/// What is followed, and how far it was taken.
pub(crate) struct Follow<'a> {
    context: &'a Context,
    start: FileStart,
    pattern: Pattern,
    target: Target,
    waiter: Waiter,
    sources: HashMap<FileId, Source>,
    book: Book,
    /// Whether the files were listed that were there at first.
    began: bool,
    buffer: Vec<u8>,
    lines: Vec<Line>,
    swept_us: Option<u64>,
    saved_us: u64,
    is_saved: bool,
    /// Whether the checkpoint must say something that no event says.
    is_urgent: bool,
    has_more: bool,
    /// What is left out, and why: of what there is, and of what was to be read.
    left_out: Option<String>,
    unreadable: Option<String>,
}

impl<'a> Follow<'a> {
    /// Finds in the topic how far the files were taken. `None` if the feed is to
    /// stop meanwhile.
    ///
    /// # Errors
    /// No topic, or one that cannot be read.
    pub fn begin(context: &'a Context, def: &FilesDef) -> Result<Option<Self>, FeedError> {
        let pattern = Pattern::new(&def.path)?;
        let target = Target::open(context)?;
        let known: Option<Checkpoint<Positions>> = checkpoint::load(context, &target.topic);
        let (ends, positions) = known.map(|it| (it.ends, it.positions)).unwrap_or_default();
        let mut book = Book::new(positions.files);
        if !scan(context, &target.topic, &ends, |mark, record| book.note(mark, record))? {
            return Ok(None);
        }
        Ok(Some(Self {
            context,
            start: def.start,
            pattern,
            target,
            waiter: Waiter::new()?,
            sources: HashMap::new(),
            book,
            began: positions.began,
            buffer: Vec::new(),
            lines: Vec::new(),
            swept_us: None,
            saved_us: context.clock.monotonic_us(),
            is_saved: false,
            is_urgent: false,
            has_more: false,
            left_out: None,
            unreadable: None,
        }))
    }

    fn now_us(&self) -> u64 {
        self.context.clock.monotonic_us()
    }

    /// Looks which files there are and how long they are.
    ///
    /// # Errors
    /// There are too many.
    pub fn look(&mut self) -> Result<(), FeedError> {
        let listing = self.pattern.list()?;
        self.left_out = listing.left_out;
        let now_us = self.now_us();
        self.sources.values_mut().for_each(|source| source.is_matched = false);
        for found in listing.files {
            match self.sources.get_mut(&found.id) {
                // Under two names: the first one stays.
                Some(source) if source.is_matched && found.path != Path::new(source.first_path()) => {}
                Some(source) => {
                    source.see(found, now_us);
                    source.is_matched = true;
                }
                None => self.follow(found, now_us),
            }
        }
        self.look_aside(now_us);
        if !self.began {
            self.began = true;
            self.save()?;
        }
        self.book.shrink();
        let count = self.sources.values().filter(|source| source.is_matched).count();
        let state = if self.sources.is_empty() { FeedState::Waiting } else { FeedState::Running };
        let source = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        self.context.board.show(state, source, self.left_out.clone().or(self.unreadable.clone()));
        Ok(())
    }

    /// Begins with a file.
    fn follow(&mut self, found: Found, now_us: u64) {
        let id = found.id;
        let path = found.path.to_string_lossy().into_owned();
        let known = self.book.take(id).or_else(|| self.book.moved_device(&path, id));
        let source = match known {
            Some(known) => Source::known(known, found, now_us),
            None => {
                let mut source = Source::new(found, now_us);
                if !self.began
                    && self.start == FileStart::End
                    && let Err(error) = source.skip_to_end()
                {
                    self.left_out = Some(format!("{}: {error}", source.path().display()));
                    return;
                }
                source
            }
        };
        self.sources.insert(id, source);
    }

    /// Looks under which other names there are files that the pattern finds no
    /// more. What is not there is put into the book.
    fn look_aside(&mut self, now_us: u64) {
        let mut folders = Folders::default();
        let lost: Vec<FileId> =
            self.sources.values().filter(|it| !it.is_matched && !it.is_open()).map(Source::id).collect();
        for id in lost {
            let Some(mut source) = self.sources.remove(&id) else { continue };
            match folders.find(source.path(), id) {
                // Only a file of which something was taken can be told from one
                // that got its inode.
                Some(found) if source.position() > 0 => {
                    source.see(found, now_us);
                    self.sources.insert(id, source);
                }
                _ => self.book.put(source.entry().clone()),
            }
        }
        if self.swept_us.is_some_and(|swept_us| !self.context.passed(swept_us, SWEEP_MS)) {
            return;
        }
        self.swept_us = Some(now_us);
        let mut grown = Vec::new();
        for known in self.book.files().into_iter().filter(|known| known.head.length > 0) {
            let found = folders.find(Path::new(&known.path), known.id);
            grown.extend(found.filter(|found| found.length > known.position));
        }
        for found in grown {
            if let Some(known) = self.book.take(found.id) {
                let mut source = Source::known(known, found, now_us);
                source.is_matched = false;
                self.sources.insert(source.id(), source);
            }
        }
    }

    /// Whether there is more to read at once.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Gives every file that has something new a turn. Returns whether there is
    /// more.
    ///
    /// # Errors
    /// The log's.
    pub fn take(&mut self) -> Result<bool, FeedError> {
        self.has_more = false;
        self.unreadable = None;
        // What was rotated away is older than what came in its place.
        let mut order: Vec<(bool, PathBuf, FileId)> = self
            .sources
            .values()
            .filter(|it| it.has_changed() || it.is_left())
            .map(|it| (!it.is_left(), it.path().to_owned(), it.id()))
            .collect();
        order.sort();
        for (_, path, id) in order {
            if self.context.stop.is_asked() {
                return Ok(true);
            }
            let Some(mut source) = self.sources.remove(&id) else { continue };
            let stays = match self.turn(&mut source)? {
                Turn::Done => true,
                Turn::More => {
                    self.has_more = true;
                    true
                }
                Turn::Gone => false,
                Turn::Unreadable(error) => {
                    self.unreadable = Some(format!("{}: {error}", path.display()));
                    true
                }
            };
            if stays {
                self.sources.insert(id, source);
            } else {
                self.book.put(source.entry().clone());
            }
            if std::mem::take(&mut self.is_urgent) {
                self.save()?;
            }
        }
        self.close_some();
        Ok(self.has_more)
    }

    /// Reads one file for a while.
    fn turn(&mut self, source: &mut Source) -> Result<Turn, FeedError> {
        let now_us = self.now_us();
        if !source.is_matched
            && let Err(error) = source.see_open(now_us)
        {
            return Ok(Turn::Unreadable(error));
        }
        let until = source.position().saturating_add(TURN_BYTES);
        let is_quiet = self.context.passed(source.grew_us(), self.context.options.rotated_quiet_ms);
        let is_over = source.is_left() && is_quiet;
        while source.has_changed() || (is_over && source.has_rest()) {
            if source.position() >= until {
                return Ok(Turn::More);
            }
            match self.chunk(source, is_over) {
                Ok(Chunk::Taken) => {}
                Ok(Chunk::End) => {
                    source.reached_end();
                    break;
                }
                // A file of another program that got the inode is none of ours.
                Ok(Chunk::Anew) if !source.is_matched => return Ok(Turn::Gone),
                // No event says so as yet.
                Ok(Chunk::Anew) => self.is_urgent = true,
                Ok(Chunk::Elsewhere) => return Ok(Turn::Done),
                Err(FeedError::Io { source: error, .. }) => return Ok(Turn::Unreadable(error)),
                Err(error) => return Err(error),
            }
        }
        let is_gone = is_over && !source.is_matched;
        Ok(if is_gone { Turn::Gone } else { Turn::Done })
    }

    /// Reads once and appends the lines. `is_over`: the last line needs no end.
    fn chunk(&mut self, source: &mut Source, is_over: bool) -> Result<Chunk, FeedError> {
        let headers_bytes = source.first_path().len() + POSITION_BYTES;
        let limit = usize::try_from(LINE_BYTES_MAX).unwrap_or(usize::MAX);
        let bytes_max = self.target.value_bytes_max(self.context, headers_bytes)?.min(limit);
        let now_us = self.now_us();
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut wanted = CHUNK_BYTES;
        let outcome = loop {
            let read = source.read(&mut buffer, wanted, now_us);
            let count = match read.map_err(|error| FeedError::io("read", source.path(), error))? {
                Seen::Anew => break Ok(Chunk::Anew),
                Seen::Elsewhere => break Ok(Chunk::Elsewhere),
                Seen::Bytes(count) => count,
            };
            let bytes = &buffer[..count];
            let mut found = split(bytes, source.is_skipping(), bytes_max, &mut self.lines);
            if found.taken == 0 && count == wanted && wanted <= bytes_max + 1 {
                // The line is longer than the chunk, and may be none too long.
                wanted = bytes_max + 2;
                continue;
            }
            if found.taken == 0 && count > 0 && is_over {
                self.lines.extend(last_line(bytes));
                found = Split { taken: count, ..found };
            }
            if found.taken == 0 {
                break Ok(Chunk::End);
            }
            break self.append(source, bytes, &found, headers_bytes).map(|()| Chunk::Taken);
        };
        self.buffer = buffer;
        outcome
    }

    /// Appends the lines that were found in `bytes` and goes behind them.
    fn append(
        &mut self,
        source: &mut Source,
        bytes: &[u8],
        found: &Split,
        headers_bytes: usize,
    ) -> Result<(), FeedError> {
        let position = source.position();
        source.advance(bytes, found);
        self.is_saved = false;
        self.context.board.skip(found.skipped);
        let records_bytes = self.target.records_bytes(self.context);
        let lines = std::mem::take(&mut self.lines);
        let mut rest = &lines[..];
        while !rest.is_empty() {
            let mut batch = 0;
            let fits = |line: &&Line| {
                batch += Target::record_bytes(line.at.len(), headers_bytes);
                batch <= records_bytes
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (now, later) = rest.split_at(count);
            self.append_batch(source, bytes, position, now)?;
            rest = later;
        }
        self.lines = lines;
        Ok(())
    }

    fn append_batch(
        &mut self,
        source: &Source,
        bytes: &[u8],
        position: u64,
        lines: &[Line],
    ) -> Result<(), FeedError> {
        let now_ms = self.context.clock.now_ms();
        let path = source.first_path().as_bytes();
        let room = lines.iter().map(|line| line.at.len() + path.len() + 64).sum();
        let mut builder = BatchBuilder::with_capacity(now_ms, room);
        let mut behind_text = Vec::with_capacity(20);
        let mut values = 0;
        for (place, line) in lines.iter().enumerate() {
            let behind = position + line.behind as u64;
            behind_text.clear();
            // Writing to a Vec cannot fail.
            let _ = write!(behind_text, "{behind}");
            let own = [(FILE, Some(path)), (POSITION, Some(&behind_text[..]))];
            let value = &bytes[line.at.clone()];
            values += value.len();
            if place + 1 < lines.len() {
                builder.push(None, Some(value), now_ms, &own);
            } else {
                let (generation, id) = (source.generation(), source.id());
                let mark = Mark::File { generation, id, head: source.head_before(behind) };
                let mark = mark.encode(&self.context.spec.stream);
                let [file, place] = own;
                builder.push(None, Some(value), now_ms, &[file, place, (MARK, Some(mark.as_bytes()))]);
            }
        }
        let partition = self.target.partition_of(path)?;
        self.target.append(self.context, &partition, seal(builder)?)?;
        self.context.board.count(lines.len() as u64, values as u64);
        self.waiter.room(self.context, &partition);
        Ok(())
    }

    /// Closes files that were not read for long, where too many are open.
    fn close_some(&mut self) {
        let mut open: Vec<&mut Source> =
            self.sources.values_mut().filter(|it| it.is_matched && it.is_open()).collect();
        let over = open.len().saturating_sub(OPEN_MAX);
        if over > 0 {
            open.sort_by_key(|source| source.read_us);
            open.into_iter().take(over).for_each(Source::close);
        }
    }

    /// Writes the checkpoint if it is time and there is something new.
    ///
    /// # Errors
    /// The disk's.
    pub fn save_if_due(&mut self) -> Result<(), FeedError> {
        let is_due = self.context.passed(self.saved_us, self.context.options.checkpoint_interval_ms);
        if is_due && !self.is_saved { self.save() } else { Ok(()) }
    }

    /// Writes the checkpoint.
    ///
    /// # Errors
    /// The disk's.
    pub fn save(&mut self) -> Result<(), FeedError> {
        let gone = self.book.files().into_iter().cloned();
        let files = gone.chain(self.sources.values().map(|source| source.entry().clone())).collect();
        self.target.save(self.context, Positions { began: self.began, files })?;
        self.saved_us = self.now_us();
        self.is_saved = true;
        Ok(())
    }
}

/// How a file's turn ended.
enum Turn {
    /// It was read to the end.
    Done,
    /// It has more.
    More,
    /// It was read to its end for good.
    Gone,
    /// It cannot be read at the moment.
    Unreadable(std::io::Error),
}

/// What became of one read.
enum Chunk {
    /// Its lines were appended.
    Taken,
    /// There are no further lines.
    End,
    /// The file began anew, or lost its end.
    Anew,
    /// The path leads to another file.
    Elsewhere,
}

/// The files of folders by what they are known by, each folder read once.
#[derive(Default)]
struct Folders(HashMap<PathBuf, HashMap<FileId, Found>>);

impl Folders {
    /// A file beside `path`.
    fn find(&mut self, path: &Path, id: FileId) -> Option<Found> {
        let folder = path.parent()?;
        if !self.0.contains_key(folder) {
            self.0.insert(folder.to_owned(), Self::list(folder));
        }
        self.0.get(folder)?.get(&id).cloned()
    }

    fn list(folder: &Path) -> HashMap<FileId, Found> {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let files = entries.filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let found = Found::of(entry.path(), &metadata);
            Some((found.id, found))
        });
        files.collect()
    }
}
