//! The access file: `access.json` in the data folder, replaced whole.
//!
//! ```text
//! {"version": 1,
//!  "users":  [{"name": "kim", "credentials": [{"mechanism": "SCRAM-SHA-256", "iterations": 8192,
//!              "salt": BASE64, "stored_key": BASE64, "server_key": BASE64}]}],
//!  "acls":   [{"resource": "TOPIC", "name": "orders", "pattern": "LITERAL", "principal": "User:kim",
//!              "host": "*", "operation": "READ", "permission": "ALLOW"}],
//!  "quotas": [{"user": "kim", "client_id": null, "producer_byte_rate": 1048576.0}]}
//! ```
//!
//! In a quota an absent or null name is not part of the entity, and the empty
//! name stands for whoever has no quota by name.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pluvio_wire_kafka::sasl::{Credential, Mechanism};
use serde::{Deserialize, Serialize};

use crate::acl::{Acl, Operation, Pattern, Permission, ResourceKind};
use crate::quotas::{Entity, QuotaKey, QuotaName, Quotas};
use crate::users::Credentials;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    users: Vec<UserRecord>,
    acls: Vec<AclRecord>,
    quotas: Vec<QuotaRecord>,
}

#[derive(Serialize, Deserialize)]
struct UserRecord {
    name: String,
    credentials: Vec<CredentialRecord>,
}

#[derive(Serialize, Deserialize)]
struct CredentialRecord {
    mechanism: String,
    iterations: u32,
    salt: String,
    stored_key: String,
    server_key: String,
}

#[derive(Serialize, Deserialize)]
struct AclRecord {
    resource: String,
    name: String,
    pattern: String,
    principal: String,
    host: String,
    operation: String,
    permission: String,
}

#[derive(Serialize, Deserialize)]
struct QuotaRecord {
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    producer_byte_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consumer_byte_rate: Option<f64>,
}

/// All there is about access.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Contents {
    pub users: BTreeMap<String, Credentials>,
    pub acls: BTreeSet<Acl>,
    pub quotas: Quotas,
}

pub(crate) fn encode(contents: &Contents) -> Result<Vec<u8>, String> {
    let file = File {
        version: VERSION,
        users: contents.users.iter().map(user_record).collect(),
        acls: contents.acls.iter().map(acl_record).collect(),
        quotas: contents.quotas.iter().map(quota_record).collect(),
    };
    serde_json::to_vec_pretty(&file).map_err(|error| error.to_string())
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Contents, String> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if head.version != VERSION {
        return Err(format!("its version is {}, this program reads {VERSION}", head.version));
    }
    let file: File = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(Contents {
        users: file.users.into_iter().map(user).collect::<Result<_, _>>()?,
        acls: file.acls.into_iter().map(acl).collect::<Result<_, _>>()?,
        quotas: file.quotas.into_iter().map(quota).collect(),
    })
}

fn user_record((name, credentials): (&String, &Credentials)) -> UserRecord {
    let record = |credential: &Credential| CredentialRecord {
        mechanism: credential.hash.mechanism().name().to_owned(),
        iterations: credential.iterations,
        salt: BASE64.encode(&credential.salt),
        stored_key: BASE64.encode(&credential.stored_key),
        server_key: BASE64.encode(&credential.server_key),
    };
    UserRecord { name: name.clone(), credentials: credentials.values().map(record).collect() }
}

fn user(record: UserRecord) -> Result<(String, Credentials), String> {
    let name = record.name;
    let credential = |record: CredentialRecord| {
        let hash = Mechanism::of_name(&record.mechanism).and_then(Mechanism::hash);
        let hash =
            hash.ok_or_else(|| format!("user {name:?} has an unknown mechanism {:?}", record.mechanism))?;
        let bytes = |text: &str| BASE64.decode(text).map_err(|error| format!("user {name:?}: {error}"));
        let (salt, stored_key) = (bytes(&record.salt)?, bytes(&record.stored_key)?);
        let server_key = bytes(&record.server_key)?;
        if stored_key.len() != hash.bytes() || server_key.len() != hash.bytes() {
            return Err(format!("user {name:?} has a key of the wrong length"));
        }
        Ok((hash, Credential { hash, salt, iterations: record.iterations, stored_key, server_key }))
    };
    let credentials = record.credentials.into_iter().map(credential).collect::<Result<_, String>>()?;
    Ok((name, credentials))
}

fn acl_record(acl: &Acl) -> AclRecord {
    AclRecord {
        resource: acl.resource.name().to_owned(),
        name: acl.name.clone(),
        pattern: acl.pattern.name().to_owned(),
        principal: acl.principal.clone(),
        host: acl.host.clone(),
        operation: acl.operation.name().to_owned(),
        permission: acl.permission.name().to_owned(),
    }
}

fn acl(record: AclRecord) -> Result<Acl, String> {
    let unknown = |what: &str, name: &str| format!("a rule has the unknown {what} {name:?}");
    let AclRecord { resource, name, pattern, principal, host, operation, permission } = record;
    Ok(Acl {
        resource: ResourceKind::of_name(&resource).ok_or_else(|| unknown("resource", &resource))?,
        name,
        pattern: Pattern::of_name(&pattern).ok_or_else(|| unknown("pattern", &pattern))?,
        principal,
        host,
        operation: Operation::of_name(&operation).ok_or_else(|| unknown("operation", &operation))?,
        permission: Permission::of_name(&permission).ok_or_else(|| unknown("permission", &permission))?,
    })
}

fn quota_record((entity, values): (&Entity, &BTreeMap<QuotaKey, f64>)) -> QuotaRecord {
    let name = |name: &Option<QuotaName>| match name {
        None => None,
        Some(QuotaName::Default) => Some(String::new()),
        Some(QuotaName::Named(name)) => Some(name.clone()),
    };
    QuotaRecord {
        user: name(&entity.user),
        client_id: name(&entity.client_id),
        producer_byte_rate: values.get(&QuotaKey::ProducerByteRate).copied(),
        consumer_byte_rate: values.get(&QuotaKey::ConsumerByteRate).copied(),
    }
}

fn quota(record: QuotaRecord) -> (Entity, BTreeMap<QuotaKey, f64>) {
    let name = |name: Option<String>| {
        name.map(|name| if name.is_empty() { QuotaName::Default } else { QuotaName::Named(name) })
    };
    let values = [
        (QuotaKey::ProducerByteRate, record.producer_byte_rate),
        (QuotaKey::ConsumerByteRate, record.consumer_byte_rate),
    ];
    let values = values.into_iter().filter_map(|(key, value)| Some((key, value?)));
    (Entity { user: name(record.user), client_id: name(record.client_id) }, values.collect())
}
