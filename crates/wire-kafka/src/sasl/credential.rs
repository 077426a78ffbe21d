//! What a server keeps of a password: enough to check a proof, too little to
//! make one (RFC 5802, section 3).
//!
//! ```text
//! salted = PBKDF2(password, salt, iterations)
//! stored_key = H(HMAC(salted, "Client Key"))
//! server_key = HMAC(salted, "Server Key")
//! ```

use std::fmt;

use hmac::digest::{Digest, KeyInit, Mac};
use hmac::{EagerHash, Hmac};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::Mechanism;

/// Iterations of a new credential.
pub const ITERATIONS_DEFAULT: u32 = 8192;
/// Fewest iterations that are taken: fewer are too quick to guess through.
pub const ITERATIONS_MIN: u32 = 4096;
/// Most iterations that are taken (Kafka's limit): more keep the other side busy.
pub const ITERATIONS_MAX: u32 = 16384;

/// A hash function of SCRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// 32 bytes.
    Sha256,
    /// 64 bytes.
    Sha512,
}

impl Hash {
    /// Bytes of its output.
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The mechanism that works with it.
    pub fn mechanism(self) -> Mechanism {
        match self {
            Self::Sha256 => Mechanism::ScramSha256,
            Self::Sha512 => Mechanism::ScramSha512,
        }
    }

    pub(super) fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    pub(super) fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => keyed::<Sha256>(key).chain_update(data).finalize().into_bytes().to_vec(),
            Self::Sha512 => keyed::<Sha512>(key).chain_update(data).finalize().into_bytes().to_vec(),
        }
    }
}

/// An HMAC with this key. A key longer than a block is hashed first, a shorter
/// one is filled up with zeros: both are HMAC's own definition.
fn keyed<D: EagerHash + Digest>(key: &[u8]) -> Hmac<D> {
    let mut block = hmac::digest::Key::<Hmac<D>>::default();
    let hashed;
    let key = match key.len() > block.len() {
        true => {
            hashed = <D as Digest>::digest(key);
            &hashed[..]
        }
        false => key,
    };
    block[..key.len()].copy_from_slice(key);
    Hmac::new(&block)
}

fn pbkdf2<D: EagerHash + Digest>(password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
    let prf = keyed::<D>(password);
    let mut last = prf.clone().chain_update(salt).chain_update([0, 0, 0, 1]).finalize().into_bytes();
    let mut sum = last.to_vec();
    for _ in 1..iterations {
        last = prf.clone().chain_update(&last).finalize().into_bytes();
        sum.iter_mut().zip(&last).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

/// The salted password. Takes as long as `iterations` make it: some
/// milliseconds, so not to be called where others wait.
pub fn salted_password(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
    match hash {
        Hash::Sha256 => pbkdf2::<Sha256>(password.as_bytes(), salt, iterations),
        Hash::Sha512 => pbkdf2::<Sha512>(password.as_bytes(), salt, iterations),
    }
}

pub(super) const CLIENT_KEY: &[u8] = b"Client Key";
pub(super) const SERVER_KEY: &[u8] = b"Server Key";

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The hash function.
    pub hash: Hash,
    /// What makes equal passwords look different.
    pub salt: Vec<u8>,
    /// How often the hash function was applied.
    pub iterations: u32,
    /// Checks a client's proof.
    pub stored_key: Vec<u8>,
    /// Makes the server's proof.
    pub server_key: Vec<u8>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Credential");
        shown.field("hash", &self.hash).field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl Credential {
    /// The credential of a password; takes some milliseconds.
    pub fn of_password(hash: Hash, password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let salted = salted_password(hash, password, &salt, iterations);
        Self::of_salted(hash, &salted, salt, iterations)
    }

    /// The credential of a password that was salted elsewhere.
    pub fn of_salted(hash: Hash, salted: &[u8], salt: Vec<u8>, iterations: u32) -> Self {
        let stored_key = hash.digest(&hash.hmac(salted, CLIENT_KEY));
        Self { hash, salt, iterations, stored_key, server_key: hash.hmac(salted, SERVER_KEY) }
    }

    /// A credential that no password has, the same for the same `user` and
    /// `secret`: what a server answers with for a user it does not know, so
    /// that nobody can find out which users there are.
    pub fn decoy(hash: Hash, secret: &[u8], user: &str, iterations: u32) -> Self {
        let part = |label: &str| hash.hmac(secret, format!("{label} {user}").as_bytes());
        let salt = part("salt")[..16].to_vec();
        Self { hash, salt, iterations, stored_key: part("stored key"), server_key: part("server key") }
    }

    /// Whether this is its password; takes some milliseconds.
    pub fn is_password(&self, password: &str) -> bool {
        let salted = salted_password(self.hash, password, &self.salt, self.iterations);
        let stored_key = self.hash.digest(&self.hash.hmac(&salted, CLIENT_KEY));
        same(&stored_key, &self.stored_key)
    }
}

/// Whether two secrets are equal, in a time that does not tell where they differ.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// One with the other's bits flipped.
pub(super) fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_recognised() {
        for hash in [Hash::Sha256, Hash::Sha512] {
            let credential = Credential::of_password(hash, "pencil", b"salt".to_vec(), 5);
            assert!(credential.is_password("pencil"));
            assert!(!credential.is_password("Pencil"));
            assert_eq!(credential.stored_key.len(), hash.bytes());
            assert!(!format!("{credential:?}").contains("key"));
        }
    }

    #[test]
    fn a_decoy_is_steady_and_of_nobody() {
        let decoy = |user| Credential::decoy(Hash::Sha256, b"secret", user, ITERATIONS_DEFAULT);
        assert_eq!(decoy("kim"), decoy("kim"));
        assert_ne!(decoy("kim").salt, decoy("tim").salt);
        assert_eq!(decoy("kim").stored_key.len(), 32);
    }

    #[test]
    fn hmac_takes_keys_of_any_length() {
        // RFC 4231, test cases 2 and 6.
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let short = Hash::Sha256.hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(short), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = Hash::Sha256.hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(long), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }
}
