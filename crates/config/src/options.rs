//! The options: for each its name, default, shape, meaning, and how a text
//! becomes its value. A new option is one entry here and one field in
//! [`Config`].

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use pluvio_foundation::limits;

use crate::config::{Config, KafkaAuth, LogLevel, Role};
use crate::error::ConfigError;
use crate::memory;
use crate::units::{parse_bytes, parse_duration_ms};

/// What an option's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A path.
    Path,
    /// An address and a port.
    Address,
    /// A number of bytes, with a unit.
    Bytes,
    /// A duration, with a unit.
    Duration,
    /// A whole number.
    Count,
    /// `true` or `false`.
    Switch,
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Shape {
    /// What stands for the value in a usage line.
    pub fn value_name(self) -> String {
        match self {
            Self::Path => "PATH".to_owned(),
            Self::Address => "HOST:PORT".to_owned(),
            Self::Bytes => "SIZE".to_owned(),
            Self::Duration => "DURATION".to_owned(),
            Self::Count => "N".to_owned(),
            Self::Switch => "true|false".to_owned(),
            Self::Text => "TEXT".to_owned(),
            Self::Word(words) => words.join("|"),
        }
    }
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct OptionDef {
    /// Its key in the file, in lower case with underscores.
    pub name: &'static str,
    /// Its default, as it would be written in the file.
    pub default: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// What it is for, in a sentence or two.
    pub meaning: &'static str,
    set: fn(&mut Config, &str) -> Result<(), ConfigError>,
}

impl OptionDef {
    /// Its environment variable: `PLUVIO_` and the name in upper case.
    pub fn variable(&self) -> String {
        format!("PLUVIO_{}", self.name.to_ascii_uppercase())
    }

    /// Its flag on the command line, without the leading `--`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Puts its value into `config`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] says what to write instead.
    pub fn set(&self, config: &mut Config, text: &str) -> Result<(), ConfigError> {
        (self.set)(config, text)
    }
}

/// Every option, in the order in which to show them.
pub fn options() -> &'static [OptionDef] {
    OPTIONS
}

const MIB: u64 = 1 << 20;
const DAY_MS: u64 = 86_400_000;
const SWITCH: Shape = Shape::Switch;

