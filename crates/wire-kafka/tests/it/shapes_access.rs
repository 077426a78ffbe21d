//! Samples of the requests about who may do what.

use bytes::Bytes;
use kafka_protocol::messages::alter_client_quotas_request as quotas;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::{self as m};

use crate::shapes::{bytes_of, s};

pub fn sample(key: m::ApiKey, v: i16) -> Bytes {
    use m::ApiKey as K;
    match key {
        K::SaslHandshake => bytes_of(&m::SaslHandshakeRequest::default().with_mechanism(s("PLAIN")), v),
        K::SaslAuthenticate => {
            bytes_of(&m::SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"proof")), v)
        }
        K::DescribeAcls => bytes_of(&describe_acls(), v),
        K::CreateAcls => {
            let creation = AclCreation::default().with_resource_name(s("t")).with_principal(s("User:kim"));
            let creations = vec![creation.clone(), creation.with_host(s("*"))];
            bytes_of(&m::CreateAclsRequest::default().with_creations(creations), v)
        }
        K::DeleteAcls => {
            let filter = DeleteAclsFilter::default().with_resource_name_filter(None);
            let filters = vec![filter.clone(), filter.with_host_filter(Some(s("*")))];
            bytes_of(&m::DeleteAclsRequest::default().with_filters(filters), v)
        }
        K::DescribeClientQuotas => {
            let part = ComponentData::default().with_entity_type(s("user")).with_match(Some(s("kim")));
            bytes_of(&m::DescribeClientQuotasRequest::default().with_components(vec![part.clone(), part]), v)
        }
        K::AlterClientQuotas => bytes_of(&alter_quotas(), v),
        K::DescribeUserScramCredentials => {
            let users = vec![UserName::default().with_name(s("kim"))];
            bytes_of(&m::DescribeUserScramCredentialsRequest::default().with_users(Some(users)), v)
        }
        K::AlterUserScramCredentials => bytes_of(&alter_users(), v),
        other => panic!("no sample of {other:?}"),
    }
}

fn describe_acls() -> m::DescribeAclsRequest {
    m::DescribeAclsRequest::default()
        .with_resource_type_filter(2)
        .with_resource_name_filter(Some(s("t")))
        .with_pattern_type_filter(3)
        .with_principal_filter(None)
        .with_operation(1)
}

fn alter_quotas() -> m::AlterClientQuotasRequest {
    let part = quotas::EntityData::default().with_entity_type(s("user")).with_entity_name(None);
    let op = quotas::OpData::default().with_key(s("producer_byte_rate")).with_value(1.5);
    let entry = quotas::EntryData::default().with_entity(vec![part.clone(), part]).with_ops(vec![op]);
    m::AlterClientQuotasRequest::default().with_entries(vec![entry]).with_validate_only(true)
}

fn alter_users() -> m::AlterUserScramCredentialsRequest {
    let deletion = ScramCredentialDeletion::default().with_name(s("tim")).with_mechanism(1);
    let upsertion = ScramCredentialUpsertion::default()
        .with_name(s("kim"))
        .with_mechanism(2)
        .with_iterations(4096)
        .with_salt(Bytes::from_static(b"salt"))
        .with_salted_password(Bytes::from_static(b"salted"));
    let request = m::AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion]);
    request.with_upsertions(vec![upsertion])
}
