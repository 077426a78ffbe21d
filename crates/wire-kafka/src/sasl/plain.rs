//! PLAIN (RFC 4616): `[authzid] NUL user NUL password`.

use std::fmt;

use super::{PASSWORD_BYTES_MAX, SaslError, USER_BYTES_MAX, utf8};

const WHAT: &str = "PLAIN message";

/// A user and the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain {
    /// Who it is.
    pub user: String,
    /// The password, as it is.
    pub password: String,
}

impl fmt::Debug for Plain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Plain").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Plain {
    /// The one message of the exchange.
    pub fn encode(&self) -> Vec<u8> {
        ["", &self.user, &self.password].join("\0").into_bytes()
    }

    /// Reads it.
    ///
    /// # Errors
    /// Parts are missing, empty or too long, or the user asks to act as another.
    pub fn decode(message: &[u8]) -> Result<Self, SaslError> {
        let malformed = |reason| SaslError::Malformed { what: WHAT, reason };
        let parts: Vec<&str> = utf8(message, WHAT)?.split('\0').collect();
        let [acts_as, user, password] = parts[..] else {
            return Err(malformed("it does not have three parts"));
        };
        if user.is_empty() || password.is_empty() {
            return Err(malformed("the user or the password is empty"));
        }
        if user.len() > USER_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
            return Err(malformed("the user or the password is too long"));
        }
        if !acts_as.is_empty() && acts_as != user {
            return Err(malformed("a user cannot act as another one"));
        }
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        let plain = Plain { user: "tim".into(), password: "tanstaaftanstaaf".into() };
        assert_eq!(plain.encode(), b"\0tim\0tanstaaftanstaaf");
        assert_eq!(Plain::decode(&plain.encode()).unwrap(), plain);
        assert_eq!(Plain::decode(b"tim\0tim\0secret").unwrap().user, "tim");
        for wrong in [&b"tim"[..], b"\0tim", b"\0\0x", b"\0tim\0", b"kim\0tim\0x", b"\0a\0b\0c", b"\0\xff\0x"]
        {
            assert!(matches!(Plain::decode(wrong), Err(SaslError::Malformed { .. })), "{wrong:?}");
        }
        assert!(Plain::decode(format!("\0tim\0{}", "x".repeat(2000)).as_bytes()).is_err());
        assert!(!format!("{plain:?}").contains("tanst"));
    }
}