const OPTIONS: &[OptionDef] = &[
    OptionDef {
        name: "data_dir",
        default: "./pluvio-data",
        shape: Shape::Path,
        meaning: "The folder that holds everything durable: events, tables, state, lake. One process at a time uses it.",
        set: |config, text| path(text).map(|value| config.data_dir = value),
    },
    OptionDef {
        name: "role",
        default: "all",
        shape: Shape::Word(&["all", "queue", "engine", "serving"]),
        meaning: "What this process does: all of it; only the queue (the Kafka door and the event log); the engine without a queue of its own, whose streams have connector = 'kafka'; or only serving SQL and the console over a lake and topics elsewhere.",
        set: |config, text| {
            use Role::{All, Engine, Queue, Serving};
            word(text, &[All, Queue, Engine, Serving], Role::as_str).map(|value| config.role = value)
        },
    },
    OptionDef {
        name: "lake_dir",
        default: "",
        shape: Shape::Path,
        meaning: "The folder of the lake's Delta tables; empty is `lake` in data_dir. A process with the role serving may read the one that an engine writes.",
        set: |config, text| {
            config.lake_dir = if text.is_empty() { None } else { Some(PathBuf::from(text)) };
            Ok(())
        },
    },
    OptionDef {
        name: "kafka_listen",
        default: "127.0.0.1:9092",
        shape: Shape::Address,
        meaning: "Where Kafka clients connect.",
        set: |config, text| listen(text).map(|value| config.kafka_listen = value),
    },
    OptionDef {
        name: "kafka_advertised",
        default: "",
        shape: Shape::Address,
        meaning: "The address that Kafka clients are told to come back to; empty is the one in kafka_listen. Set it behind NAT or a proxy.",
        set: |config, text| {
            config.kafka_advertised = if text.is_empty() { None } else { Some(text.parse()?) };
            Ok(())
        },
    },
    OptionDef {
        name: "kafka_auth",
        default: "none",
        shape: Shape::Word(&["none", "sasl", "tls"]),
        meaning: "How Kafka clients prove who they are: not at all, as users with a password (PLAIN or SCRAM), or by a certificate (needs kafka_tls_client_ca). Whoever must prove it may do only what an access rule allows.",
        set: |config, text| {
            use KafkaAuth::{None, Sasl, Tls};
            word(text, &[None, Sasl, Tls], KafkaAuth::as_str).map(|value| config.kafka_auth = value)
        },
    },
    OptionDef {
        name: "kafka_super_users",
        default: "",
        shape: Shape::Text,
        meaning: "Users that may do everything on the Kafka door, separated by `;`, such as `admin;CN=operator,O=Acme`.",
        set: |config, text| {
            config.kafka_super_users = names(text);
            Ok(())
        },
    },
    OptionDef {
        name: "kafka_session_lifetime",
        default: "0 s",
        shape: Shape::Duration,
        meaning: "How long a password proves who a Kafka client is, after which the client proves it again on the same connection; 0 is for as long as the connection lasts.",
        set: |config, text| {
            duration(text, 0..=365 * DAY_MS).map(|value| config.kafka_session_lifetime_ms = value)
        },
    },
    OptionDef {
        name: "kafka_group_initial_rebalance_delay",
        default: "0 s",
        shape: Shape::Duration,
        meaning: "How long a consumer group of the classic protocol that was empty waits for more members before it shares out partitions, and as long again whenever one comes; Kafka's group.initial.rebalance.delay.ms, 3 s there.",
        set: |config, text| {
            duration(text, 0..=600_000).map(|value| config.kafka_group_initial_rebalance_delay_ms = value)
        },
    },
    OptionDef {
        name: "kafka_tls_cert",
        default: "",
        shape: Shape::Path,
        meaning: "The certificate of the Kafka door in PEM, followed by those that vouch for it; with it, all connections are encrypted. Read again when the file changes.",
        set: |config, text| optional_path(text).map(|value| config.kafka_tls_cert = value),
    },
    OptionDef {
        name: "kafka_tls_key",
        default: "",
        shape: Shape::Path,
        meaning: "The private key of kafka_tls_cert in PEM, without a password.",
        set: |config, text| optional_path(text).map(|value| config.kafka_tls_key = value),
    },
    OptionDef {
        name: "kafka_tls_client_ca",
        default: "",
        shape: Shape::Path,
        meaning: "The certificates in PEM of who vouches for Kafka clients; with it, a client without a certificate of theirs is sent away.",
        set: |config, text| optional_path(text).map(|value| config.kafka_tls_client_ca = value),
    },
    OptionDef {
        name: "postgres_listen",
        default: "127.0.0.1:5433",
        shape: Shape::Address,
        meaning: "Where SQL clients connect, with the Postgres protocol.",
        set: |config, text| listen(text).map(|value| config.postgres_listen = value),
    },
    OptionDef {
        name: "http_listen",
        default: "127.0.0.1:8080",
        shape: Shape::Address,
        meaning: "Where browsers find the console, and health checks and metrics.",
        set: |config, text| listen(text).map(|value| config.http_listen = value),
    },
    OptionDef {
        name: "allow_insecure_listen",
        default: "false",
        shape: SWITCH,
        meaning: "Lets doors without authentication listen beyond this machine: whoever can reach them may read and write everything.",
        set: |config, text| switch(text).map(|value| config.allow_insecure_listen = value),
    },
    OptionDef {
        name: "memory_tables_bytes",
        default: "auto",
        shape: Shape::Bytes,
        meaning: "Memory for the hot rows of real-time tables and job state; what does not fit is read back from disk. 'auto' is an eighth of the memory there is, 256 MiB at least.",
        set: |config, text| {
            let value = if text == "auto" { memory::auto() } else { bytes(text, MIB..=1 << 44)? };
            config.memory_tables_bytes = value;
            Ok(())
        },
    },
    OptionDef {
        name: "memory_log_tail_bytes",
        default: "64 MiB",
        shape: Shape::Bytes,
        meaning: "Memory for the newest events of all partitions, which readers at the end are served from.",
        set: |config, text| bytes(text, MIB..=1 << 44).map(|value| config.memory_log_tail_bytes = value),
    },
    OptionDef {
        name: "log_retention",
        default: "7 days",
        shape: Shape::Duration,
        meaning: "How long a topic keeps its events, unless the topic says otherwise.",
        set: |config, text| {
            duration(text, 1_000..=36_500 * DAY_MS).map(|value| config.log_retention_ms = value)
        },
    },
    OptionDef {
        name: "log_segment_bytes",
        default: "128 MiB",
        shape: Shape::Bytes,
        meaning: "Size at which the event log starts a new file; retention removes whole files.",
        set: |config, text| bytes(text, MIB..=1 << 30).map(|value| config.log_segment_bytes = value),
    },
    OptionDef {
        name: "default_partitions",
        default: "4",
        shape: Shape::Count,
        meaning: "Partitions of a topic that is made without a number.",
        set: |config, text| {
            let value = count(text, 1..=u64::from(limits::PARTITIONS_PER_TOPIC_MAX))?;
            config.default_partitions = u32::try_from(value).unwrap_or(limits::PARTITIONS_PER_TOPIC_MAX);
            Ok(())
        },
    },
    OptionDef {
        name: "auto_create_topics",
        default: "true",
        shape: SWITCH,
        meaning: "Makes a topic when a producer first names it.",
        set: |config, text| switch(text).map(|value| config.auto_create_topics = value),
    },
    OptionDef {
        name: "trigger",
        default: "200 ms",
        shape: Shape::Duration,
        meaning: "Longest time that events wait before a job processes them, unless the job says otherwise.",
        set: |config, text| duration(text, 1..=DAY_MS).map(|value| config.trigger_ms = value),
    },
    OptionDef {
        name: "trigger_rows",
        default: "131072",
        shape: Shape::Count,
        meaning: "Waiting events at which a job does not wait any longer.",
        set: |config, text| {
            let value = count(text, 1..=limits::EPOCH_ROWS_MAX as u64)?;
            config.trigger_rows = usize::try_from(value).unwrap_or(limits::EPOCH_ROWS_MAX);
            Ok(())
        },
    },
    OptionDef {
        name: "epoch_bytes",
        default: "128 MiB",
        shape: Shape::Bytes,
        meaning: "Bytes of events that all jobs together take at a time.",
        set: |config, text| {
            bytes(text, MIB..=1 << 44)
                .map(|value| config.epoch_bytes = usize::try_from(value).unwrap_or(usize::MAX))
        },
    },
    OptionDef {
        name: "lake_commit_interval",
        default: "10 s",
        shape: Shape::Duration,
        meaning: "Longest time between two commits of a lake table that has new rows.",
        set: |config, text| duration(text, 100..=DAY_MS).map(|value| config.lake_commit_interval_ms = value),
    },
    OptionDef {
        name: "lake_commit_bytes",
        default: "128 MiB",
        shape: Shape::Bytes,
        meaning: "Uncommitted rows in memory at which a lake table commits early.",
        set: |config, text| bytes(text, MIB..=1 << 36).map(|value| config.lake_commit_bytes = value),
    },
    OptionDef {
        name: "disk_reserve_bytes",
        default: "256 MiB",
        shape: Shape::Bytes,
        meaning: "Free disk space below which new events are refused, so that what was accepted can still be processed.",
        set: |config, text| bytes(text, 0..=1 << 50).map(|value| config.disk_reserve_bytes = value),
    },
    OptionDef {
        name: "log_level",
        default: "info",
        shape: Shape::Word(&["error", "warn", "info", "debug", "trace"]),
        meaning: "How much the program tells about itself on standard error.",
        set: |config, text| {
            use LogLevel::{Debug, Error, Info, Trace, Warn};
            word(text, &[Error, Warn, Info, Debug, Trace], LogLevel::as_str)
                .map(|value| config.log_level = value)
        },
    },
];

