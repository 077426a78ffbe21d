//! The start of a connection: any user name is taken, no password is asked.

use std::fmt::Debug;
use std::sync::{Arc, LazyLock, OnceLock};

use async_trait::async_trait;
use futures::Sink;
use pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::{ClientInfo, PidSecretKeyGenerator, RandomPidSecretKeyGenerator};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::cancel::{Cancellable, Cancellations};

/// The version that clients see: the protocol's features of PostgreSQL 16, and ours.
pub(super) const SERVER_VERSION: &str = concat!("16.6 (Pluvio ", env!("CARGO_PKG_VERSION"), ")");

static KEYS: LazyLock<RandomPidSecretKeyGenerator> = LazyLock::new(Default::default);

/// Greets one connection.
pub(super) struct Startup {
    pub(super) cancellations: Arc<Cancellations>,
    pub(super) cancellable: Arc<OnceLock<Cancellable>>,
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let PgWireFrontendMessage::Startup(startup) = message else { return Ok(()) };
        protocol_negotiation(client, &startup).await?;
        save_startup_parameters_to_metadata(client, &startup);
        let (process, secret) = KEYS.generate(client);
        client.set_pid_and_secret_key(process, secret);
        let _ = self.cancellable.set(self.cancellations.register(client));
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.server_version = SERVER_VERSION.to_owned();
        finish_authentication(client, &parameters).await
    }
}
