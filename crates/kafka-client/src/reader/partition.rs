//! One partition as far as it was read.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::ClientError;

/// A whole record batch, as the broker stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its bytes.
    pub bytes: Bytes,
    /// The offset of its first record.
    pub base_offset: i64,
    /// The offset of its last record.
    pub last_offset: i64,
    /// How many records it holds.
    pub records: u32,
    /// When the broker appended it, in milliseconds since 1970, if the topic
    /// keeps that time.
    pub append_time_ms: Option<i64>,
}

/// What a read gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches {
    /// Whole batches in order; the first may begin before the offset asked for.
    pub batches: Vec<Batch>,
    /// Where to read on.
    pub next_offset: i64,
}

/// One partition of a [`TopicReader`](crate::TopicReader).
#[derive(Debug)]
pub struct PartitionReader {
    index: i32,
    state: Mutex<State>,
    end: watch::Sender<i64>,
    wanted: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    /// What to read from; `None` until somebody says so.
    position: Option<i64>,
    batches: VecDeque<Batch>,
    bytes: usize,
    /// The next offset to ask the broker for.
    next: i64,
    start_offset: i64,
    newest_offset: i64,
    lost: Option<String>,
}

impl PartitionReader {
    pub(crate) fn new(index: i32, (start_offset, newest_offset): (i64, i64), wanted: Arc<Notify>) -> Self {
        let state = State {
            position: None,
            batches: VecDeque::new(),
            bytes: 0,
            next: start_offset,
            start_offset,
            newest_offset,
            lost: None,
        };
        Self { index, state: Mutex::new(state), end: watch::Sender::new(start_offset), wanted }
    }

    /// Its number.
    pub fn index(&self) -> i32 {
        self.index
    }

    /// The first offset that the broker still keeps, as last heard.
    pub fn start_offset(&self) -> i64 {
        self.state.lock().start_offset
    }

    /// The first offset that [`Self::read`] cannot give yet.
    pub fn end_offset(&self) -> i64 {
        let state = self.state.lock();
        if state.position.is_some() { state.next } else { state.start_offset }
    }

    /// The offset before which all transactions have ended, as last heard.
    pub fn newest_offset(&self) -> i64 {
        self.state.lock().newest_offset
    }

    /// Tells of every move of [`Self::end_offset`].
    pub fn watch_end(&self) -> watch::Receiver<i64> {
        self.end.subscribe()
    }

    /// What is before `offset` is not needed any more; reading begins, or goes
    /// on, there.
    pub fn release(&self, offset: i64) {
        let mut state = self.state.lock();
        match state.position {
            Some(position) if (position..=state.next).contains(&offset) => {}
            _ => {
                state.batches.clear();
                state.bytes = 0;
                state.next = offset;
            }
        }
        state.position = Some(offset);
        while state.batches.front().is_some_and(|batch| batch.last_offset < offset) {
            let bytes = state.batches.pop_front().map_or(0, |batch| batch.bytes.len());
            state.bytes -= bytes;
        }
        let end = state.next;
        drop(state);
        self.end.send_replace(end);
        self.wanted.notify_one();
    }

    /// Whole batches from the one that holds `from` on, of `bytes_max` bytes but
    /// at least one if there is any in memory. Does not wait.
    ///
    /// # Errors
    /// The partition does not hold any more what it held before.
    pub fn read(&self, from: i64, bytes_max: usize) -> Result<Batches, ClientError> {
        let mut state = self.state.lock();
        if let Some(reason) = state.lost.take() {
            return Err(ClientError::Lost(reason));
        }
        let known = state.position.is_some_and(|position| (position..=state.next).contains(&from));
        if !known {
            drop(state);
            self.release(from);
            return Ok(Batches { batches: Vec::new(), next_offset: from });
        }
        let first = state.batches.partition_point(|batch| batch.last_offset < from);
        let mut left = bytes_max;
        let mut batches = Vec::new();
        for batch in state.batches.range(first..) {
            if batch.bytes.len() > left && !batches.is_empty() {
                // What follows the last one given is read with the next batch.
                let next_offset = batches.last().map_or(from, |last: &Batch| last.last_offset + 1);
                return Ok(Batches { batches, next_offset });
            }
            left = left.saturating_sub(batch.bytes.len());
            batches.push(batch.clone());
        }
        Ok(Batches { batches, next_offset: state.next.max(from) })
    }