fn path(text: &str) -> Result<PathBuf, ConfigError> {
    match text.is_empty() {
        true => Err(ConfigError::value(text, "a path")),
        false => Ok(PathBuf::from(text)),
    }
}

fn optional_path(text: &str) -> Result<Option<PathBuf>, ConfigError> {
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

/// Names separated by semicolons, with or without Kafka's `User:` before each.
fn names(text: &str) -> Vec<String> {
    let names = text.split(';').map(str::trim);
    let bare = names.map(|name| name.strip_prefix("User:").unwrap_or(name));
    bare.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// An address to listen on. Names are not looked up, but for `localhost`.
fn listen(text: &str) -> Result<SocketAddr, ConfigError> {
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let expected = "an IP address and a port, such as `127.0.0.1:9092` or `[::1]:9092`";
    named.as_deref().unwrap_or(text).parse().map_err(|_| ConfigError::value(text, expected))
}

fn switch(text: &str) -> Result<bool, ConfigError> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ConfigError::value(text, "`true` or `false`")),
    }
}

fn word<T: Copy>(text: &str, values: &[T], name: fn(T) -> &'static str) -> Result<T, ConfigError> {
    let names = || values.iter().map(|value| format!("`{}`", name(*value))).collect::<Vec<_>>().join(", ");
    let found = values.iter().find(|value| name(**value) == text);
    found.copied().ok_or_else(|| ConfigError::value(text, format!("one of {}", names())))
}

