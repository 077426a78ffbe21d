//! The server's side of SCRAM (RFC 5802); the messages stand in `client.rs`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::credential::{same, xor};
use super::{Credential, SaslError, USER_BYTES_MAX, attribute, checked_nonce, utf8};

const CLIENT_FIRST: &str = "SCRAM first message";
const CLIENT_FINAL: &str = "SCRAM proof";

/// A client's first message: who it says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramFirst {
    /// Who.
    pub user: String,
    header: String,
    bare: String,
    nonce: String,
}

/// A challenge that was sent and waits for the client's proof.
pub struct ScramChallenge {
    credential: Credential,
    /// Both first messages.
    transcript: String,
    /// How the proof must begin.
    binding: String,
    /// Both sides' nonce.
    nonce: String,
}

impl fmt::Debug for ScramChallenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScramChallenge").field("credential", &self.credential).finish_non_exhaustive()
    }
}

impl ScramFirst {
    /// Reads a client's first message.
    ///
    /// # Errors
    /// It breaks SCRAM's rules, asks for channel binding, or wants to act as
    /// another user.
    pub fn decode(message: &[u8]) -> Result<Self, SaslError> {
        let malformed = |reason| SaslError::Malformed { what: CLIENT_FIRST, reason };
        let message = utf8(message, CLIENT_FIRST)?;
        let mut parts = message.splitn(3, ',');
        let (binding, acts_as) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let bare = parts.next().ok_or(malformed("a part is missing"))?;
        if !matches!(binding, "n" | "y") {
            return Err(malformed("channel binding is not offered"));
        }
        let mut parts = bare.split(',');
        let name = attribute(parts.next(), 'n', CLIENT_FIRST)?;
        let nonce = attribute(parts.next(), 'r', CLIENT_FIRST)?;
        let user = unescaped(name).ok_or(malformed("the user name is not escaped"))?;
        if user.is_empty() || user.len() > USER_BYTES_MAX {
            return Err(malformed("the user name is empty or too long"));
        }
        if !acts_as.is_empty() && acts_as.strip_prefix("a=") != Some(name) {
            return Err(malformed("a user cannot act as another one"));
        }
        if parts.any(|extension| extension.starts_with("tokenauth=true")) {
            return Err(malformed("delegation tokens are not served"));
        }
        Ok(Self {
            user,
            header: format!("{binding},{acts_as},"),
            bare: bare.to_owned(),
            nonce: checked_nonce(nonce, CLIENT_FIRST)?.to_owned(),
        })
    }

    /// Challenges the client to prove that it knows the credential's password;
    /// also gives the message to send. `nonce` is as for a client.
    pub fn challenge(self, credential: Credential, nonce: &str) -> (ScramChallenge, Vec<u8>) {
        let both = format!("{}{nonce}", self.nonce);
        let salt = BASE64.encode(&credential.salt);
        let message = format!("r={both},s={salt},i={}", credential.iterations);
        let transcript = format!("{},{message}", self.bare);
        let binding = format!("c={}", BASE64.encode(&self.header));
        (ScramChallenge { credential, transcript, binding, nonce: both }, message.into_bytes())
    }
}

/// A user name with `,` and `=` restored.
fn unescaped(name: &str) -> Option<String> {
    let escaped = name.split('=').skip(1).all(|after| after.starts_with("2C") || after.starts_with("3D"));
    escaped.then(|| name.replace("=2C", ",").replace("=3D", "="))
}

impl ScramChallenge {
    /// Checks the client's proof and gives the server's, to be sent.
    ///
    /// # Errors
    /// The proof is malformed or wrong.
    pub fn verify(self, client_final: &[u8]) -> Result<Vec<u8>, SaslError> {
        let message = utf8(client_final, CLIENT_FINAL)?;
        let (unproven, proof) = message
            .rsplit_once(",p=")
            .ok_or(SaslError::Malformed { what: CLIENT_FINAL, reason: "the proof is missing" })?;
        let mut parts = unproven.split(',');
        let binding = parts.next() == Some(self.binding.as_str());
        // As Kafka does: librdkafka before 2.2 puts its own nonce before ours once more.
        let nonce = attribute(parts.next(), 'r', CLIENT_FINAL)?;
        if !binding || !nonce.ends_with(&self.nonce) {
            let reason = "it does not answer our challenge";
            return Err(SaslError::Malformed { what: CLIENT_FINAL, reason });
        }
        let Credential { hash, stored_key, server_key, .. } = &self.credential;
        let proof = BASE64.decode(proof).map_err(|_| SaslError::Refused)?;
        if proof.len() != hash.bytes() {
            return Err(SaslError::Refused);
        }
        let transcript = format!("{},{unproven}", self.transcript);
        let client_key = xor(&proof, &hash.hmac(stored_key, transcript.as_bytes()));
        if !same(&hash.digest(&client_key), stored_key) {
            return Err(SaslError::Refused);
        }
        let signature = BASE64.encode(hash.hmac(server_key, transcript.as_bytes()));
        Ok(format!("v={signature}").into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(unescaped("a=2Cb=3Dc").unwrap(), "a,b=c");
        assert_eq!(unescaped("=3D2C").unwrap(), "=2C");
        assert_eq!(unescaped("a=b"), None);
        assert_eq!(unescaped("a="), None);
    }

    #[test]
    fn first_messages_that_are_refused() {
        for wrong in [
            &b""[..],
            b"n,,",
            b"n,,n=user",
            b"n,,r=nonce,n=user",
            b"n,,n=,r=nonce",
            b"n,,n=user,r=",
            b"p=tls-unique,,n=user,r=nonce",
            b"n,a=other,n=user,r=nonce",
            b"n,,n=user,r=nonce,tokenauth=true",
            b"n,,n=us\xffer,r=nonce",
            b"n,,m=ext,n=user,r=nonce",
        ] {
            assert!(matches!(ScramFirst::decode(wrong), Err(SaslError::Malformed { .. })), "{wrong:?}");
        }
        assert_eq!(ScramFirst::decode(b"y,a=user,n=user,r=nonce").unwrap().user, "user");
    }
}
