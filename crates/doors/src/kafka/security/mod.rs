//! How peers prove who they are, and what that is worth: settings of the door.

use std::sync::Arc;

use pluvio_access::Access;

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
}
