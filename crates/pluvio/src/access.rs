//! Users, rules and quotas of a data folder, and what the options say about
//! the Kafka door's clients.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pluvio_access::Access;
use pluvio_config::{Config, KafkaAuth};
use pluvio_doors::kafka::{Authentication, Security, Tls, TlsFiles};
use pluvio_foundation::RealDisk;
use tokio::sync::watch;

use crate::error::CliError;

/// How soon a running platform takes what `pluvio user` changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Keeps two processes from changing the access file at once.
const LOCK_FILE: &str = "access.lock";

/// Opens the access file of a data folder, which other processes may change.
///
/// # Errors
/// There is no such folder, or the file cannot be read.
pub fn open(folder: &Path) -> Result<Access, CliError> {
    let path = folder.join(LOCK_FILE);
    let lock = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            CliError::Other(format!("there is no data folder {}; name it with --data-dir", folder.display()))
        }
        _ => CliError::io(path.display().to_string(), error),
    })?;
    Ok(Access::open(folder, Arc::new(RealDisk))?.shared(lock))
}

/// Who may use the Kafka door, as the options say.
///
/// # Errors
/// The access file or a certificate cannot be read.
pub fn security(config: &Config) -> Result<Arc<Security>, CliError> {
    let access = Arc::new(open(&config.data_dir)?);
    let authentication = match config.kafka_auth {
        KafkaAuth::None => Authentication::None,
        KafkaAuth::Sasl => Authentication::Sasl,
        KafkaAuth::Tls => Authentication::Tls,
    };
    if authentication == Authentication::Sasl && access.users().is_empty() {
        tracing::warn!("kafka_auth = \"sasl\", but there are no users yet; add one with `pluvio user add`");
    }
    if authentication != Authentication::None && config.kafka_super_users.is_empty() {
        tracing::warn!("there are no kafka_super_users: nobody can make the first access rule");
    }
    let mut security = Security::new(access, authentication)
        .map_err(|error| CliError::io("the system's randomness", error))?;
    security.super_users = config.kafka_super_users.clone();
    security.session_lifetime_ms = config.kafka_session_lifetime_ms;
    if let (Some(certificate), Some(key)) = (&config.kafka_tls_cert, &config.kafka_tls_key) {
        let (certificate, key) = (certificate.clone(), key.clone());
        let files = TlsFiles { certificate, key, client_ca: config.kafka_tls_client_ca.clone() };
        security.tls = Some(Tls::load(files)?);
    }
    Ok(Arc::new(security))
}

/// Takes what other processes change in the access file, until the platform
/// stops.
pub async fn follow(folder: std::path::PathBuf, security: Arc<Security>, mut stopped: watch::Receiver<bool>) {
    let path = folder.join(pluvio_access::store::ACCESS_FILE);
    let mut seen = None;
    loop {
        tokio::select! {
            _ = tokio::time::sleep(LOOK_INTERVAL) => {}
            _ = stopped.wait_for(|stopping| *stopping) => return,
        }
        let metadata = std::fs::metadata(&path).ok();
        let stamp = metadata.and_then(|file| Some((file.modified().ok()?, file.len())));
        if stamp == seen {
            continue;
        }
        seen = stamp;
        let access = Arc::clone(&security.access);
        let read = tokio::task::spawn_blocking(move || access.refresh()).await;
        if let Ok(Err(error)) = read {
            tracing::error!(%error, "going on with the users and rules read before");
        }
    }
}
