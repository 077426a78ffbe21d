//! The configuration: one definition per option, from which the file's keys, the
//! environment's variables, the command line's flags and `pluvio config` all
//! come.
//!
//! Promises: a later layer goes before an earlier one (defaults, file,
//! environment, command line); an unknown key or a value out of range is an error
//! that says where it stands and what to write; nothing listens beyond this
//! machine by accident. This crate parses and checks; it opens no socket and
//! reads one file, through [`pluvio_foundation::Disk`].

mod config;
mod error;
mod load;
mod memory;
mod options;
mod show;
mod suggest;
mod units;

pub use config::{Config, HostPort, KafkaAuth, LogLevel, Role};
pub use error::ConfigError;
pub use load::{CONFIG_FILE, Inputs, Setting, Settings, Source, load};
pub use options::{OptionDef, Shape, options};
pub use units::{parse_bytes, parse_duration_ms};
