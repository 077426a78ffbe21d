//! The configuration as the program uses it: typed, in range, units in the names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::ConfigError;
use crate::options::options;

/// Every option's value. What each means stands with its definition in
/// [`options`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field's meaning is its option's definition")]
pub struct Config {
    pub data_dir: PathBuf,
    pub role: Role,
    /// `None`: `lake` in `data_dir`.
    pub lake_dir: Option<PathBuf>,
    pub kafka_listen: SocketAddr,
    /// `None`: the address that `kafka_listen` got bound to.
    pub kafka_advertised: Option<HostPort>,
    pub kafka_auth: KafkaAuth,
    pub kafka_super_users: Vec<String>,
    /// 0: as long as the connection lasts.
    pub kafka_session_lifetime_ms: u64,
    pub kafka_group_initial_rebalance_delay_ms: u64,
    pub kafka_tls_cert: Option<PathBuf>,
    pub kafka_tls_key: Option<PathBuf>,
    pub kafka_tls_client_ca: Option<PathBuf>,
    pub postgres_listen: SocketAddr,
    pub http_listen: SocketAddr,
    pub allow_insecure_listen: bool,
    pub memory_tables_bytes: u64,
    pub memory_log_tail_bytes: u64,
    pub log_retention_ms: u64,
    pub log_segment_bytes: u64,
    pub default_partitions: u32,
    pub auto_create_topics: bool,
    pub trigger_ms: u64,
    pub trigger_rows: usize,
    /// Bytes of events that all jobs together take at a time.
    pub epoch_bytes: usize,
    pub lake_commit_interval_ms: u64,
    pub lake_commit_bytes: u64,
    pub disk_reserve_bytes: u64,
    pub log_level: LogLevel,
}

impl Config {
    /// Nothing set: only a place for the defaults to go.
    pub(crate) fn unset() -> Self {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            data_dir: PathBuf::new(),
            role: Role::All,
            lake_dir: None,
            kafka_listen: nowhere,
            kafka_advertised: None,
            kafka_auth: KafkaAuth::None,
            kafka_super_users: Vec::new(),
            kafka_session_lifetime_ms: 0,
            kafka_group_initial_rebalance_delay_ms: 0,
            kafka_tls_cert: None,
            kafka_tls_key: None,
            kafka_tls_client_ca: None,
            postgres_listen: nowhere,
            http_listen: nowhere,
            allow_insecure_listen: false,
            memory_tables_bytes: 0,
            memory_log_tail_bytes: 0,
            log_retention_ms: 0,
            log_segment_bytes: 0,
            default_partitions: 0,
            auto_create_topics: false,
            trigger_ms: 0,
            trigger_rows: 0,
            epoch_bytes: 0,
            lake_commit_interval_ms: 0,
            lake_commit_bytes: 0,
            disk_reserve_bytes: 0,
            log_level: LogLevel::Info,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self::unset();
        for option in options() {
            // A test holds every default to be valid.
            let _ = option.set(&mut config, option.default);
        }
        config
    }
}

/// A host name or address and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let expected = || ConfigError::value(text, "a host and a port, such as `pluvio.example.org:9092`");
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let fits = |c: char| {
            c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || (bare.is_some() && c == ':')
        };
        if host.is_empty() || !host.chars().all(fits) {
            return Err(expected());
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(expected)?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(formatter, "[{}]:{}", self.host, self.port),
            false => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// All of it.
    All,
    /// The Kafka door and the event log.
    Queue,
    /// Jobs, tables and the lake, SQL and the console; no queue.
    Engine,
    /// SQL and the console over a lake and topics elsewhere.
    Serving,
}

impl Role {
    /// In lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queue => "queue",
            Self::Engine => "engine",
            Self::Serving => "serving",
        }
    }
}

/// How Kafka clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaAuth {
    /// Not at all: everybody may do everything.
    None,
    /// With a user's password, by SASL.
    Sasl,
    /// With a certificate, by TLS.
    Tls,
}

impl KafkaAuth {
    /// In lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sasl => "sasl",
            Self::Tls => "tls",
        }
    }
}

/// How much the program tells about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may fail soon.
    Warn,
    /// And what happens rarely.
    Info,
    /// And what happens often.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// In lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port() {
        for text in ["localhost:9092", "10.0.0.7:1", "[::1]:9092", "pluvio.example.org:65535"] {
            let parsed: HostPort = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!("[::1]:9092".parse::<HostPort>().unwrap().host, "::1");
        for text in ["", "host", ":9092", "host:", "host:0", "host:70000", "::1:9092", "a b:1", "[]:1"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
