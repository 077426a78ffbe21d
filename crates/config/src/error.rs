//! What can be wrong with a configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use pluvio_foundation::ErrorKind;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// There is no such option.
    #[error("unknown option `{name}` in {place}{suggestion}; `pluvio config` lists all options")]
    Unknown {
        /// As it was written.
        name: String,
        /// Where it was written.
        place: String,
        /// Empty, or what may have been meant.
        suggestion: String,
    },
    /// A value does not fit its option.
    #[error("option `{name}` from {place}: {error}")]
    Option {
        /// The option.
        name: &'static str,
        /// Where the value was written.
        place: String,
        /// What is wrong with the value.
        error: Box<ConfigError>,
    },
    /// A value is no value of its kind.
    #[error("`{text}` is not {expected}")]
    Value {
        /// As it was written.
        text: String,
        /// What to write instead.
        expected: String,
    },
    /// A door would be open to other machines, and nobody would be asked who they are.
    #[error(
        "{name} = \"{address}\" would let other machines in, but authentication is not configured: {}, or set \
         allow_insecure_listen = true if everyone who can reach this address may read and write everything",
        authentication_of(.name)
    )]
    OpenListen {
        /// The option.
        name: &'static str,
        /// Its address.
        address: SocketAddr,
    },
    /// Two options contradict each other.
    #[error("{0}")]
    Conflict(String),
}

/// How to have authentication at a door.
fn authentication_of(name: &str) -> &'static str {
    match name {
        "kafka_listen" => "set kafka_auth = \"sasl\" and add a user with `pluvio user add`",
        _ => {
            "this door has none in this version, so listen on 127.0.0.1 and put a proxy or tunnel that \
             authenticates in front"
        }
    }
}

impl ConfigError {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File { error, .. } => ErrorKind::of_io(error),
            Self::OpenListen { .. } => ErrorKind::Denied,
            _ => ErrorKind::Invalid,
        }
    }

    /// `text` should have been `expected`.
    pub(crate) fn value(text: &str, expected: impl Into<String>) -> Self {
        Self::Value { text: text.to_owned(), expected: expected.into() }
    }
}
