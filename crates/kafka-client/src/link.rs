//! One connection to a broker: requests out, answers in, matched by their order.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use pluvio_foundation::limits;
use pluvio_wire_kafka::client::split_response;
use pluvio_wire_kafka::{WireError, frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::login::login;
use crate::tls::encrypt;
use crate::{ClientError, Connection};

/// Most requests sent and not answered.
const UNDER_WAY_MAX: usize = 64;
const CLIENT_ID: &str = "pluvio";
/// How long a broker may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// A socket's halves, encrypted or not.
type Halves = (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) enum Answered {
    /// Nobody: the server sends none.
    No,
    /// This one.
    To(oneshot::Sender<Bytes>),
}

#[derive(Debug)]
struct Outgoing {
    correlation_id: i32,
    head: Bytes,
    records: Option<Bytes>,
    answered: Answered,
}

type Expected = (i32, oneshot::Sender<Bytes>);

#[derive(Debug)]
pub(crate) struct Link {
    address: String,
    next_id: AtomicI32,
    outgoing: mpsc::Sender<Outgoing>,
    places: Arc<Semaphore>,
    /// Why the connection ended.
    ended: Arc<Mutex<Option<String>>>,
}

impl Link {
    /// Connects, encrypts and logs in, as the connection's settings say.
    pub async fn open(address: &str, connection: &Connection) -> Result<Arc<Self>, ClientError> {
        let (read, write) = dial(address, connection).await?;
        let link = Self::over(address, read, write);
        if let Some(sasl) = &connection.sasl {
            login(&link, sasl).await?;
        }
        Ok(link)
    }

    fn over(
        address: &str,
        read: Box<dyn AsyncRead + Send + Unpin>,
        write: Box<dyn AsyncWrite + Send + Unpin>,
    ) -> Arc<Self> {
        let (outgoing, requests) = mpsc::channel(UNDER_WAY_MAX);
        let (expecting, expected) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let ended = Arc::new(Mutex::new(None));
        let (reason, closing) = (Arc::clone(&ended), Arc::clone(&places));
        tokio::spawn(async move {
            let result = tokio::select! {
                result = write_requests(write, requests, expecting) => result,
                result = read_answers(read, expected) => result,
            };
            if let Err(error) = result {
                *reason.lock() = Some(format!(": {error}"));
            }
            closing.close();
        });
        let (address, next_id) = (address.to_owned(), AtomicI32::new(0));
        Arc::new(Self { address, next_id, outgoing, places, ended })
    }

    /// Whether nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.places.is_closed()
    }

    pub fn closed(&self) -> ClientError {
        ClientError::Closed { address: self.address.clone(), reason: self.ended.lock().clone() }
    }

    /// Waits until one more request may be under way.
    pub async fn place(&self) -> Result<OwnedSemaphorePermit, ClientError> {
        Arc::clone(&self.places).acquire_owned().await.map_err(|_| self.closed())
    }

    /// Queues a request; `encode` is given its id and the client's name.
    pub async fn send(
        &self,
        answered: Answered,
        encode: impl FnOnce(i32, &str) -> Result<Bytes, WireError>,
        records: Option<Bytes>,
    ) -> Result<(), ClientError> {
        let correlation_id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let head = encode(correlation_id, CLIENT_ID)?;
        let outgoing = Outgoing { correlation_id, head, records, answered };
        self.outgoing.send(outgoing).await.map_err(|_| self.closed())
    }

    /// Sends a request and waits for the body of its answer.
    pub async fn ask(
        &self,
        encode: impl FnOnce(i32, &str) -> Result<Bytes, WireError>,
    ) -> Result<Bytes, ClientError> {
        let _place = self.place().await?;
        let (sender, answer) = oneshot::channel();
        self.send(Answered::To(sender), encode, None).await?;
        answer.await.map_err(|_| self.closed())
    }
}

/// Connects within a time.
async fn dial(address: &str, connection: &Connection) -> Result<Halves, ClientError> {
    let failed = |source| ClientError::socket(format!("connect to {address}"), source);
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await;
    let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let Some(tls) = &connection.tls else {
        let (read, write) = stream.into_split();
        return Ok((Box::new(read), Box::new(write)));
    };
    let encrypted = tokio::time::timeout(CONNECT, encrypt(stream, address, tls)).await;
    let encrypted = encrypted.unwrap_or_else(|_| Err(failed(io::ErrorKind::TimedOut.into())))?;
    let (read, write) = tokio::io::split(encrypted);
    Ok((Box::new(read), Box::new(write)))
}

async fn write_requests(
    mut socket: impl AsyncWrite + Unpin,
    mut requests: mpsc::Receiver<Outgoing>,
    expecting: mpsc::UnboundedSender<Expected>,
) -> Result<(), ClientError> {
    while let Some(request) = requests.recv().await {
        if let Answered::To(sender) = request.answered {
            // The receiver ends only together with this loop.
            let _ = expecting.send((request.correlation_id, sender));
        }
        let records = request.records.unwrap_or_default();
        let sent = match write_both(&mut socket, request.head, records).await {
            Ok(()) => socket.flush().await,
            Err(error) => Err(error),
        };
        sent.map_err(|source| ClientError::socket("send a request", source))?;
    }
    // All clients are gone; answers under way are of no use to anybody.
    Ok(())
}

async fn write_both(
    socket: &mut (impl AsyncWrite + Unpin),
    mut head: Bytes,
    mut records: Bytes,
) -> io::Result<()> {
    while !head.is_empty() || !records.is_empty() {
        let written = socket.write_vectored(&[IoSlice::new(&head), IoSlice::new(&records)]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_head = written.min(head.len());
        head.advance(of_head);
        records.advance(written - of_head);
    }
    Ok(())
}

async fn read_answers(
    mut socket: impl AsyncRead + Unpin,
    mut expected: mpsc::UnboundedReceiver<Expected>,
) -> Result<(), ClientError> {
    loop {
        let failed = |source| ClientError::socket("read an answer", source);
        let mut length = [0; frame::LENGTH_BYTES];
        socket.read_exact(&mut length).await.map_err(failed)?;
        let length = frame::frame_bytes(&length, limits::KAFKA_FRAME_BYTES_MAX)?.unwrap_or(0);
        let mut answer = bytes::BytesMut::with_capacity(length);
        while answer.len() < length {
            let missing = length - answer.len();
            let mut room = bytes::BufMut::limit(&mut answer, missing);
            if socket.read_buf(&mut room).await.map_err(failed)? == 0 {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let (id, body) = split_response(answer.freeze())?;
        let out_of_turn = || WireError::Malformed {
            what: "Kafka response",
            reason: format!("it answers request {id} out of turn"),
        };
        match expected.try_recv() {
            Ok((expected_id, sender)) if expected_id == id => drop(sender.send(body)),
            _ => return Err(out_of_turn().into()),
        }
    }
}
