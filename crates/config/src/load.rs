//! Laying the sources over one another and checking the whole.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use pluvio_foundation::Disk;
use toml::{Table, Value};

use crate::config::{Config, KafkaAuth};
use crate::error::ConfigError;
use crate::options::{OptionDef, options};
use crate::suggest::nearest;

/// The file that is read if none is named and it exists.
pub const CONFIG_FILE: &str = "pluvio.toml";
/// The variable that names the file, if the command line does not.
const CONFIG_VARIABLE: &str = "PLUVIO_CONFIG";
/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where values may come from, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The file named on the command line (`--config`).
    pub file: Option<PathBuf>,
    /// The environment; only names that start with `PLUVIO_` are looked at.
    pub environment: Vec<(String, String)>,
    /// The flags given, by option name.
    pub command_line: Vec<(String, String)>,
}

/// Which source a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The option's default.
    Default,
    /// This file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// A flag.
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Environment(variable) => write!(formatter, "the environment ({variable})"),
            Self::CommandLine => formatter.write_str("the command line"),
        }
    }
}

/// An option's value and where it came from.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The option.
    pub option: &'static OptionDef,
    /// Its value as it was written.
    pub text: String,
    /// Who wrote it.
    pub source: Source,
}

/// The loaded configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The typed values.
    pub config: Config,
    /// Every option, in the order of [`options`].
    pub settings: Vec<Setting>,
    /// What looks like a mistake but may be meant: environment variables that
    /// start with `PLUVIO_` and name no option (container schedulers make such
    /// ones for a service called pluvio), passwords without encryption.
    pub warnings: Vec<String>,
}

/// Loads the configuration: defaults, then the file, the environment and the
/// command line, each going before the one it follows.
///
/// # Errors
/// A named file that cannot be read, bad TOML, an unknown key or flag, a value
/// that does not fit, options that contradict each other, or an address beyond
/// this machine without `allow_insecure_listen`.
pub fn load(disk: &dyn Disk, inputs: &Inputs) -> Result<Settings, ConfigError> {
    let default = |option: &'static OptionDef| Setting {
        option,
        text: option.default.to_owned(),
        source: Source::Default,
    };
    let mut settings: Vec<Setting> = options().iter().map(default).collect();
    let mut warnings = Vec::new();
    if let Some(path) = file(disk, inputs) {
        for (name, value) in read(disk, &path)? {
            let source = Source::File(path.clone());
            put(&mut settings, &name, scalar(&name, &value)?, source)?;
        }
    }
    for (variable, text) in &inputs.environment {
        let Some(name) = variable.strip_prefix("PLUVIO_").filter(|_| variable != CONFIG_VARIABLE) else {
            continue;
        };
        let source = Source::Environment(variable.clone());
        if let Err(unknown) = put(&mut settings, &name.to_ascii_lowercase(), text.clone(), source) {
            warnings.push(unknown.to_string());
        }
    }
    for (name, text) in &inputs.command_line {
        put(&mut settings, name, text.clone(), Source::CommandLine)?;
    }
    let mut config = Config::unset();
    for Setting { option, text, source } in &settings {
        let wrap = |error| ConfigError::Option {
            name: option.name,
            place: source.to_string(),
            error: Box::new(error),
        };
        option.set(&mut config, text).map_err(wrap)?;
    }
    check(&config)?;
    warnings.extend(risks(&config));
    Ok(Settings { config, settings, warnings })
}

/// Which file to read: one that is named must exist, the usual one may.
fn file(disk: &dyn Disk, inputs: &Inputs) -> Option<PathBuf> {
    let variable = inputs.environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
    let named = inputs.file.clone().or_else(|| variable.map(|(_, path)| PathBuf::from(path)));
    named.or_else(|| Some(PathBuf::from(CONFIG_FILE)).filter(|path| disk.exists(path)))
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Table, ConfigError> {
    let failed = |error| ConfigError::File { path: path.to_owned(), error };
    let bytes = disk.read(path, FILE_BYTES_MAX).map_err(failed)?;
    let syntax = |message: String| ConfigError::Syntax { path: path.to_owned(), message };
    let text = String::from_utf8(bytes).map_err(|error| syntax(error.to_string()))?;
    text.parse().map_err(|error: toml::de::Error| syntax(error.to_string()))
}

/// A value of the file as the text it would be elsewhere.
fn scalar(name: &str, value: &Value) -> Result<String, ConfigError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(switch) => Ok(switch.to_string()),
        other => {
            let expected = format!(
                "a text, number or switch, but a TOML {}; options are not in sections",
                other.type_str()
            );
            Err(ConfigError::value(name, expected))
        }
    }
}