fn count(text: &str, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
    let value = text.replace('_', "").parse().map_err(|_| ConfigError::value(text, "a whole number"))?;
    within(value, text, range, "")
}

fn bytes(text: &str, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
    within(parse_bytes(text)?, text, range, " bytes")
}

fn duration(text: &str, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
    within(parse_duration_ms(text)?, text, range, " ms")
}

fn within(value: u64, text: &str, range: RangeInclusive<u64>, unit: &str) -> Result<u64, ConfigError> {
    match range.contains(&value) {
        true => Ok(value),
        false => {
            Err(ConfigError::value(text, format!("between {} and {}{unit}", range.start(), range.end())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid_and_as_documented() {
        let mut config = Config::unset();
        for option in options() {
            option.set(&mut config, option.default).unwrap();
            assert!(option.meaning.ends_with('.'), "{}", option.name);
        }
        assert_eq!(config, Config::default());
        assert_eq!(config.disk_reserve_bytes, limits::DISK_RESERVE_BYTES);
        assert_eq!((config.trigger_ms, config.trigger_rows), (200, 131_072));
        assert_eq!(config.log_retention_ms, 7 * DAY_MS);
        assert_eq!(config.kafka_listen.to_string(), "127.0.0.1:9092");
        assert!(config.auto_create_topics && !config.allow_insecure_listen);
    }

    #[test]
    fn words_of_a_shape_are_the_words_taken() {
        for option in options() {
            if let Shape::Word(words) = option.shape {
                for word in words {
                    option.set(&mut Config::unset(), word).unwrap();
                }
            }
        }
    }

    #[test]
    fn values_out_of_range_say_the_range() {
        let message = |name: &str, text: &str| {
            let option = options().iter().find(|option| option.name == name).unwrap();
            option.set(&mut Config::unset(), text).unwrap_err().to_string()
        };
        assert_eq!(message("default_partitions", "0"), "`0` is not between 1 and 10000");
        assert_eq!(message("default_partitions", "four"), "`four` is not a whole number");
        assert_eq!(message("trigger", "0 ms"), "`0 ms` is not between 1 and 86400000 ms");
        assert_eq!(
            message("log_segment_bytes", "1 KiB"),
            "`1 KiB` is not between 1048576 and 1073741824 bytes"
        );
        assert_eq!(message("auto_create_topics", "yes"), "`yes` is not `true` or `false`");
        assert!(message("log_level", "loud").starts_with("`loud` is not one of `error`, `warn`"));
        assert_eq!(message("data_dir", ""), "`` is not a path");
        assert_eq!(message("kafka_auth", "ldap"), "`ldap` is not one of `none`, `sasl`, `tls`");
        assert!(message("http_listen", "8080").starts_with("`8080` is not an IP address and a port"));
        assert!(message("kafka_advertised", "nowhere").starts_with("`nowhere` is not a host and a port"));
    }

    #[test]
    fn names_are_separated_by_semicolons() {
        assert_eq!(names("User:admin; CN=operator,O=Acme;"), ["admin", "CN=operator,O=Acme"]);
        assert!(names("").is_empty());
    }

    #[test]
    fn localhost_is_loopback() {
        assert!(listen("localhost:9092").unwrap().ip().is_loopback());
        assert!(listen("example.org:9092").is_err());
    }
}
