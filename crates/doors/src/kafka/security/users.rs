//! DescribeUserScramCredentials and AlterUserScramCredentials: users over the
//! protocol. The client salts the password; it never comes here.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
};
use pluvio_access::{Access, AccessError, UserChange};
use pluvio_wire_kafka::sasl::{Credential, Hash};

use crate::kafka::cluster::text;
use crate::kafka::codes::{self, Code};
use crate::kafka::configs::Refused;
use crate::kafka::dispatch::Call;

/// The mechanism's code on the wire.
fn code_of(hash: Hash) -> i8 {
    match hash {
        Hash::Sha256 => 1,
        Hash::Sha512 => 2,
    }
}

fn hash_of(code: i8) -> Result<Hash, Refused> {
    let known = [Hash::Sha256, Hash::Sha512].into_iter().find(|hash| code_of(*hash) == code);
    known.ok_or_else(|| (Code::UnsupportedSaslMechanism, format!("SCRAM mechanism {code} does not exist")))
}

fn disabled() -> Refused {
    (Code::SecurityDisabled, "this door keeps no users".to_owned())
}

fn access(call: &Call) -> Result<Arc<Access>, Refused> {
    call.broker.options.security.as_ref().map(|it| Arc::clone(&it.access)).ok_or_else(disabled)
}

/// Carries out a DescribeUserScramCredentials.
pub(crate) fn describe_users(
    call: &Call,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let all = match access(call) {
        Ok(access) => access.users(),
        Err((code, message)) => {
            return DescribeUserScramCredentialsResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(text(&message)));
        }
    };
    let result = |name: &str| {
        let result = DescribeUserScramCredentialsResult::default().with_user(text(name));
        match all.iter().find(|(known, _)| known == name) {
            Some((_, credentials)) => {
                let infos = credentials.iter().map(|(hash, iterations)| {
                    CredentialInfo::default()
                        .with_mechanism(code_of(*hash))
                        .with_iterations(i32::try_from(*iterations).unwrap_or(i32::MAX))
                });
                result.with_credential_infos(infos.collect())
            }
            None => result
                .with_error_code(Code::ResourceNotFound.code())
                .with_error_message(Some(text(&AccessError::NoUser(name.to_owned()).to_string()))),
        }
    };
    let results = match request.users.filter(|users| !users.is_empty()) {
        Some(users) => users.iter().map(|user| result(&user.name)).collect(),
        None => all.iter().map(|(name, _)| result(name)).collect(),
    };
    DescribeUserScramCredentialsResponse::default().with_results(results)
}

/// Carries out an AlterUserScramCredentials: each user's changes together.
pub(crate) async fn alter_users(
    call: Call,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let mut changes: Vec<(String, Result<UserChange, Refused>)> = Vec::new();
    for asked in &request.deletions {
        let name = asked.name.to_string();
        let change = hash_of(asked.mechanism).map(|hash| UserChange::Remove { name: name.clone(), hash });
        changes.push((name, change));
    }
    for asked in &request.upsertions {
        let name = asked.name.to_string();
        let change = hash_of(asked.mechanism).and_then(|hash| {
            if asked.salted_password.len() != hash.bytes() {
                return Err((
                    Code::UnacceptableCredential,
                    "the salted password has the wrong length".into(),
                ));
            }
            let iterations = u32::try_from(asked.iterations).unwrap_or(0);
            let credential =
                Credential::of_salted(hash, &asked.salted_password, asked.salt.to_vec(), iterations);
            Ok(UserChange::Set { name: name.clone(), credential })
        });
        changes.push((name, change));
    }
    let mut seen = HashSet::new();
    let users: Vec<String> =
        changes.iter().map(|(name, _)| name.clone()).filter(|name| seen.insert(name.clone())).collect();
    let mut results = Vec::with_capacity(users.len());
    for user in users {
        let of_user = changes.extract_if(.., |(name, _)| *name == user);
        let of_user: Result<Vec<UserChange>, Refused> = of_user.map(|(_, change)| change).collect();
        let done = match (access(&call), of_user) {
            (Ok(access), Ok(changes)) => apply(access, changes).await,
            (Err(refused), _) | (_, Err(refused)) => Err(refused),
        };
        let result = AlterUserScramCredentialsResult::default().with_user(text(&user));
        results.push(match done {
            Ok(()) => {
                tracing::info!(user, by = call.rights.user(), "user changed");
                result
            }
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(&message)))
            }
        });
    }
    AlterUserScramCredentialsResponse::default().with_results(results)
}

async fn apply(access: Arc<Access>, changes: Vec<UserChange>) -> Result<(), Refused> {
    let same = |one: &UserChange, other: &UserChange| match (one, other) {
        (UserChange::Set { credential, .. }, UserChange::Set { credential: other, .. }) => {
            credential.hash == other.hash
        }
        (UserChange::Set { credential, .. }, UserChange::Remove { hash, .. })
        | (UserChange::Remove { hash, .. }, UserChange::Set { credential, .. }) => credential.hash == *hash,
        (UserChange::Remove { hash, .. }, UserChange::Remove { hash: other, .. }) => hash == other,
        _ => false,
    };
    let twice =
        changes.iter().enumerate().any(|(place, one)| changes[..place].iter().any(|it| same(it, one)));
    if twice {
        return Err((Code::DuplicateResource, "a user's credential is changed twice in one request".into()));
    }
    let done = tokio::task::spawn_blocking(move || access.change_users(&changes)).await;
    let failed = |_| (Code::UnknownServerError, "the change was given up".to_owned());
    done.map_err(failed)?.map_err(|error| match &error {
        AccessError::NoUser(_) => (Code::ResourceNotFound, error.to_string()),
        AccessError::Invalid(_) => (Code::UnacceptableCredential, error.to_string()),
        other => (codes::of_access(other), error.to_string()),
    })
}