    /// Where to read on, if there is room for more.
    pub(crate) fn wants(&self, bytes_max: usize) -> Option<i64> {
        let state = self.state.lock();
        (state.position.is_some() && state.bytes < bytes_max && state.lost.is_none()).then_some(state.next)
    }

    /// Takes in what was read from `from` on, unless another offset is wanted by now.
    pub(crate) fn take(
        &self,
        from: i64,
        batches: Vec<Batch>,
        next: i64,
        (start_offset, newest_offset): (i64, i64),
    ) {
        let mut state = self.state.lock();
        (state.start_offset, state.newest_offset) = (start_offset, newest_offset);
        if state.position.is_none() || state.next != from || next <= from {
            return;
        }
        state.bytes += batches.iter().map(|batch| batch.bytes.len()).sum::<usize>();
        state.batches.extend(batches);
        state.next = next;
        drop(state);
        self.end.send_replace(next);
    }

    /// The broker keeps only what lies between these.
    pub(crate) fn set_range(&self, (start_offset, newest_offset): (i64, i64)) {
        let mut state = self.state.lock();
        (state.start_offset, state.newest_offset) = (start_offset, newest_offset);
    }

    /// What was to be read next is not there and will not be.
    pub(crate) fn lose(&self, reason: String) {
        let mut state = self.state.lock();
        state.lost = Some(reason);
        let end = state.next;
        drop(state);
        // Whoever waits must read to hear of it.
        self.end.send_replace(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base_offset: i64, records: u32) -> Batch {
        let bytes = Bytes::from(vec![0; 100]);
        let last_offset = base_offset + i64::from(records) - 1;
        Batch { bytes, base_offset, last_offset, records, append_time_ms: None }
    }

    fn reader() -> PartitionReader {
        let reader = PartitionReader::new(0, (10, 40), Arc::default());
        reader.release(10);
        reader.take(10, vec![batch(10, 5), batch(15, 5), batch(25, 5)], 35, (10, 40));
        reader
    }

    #[test]
    fn gives_whole_batches_and_where_to_go_on() {
        let reader = reader();
        let read = reader.read(12, 150).unwrap();
        assert_eq!((read.batches.len(), read.next_offset), (1, 15));
        let read = reader.read(15, 1000).unwrap();
        // 20 to 24 and 30 to 34 were left out by the broker's side of a transaction.
        assert_eq!((read.batches.len(), read.next_offset), (2, 35));
        assert_eq!(reader.read(35, 1000).unwrap().next_offset, 35);
    }

    #[test]
    fn what_is_released_makes_room() {
        let reader = reader();
        assert_eq!(reader.wants(300), None);
        reader.release(15);
        assert_eq!(reader.wants(300), Some(35));
        // Read again what was released: from the broker.
        let read = reader.read(10, 1000).unwrap();
        assert!(read.batches.is_empty());
        assert_eq!((reader.wants(300), reader.end_offset()), (Some(10), 10));
    }

    #[test]
    fn an_answer_to_an_older_wish_is_ignored() {
        let reader = reader();
        reader.release(100);
        reader.take(35, vec![batch(35, 5)], 40, (10, 40));
        assert!(reader.read(100, 1000).unwrap().batches.is_empty());
        assert_eq!(reader.end_offset(), 100);
    }

    #[test]
    fn a_loss_is_told_to_the_reader() {
        let reader = reader();
        reader.lose("gone".into());
        assert!(reader.read(12, 100).unwrap_err().to_string().contains("gone"));
    }
}
