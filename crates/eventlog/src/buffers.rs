//! Memory for large batches, used again and again. Fresh memory of this size
//! comes from the system page by page, each filled with zeros first, which
//! costs more than the copy into it.
//!
//! Promises: no more than `BYTES_MAX` is kept unused; a buffer given out is at
//! most half larger than asked for; memory that somebody still reads is never
//! reused.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

/// Most unused bytes kept.
const BYTES_MAX: usize = 8 << 20;
/// Smaller pieces are the allocator's business, which keeps them itself.
const PIECE_BYTES_MIN: usize = 16 << 10;
/// New buffers have a whole number of these, so that they fit more often.
const STEP_BYTES: usize = 32 << 10;

/// Unused buffers.
#[derive(Debug, Default)]
pub struct Buffers {
    unused: Mutex<Unused>,
}

#[derive(Debug, Default)]
struct Unused {
    /// Oldest first.
    buffers: Vec<BytesMut>,
    bytes: usize,
}

impl Buffers {
    /// An empty buffer with room for `bytes` bytes at least.
    pub fn take(&self, bytes: usize) -> BytesMut {
        if bytes < PIECE_BYTES_MIN {
            return BytesMut::with_capacity(bytes);
        }
        let fits = bytes..=bytes + bytes / 2 + STEP_BYTES;
        let mut unused = self.unused.lock();
        // The newest is the likeliest to be in the processor's cache.
        let Some(place) = unused.buffers.iter().rposition(|buffer| fits.contains(&buffer.capacity())) else {
            drop(unused);
            return BytesMut::with_capacity(bytes.next_multiple_of(STEP_BYTES));
        };
        let buffer = unused.buffers.remove(place);
        unused.bytes -= buffer.capacity();
        buffer
    }

    /// Takes back what nobody needs any more; drops it if somebody else still
    /// holds it.
    pub fn give(&self, bytes: Bytes) {
        if bytes.len() < PIECE_BYTES_MIN {
            return;
        }
        let Ok(mut buffer) = bytes.try_into_mut() else { return };
        buffer.clear();
        // What lies before the piece in the same memory is free, too.
        let _ = buffer.try_reclaim(buffer.capacity() + 1);
        if buffer.capacity() > BYTES_MAX / 4 {
            return;
        }
        let mut unused = self.unused.lock();
        unused.bytes += buffer.capacity();
        unused.buffers.push(buffer);
        while unused.bytes > BYTES_MAX {
            let oldest = unused.buffers.remove(0);
            unused.bytes -= oldest.capacity();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_whole() {
        let buffers = Buffers::default();
        let mut first = buffers.take(100_000);
        let (room, address) = (first.capacity(), first.as_ptr());
        first.resize(100_000, 1);
        let batch = first.freeze().slice(70..100_000);
        buffers.give(batch);
        let second = buffers.take(90_000);
        assert_eq!((second.len(), second.capacity(), second.as_ptr()), (0, room, address));
        assert_eq!(buffers.unused.lock().bytes, 0);
    }

    #[test]
    fn what_is_still_read_is_not_reused() {
        let buffers = Buffers::default();
        let batch = Bytes::from(vec![7; 100_000]);
        let reader = batch.slice(10..20);
        buffers.give(batch);
        assert!(buffers.unused.lock().buffers.is_empty());
        buffers.give(reader);
        assert!(buffers.unused.lock().buffers.is_empty(), "too small to be worth it");
    }

    #[test]
    fn a_buffer_much_too_large_is_not_given() {
        let buffers = Buffers::default();
        buffers.give(Bytes::from(vec![7; 1 << 20]));
        assert!(buffers.take(300_000).capacity() < 1 << 19);
        assert!(buffers.take(900_000).capacity() >= 1 << 20);
    }

    #[test]
    fn the_unused_are_bounded() {
        let buffers = Buffers::default();
        for _ in 0..100 {
            buffers.give(Bytes::from(vec![7; 1 << 20]));
        }
        assert_eq!(buffers.unused.lock().bytes, BYTES_MAX);
        buffers.give(Bytes::from(vec![7; BYTES_MAX]));
        assert_eq!(buffers.unused.lock().bytes, BYTES_MAX);
    }
}
