//! The client's side of SCRAM (RFC 5802): three messages.
//!
//! ```text
//! client: n,,n=USER,r=NONCE
//! server: r=NONCE+MORE,s=SALT,i=ITERATIONS
//! client: c=biws,r=NONCE+MORE,p=PROOF
//! server: v=SIGNATURE
//! ```

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::credential::{CLIENT_KEY, SERVER_KEY, same, xor};
use super::{Hash, ITERATIONS_MIN, SaslError, attribute, salted_password, utf8};

const SERVER_FIRST: &str = "SCRAM challenge";
const SERVER_FINAL: &str = "SCRAM result";
/// No channel binding, acting as oneself.
const HEADER: &str = "n,,";
/// Most iterations that a server may ask of us: about half a second.
const ITERATIONS_MAX: u32 = 1 << 20;

/// A client that has sent its first message.
pub struct ScramClient {
    hash: Hash,
    password: String,
    nonce: String,
    first_bare: String,
}

/// A client that has sent its proof and waits for the server's.
pub struct ScramFinal {
    signature: Vec<u8>,
}

impl fmt::Debug for ScramClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScramClient").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl fmt::Debug for ScramFinal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScramFinal").finish_non_exhaustive()
    }
}

impl ScramClient {
    /// Begins an exchange; also gives the message to send. `nonce` must be
    /// unguessable and new each time, in printable ASCII without commas.
    pub fn begin(hash: Hash, user: &str, password: &str, nonce: &str) -> (Self, Vec<u8>) {
        let name = user.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={name},r={nonce}");
        let message = format!("{HEADER}{first_bare}").into_bytes();
        let client = Self { hash, password: password.to_owned(), nonce: nonce.to_owned(), first_bare };
        (client, message)
    }

    /// Answers the server's challenge; takes some milliseconds.
    ///
    /// # Errors
    /// The challenge is malformed, answers somebody else, or is too weak.
    pub fn prove(self, server_first: &[u8]) -> Result<(ScramFinal, Vec<u8>), SaslError> {
        let malformed = |reason| SaslError::Malformed { what: SERVER_FIRST, reason };
        let challenge = utf8(server_first, SERVER_FIRST)?;
        let mut parts = challenge.split(',');
        let nonce = attribute(parts.next(), 'r', SERVER_FIRST)?;
        let salt = attribute(parts.next(), 's', SERVER_FIRST)?;
        let iterations = attribute(parts.next(), 'i', SERVER_FIRST)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(malformed("the nonce is not an answer to ours"));
        }
        let salt = BASE64.decode(salt).map_err(|_| malformed("the salt is not base64"))?;
        let iterations = iterations.parse().map_err(|_| malformed("the iterations are no number"))?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(malformed("the iterations are too few to be safe or too many"));
        }
        let hash = self.hash;
        let salted = salted_password(hash, &self.password, &salt, iterations);
        let client_key = hash.hmac(&salted, CLIENT_KEY);
        let unproven = format!("c={},r={nonce}", BASE64.encode(HEADER));
        let transcript = format!("{},{challenge},{unproven}", self.first_bare);
        let signature = hash.hmac(&hash.digest(&client_key), transcript.as_bytes());
        let proof = BASE64.encode(xor(&client_key, &signature));
        let server_key = hash.hmac(&salted, SERVER_KEY);
        let signature = hash.hmac(&server_key, transcript.as_bytes());
        Ok((ScramFinal { signature }, format!("{unproven},p={proof}").into_bytes()))
    }
}

impl ScramFinal {
    /// Checks that the server knows the password too.
    ///
    /// # Errors
    /// It refused, or does not know it.
    pub fn check(self, server_final: &[u8]) -> Result<(), SaslError> {
        let message = utf8(server_final, SERVER_FINAL)?;
        let first = message.split(',').next();
        if let Ok(reason) = attribute(first, 'e', SERVER_FINAL) {
            return Err(SaslError::Server(reason.to_owned()));
        }
        let signature = BASE64.decode(attribute(first, 'v', SERVER_FINAL)?);
        match signature.is_ok_and(|signature| same(&signature, &self.signature)) {
            true => Ok(()),
            false => Err(SaslError::ServerUnproven),
        }
    }
}
