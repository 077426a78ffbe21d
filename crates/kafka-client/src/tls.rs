//! The client's side of TLS.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::{ClientError, Tls};

/// What is said of a server that shows the certificate of an authority, as a
/// self-signed one is unless it says otherwise.
const AUTHORITY_ITSELF: &str = "CaUsedAsEndEntity";

/// Encrypts a connection to the broker at `address`, whose certificate must be
/// for that host and be trusted.
pub(crate) async fn encrypt(
    stream: TcpStream,
    address: &str,
    tls: &Tls,
) -> Result<TlsStream<TcpStream>, ClientError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host);
    let name =
        name.map_err(|error| settings(format!("{address} cannot be a certificate's name: {error}")))?;
    let connector = TlsConnector::from(Arc::new(config(tls)?));
    connector.connect(name, stream).await.map_err(|source| {
        let hint = match source.to_string().contains(AUTHORITY_ITSELF) {
            true => " (the server's certificate must not be an authority's: make it with basicConstraints=CA:FALSE)",
            false => "",
        };
        ClientError::socket(format!("encrypt the connection to {address}{hint}"), source)
    })
}

fn settings(message: String) -> ClientError {
    ClientError::Settings(message)
}

fn config(tls: &Tls) -> Result<ClientConfig, ClientError> {
    let versions = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let versions = versions.with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| settings(format!("TLS cannot be set up: {error}")))?;
    let builder = builder.with_root_certificates(roots(tls.ca_file.as_deref())?);
    let Some((certificate, key)) = &tls.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| settings(format!("ssl.key.location {key}: {error}")))?;
    let identity = builder.with_client_auth_cert(chain, key);
    identity.map_err(|error| settings(format!("the certificate {certificate} cannot be used: {error}")))
}

/// The certificates of a file, else the system's.
fn roots(ca_file: Option<&str>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = ca_file else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        return match roots.is_empty() {
            false => Ok(roots),
            true => {
                let message = "the system has no certificates to trust: name a file of them (ssl.ca.location, --tls-ca)";
                Err(settings(message.into()))
            }
        };
    };
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| settings(format!("ssl.ca.location {file}: {error}")))?;
    }
    Ok(roots)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let read: Vec<_> =
        read.map_err(|error| settings(format!("cannot read the certificates in {file}: {error}")))?;
    if read.is_empty() {
        return Err(settings(format!("{file} has no certificate in PEM form")));
    }
    Ok(read)
}
