//! One connection from its first byte to its last.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use futures::{SinkExt, StreamExt};
use pgwire::api::{ClientInfo, DefaultClient, NoopHandler, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage, SslNegotiationMetaMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::codec::Framed;

use super::cancel::Cancellations;
use super::frames::FrameGuard;
use super::handler::Handler;
use super::pg_catalog::SystemCatalog;
use super::prepared::{Planner, Prepared};
use super::sqlstate;
use super::startup::Startup;
use pluvio_query::Platform;

/// Time a client has to get from connecting to asking.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(30);

type Socket = Framed<FrameGuard<TcpStream>, PgWireMessageServerCodec<Arc<Prepared>>>;

/// What all connections share.
pub(super) struct Shared {
    platform: Arc<Platform>,
    parser: Arc<PostgresCompatibilityParser>,
    system: SystemCatalog,
    cancellations: Arc<Cancellations>,
}

impl Shared {
    pub(super) fn new(platform: Arc<Platform>) -> Self {
        Self {
            platform,
            parser: Arc::new(PostgresCompatibilityParser::new()),
            system: SystemCatalog::default(),
            cancellations: Arc::default(),
        }
    }
}

/// Serves one connection until either side ends it.
pub(super) async fn run(socket: TcpStream, shared: &Shared, shutdown: watch::Receiver<bool>) {
    let Ok(address) = socket.peer_addr() else { return };
    // Without it an answer of several packets waits for the client's delayed
    // acknowledgement; failing to set it is only slow.
    let _ = socket.set_nodelay(true);
    let codec = PgWireMessageServerCodec::new(DefaultClient::new(address, false));
    let mut socket = Framed::new(FrameGuard::new(socket), codec);
    let ended = tokio::select! {
        ended = converse(&mut socket, shared) => Some(ended),
        () = stopped(shutdown) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => socket.send(sqlstate::shutting_down()).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "a PostgreSQL connection broke");
    }
    let _ = socket.close().await;
}

/// Completes when the server stops, also when whoever would say so is gone.
pub(super) async fn stopped(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

async fn converse(socket: &mut Socket, shared: &Shared) -> io::Result<()> {
    let cancellable = Arc::new(OnceLock::new());
    let startup =
        Startup { cancellations: Arc::clone(&shared.cancellations), cancellable: Arc::clone(&cancellable) };
    let session = shared.platform.session().map_err(io::Error::other)?;
    if let Err(error) = shared.system.install(session.context()) {
        tracing::error!(%error, "the system catalog could not be set up");
    }
    let handler = Arc::new(Handler::new(Planner::new(session, Arc::clone(&shared.parser)), cancellable));
    let (startup, noop) = (Arc::new(startup), Arc::new(NoopHandler));
    loop {
        let message = match next(socket).await? {
            Some(message) => message,
            None => return Ok(()),
        };
        if let PgWireFrontendMessage::SslNegotiation(request) = message {
            refuse_encryption(socket, request).await?;
            continue;
        }
        let extended = message.is_extended_query();
        let result = process_message(
            message,
            socket,
            Arc::clone(&startup),
            Arc::clone(&handler),
            Arc::clone(&handler),
            Arc::clone(&noop),
            Arc::clone(&shared.cancellations),
        )
        .await;
        if let Err(error) = result {
            let error = sqlstate::classify(error);
            tracing::debug!(%error, "a statement failed");
            process_error(socket, error, extended).await?;
        }
    }
}

/// The next message; none when the client has gone or said good-bye.
async fn next(socket: &mut Socket) -> io::Result<Option<PgWireFrontendMessage>> {
    let starting = !matches!(
        socket.state(),
        PgWireConnectionState::ReadyForQuery
            | PgWireConnectionState::AwaitingSync
            | PgWireConnectionState::CopyInProgress(_)
    );
    let message: Option<PgWireResult<_>> = if starting {
        match tokio::time::timeout(STARTUP_TIMEOUT, socket.next()).await {
            Ok(message) => message,
            Err(_) => return Ok(None),
        }
    } else {
        socket.next().await
    };
    match message {
        None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => Ok(None),
        Some(Ok(message)) => Ok(Some(message)),
        Some(Err(PgWireError::IoError(error))) if error.kind() != io::ErrorKind::InvalidData => Err(error),
        Some(Err(error)) => {
            socket.send(sqlstate::protocol_violation(&error.to_string())).await?;
            Ok(None)
        }
    }
}

/// Encryption is for other addresses than loopback; here it is declined and the
/// client goes on in the clear.
async fn refuse_encryption(socket: &mut Socket, request: SslNegotiationMetaMessage) -> io::Result<()> {
    match request {
        SslNegotiationMetaMessage::PostgresSsl(_) => {
            socket.send(PgWireBackendMessage::SslResponse(SslResponse::Refuse)).await
        }
        SslNegotiationMetaMessage::PostgresGss(_) => {
            socket.send(PgWireBackendMessage::GssEncResponse(GssEncResponse::Refuse)).await
        }
        SslNegotiationMetaMessage::None => {
            socket.set_state(PgWireConnectionState::AwaitingStartup);
            Ok(())
        }
    }
}
