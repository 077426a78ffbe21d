//! A small Kafka client of our own, for one broker: what the demo's generator
//! and `pluvio produce` and `pluvio consume` need.
//!
//! Promises: produces are pipelined, a bounded number at a time, and answered
//! in order; records are sent from where they are. One connection: a fetch
//! that waits holds up the answers behind it, so a program that both produces
//! and fetches uses two clients.
//!
//! Not here: finding the leader of a partition in a cluster of many brokers,
//! retries, groups' membership.

mod admin;
mod link;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use pluvio_wire_kafka::{fetch, produce};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::DoorError;
pub use admin::{CommittedOffset, TopicMetadata};
use link::{Answered, Link};

/// How long a server may take to make records durable, in milliseconds.
const PRODUCE_TIMEOUT_MS: i32 = 30_000;

/// A connection to a Kafka server.
#[derive(Debug, Clone)]
pub struct Client {
    link: Arc<Link>,
}

/// What a fetch gave.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Whole record batches, one after the other; the first may begin before
    /// the offset asked for.
    pub records: Bytes,
    /// The first offset still kept.
    pub start_offset: i64,
    /// The offset after the last record there is.
    pub end_offset: i64,
}

/// The answer to a produce, when it comes: the offset of the first record, or
/// -1 if no acknowledgement was asked for.
#[derive(Debug)]
pub struct Produced {
    what: String,
    waiting: Waiting,
}

#[derive(Debug)]
enum Waiting {
    Nothing,
    For { link: Arc<Link>, answer: oneshot::Receiver<Bytes>, _place: OwnedSemaphorePermit },
}

impl Future for Produced {
    type Output = Result<i64, DoorError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Waiting::For { link, answer, .. } = &mut this.waiting else {
            return Poll::Ready(Ok(-1));
        };
        let body = match Pin::new(answer).poll(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(Err(link.closed())),
            Poll::Ready(Ok(body)) => body,
        };
        Poll::Ready(produce::decode_response(&body).map_err(DoorError::from).and_then(|produced| {
            check(produced.error_code, || this.what.clone())?;
            Ok(produced.base_offset)
        }))
    }
}

impl Client {
    /// Connects to `address`, `host:port`.
    pub async fn connect(address: &str) -> Result<Self, DoorError> {
        Ok(Self { link: Link::open(address).await? })
    }

    /// Sends one record batch to a partition. Waits only for its turn, when
    /// many are under way; the answer is waited for with what is returned.
    /// `acks` is 0, 1 or -1: none, when appended, when durable.
    pub async fn produce(
        &self,
        topic: &str,
        partition: i32,
        batch: Bytes,
        acks: i16,
    ) -> Result<Produced, DoorError> {
        let what = format!("produce to topic {topic:?} partition {partition}");
        let place = self.link.place().await?;
        let settings = (acks, PRODUCE_TIMEOUT_MS);
        let encode = |id, name: &str| produce::encode_request(id, name, (topic, partition), settings, &batch);
        if acks == 0 {
            self.link.send(Answered::No, encode, Some(batch.clone())).await?;
            return Ok(Produced { what, waiting: Waiting::Nothing });
        }
        let (sender, answer) = oneshot::channel();
        self.link.send(Answered::To(sender), encode, Some(batch.clone())).await?;
        let link = Arc::clone(&self.link);
        Ok(Produced { what, waiting: Waiting::For { link, answer, _place: place } })
    }

    /// Reads whole batches from `offset` on, of about `max_bytes` bytes. Waits
    /// up to `max_wait_ms` for the first one.
    pub async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
        max_bytes: i32,
    ) -> Result<Fetched, DoorError> {
        let limits = (max_wait_ms, 1, max_bytes);
        let body =
            self.link.ask(|id, name| fetch::encode_request(id, name, (topic, partition), offset, limits));
        let fetched = fetch::decode_response(&body.await?)?;
        check(fetched.error_code, || {
            format!("fetch from topic {topic:?} partition {partition} offset {offset}")
        })?;
        Ok(Fetched {
            records: fetched.records.into_iter().next().unwrap_or_default(),
            start_offset: fetched.log_start_offset,
            end_offset: fetched.high_watermark,
        })
    }
}

/// An error code as an error; `what` says what was asked for.
fn check(code: i16, what: impl FnOnce() -> String) -> Result<(), DoorError> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(code) => Err(DoorError::Refused { what: what(), code }),
    }
}
