//! SASL: how a client proves who it is. The messages and the mathematics of
//! PLAIN and SCRAM, for both sides; who sends them when is the caller's
//! business.
//!
//! Promises: no sockets, no clock, no randomness of its own (nonces and salts
//! are handed in); what proves a password is compared in constant time; no
//! password, key or proof shows up in `Debug` or in an error.
//!
//! As with Kafka, names and passwords are taken as their UTF-8 bytes: there is
//! no SASLprep. Channel binding is not offered.

mod client;
mod credential;
mod plain;
mod server;
#[cfg(test)]
mod vectors;

pub use client::{ScramClient, ScramFinal};
pub use credential::{Credential, Hash, ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN, salted_password};
pub use plain::Plain;
pub use server::{ScramChallenge, ScramFirst};

/// Longest message of any mechanism, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 8 << 10;
/// Longest user name, in bytes.
pub const USER_BYTES_MAX: usize = 512;
/// Longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// A way to prove who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// The password itself: for connections that nobody can listen to.
    Plain,
    /// SCRAM with SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

/// All mechanisms, in the order in which they are offered.
pub const MECHANISMS: [Mechanism; 3] = [Mechanism::ScramSha512, Mechanism::ScramSha256, Mechanism::Plain];

impl Mechanism {
    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        MECHANISMS.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// The hash it works with; none for PLAIN.
    pub fn hash(self) -> Option<Hash> {
        match self {
            Self::Plain => None,
            Self::ScramSha256 => Some(Hash::Sha256),
            Self::ScramSha512 => Some(Hash::Sha512),
        }
    }
}

/// Why an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// A message breaks the mechanism's rules.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// Which message.
        what: &'static str,
        /// The rule.
        reason: &'static str,
    },
    /// The other side does not know the password.
    #[error("wrong user or password")]
    Refused,
    /// The server ended the exchange with its own reason.
    #[error("the server refused: {0}")]
    Server(String),
    /// The server answered without proof that it knows the password.
    #[error("the server did not prove that it knows the password; it may not be the one it claims to be")]
    ServerUnproven,
}

/// A part `name=value` of a SCRAM message: the value.
fn attribute<'a>(part: Option<&'a str>, name: char, what: &'static str) -> Result<&'a str, SaslError> {
    let part = part.ok_or(SaslError::Malformed { what, reason: "a part is missing" })?;
    let value = part.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
    value.ok_or(SaslError::Malformed { what, reason: "a part is not the expected one" })
}

fn utf8<'a>(message: &'a [u8], what: &'static str) -> Result<&'a str, SaslError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(SaslError::Malformed { what, reason: "it is too long" });
    }
    std::str::from_utf8(message).map_err(|_| SaslError::Malformed { what, reason: "it is not UTF-8" })
}

/// A nonce is printable ASCII without commas.
fn checked_nonce<'a>(nonce: &'a str, what: &'static str) -> Result<&'a str, SaslError> {
    let fits = nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b',');
    match fits && !nonce.is_empty() {
        true => Ok(nonce),
        false => Err(SaslError::Malformed { what, reason: "the nonce is empty or not printable" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mechanisms_have_their_registered_names() {
        for mechanism in MECHANISMS {
            assert_eq!(Mechanism::of_name(mechanism.name()), Some(mechanism));
        }
        assert_eq!(Mechanism::of_name("plain"), None);
        assert_eq!(Mechanism::of_name("SCRAM-SHA-1"), None);
    }
}
