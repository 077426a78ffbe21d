//! One connection: requests in, answers out, in order, many under way at once.
//!
//! A Produce is carried out as it is read; only its answer may wait for the
//! disk. Every other request is carried out when all answers before it are
//! made, as if the connection did one thing at a time.
//!
//! A large request keeps its share of the memory for requests until it is carried
//! out, and a connection has one such request at most: nothing is read after it
//! until then. What only waits for the disk or for the rest of a group keeps none.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{timeout, timeout_at};

use super::broker::{Broker, Taken};
use super::frames::Frames;
use super::security::{PROOF_TIME, Session, Turn, UNPROVEN_FRAME_BYTES_MAX, user_of};
use super::writer::{Answer, write_answers};
use crate::DoorError;

/// Most requests of one connection that are read and not answered.
const UNDER_WAY_MAX: usize = 256;
/// Largest request other than Produce, in bytes.
const PLAIN_REQUEST_BYTES_MAX: usize = 4 << 20;
/// How long answers may take once the peer sends no more requests.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where a connection comes from, and its place among the newcomers.
#[derive(Debug)]
pub(crate) struct From {
    pub address: SocketAddr,
    pub newcomer: OwnedSemaphorePermit,
}

/// Serves one peer until it leaves, misbehaves or the door closes.
pub(crate) async fn serve_connection(
    stream: TcpStream,
    from: From,
    broker: Arc<Broker>,
    mut shutdown: watch::Receiver<bool>,
) {
    let _count = broker.counters.connection();
    let address = from.address;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "no TCP_NODELAY");
    }
    let result = tokio::select! {
        result = greet(stream, from, &broker) => result,
        _ = shutdown.wait_for(|closing| *closing) => Ok(()),
    };
    match result {
        Ok(()) => {}
        Err(DoorError::Socket { what, source }) => {
            tracing::debug!(%address, %what, %source, "connection lost")
        }
        Err(error) => {
            broker.counters.malformed.add(1);
            if broker.complaints.is_due(broker.monotonic_ms()) {
                tracing::warn!(%address, %error, "connection closed");
            }
        }
    }
}

/// Agrees on encryption, if the door wants it, and converses.
async fn greet(stream: TcpStream, from: From, broker: &Arc<Broker>) -> Result<(), DoorError> {
    let tls = broker.options.security.as_ref().and_then(|security| security.tls.as_ref());
    let Some(tls) = tls else {
        let (read, write) = stream.into_split();
        let session = Session::new(broker, from.address, None, from.newcomer);
        return converse(read, write, session, broker).await;
    };
    let failed = |source| DoorError::socket("agree on encryption", source);
    let accepted = timeout(PROOF_TIME, tls.acceptor().accept(stream)).await;
    let stream = accepted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(failed)?;
    let user = user_of(stream.get_ref().1.peer_certificates());
    let (read, write) = tokio::io::split(stream);
    let session = Session::new(broker, from.address, user.as_deref(), from.newcomer);
    converse(read, write, session, broker).await
}

/// Reads and answers; see the head of this file.
async fn converse(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    mut session: Session,
    broker: &Arc<Broker>,
) -> Result<(), DoorError> {
    let (sender, receiver) = mpsc::channel(UNDER_WAY_MAX);
    let writing = write_answers(write, receiver, Arc::clone(broker));
    let mut writing = std::pin::pin!(writing);
    let reading = async {
        let result = read_requests(read, &mut session, broker, &sender).await;
        drop(sender);
        result
    };
    tokio::select! {
        result = &mut writing => return result,
        result = reading => result?,
    }
    // The peer may have closed only its sending half.
    timeout(FAREWELL, writing).await.unwrap_or(Ok(()))
}

async fn read_requests(
    read: impl AsyncRead + Unpin,
    session: &mut Session,
    broker: &Arc<Broker>,
    answers: &mpsc::Sender<Answer>,
) -> Result<(), DoorError> {
    let mut frames = Frames::new(read, Arc::clone(broker.log.buffers()));
    let produce = (ApiKey::Produce as i16).to_be_bytes();
    let frame_bytes_max = broker.options.frame_bytes_max;
    loop {
        let deadline = session.deadline();
        let limits = |key: &[u8]| match (deadline, key == produce) {
            (Some(_), _) => (UNPROVEN_FRAME_BYTES_MAX, &broker.waiting_budget),
            (None, true) => (frame_bytes_max, &broker.requests_budget),
            (None, false) => (frame_bytes_max.min(PLAIN_REQUEST_BYTES_MAX), &broker.waiting_budget),
        };
        let next = frames.next(limits);
        let next = match deadline {
            None => next.await?,
            Some(deadline) => timeout_at(deadline, next).await.map_err(|_| too_slow())??,
        };
        let Some(frame) = next else { return Ok(()) };
        broker.counters.bytes_in.add(frame.bytes.len() as u64);
        let muted_ms = session.peer().muted.left_ms(broker.monotonic_ms());
        if muted_ms > 0 {
            tokio::time::sleep(Duration::from_millis(muted_ms)).await;
        }
        let turn = session.take(frame.bytes).await?;
        let (answer, ends) = match turn {
            Turn::Goes(answer) => (answer, false),
            Turn::Ends(answer) => (answer, true),
        };
        let (answer, carried_out) = keep(answer, frame.taken);
        if answers.send(answer).await.is_err() || ends {
            return Ok(());
        }
        if let Some(carried_out) = carried_out {
            // It ends with an error: nothing is ever sent.
            let _ = carried_out.await;
        }
        session.peer().pace.room().await;
    }
}

/// Keeps a large request's share of the memory until it is carried out, if that is
/// not done yet: then also what tells when it is.
fn keep(answer: Answer, taken: Option<Taken>) -> (Answer, Option<oneshot::Receiver<Infallible>>) {
    let (work, taken) = match (answer, taken) {
        (Answer::Later(work), Some(taken)) => (work, taken),
        (answer, _) => return (answer, None),
    };
    let (ended, carried_out) = oneshot::channel();
    let work = Box::pin(async move {
        let _held = (taken, ended);
        work.await
    });
    (Answer::Later(work), Some(carried_out))
}

fn too_slow() -> DoorError {
    DoorError::Unproven("it did not prove in time who it is")
}
