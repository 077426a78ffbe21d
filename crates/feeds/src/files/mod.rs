//! Lines of files that grow, each one event.
//!
//! # What is taken
//! - A line is taken when its line end is there; `\r` before it goes too. Empty
//!   lines are no events. A line that is too long for an event is left out and
//!   counted.
//! - A file is known by its device and inode and by its first bytes, not by its
//!   name: one that is renamed is read on to its end, wherever in its folder it
//!   is found, and the new file of its old name is read from the beginning.
//! - The last line of a file that was renamed or removed is taken without a line
//!   end once the file has not grown for [`crate::FeedsOptions::rotated_quiet_ms`].
//! - A file that begins otherwise than it did, or is shorter than what was read of
//!   it, was written anew: it is read from the beginning. (One that is copied away
//!   first has the copy's lines twice if the pattern matches the copy as well.)
//!   But one that is shorter and still has the same first 1024 bytes lost its end,
//!   as after a loss of power: it is read on from where it ends now. One that was
//!   written anew with the same first 1024 bytes and is longer than what was read
//!   of it before it is looked at cannot be told from one that has only grown.
//! - Packed files are not read.
//!
//! # Order
//! Events of a file are in its order, in the partition where Kafka's clients
//! would put its path as a key.
//!
//! # Where it stands
//! The topic's events say how far each file was taken ([`crate::mark`]), and
//! nothing else does: a batch that is in the topic was taken, one that is not was
//! not. With `start = 'end'` the checkpoint is written before the first batch, to
//! remember the files there were.

mod book;
mod follow;
mod pattern;
mod source;

use std::time::Duration;

use pluvio_catalog::FilesDef;

use crate::FeedError;
use crate::context::Context;
use crate::runner::Ended;
use follow::Follow;

/// Looking at the files may take this part of the time.
const LOOKING_PART: u32 = 10;

/// Follows the files until the feed is to stop.
///
/// # Errors
/// The log's, and what keeps all files from being read.
pub(crate) fn run(context: &Context, def: &FilesDef) -> Result<Ended, FeedError> {
    let Some(mut follow) = Follow::begin(context, def)? else { return Ok(Ended::Stopped) };
    let interval = Duration::from_millis(context.options.poll_interval_ms);
    loop {
        let began_us = context.clock.monotonic_us();
        follow.look()?;
        let looked = Duration::from_micros(context.clock.monotonic_us().saturating_sub(began_us));
        let pause = interval.max(looked * LOOKING_PART);
        loop {
            let more = follow.take()?;
            if context.stop.is_asked() {
                follow.save()?;
                return Ok(Ended::Stopped);
            }
            follow.save_if_due()?;
            let late = context.passed(began_us, u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
            if !more || late {
                break;
            }
        }
        if !follow.has_more() {
            context.stop.wait(pause);
        }
    }
}
