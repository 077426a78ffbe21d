//! One peer that sends lines.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pluvio_eventlog::Partition;
use pluvio_foundation::ErrorKind;
use pluvio_wire_kafka::records::BatchBuilder;
use tokio::net::TcpStream;

use crate::FeedError;
use crate::context::Context;
use crate::splitting::{Line, last_line, split};
use crate::status::FeedState;
use crate::target::{Target, seal};

/// The header with the peer's address.
const PEER: &str = "peer";
/// Bytes of an address as text, at most.
pub(super) const PEER_BYTES_MAX: usize = 64;
/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// Bytes that a connection may still bring when the feed stops.
const LAST_BYTES_MAX: usize = 16 << 20;

/// What a connection may do.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub line_bytes_max: usize,
    /// After how long without a byte it is closed.
    pub idle: Duration,
}

/// A peer's connection.
#[derive(Debug)]
pub(super) struct Connection {
    context: Arc<Context>,
    target: Arc<Target>,
    partition: Arc<Partition>,
    limits: Limits,
    peer: String,
    /// What was received and has no line end yet.
    buffer: Vec<u8>,
    skipping: bool,
    lines: Vec<Line>,
}

/// Why nothing more is read at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// The buffer is full.
    Full,
    /// There is nothing more yet.
    Empty,
    /// The peer has sent everything.
    End,
    /// The connection broke.
    Broken,
}

impl Connection {
    pub fn new(
        context: Arc<Context>,
        target: Arc<Target>,
        partition: Arc<Partition>,
        limits: Limits,
        peer: SocketAddr,
    ) -> Self {
        let (peer, buffer, lines) = (peer.to_string(), Vec::new(), Vec::new());
        Self { context, target, partition, limits, peer, buffer, skipping: false, lines }
    }

    /// Takes lines until the connection ends or the feed is to stop.
    ///
    /// # Errors
    /// The log's.
    pub async fn serve(mut self, socket: TcpStream) -> Result<(), FeedError> {
        let context = Arc::clone(&self.context);
        loop {
            let ready = tokio::select! {
                biased;
                () = context.stop.asked() => return self.drain(&socket).await,
                ready = tokio::time::timeout(self.limits.idle, socket.readable()) => ready,
            };
            if !matches!(ready, Ok(Ok(()))) {
                // Idle, or broken.
                return Ok(());
            }
            let read = self.read(&socket, READ_BYTES);
            self.take().await?;
            match read {
                Read::Full | Read::Empty => {}
                Read::Broken => return Ok(()),
                Read::End => return self.end().await,
            }
        }
    }

    /// Takes the whole lines that are here already.
    async fn drain(mut self, socket: &TcpStream) -> Result<(), FeedError> {
        let mut left = LAST_BYTES_MAX;
        loop {
            let before = self.buffer.len();
            let read = self.read(socket, READ_BYTES.min(left));
            left = left.saturating_sub(self.buffer.len() - before);
            self.take().await?;
            match read {
                Read::Full if left > 0 => {}
                Read::End => return self.end().await,
                _ => return Ok(()),
            }
        }
    }

    /// Reads what is there, at most so many bytes.
    fn read(&mut self, socket: &TcpStream, bytes: usize) -> Read {
        let until = self.buffer.len() + bytes;
        let mut filled = self.buffer.len();
        self.buffer.resize(until, 0);
        let read = loop {
            if filled == until {
                break Read::Full;
            }
            match socket.try_read(&mut self.buffer[filled..]) {
                Ok(0) => break Read::End,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Read::Empty,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break Read::Broken,
            }
        };
        self.buffer.truncate(filled);
        read
    }

    /// Appends the lines in the buffer.
    async fn take(&mut self) -> Result<(), FeedError> {
        let limit = self.limits.line_bytes_max;
        let found = split(&self.buffer, self.skipping, limit, &mut self.lines);
        self.context.board.skip(found.skipped);
        self.skipping = found.skipping;
        self.append().await?;
        self.buffer.drain(..found.taken);
        if self.buffer.capacity() > 2 * READ_BYTES && self.buffer.len() < READ_BYTES {
            self.buffer.shrink_to(READ_BYTES);
        }
        Ok(())
    }

    /// Takes what stands behind the last line end.
    async fn end(mut self) -> Result<(), FeedError> {
        self.lines.clear();
        if !self.skipping {
            self.lines.extend(last_line(&self.buffer));
        }
        self.append().await
    }

    async fn append(&mut self) -> Result<(), FeedError> {
        let lines = std::mem::take(&mut self.lines);
        let records_bytes = self.target.records_bytes(&self.context);
        let mut rest = &lines[..];
        while !rest.is_empty() {
            let mut batch = 0;
            let fits = |line: &&Line| {
                batch += Target::record_bytes(line.at.len(), PEER_BYTES_MAX);
                batch <= records_bytes
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (now, later) = rest.split_at(count);
            if !self.append_batch(now).await? {
                break;
            }
            rest = later;
        }
        self.lines = lines;
        Ok(())
    }

    /// `false` if the feed was to stop before the log could take it.
    async fn append_batch(&self, lines: &[Line]) -> Result<bool, FeedError> {
        let (context, partition) = (&self.context, &self.partition);
        let now_ms = context.clock.now_ms();
        let headers = [(PEER, Some(self.peer.as_bytes()))];
        let room = lines.iter().map(|line| line.at.len() + PEER_BYTES_MAX).sum();
        let mut builder = BatchBuilder::with_capacity(now_ms, room);
        let mut values = 0;
        for line in lines {
            values += line.at.len();
            builder.push(None, Some(&self.buffer[line.at.clone()]), now_ms, &headers);
        }
        let batch = seal(builder)?;
        let mut was_full = false;
        loop {
            match partition.append(batch.clone()) {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::DiskFull => {
                    // The peer waits meanwhile: its lines are here and nowhere else.
                    was_full = true;
                    context.board.turn(FeedState::Failed, Some(error.to_string()));
                    tokio::select! {
                        () = context.stop.asked() => return Ok(false),
                        () = tokio::time::sleep(Duration::from_millis(context.options.retry_ms)) => {}
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        if was_full {
            context.board.turn(FeedState::Running, None);
        }
        context.board.count(lines.len() as u64, values as u64);
        if partition.is_crowded() {
            tokio::select! {
                () = partition.room() => {}
                () = context.stop.asked() => {}
            }
        }
        Ok(true)
    }
}
