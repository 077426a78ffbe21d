//! A Kafka cluster elsewhere, as streams and sinks name it.
//!
//! The catalog holds no password: it holds where the password is to be found.

use serde::{Deserialize, Serialize};

/// How to reach a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaDef {
    /// Brokers to ask first, each `host:port`.
    pub brokers: Vec<String>,
    /// Encryption; `None` for a plain connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsDef>,
    /// Who we are; `None` to say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<SaslDef>,
}

/// How a connection is encrypted. Files are PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsDef {
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<String>,
    /// Our certificate.
    pub certificate_file: Option<String>,
    /// Its key.
    pub key_file: Option<String>,
}

/// Who we are, and how that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaslDef {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user's name.
    pub username: String,
    /// Where the password is.
    pub password: Secret,
}

/// Where a secret is kept: it is looked up when it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// In an environment variable.
    Env(String),
    /// In a file, without the line end after it.
    File(String),
}

impl Secret {
    /// Reads `env:NAME` or `file:PATH`.
    ///
    /// # Errors
    /// Anything else, with what to write instead.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            _ => Err("say where it is, 'env:NAME' or 'file:PATH': what stands in SQL is kept and shown"),
        }
    }

    /// The secret itself.
    ///
    /// # Errors
    /// There is no such variable or file.
    pub fn look_up(&self) -> Result<String, String> {
        match self {
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the environment variable {name} is not set: set it and start again")),
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| format!("cannot read the secret in {path}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_places_not_words() {
        assert_eq!(Secret::parse("env:PASSWORD"), Ok(Secret::Env("PASSWORD".into())));
        assert!(Secret::parse("hunter2").is_err());
        assert!(Secret::parse("env:").is_err());
        let missing = Secret::Env("PLUVIO_NO_SUCH_VARIABLE".into()).look_up().unwrap_err();
        assert!(missing.contains("PLUVIO_NO_SUCH_VARIABLE"), "{missing}");
        let file = std::env::temp_dir().join(format!("pluvio-secret-{}", std::process::id()));
        std::fs::write(&file, "word\n").unwrap();
        let found = Secret::File(file.to_string_lossy().into_owned()).look_up();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(found.as_deref(), Ok("word"));
    }
}
