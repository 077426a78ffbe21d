//! Reads request frames from a socket: small ones many at a time from one
//! buffer, a large one straight into memory of its own, which the log may then
//! keep without copying.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use pluvio_eventlog::Buffers;
use pluvio_wire_kafka::frame::{LENGTH_BYTES, frame_bytes};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::broker::{ByteBudget, Taken};
use crate::DoorError;

/// Bytes asked from the socket at once.
const BUFFER_BYTES: usize = 64 << 10;
/// The same after a large frame: the next one is likely large, too, and what
/// of it lands in the buffer has to be copied out.
const PEEK_BYTES: usize = 4 << 10;
/// Frames larger than this get memory of their own, from the shared budget.
pub(crate) const LARGE_BYTES: usize = 16 << 10;
/// A frame that began must move on within this time.
const STALL: Duration = Duration::from_secs(30);

/// The reading half of a connection.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    socket: R,
    buffer: BytesMut,
    buffers: Arc<Buffers>,
    after_large: bool,
}

/// A frame without its length, and its share of the budget if it is large.
pub(crate) struct Frame {
    pub bytes: Bytes,
    pub taken: Option<Taken>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub fn new(socket: R, buffers: Arc<Buffers>) -> Self {
        Self { socket, buffer: BytesMut::new(), buffers, after_large: false }
    }

    /// The next frame; `None` once the peer has no more. `limits` gives the most
    /// bytes of a frame that begins with these, and the budget that it takes from.
    pub async fn next<'a>(
        &mut self,
        limits: impl Fn(&[u8]) -> (usize, &'a ByteBudget),
    ) -> Result<Option<Frame>, DoorError> {
        // The first two bytes after the length tell which request it is.
        while self.buffer.len() < LENGTH_BYTES + 2 {
            if self.fill().await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(cut()),
                };
            }
        }
        let (bytes_max, budget) = limits(&self.buffer[LENGTH_BYTES..LENGTH_BYTES + 2]);
        let length = frame_bytes(&self.buffer, bytes_max)?.unwrap_or(0);
        let _ = self.buffer.split_to(LENGTH_BYTES);
        self.after_large = length > LARGE_BYTES;
        match self.after_large {
            true => self.large(length, budget).await.map(Some),
            false => self.small(length).await.map(Some),
        }
    }

    async fn small(&mut self, length: usize) -> Result<Frame, DoorError> {
        while self.buffer.len() < length {
            if timeout(STALL, self.fill()).await.map_err(|_| stalled())?? == 0 {
                return Err(cut());
            }
        }
        Ok(Frame { bytes: self.buffer.split_to(length).freeze(), taken: None })
    }

    async fn large(&mut self, length: usize, budget: &ByteBudget) -> Result<Frame, DoorError> {
        let taken = budget.take(length).await;
        let mut frame = self.buffers.take(length);
        let have = self.buffer.len().min(length);
        frame.extend_from_slice(&self.buffer.split_to(have));
        while frame.len() < length {
            let missing = length - frame.len();
            let mut room = (&mut frame).limit(missing);
            let read = timeout(STALL, self.socket.read_buf(&mut room));
            if read.await.map_err(|_| stalled())?.map_err(failed)? == 0 {
                return Err(cut());
            }
        }
        Ok(Frame { bytes: frame.freeze(), taken })
    }

    /// Reads what is there, up to a buffer's worth.
    async fn fill(&mut self) -> Result<usize, DoorError> {
        if self.buffer.capacity() - self.buffer.len() < BUFFER_BYTES / 4 {
            self.buffer.reserve(BUFFER_BYTES);
        }
        let bytes = if self.after_large { PEEK_BYTES } else { BUFFER_BYTES };
        let mut room = (&mut self.buffer).limit(bytes);
        self.socket.read_buf(&mut room).await.map_err(failed)
    }
}

fn failed(source: io::Error) -> DoorError {
    DoorError::socket("read a request", source)
}

fn cut() -> DoorError {
    DoorError::socket("read a request", io::ErrorKind::UnexpectedEof.into())
}

fn stalled() -> DoorError {
    DoorError::socket("read a request", io::ErrorKind::TimedOut.into())
}
