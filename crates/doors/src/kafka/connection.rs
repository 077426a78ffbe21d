//! One connection: requests in, answers out, in order, many under way at once.
//!
//! A Produce is carried out as it is read; only its answer may wait for the
//! disk. Every other request is carried out when all answers before it are
//! made, as if the connection did one thing at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::broker::Broker;
use super::dispatch::{Peer, handle};
use super::frames::Frames;
use super::guard::Rights;
use super::writer::{Answer, write_answers};
use crate::DoorError;

/// Most requests of one connection that are read and not answered.
const UNDER_WAY_MAX: usize = 256;
/// Largest request other than Produce, in bytes.
const PLAIN_REQUEST_BYTES_MAX: usize = 4 << 20;
/// How long answers may take once the peer sends no more requests.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves one peer until it leaves, misbehaves or the door closes.
pub(crate) async fn serve_connection(
    stream: TcpStream,
    address: SocketAddr,
    broker: Arc<Broker>,
    mut shutdown: watch::Receiver<bool>,
) {
    let _count = broker.counters.connection();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "no TCP_NODELAY");
    }
    let (read, write) = stream.into_split();
    let host: Arc<str> = address.ip().to_string().into();
    let rights = Rights::of_unknown(broker.options.security.as_ref(), host);
    let peer = Peer { host: format!("/{}", address.ip()).into(), rights, pace: Arc::default() };
    let result = tokio::select! {
        result = converse(read, write, &peer, &broker) => result,
        _ = shutdown.wait_for(|closing| *closing) => Ok(()),
    };
    match result {
        Ok(()) => {}
        Err(DoorError::Socket { what, source }) => {
            tracing::debug!(%address, %what, %source, "connection lost")
        }
        Err(error) => {
            broker.counters.malformed.add(1);
            tracing::warn!(%address, %error, "connection closed");
        }
    }
}

/// Reads and answers; see the head of this file.
async fn converse(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    peer: &Peer,
    broker: &Arc<Broker>,
) -> Result<(), DoorError> {
    let (sender, receiver) = mpsc::channel(UNDER_WAY_MAX);
    let writing = write_answers(write, receiver, Arc::clone(broker));
    let mut writing = std::pin::pin!(writing);
    let reading = async {
        let result = read_requests(read, peer, broker, &sender).await;
        drop(sender);
        result
    };
    tokio::select! {
        result = &mut writing => return result,
        result = reading => result?,
    }
    // The peer may have closed only its sending half.
    tokio::time::timeout(FAREWELL, writing).await.unwrap_or(Ok(()))
}

async fn read_requests(
    read: impl AsyncRead + Unpin,
    peer: &Peer,
    broker: &Arc<Broker>,
    answers: &mpsc::Sender<Answer>,
) -> Result<(), DoorError> {
    let mut frames = Frames::new(read, Arc::clone(broker.log.buffers()));
    let produce = (ApiKey::Produce as i16).to_be_bytes();
    let frame_bytes_max = broker.options.frame_bytes_max;
    let bytes_max = |key: &[u8]| match key == produce {
        true => frame_bytes_max,
        false => frame_bytes_max.min(PLAIN_REQUEST_BYTES_MAX),
    };
    while let Some(frame) = frames.next(&broker.requests_budget, bytes_max).await? {
        broker.counters.bytes_in.add(frame.bytes.len() as u64);
        let answer = handle(broker, peer, frame.bytes)?;
        drop(frame.taken);
        if answers.send(answer).await.is_err() {
            break;
        }
        peer.pace.room().await;
    }
    Ok(())
}
