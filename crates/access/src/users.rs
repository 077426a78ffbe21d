//! Users by name, each with what checks its password under one hash or more.

use std::collections::BTreeMap;

use pluvio_foundation::random::secret_bytes;
use pluvio_wire_kafka::sasl::{
    Credential, Hash, ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN, PASSWORD_BYTES_MAX, USER_BYTES_MAX,
};

use crate::AccessError;

/// Most users.
pub const USERS_MAX: usize = 10_000;
/// Fewest characters of a new password.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
/// Longest salt that is taken, in bytes.
const SALT_BYTES_MAX: usize = 256;
const SALT_BYTES: usize = 24;

/// A user's credentials, by hash.
pub(crate) type Credentials = BTreeMap<Hash, Credential>;

/// One change of the users.
#[derive(Debug, Clone)]
pub enum UserChange {
    /// Sets the credential of a user under its hash; makes the user if absent.
    Set {
        /// Who.
        name: String,
        /// The credential.
        credential: Credential,
    },
    /// Removes a user's credential under one hash; the user goes with the last.
    Remove {
        /// Who.
        name: String,
        /// Under which hash.
        hash: Hash,
    },
    /// Removes a user.
    RemoveAll {
        /// Who.
        name: String,
    },
}

impl UserChange {
    /// The changes that give a user this password under every hash. Takes some
    /// milliseconds.
    ///
    /// # Errors
    /// The password is too short or too long, or the system has no randomness.
    pub fn password(name: &str, password: &str) -> Result<Vec<Self>, AccessError> {
        check_password(password)?;
        let set = |hash| {
            let no_salt = |error| AccessError::Invalid(format!("no salt from the system: {error}"));
            let salt = secret_bytes::<SALT_BYTES>().map_err(no_salt)?.to_vec();
            let credential = Credential::of_password(hash, password, salt, ITERATIONS_DEFAULT);
            Ok(Self::Set { name: name.to_owned(), credential })
        };
        [Hash::Sha256, Hash::Sha512].into_iter().map(set).collect()
    }

    /// Who is changed.
    pub fn name(&self) -> &str {
        match self {
            Self::Set { name, .. } | Self::Remove { name, .. } | Self::RemoveAll { name } => name,
        }
    }

    pub(crate) fn apply(&self, users: &mut BTreeMap<String, Credentials>) -> Result<(), AccessError> {
        let missing = || AccessError::NoUser(self.name().to_owned());
        match self {
            Self::Set { name, credential } => {
                check_name(name)?;
                check_credential(credential)?;
                if !users.contains_key(name) && users.len() >= USERS_MAX {
                    return Err(AccessError::Limit { what: "users", count_max: USERS_MAX });
                }
                users.entry(name.clone()).or_default().insert(credential.hash, credential.clone());
            }
            Self::Remove { name, hash } => {
                let credentials = users.get_mut(name).ok_or_else(missing)?;
                credentials.remove(hash).ok_or_else(missing)?;
                if credentials.is_empty() {
                    users.remove(name);
                }
            }
            Self::RemoveAll { name } => drop(users.remove(name).ok_or_else(missing)?),
        }
        Ok(())
    }
}

/// Checks a password before it is salted.
///
/// # Errors
/// It is too short or too long.
pub fn check_password(password: &str) -> Result<(), AccessError> {
    if password.chars().count() < PASSWORD_CHARACTERS_MIN {
        let message =
            format!("the password is too short; it needs {PASSWORD_CHARACTERS_MIN} characters or more");
        return Err(AccessError::Invalid(message));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(AccessError::Invalid(format!("the password is longer than {PASSWORD_BYTES_MAX} bytes")));
    }
    if password.chars().any(char::is_control) {
        return Err(AccessError::Invalid(
            "the password has control characters, which not all clients can send".into(),
        ));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), AccessError> {
    let invalid = |reason: &str| Err(AccessError::Invalid(format!("the user name {name:?} {reason}")));
    if name.is_empty() || name.len() > USER_BYTES_MAX {
        return invalid(&format!("must have 1 to {USER_BYTES_MAX} bytes"));
    }
    if name.chars().any(char::is_control) || name == "*" {
        return invalid("is not a name: no control characters, and not `*`, which stands for everybody");
    }
    Ok(())
}

fn check_credential(credential: &Credential) -> Result<(), AccessError> {
    let bytes = credential.hash.bytes();
    let range = ITERATIONS_MIN..=ITERATIONS_MAX;
    if !range.contains(&credential.iterations) {
        let message =
            format!("{} iterations: allowed are {ITERATIONS_MIN} to {ITERATIONS_MAX}", credential.iterations);
        return Err(AccessError::Invalid(message));
    }
    if credential.salt.is_empty() || credential.salt.len() > SALT_BYTES_MAX {
        return Err(AccessError::Invalid(format!("a salt has 1 to {SALT_BYTES_MAX} bytes")));
    }
    if credential.stored_key.len() != bytes || credential.server_key.len() != bytes {
        return Err(AccessError::Invalid(format!("a key of this mechanism has {bytes} bytes")));
    }
    Ok(())
}
