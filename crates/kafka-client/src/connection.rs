//! How to reach a cluster: addresses, encryption, and who we are.

/// Where a cluster is and how to get in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Brokers to ask first, each `host:port`.
    pub brokers: Vec<String>,
    /// Encryption; `None` for a plain connection.
    pub tls: Option<Tls>,
    /// Who we are; `None` to say nothing.
    pub sasl: Option<Sasl>,
}

impl Connection {
    /// A plain connection to these brokers, separated by commas.
    pub fn plain(brokers: &str) -> Self {
        let brokers = brokers.split(',').map(|broker| broker.trim().to_owned());
        Self { brokers: brokers.filter(|broker| !broker.is_empty()).collect(), ..Self::default() }
    }
}

/// How a connection is encrypted. Files are PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<String>,
    /// Our certificate and its key, if the brokers ask for one.
    pub identity: Option<(String, String)>,
}

/// Who we are, and how that is shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user's name.
    pub username: String,
    /// The password; never printed.
    pub password: String,
}

impl std::fmt::Debug for Sasl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sasl({} as {:?})", self.mechanism, self.username)
    }
}
