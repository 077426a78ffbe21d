//! The writing half of a connection: answers leave in the order their requests
//! came, however long one of them takes; those that are ready leave together.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use pluvio_eventlog::Buffers;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::broker::{Broker, Taken};
use crate::DoorError;

/// Answers are sent once so many bytes are gathered.
const GATHER_BYTES: usize = 256 << 10;
/// Pieces handed to the system at once.
const PIECES: usize = 64;
/// A peer that takes nothing for this long is given up.
const STALL: Duration = Duration::from_secs(30);

/// The bytes of one answer, in pieces, with their share of the budget.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub pieces: Vec<Bytes>,
    pub taken: Option<Taken>,
}

impl From<Bytes> for Reply {
    fn from(frame: Bytes) -> Self {
        Self { pieces: vec![frame], taken: None }
    }
}

/// An answer in the making. What it gives is not `Later`.
pub(crate) type Pending = Pin<Box<dyn Future<Output = Result<Answer, DoorError>> + Send>>;

/// What was done about a request.
pub(crate) enum Answer {
    /// It wants no answer.
    None,
    /// Its answer.
    Ready(Reply),
    /// It is carried out; its answer, once that is on disk or others have come.
    /// Nothing of the request is kept meanwhile.
    Begun(Pending),
    /// Its answer, later. It is carried out when all earlier answers are made, and
    /// keeps its request until then.
    Later(Pending),
}

/// Sends answers until there are no more or the peer is gone.
pub(crate) async fn write_answers(
    mut socket: impl AsyncWrite + Unpin,
    mut answers: mpsc::Receiver<Answer>,
    broker: Arc<Broker>,
) -> Result<(), DoorError> {
    let mut gathered = Gathered::default();
    while let Some(answer) = answers.recv().await {
        let mut next = Some(answer);
        while let Some(answer) = next.take() {
            let reply = reply_of(answer, &mut gathered, &mut socket, &broker).await?;
            gathered.push(reply);
            if gathered.bytes < GATHER_BYTES {
                next = answers.try_recv().ok();
            }
        }
        gathered.send(&mut socket, &broker).await?;
    }
    Ok(())
}

/// Waits until an answer is made; those before it do not wait with it.
async fn reply_of(
    mut answer: Answer,
    gathered: &mut Gathered,
    socket: &mut (impl AsyncWrite + Unpin),
    broker: &Broker,
) -> Result<Reply, DoorError> {
    loop {
        let mut pending = match answer {
            Answer::None => return Ok(Reply::default()),
            Answer::Ready(reply) => return Ok(reply),
            Answer::Begun(pending) | Answer::Later(pending) => pending,
        };
        answer = match poll_once(&mut pending).await {
            Some(answer) => answer?,
            None => {
                gathered.send(socket, broker).await?;
                pending.await?
            }
        };
    }
}

/// The answer, if it needs no waiting.
async fn poll_once(pending: &mut Pending) -> Option<Result<Answer, DoorError>> {
    std::future::poll_fn(|context| match pending.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[derive(Default)]
struct Gathered {
    pieces: VecDeque<Bytes>,
    taken: Vec<Taken>,
    bytes: usize,
}

impl Gathered {
    fn push(&mut self, reply: Reply) {
        self.bytes += reply.pieces.iter().map(Bytes::len).sum::<usize>();
        self.pieces.extend(reply.pieces);
        self.taken.extend(reply.taken);
    }

    async fn send(
        &mut self,
        socket: &mut (impl AsyncWrite + Unpin),
        broker: &Broker,
    ) -> Result<(), DoorError> {
        broker.counters.bytes_out.add(self.bytes as u64);
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            let written = timeout(STALL, socket.write_vectored(&slices[..count])).await;
            let written = written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match written.map_err(|source| DoorError::socket("send an answer", source))? {
                0 => return Err(DoorError::socket("send an answer", io::ErrorKind::WriteZero.into())),
                written => self.advance(written, broker.log.buffers()),
            }
        }
        let flushed = timeout(STALL, socket.flush()).await;
        let flushed = flushed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        flushed.map_err(|source| DoorError::socket("send an answer", source))?;
        self.taken.clear();
        self.bytes = 0;
        Ok(())
    }

    fn advance(&mut self, mut written: usize, buffers: &Buffers) {
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > written {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.pieces.pop_front().into_iter().for_each(|sent| buffers.give(sent));
        }
    }
}
