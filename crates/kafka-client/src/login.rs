//! Says who we are, right after connecting.

use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use pluvio_foundation::{Random, SystemRandom};
use pluvio_wire_kafka::sasl::{Mechanism, Plain, SaslError, ScramClient};

use crate::error::check;
use crate::link::Link;
use crate::{Client, ClientError, Sasl};

/// Logs in over a fresh connection.
pub(crate) async fn login(link: &Link, sasl: &Sasl) -> Result<(), ClientError> {
    let unknown = || ClientError::Settings(format!("{:?} is no SASL mechanism of ours", sasl.mechanism));
    let mechanism = Mechanism::of_name(&sasl.mechanism).ok_or_else(unknown)?;
    let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism.name()));
    let answer = Client::exchange(link, &request).await?;
    check(answer.error_code, || {
        let offered: Vec<&str> = answer.mechanisms.iter().map(|it| &**it).collect();
        format!("log in with {}; the server offers {}", mechanism.name(), offered.join(", "))
    })?;
    let Some(hash) = mechanism.hash() else {
        let plain = Plain { user: sasl.username.clone(), password: sasl.password.clone() };
        return send(link, sasl, plain.encode()).await.map(drop);
    };
    let nonce: String = SystemRandom::default().uuid().iter().map(|byte| format!("{byte:02x}")).collect();
    let (client, first) = ScramClient::begin(hash, &sasl.username, &sasl.password, &nonce);
    let challenge = send(link, sasl, first).await?;
    let (last, proof) = client.prove(&challenge).map_err(|error| failed(sasl, &error))?;
    let result = send(link, sasl, proof).await?;
    last.check(&result).map_err(|error| failed(sasl, &error))
}

async fn send(link: &Link, sasl: &Sasl, message: Vec<u8>) -> Result<Bytes, ClientError> {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
    let answer = Client::exchange(link, &request).await?;
    check(answer.error_code, || {
        let reason = answer.error_message.as_deref().unwrap_or_default();
        format!("log in as {:?}: {reason}", sasl.username)
    })?;
    Ok(answer.auth_bytes)
}

fn failed(sasl: &Sasl, error: &SaslError) -> ClientError {
    ClientError::Settings(format!("cannot log in as {:?}: {error}", sasl.username))
}
