//! A reader that checks the length of every message before its bytes are kept.
//!
//! Client messages are one type byte and a big-endian `i32` length that counts
//! itself; the packets before the connection is started have no type byte and a
//! request code after the length.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pluvio_foundation::limits::SQL_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes of one client message: a statement of the longest allowed text
/// and as much again for its parameters.
pub(super) const MESSAGE_BYTES_MAX: usize = 2 * SQL_BYTES_MAX;
/// Most bytes of a packet before the connection is started.
const STARTUP_BYTES_MAX: usize = 10_000;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// Passes bytes through while message lengths are within the limit, then fails.
#[derive(Debug)]
pub(super) struct FrameGuard<S> {
    inner: S,
    lengths: Lengths,
}

impl<S> FrameGuard<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, lengths: Lengths::default() }
    }
}

/// Where in the flow of messages the reader stands.
#[derive(Debug, Default)]
struct Lengths {
    started: bool,
    header: [u8; 8],
    header_bytes: usize,
    body_bytes_left: usize,
}

impl Lengths {
    /// Follows more bytes; an error says which message is too long.
    fn follow(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.body_bytes_left > 0 {
                let skipped = bytes.len().min(self.body_bytes_left);
                self.body_bytes_left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[self.header_bytes] = bytes[0];
            self.header_bytes += 1;
            bytes = &bytes[1..];
            let needed = if self.started { 5 } else { 8 };
            if self.header_bytes == needed {
                self.header_bytes = 0;
                self.enter_body()?;
            }
        }
        Ok(())
    }

    fn enter_body(&mut self) -> io::Result<()> {
        let [a, b, c, d, e, f, g, h] = self.header;
        let (length, least, most) = if self.started {
            (u32::from_be_bytes([b, c, d, e]), 4, MESSAGE_BYTES_MAX)
        } else {
            (u32::from_be_bytes([a, b, c, d]), 8, STARTUP_BYTES_MAX)
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < least || length > most {
            let message = format!("a message says it has {length} bytes; the limit is {most}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if !self.started {
            let code = u32::from_be_bytes([e, f, g, h]);
            self.started = code != SSL_REQUEST && code != GSS_REQUEST;
        }
        self.body_bytes_left = length - least;
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameGuard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        Poll::Ready(this.lengths.follow(&buffer.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameGuard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup() -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 8];
        bytes.extend(SSL_REQUEST.to_be_bytes());
        bytes.extend([0, 0, 0, 10, 0, 3, 0, 0, b'x', 0]);
        bytes
    }

    #[test]
    fn follows_messages_in_any_cut() {
        let mut flow = startup();
        flow.extend([b'Q', 0, 0, 0, 7, b'a', b'b', 0, b'S', 0, 0, 0, 4]);
        for cut in 0..flow.len() {
            let mut lengths = Lengths::default();
            lengths.follow(&flow[..cut]).unwrap();
            lengths.follow(&flow[cut..]).unwrap();
            assert!(lengths.started);
            assert_eq!((lengths.header_bytes, lengths.body_bytes_left), (0, 0));
        }
    }

    #[test]
    fn refuses_lengths_out_of_range() {
        for length in [u32::MAX, 3, u32::try_from(MESSAGE_BYTES_MAX).unwrap() + 1] {
            let mut lengths = Lengths::default();
            lengths.follow(&startup()).unwrap();
            lengths.follow(b"Q").unwrap();
            assert!(lengths.follow(&length.to_be_bytes()).is_err(), "{length}");
        }
        assert!(Lengths::default().follow(&[0, 1, 0, 0, 0, 3, 0, 0]).is_err());
    }
}
