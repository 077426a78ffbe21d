//! What the command line reports: one line, what to do next in it.

use pluvio_config::ConfigError;
use pluvio_doors::DoorError;
use pluvio_kafka_client::ClientError;
use pluvio_query::QueryError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A statement failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A pipeline file is wrong; the place is in the message.
    #[error("{file}: {error}")]
    Script {
        /// The file.
        file: String,
        /// What is wrong and where.
        error: QueryError,
    },
    /// The Kafka door cannot be set up.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// A Kafka request failed.
    #[error(transparent)]
    Kafka(#[from] ClientError),
    /// The users and rules could not be read or changed.
    #[error(transparent)]
    Access(#[from] pluvio_access::AccessError),
    /// Postgres refused or is not there.
    #[error("{0}")]
    Postgres(#[from] tokio_postgres::Error),
    /// A file or socket.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's reason.
        error: std::io::Error,
    },
    /// Anything else, said in full.
    #[error("{0}")]
    Other(String),
}

impl CliError {
    /// An I/O error with what was being done.
    pub fn io(what: impl Into<String>, error: std::io::Error) -> Self {
        Self::Io { what: what.into(), error }
    }
}

macro_rules! through_query {
    ($($error:ty),*) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::Query(error.into())
            }
        }
    )*};
}

through_query!(pluvio_catalog::CatalogError, pluvio_eventlog::LogError, pluvio_keytables::TableError);
