//! The client: which broker answers for what, and the requests about records.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use pluvio_foundation::ErrorKind;
use pluvio_wire_kafka::client::{Exchange, decode, encode, fetch, produce};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::check;
use crate::link::{Answered, Link};
use crate::{ClientError, Connection};

/// How long a broker may take to make records durable, in milliseconds.
pub(crate) const PRODUCE_TIMEOUT_MS: i32 = 30_000;

/// A client of one cluster. Clones share its connections.
///
/// A fetch that waits holds up the answers behind it on the same connection, so
/// a program that both produces and fetches uses two clients.
#[derive(Debug, Clone)]
pub struct Client {
    cluster: Arc<Cluster>,
}

#[derive(Debug)]
struct Cluster {
    connection: Connection,
    links: tokio::sync::Mutex<HashMap<String, Arc<Link>>>,
    /// The leaders of topics, by partition, as last heard.
    leaders: Mutex<HashMap<String, Vec<String>>>,
}

/// What a coordinator coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coordinated {
    Group = 0,
    Transaction = 1,
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
    type Output = Result<i64, ClientError>;

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
        Poll::Ready(produce::decode(&body).map_err(ClientError::from).and_then(|produced| {
            check(produced.error_code, || this.what.clone())?;
            Ok(produced.base_offset)
        }))
    }
}

