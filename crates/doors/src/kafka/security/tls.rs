//! TLS for the door: a certificate and its key from PEM files, read again when
//! they change. Connections that are open go on with what they began with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::subject::subject;
use crate::DoorError;

/// How often the files are looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Largest PEM file, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where the certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificates of who vouches for clients; if given, every client
    /// needs a certificate.
    pub client_ca: Option<PathBuf>,
}

/// When a file was written, and how long it is.
type Stamp = Option<(SystemTime, u64)>;

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    stamps: Vec<Stamp>,
    looked_at: Instant,
}

/// The server's side of TLS.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them is missing or not what it should be, or the key is not the
    /// certificate's.
    pub fn load(files: TlsFiles) -> Result<Self, DoorError> {
        let stamps = stamps(&files);
        let config = configuration(&files)?;
        let loaded = Loaded { config, stamps, looked_at: Instant::now() };
        Ok(Self { files, loaded: Mutex::new(loaded) })
    }

    /// What accepts the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock();
        if loaded.looked_at.elapsed() >= LOOK_INTERVAL {
            loaded.looked_at = Instant::now();
            let stamps = stamps(&self.files);
            if stamps != loaded.stamps {
                loaded.stamps = stamps;
                match configuration(&self.files) {
                    Ok(config) => {
                        tracing::info!(certificate = %self.files.certificate.display(), "certificate read again");
                        loaded.config = config;
                    }
                    Err(error) => tracing::error!(%error, "going on with the certificate read before"),
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&loaded.config))
    }
}

/// The user that a client's certificate names.
pub(crate) fn user_of(certificates: Option<&[CertificateDer<'_>]>) -> Option<String> {
    subject(certificates?.first()?)
}

fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    let paths = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    paths.into_iter().flatten().map(stamp).collect()
}

fn failed(what: &str, path: &Path, reason: impl ToString) -> DoorError {
    DoorError::Tls { what: format!("{what} {}", path.display()), reason: reason.to_string() }
}

fn read(what: &str, path: &Path) -> Result<Vec<u8>, DoorError> {
    let length = fs::metadata(path).map_err(|error| failed(what, path, error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(failed(what, path, format!("it has {length} bytes, the limit is {FILE_BYTES_MAX}")));
    }
    fs::read(path).map_err(|error| failed(what, path, error))
}

/// The certificates of a PEM file, at least one.
pub(crate) fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, DoorError> {
    let bytes = read(what, path)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| failed(what, path, format!("it is not PEM: {error}")))?;
    match found.is_empty() {
        true => Err(failed(what, path, "it has no `-----BEGIN CERTIFICATE-----`")),
        false => Ok(found),
    }
}

/// Those who vouch for others, from a PEM file.
pub(crate) fn roots(what: &str, path: &Path) -> Result<RootCertStore, DoorError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, path)? {
        roots.add(certificate).map_err(|error| failed(what, path, error))?;
    }
    Ok(roots)
}

/// The one implementation of cryptography that TLS uses here.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn configuration(files: &TlsFiles) -> Result<Arc<ServerConfig>, DoorError> {
    let chain = certificates("certificate file", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read("key file", &files.key)?).map_err(|error| {
        failed("key file", &files.key, format!("it has no private key in PEM without a password: {error}"))
    })?;
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed("certificate file", &files.certificate, error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let what = "client authority file";
            let roots = Arc::new(roots(what, path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| failed(what, path, error))?)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| {
        let reason = format!("{error}; is {} its key?", files.key.display());
        failed("certificate file", &files.certificate, reason)
    })?;
    Ok(Arc::new(config))
}
