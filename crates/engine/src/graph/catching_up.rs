//! What a new view begins with that reads views which were there before it: the
//! rows they hold, a portion an epoch, so that neither memory nor a commit has to
//! hold all of them.
//!
//! Promises: until it has all of them, its graph takes no event, so that it begins
//! with what they hold at one epoch; its record says so until then, and after a
//! crash it begins anew. What it begins with is never late.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use datafusion::arrow::array::RecordBatch;
use parking_lot::Mutex;
use pluvio_foundation::ErrorKind;
use pluvio_query::QueryError;

use super::content::Content;
use super::view::View;
use crate::operators::Delta;

/// Bytes of rows that an epoch takes, about.
const PORTION_BYTES: usize = 8 << 20;
/// Batches of rows that are read ahead.
const BATCHES_AHEAD: usize = 2;

/// Rows of a view, by its place, and about how many bytes they are; none at the end.
type Fed = Result<Option<(usize, Delta, usize)>, QueryError>;

/// See the module.
pub struct CatchUp {
    /// For each view, whether it takes part.
    views: Vec<bool>,
    feed: Mutex<Receiver<Fed>>,
    /// What the next epoch takes.
    portion: Vec<(usize, Delta)>,
    is_first: bool,
    is_last: bool,
    /// The feed's error, which ended it.
    failed: Option<QueryError>,
    rows: u64,
    rows_left: u64,
}

impl CatchUp {
    /// Begins to read what newcomers begin with, if any of them reads a view that
    /// is none.
    ///
    /// # Errors
    /// The thread cannot start.
    pub fn begin(views: &[View], newcomers: &[bool]) -> Result<Option<Self>, QueryError> {
        let mut behind = vec![false; views.len()];
        let mut contents: Vec<(usize, Content)> = Vec::new();
        for (i, view) in views.iter().enumerate() {
            let next = || view.downstream.iter().map(|(next, _)| *next).filter(|next| newcomers[*next]);
            if !newcomers[i] && next().next().is_some() {
                contents.push((i, view.content()));
            }
            if !newcomers[i] || behind[i] {
                next().for_each(|next| behind[next] = true);
            }
        }
        if contents.is_empty() {
            return Ok(None);
        }
        let rows = contents.iter().map(|(_, content)| content.rows()).sum();
        let (sender, feed) = sync_channel(BATCHES_AHEAD);
        let failed =
            |e: std::io::Error| QueryError::new(ErrorKind::Io, format!("cannot start a thread: {e}"));
        let read = move || read(contents, &sender);
        std::thread::Builder::new().name("catch up".into()).spawn(read).map_err(failed)?;
        Ok(Some(Self {
            views: behind,
            feed: Mutex::new(feed),
            portion: Vec::new(),
            is_first: true,
            is_last: false,
            failed: None,
            rows,
            rows_left: rows,
        }))
    }

    /// Makes sure that there is a portion, of about so many rows.
    ///
    /// # Errors
    /// Rows that cannot be read.
    pub fn fill(&mut self, rows: usize) -> Result<(), QueryError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.is_last || !self.portion.is_empty() {
            return Ok(());
        }
        let (mut count, mut bytes) = (0, 0);
        while !self.is_last && count < rows.max(1) && bytes < PORTION_BYTES {
            let ended = || Err(QueryError::new(ErrorKind::Internal, "the reader of a view's rows has ended"));
            match self.feed.get_mut().recv().unwrap_or_else(|_| ended()) {
                Ok(Some((view, delta, size))) => {
                    count += delta.len();
                    bytes += size;
                    self.portion.push((view, delta));
                }
                Ok(None) => self.is_last = true,
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// What the next epoch takes: rows of views, by their places.
    pub fn portion(&self) -> &[(usize, Delta)] {
        &self.portion
    }

    /// Whether a view takes part.
    pub fn has(&self, view: usize) -> bool {
        self.views[view]
    }

    /// Whether the portion is the first.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether nothing comes behind the portion.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// The portion is committed.
    pub fn committed(&mut self) {
        self.is_first = false;
        let rows: usize = self.portion.drain(..).map(|(_, delta)| delta.len()).sum();
        self.rows_left = self.rows_left.saturating_sub(rows as u64);
    }

    /// The rows that there are, and those that are left.
    pub fn distance(&self) -> (u64, u64) {
        (self.rows, self.rows_left)
    }
}

/// Sends what the views hold, until nobody wants it any more.
fn read(contents: Vec<(usize, Content)>, to: &SyncSender<Fed>) {
    let gone = || QueryError::new(ErrorKind::Unavailable, "nobody wants the rows any more");
    let send = |view: usize, rows: &RecordBatch| {
        let (count, bytes) = (rows.num_rows(), rows.get_array_memory_size().max(1));
        let each = PORTION_BYTES.saturating_mul(count).div_ceil(bytes);
        (0..count).step_by(each.max(1)).try_for_each(|first| {
            let rows = rows.slice(first, each.min(count - first));
            let bytes = bytes * rows.num_rows() / count;
            to.send(Ok(Some((view, Delta::added(rows), bytes)))).map_err(|_| gone())
        })
    };
    let all = contents.iter().try_for_each(|(view, content)| content.each(&mut |rows| send(*view, &rows)));
    // If nobody listens, there is nobody to tell.
    let _ = to.send(all.map(|()| None));
}
