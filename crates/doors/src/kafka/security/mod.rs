//! How peers prove who they are, and what that is worth.
//!
//! Promises: before the proof a peer may only ask for versions and prove
//! itself, in small frames and within [`PROOF_TIME`]; a password crosses the
//! network only encrypted; a wrong user and a wrong password look the same, and
//! both cost the peer time.

mod acls;
mod quotas;
mod session;
mod subject;
mod tls;
mod users;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pluvio_access::Access;
use pluvio_foundation::random::secret_bytes;
use pluvio_wire_kafka::sasl::{Credential, Hash, ITERATIONS_DEFAULT};
use tokio::sync::Semaphore;

pub(crate) use acls::{create_acls, delete_acls, describe_acls};
pub(crate) use quotas::{alter_quotas, describe_quotas};
pub(crate) use session::{Session, Turn};
pub(crate) use tls::user_of;
pub use tls::{Tls, TlsFiles};
pub(crate) use users::{alter_users, describe_users};

/// How long a peer may take to prove who it is.
pub(crate) const PROOF_TIME: Duration = Duration::from_secs(10);
/// Largest frame of a peer that has not proven who it is, in bytes.
pub(crate) const UNPROVEN_FRAME_BYTES_MAX: usize = 16 << 10;
/// How long the answer to a wrong proof takes.
const REFUSAL_DELAY: Duration = Duration::from_millis(500);
/// Passwords checked at once: each check keeps a core busy for milliseconds.
const CHECKS_MAX: usize = 2;

/// How a peer proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// It need not, and may do everything.
    None,
    /// With a user's password, by SASL.
    Sasl,
    /// With a certificate, by TLS.
    Tls,
}

/// Who may use the door, and how.
#[derive(Debug)]
pub struct Security {
    /// Users, rules and quotas.
    pub access: Arc<Access>,
    /// How a peer proves who it is. Whoever must prove it may do only what a
    /// rule allows.
    pub authentication: Authentication,
    /// Users that may do everything.
    pub super_users: Vec<String>,
    /// Encrypts connections; `None`: they are open.
    pub tls: Option<Tls>,
    /// How long a proof counts, in milliseconds; 0 for as long as the
    /// connection lasts.
    pub session_lifetime_ms: u64,
    decoy_secret: [u8; 32],
    checks: Arc<Semaphore>,
}

impl Security {
    /// A door without encryption, super users or an end of sessions.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(access: Arc<Access>, authentication: Authentication) -> io::Result<Self> {
        Ok(Self {
            access,
            authentication,
            super_users: Vec::new(),
            tls: None,
            session_lifetime_ms: 0,
            decoy_secret: secret_bytes()?,
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
        })
    }

    /// What checks a user's proof; for users that are not there, something that
    /// no proof passes.
    fn credential(&self, user: &str, hash: Hash) -> Credential {
        let decoy = || Credential::decoy(hash, &self.decoy_secret, user, ITERATIONS_DEFAULT);
        self.access.credential(user, hash).unwrap_or_else(decoy)
    }

    /// Whether this is the user's password.
    async fn is_password(&self, user: &str, password: String) -> bool {
        let decoy = || Credential::decoy(Hash::Sha256, &self.decoy_secret, user, ITERATIONS_DEFAULT);
        let credential = self.access.any_credential(user).unwrap_or_else(decoy);
        let Ok(_place) = Arc::clone(&self.checks).acquire_owned().await else { return false };
        let check = tokio::task::spawn_blocking(move || credential.is_password(&password));
        check.await.unwrap_or(false)
    }
}