impl Client {
    /// Connects to `brokers`, `host:port` and more of them after commas, without
    /// encryption or login.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn connect(brokers: &str) -> Result<Self, ClientError> {
        Self::open(Connection::plain(brokers)).await
    }

    /// Connects to a cluster.
    ///
    /// # Errors
    /// No broker answers, or it does not let us in.
    pub async fn open(connection: Connection) -> Result<Self, ClientError> {
        let (links, leaders) = (tokio::sync::Mutex::default(), Mutex::default());
        let client = Self { cluster: Arc::new(Cluster { connection, links, leaders }) };
        client.any().await?;
        Ok(client)
    }

    /// The connection to a broker, made if there is none.
    pub(crate) async fn link(&self, address: &str) -> Result<Arc<Link>, ClientError> {
        let mut links = self.cluster.links.lock().await;
        if let Some(link) = links.get(address).filter(|link| !link.is_closed()) {
            return Ok(Arc::clone(link));
        }
        let link = Link::open(address, &self.cluster.connection).await?;
        links.insert(address.to_owned(), Arc::clone(&link));
        Ok(link)
    }

    /// A connection to any broker: one that there is, else the first that answers.
    pub(crate) async fn any(&self) -> Result<Arc<Link>, ClientError> {
        let open = self.cluster.links.lock().await.values().find(|link| !link.is_closed()).cloned();
        if let Some(link) = open {
            return Ok(link);
        }
        let mut failed = ClientError::Settings("there is no broker to connect to".into());
        for broker in &self.cluster.connection.brokers {
            match self.link(broker).await {
                Ok(link) => return Ok(link),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Asks a broker and reads its answer.
    pub(crate) async fn exchange<E: Exchange>(link: &Link, request: &E) -> Result<E::Response, ClientError> {
        let body = link.ask(|id, name| encode(request, id, name)).await?;
        Ok(decode::<E>(body)?)
    }

    /// Remembers the leaders of a topic's partitions.
    pub(crate) fn remember(&self, topic: &str, leaders: Vec<String>) {
        self.cluster.leaders.lock().insert(topic.to_owned(), leaders);
    }

    /// The leaders of a topic's partitions, as last heard; empty where there is none.
    pub(crate) fn leaders(&self, topic: &str) -> Vec<String> {
        self.cluster.leaders.lock().get(topic).cloned().unwrap_or_default()
    }

    /// The broker that leads a partition, asked for if it is not known.
    pub(crate) async fn leader(&self, topic: &str, partition: i32) -> Result<Arc<Link>, ClientError> {
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let known = |client: &Self| client.cluster.leaders.lock().get(topic)?.get(index).cloned();
        let address = match known(self) {
            Some(address) => address,
            None => {
                match self.metadata(Some(&[topic])).await {
                    Ok(_) => {}
                    // Whoever is asked says so; it may also make the topic.
                    Err(error) if error.kind() == ErrorKind::NotFound => return self.any().await,
                    Err(error) => return Err(error),
                }
                match known(self) {
                    // Whoever is asked says that there is no such partition.
                    None => return self.any().await,
                    Some(address) if address.is_empty() => {
                        let what = format!("find the leader of topic {topic:?} partition {partition}");
                        self.forget(topic);
                        return Err(ClientError::Refused { what, code: ResponseError::LeaderNotAvailable });
                    }
                    Some(address) => address,
                }
            }
        };
        let link = self.link(&address).await;
        if link.is_err() {
            self.forget(topic);
        }
        link
    }

    /// Asks for the leaders anew the next time.
    pub(crate) fn forget(&self, topic: &str) {
        self.cluster.leaders.lock().remove(topic);
    }

    /// The broker that coordinates a group or a transactional producer.
    pub(crate) async fn coordinator(&self, of: Coordinated, name: &str) -> Result<Arc<Link>, ClientError> {
        let request = FindCoordinatorRequest::default()
            .with_key(StrBytes::from_string(name.to_owned()))
            .with_key_type(of as i8);
        let found = Self::exchange(&*self.any().await?, &request).await?;
        check(found.error_code, || format!("find the coordinator of {name:?}"))?;
        self.link(&format!("{}:{}", &*found.host, found.port)).await
    }

    /// Sends one record batch to a partition. Waits only for its turn, when
    /// many are under way; the answer is waited for with what is returned.
    /// `acks` is 0, 1 or -1: none, when appended, when durable.
    ///
    /// # Errors
    /// The partition's broker cannot be reached.
    pub async fn produce(
        &self,
        topic: &str,
        partition: i32,
        batch: Bytes,
        acks: i16,
    ) -> Result<Produced, ClientError> {
        let timeout_ms = PRODUCE_TIMEOUT_MS;
        let terms = produce::Terms { topic, partition, acks, timeout_ms, transactional_id: None };
        self.produce_on(terms, batch).await
    }

    pub(crate) async fn produce_on(
        &self,
        terms: produce::Terms<'_>,
        batch: Bytes,
    ) -> Result<Produced, ClientError> {
        let what = format!("produce to topic {:?} partition {}", terms.topic, terms.partition);
        let link = self.leader(terms.topic, terms.partition).await?;
        let place = link.place().await?;
        let encode = |id, name: &str| produce::encode(id, name, terms, batch.len());
        if terms.acks == 0 {
            link.send(Answered::No, encode, Some(batch.clone())).await?;
            return Ok(Produced { what, waiting: Waiting::Nothing });
        }
        let (sender, answer) = oneshot::channel();
        link.send(Answered::To(sender), encode, Some(batch.clone())).await?;
        Ok(Produced { what, waiting: Waiting::For { link, answer, _place: place } })
    }

    /// Reads whole batches from `offset` on, of about `max_bytes` bytes. Waits
    /// up to `max_wait_ms` for the first one.
    ///
    /// # Errors
    /// The partition's broker cannot be reached, or the offset is not there.
    pub async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
        max_bytes: i32,
    ) -> Result<Fetched, ClientError> {
        let link = self.leader(topic, partition).await?;
        let limits = fetch::Limits { wait_ms: max_wait_ms, bytes_min: 1, bytes_max: max_bytes };
        let wanted = [fetch::Wanted { partition, offset, bytes_max: max_bytes }];
        let body = link.ask(|id, name| fetch::encode(id, name, topic, &wanted, limits, false)).await?;
        let what = || format!("fetch from topic {topic:?} partition {partition} offset {offset}");
        let (error_code, fetched) = fetch::decode(&body)?;
        check(error_code, what)?;
        let Some(fetched) = fetched.into_iter().next() else {
            return Err(ClientError::Lost(format!("{}: the answer is empty", what())));
        };
        check(fetched.error_code, what)?;
        Ok(Fetched {
            records: fetched.records.into_iter().next().unwrap_or_default(),
            start_offset: fetched.log_start_offset,
            end_offset: fetched.high_watermark,
        })
    }
}