fn put(settings: &mut [Setting], name: &str, text: String, source: Source) -> Result<(), ConfigError> {
    match settings.iter_mut().find(|setting| setting.option.name == name) {
        Some(setting) => {
            (setting.text, setting.source) = (text, source);
            Ok(())
        }
        None => {
            let guess = nearest(name, options().iter().map(|option| option.name));
            let suggestion = guess.map(|guess| format!(" (did you mean `{guess}`?)")).unwrap_or_default();
            Err(ConfigError::Unknown { name: name.to_owned(), place: source.to_string(), suggestion })
        }
    }
}

/// What no option can check alone.
fn check(config: &Config) -> Result<(), ConfigError> {
    let doors: [(&'static str, SocketAddr); 3] = [
        ("kafka_listen", config.kafka_listen),
        ("postgres_listen", config.postgres_listen),
        ("http_listen", config.http_listen),
    ];
    for (index, (name, address)) in doors.into_iter().enumerate() {
        let authenticated = name == "kafka_listen" && config.kafka_auth != KafkaAuth::None;
        if !address.ip().is_loopback() && !authenticated && !config.allow_insecure_listen {
            return Err(ConfigError::OpenListen { name, address });
        }
        if let Some((other, _)) =
            doors[..index].iter().find(|(_, its)| *its == address && address.port() != 0)
        {
            let message = format!("{other} and {name} are both \"{address}\"; give one of them another port");
            return Err(ConfigError::Conflict(message));
        }
    }
    if config.kafka_listen.ip().is_unspecified() && config.kafka_advertised.is_none() {
        let message = format!(
            "kafka_listen = \"{}\" is no address that a client can connect to; set kafka_advertised to the name and \
             port by which clients reach this machine",
            config.kafka_listen
        );
        return Err(ConfigError::Conflict(message));
    }
    check_access(config)
}

/// The options about who may use the Kafka door.
fn check_access(config: &Config) -> Result<(), ConfigError> {
    let conflict = |message: &str| Err(ConfigError::Conflict(message.to_owned()));
    match (&config.kafka_tls_cert, &config.kafka_tls_key, &config.kafka_tls_client_ca) {
        (Some(_), None, _) => conflict("kafka_tls_cert needs its private key: set kafka_tls_key"),
        (None, Some(_), _) => conflict("kafka_tls_key is the key of no certificate: set kafka_tls_cert"),
        (None, None, Some(_)) => conflict(
            "kafka_tls_client_ca counts only on encrypted connections: set kafka_tls_cert and kafka_tls_key",
        ),
        (_, _, None) if config.kafka_auth == KafkaAuth::Tls => conflict(
            "kafka_auth = \"tls\" asks clients for a certificate: set kafka_tls_client_ca to who vouches for it",
        ),
        (_, _, Some(_)) if config.kafka_auth == KafkaAuth::None => conflict(
            "kafka_tls_client_ca asks clients for a certificate, but kafka_auth = \"none\" does not look at it: set \
             kafka_auth = \"tls\", or \"sasl\" to ask for both",
        ),
        _ => Ok(()),
    }
}

/// What is allowed but may surprise.
fn risks(config: &Config) -> Option<String> {
    let beyond = !config.kafka_listen.ip().is_loopback();
    let open = config.kafka_auth == KafkaAuth::Sasl && config.kafka_tls_cert.is_none();
    (beyond && open).then(|| {
        "kafka_listen lets other machines in without encryption: passwords are safe (only SCRAM is taken), but \
         records can be read on the way; set kafka_tls_cert and kafka_tls_key"
            .to_owned()
    })
}
