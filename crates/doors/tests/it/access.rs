//! Who may do what at the door: proofs by SASL, rules, quotas.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::alter_client_quotas_request as quotas;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterUserScramCredentialsRequest, ApiVersionsRequest, CreateAclsRequest,
    DeleteAclsRequest, DescribeAclsRequest, DescribeClientQuotasRequest, DescribeClusterRequest,
    DescribeConfigsRequest, DescribeUserScramCredentialsRequest, FindCoordinatorRequest, HeartbeatRequest,
    InitProducerIdRequest, ListGroupsRequest, MetadataRequest, ProduceRequest, SaslAuthenticateRequest,
    SaslHandshakeRequest, TopicName,
};
use pluvio_access::{Access, UserChange};
use pluvio_doors::kafka::{Authentication, BrokerOptions, Security};
use pluvio_foundation::RealDisk;
use pluvio_wire_kafka::frame::LENGTH_BYTES;
use pluvio_wire_kafka::sasl::{Credential, Hash, Mechanism, Plain, SaslError, ScramClient, salted_password};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::harness::{Raw, Server, batch, text};

const DENIED_TOPIC: i16 = 29;
const DENIED_GROUP: i16 = 30;
const DENIED_CLUSTER: i16 = 31;
const REFUSED: i16 = 58;

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn set(name: &str) -> UserChange {
    let credential =
        |hash| Credential::of_password(hash, &format!("{name}'s password"), b"salt".to_vec(), 4096);
    UserChange::Set { name: name.into(), credential: credential(Hash::Sha256) }
}

async fn start(dir: &TempDir, authentication: Authentication, change: impl FnOnce(&mut Security)) -> Server {
    let access = Access::open(dir.path(), Arc::new(RealDisk)).unwrap();
    access.change_users(&[set("admin"), set("kim")]).unwrap();
    let mut security = Security::new(Arc::new(access), authentication).unwrap();
    security.super_users = vec!["admin".into()];
    change(&mut security);
    let options = BrokerOptions { security: Some(Arc::new(security)), ..BrokerOptions::default() };
    Server::start_with(&dir.path().join("log"), options).await
}

async fn sasl(dir: &TempDir) -> Server {
    start(dir, Authentication::Sasl, |_| {}).await
}

async fn choose(raw: &mut Raw, mechanism: Mechanism) {
    let request = SaslHandshakeRequest::default().with_mechanism(text(mechanism.name()));
    assert_eq!(raw.ask(1, &request).await.error_code, 0);
}

/// Sends a token: the token answered, or the error's code.
async fn token(raw: &mut Raw, token: Vec<u8>) -> Result<Bytes, i16> {
    let answer = raw.ask(2, &SaslAuthenticateRequest::default().with_auth_bytes(token.into())).await;
    match answer.error_code {
        0 => Ok(answer.auth_bytes),
        code => Err(code),
    }
}

async fn plain(raw: &mut Raw, user: &str, password: &str) -> Result<(), i16> {
    choose(raw, Mechanism::Plain).await;
    let message = Plain { user: user.into(), password: password.into() }.encode();
    token(raw, message).await.map(|answer| assert!(answer.is_empty()))
}

async fn scram(raw: &mut Raw, mechanism: Mechanism, user: &str, password: &str) -> Result<(), i16> {
    choose(raw, mechanism).await;
    let (client, message) = ScramClient::begin(mechanism.hash().unwrap(), user, password, "nonce");
    let challenge = token(raw, message).await?;
    let (client, proof) = client.prove(&challenge).unwrap();
    let result = token(raw, proof).await?;
    client.check(&result).map_err(|error: SaslError| panic!("{error}"))
}

async fn as_user(server: &Server, user: &str) -> Raw {
    let mut raw = server.raw().await;
    plain(&mut raw, user, &format!("{user}'s password")).await.unwrap();
    raw
}

fn metadata(name: &str) -> MetadataRequest {
    let asked = MetadataRequestTopic::default().with_name(Some(topic(name)));
    MetadataRequest::default().with_topics(Some(vec![asked])).with_allow_auto_topic_creation(true)
}

fn rule((resource, name): (i8, &str), operation: i8, principal: &str) -> AclCreation {
    AclCreation::default()
        .with_resource_type(resource)
        .with_resource_name(text(name))
        .with_resource_pattern_type(3)
        .with_principal(text(principal))
        .with_host(text("*"))
        .with_operation(operation)
        .with_permission_type(3)
}

async fn allow(raw: &mut Raw, rules: Vec<AclCreation>) {
    let answer = raw.ask(3, &CreateAclsRequest::default().with_creations(rules)).await;
    assert!(answer.results.iter().all(|result| result.error_code == 0), "{answer:?}");
}

fn produce(name: &str, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_records(Some(batch(&["a"])));
    let data = TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1000).with_topic_data(vec![data])
}

async fn produced(raw: &mut Raw, name: &str) -> (i16, i32) {
    let answer = raw.ask(9, &produce(name, 1)).await;
    (answer.responses[0].partition_responses[0].error_code, answer.throttle_time_ms)
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_proof_there_is_nothing_but_the_proof() {
    let dir = tempfile::tempdir().unwrap();
    let server = sasl(&dir).await;
    let mut raw = server.raw().await;
    assert_eq!(raw.ask(4, &ApiVersionsRequest::default()).await.error_code, 0);
    raw.send(12, &metadata("rain")).await;
    assert!(raw.receive_frame().await.is_none(), "closed");
    let mut raw = server.raw().await;
    raw.stream.write_all(&(1_i32 << 20).to_be_bytes()).await.unwrap();
    raw.stream.write_all(&[0; 2]).await.unwrap();
    assert!(raw.receive_frame().await.is_none(), "too large for somebody unknown");
    let mut raw = server.raw().await;
    let answer = raw.ask(1, &SaslHandshakeRequest::default().with_mechanism(text("OAUTHBEARER"))).await;
    assert_eq!((answer.error_code, answer.mechanisms.len()), (33, 3));
    assert!(raw.receive_frame().await.is_none());
    let mut raw = server.raw().await;
    assert_eq!(token(&mut raw, b"x".to_vec()).await, Err(34), "no mechanism was chosen");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_prove_who_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let server = sasl(&dir).await;
    for mechanism in [Mechanism::ScramSha256, Mechanism::Plain] {
        for (user, password, expected) in [
            ("kim", "kim's password", Ok(())),
            ("kim", "kim's passwort", Err(REFUSED)),
            ("nobody", "kim's password", Err(REFUSED)),
        ] {
            let mut raw = server.raw().await;
            let proven = match mechanism {
                Mechanism::Plain => plain(&mut raw, user, password).await,
                _ => scram(&mut raw, mechanism, user, password).await,
            };
            assert_eq!(proven, expected, "{mechanism:?} {user} {password}");
            raw.send(1, &DescribeClusterRequest::default()).await;
            assert_eq!(raw.receive_frame().await.is_some(), expected.is_ok());
        }
    }
    // Without a credential under this hash the user is as good as unknown.
    let mut raw = server.raw().await;
    assert_eq!(scram(&mut raw, Mechanism::ScramSha512, "kim", "kim's password").await, Err(REFUSED));
    assert_eq!(server.metric("door_kafka_refused_authentications", ""), 5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_clients_send_bare_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let server = sasl(&dir).await;
    for (password, proven) in [("kim's password", true), ("wrong", false)] {
        let mut raw = server.raw().await;
        let request = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        assert_eq!(raw.ask(0, &request).await.error_code, 0);
        let message = Plain { user: "kim".into(), password: password.into() }.encode();
        raw.stream.write_all(&(message.len() as i32).to_be_bytes()).await.unwrap();
        raw.stream.write_all(&message).await.unwrap();
        let answer = raw.receive_frame().await;
        assert_eq!(answer, proven.then(Bytes::new));
        if proven {
            raw.ask(1, &DescribeClusterRequest::default()).await;
        }
    }
    assert_eq!(LENGTH_BYTES, 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_may_be_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&dir, Authentication::Sasl, |security| security.session_lifetime_ms = 3_600_000).await;
    let mut raw = as_user(&server, "kim").await;
    plain(&mut raw, "kim", "kim's password").await.unwrap();
    raw.ask(1, &DescribeClusterRequest::default()).await;
    let mut admin = as_user(&server, "admin").await;
    let broker = DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("1"))
        .with_configuration_keys(Some(vec![text("connections.max.reauth.ms")]));
    let shown = admin.ask(4, &DescribeConfigsRequest::default().with_resources(vec![broker])).await;
    assert_eq!(shown.results[0].configs[0].value.as_deref(), Some("3600000"));
    assert_eq!(plain(&mut raw, "admin", "admin's password").await, Err(REFUSED), "another user");
    assert!(raw.receive_frame().await.is_none());
    server.stop().await;
    let server = start(&dir, Authentication::Sasl, |security| security.session_lifetime_ms = 1).await;
    let mut raw = server.raw().await;
    choose(&mut raw, Mechanism::Plain).await;
    let message = Plain { user: "kim".into(), password: "kim's password".into() }.encode();
    let answer = raw.ask(2, &SaslAuthenticateRequest::default().with_auth_bytes(message.into())).await;
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 1));
    // However many requests a millisecond takes.
    loop {
        raw.send(1, &DescribeClusterRequest::default()).await;
        if raw.receive_frame().await.is_none() {
            break;
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_allows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = sasl(&dir).await;
    let (mut admin, mut kim) = (as_user(&server, "admin").await, as_user(&server, "kim").await);
    assert_eq!(admin.ask(12, &metadata("rain")).await.topics[0].error_code, 0, "made on first use");
    assert_eq!(kim.ask(12, &metadata("rain")).await.topics[0].error_code, DENIED_TOPIC);
    assert_eq!(kim.ask(12, &metadata("new")).await.topics[0].error_code, DENIED_TOPIC);
    assert_eq!(kim.ask(12, &MetadataRequest::default().with_topics(None)).await.topics.len(), 0);
    assert_eq!(produced(&mut kim, "rain").await.0, DENIED_TOPIC);
    let producer = InitProducerIdRequest::default().with_transactional_id(None);
    assert_eq!(kim.ask(4, &producer).await.error_code, DENIED_CLUSTER);
    let group = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    assert_eq!(kim.ask(4, &group).await.coordinators[0].error_code, DENIED_GROUP);
    let beat = HeartbeatRequest::default().with_group_id(kafka_protocol::messages::GroupId(text("g")));
    assert_eq!(kim.ask(4, &beat).await.error_code, DENIED_GROUP);
    assert!(kim.ask(4, &ListGroupsRequest::default()).await.groups.is_empty());
    let creations = vec![rule((2, "rain"), 4, "User:kim")];
    let answer = kim.ask(3, &CreateAclsRequest::default().with_creations(creations)).await;
    assert_eq!(answer.results[0].error_code, DENIED_CLUSTER);
    assert_eq!(kim.ask(3, &describe_all()).await.error_code, DENIED_CLUSTER);
    assert_eq!(kim.ask(0, &DescribeUserScramCredentialsRequest::default()).await.error_code, DENIED_CLUSTER);
    assert_eq!(kim.ask(1, &DescribeClientQuotasRequest::default()).await.error_code, DENIED_CLUSTER);
    kim.send(9, &produce("rain", 0)).await;
    assert!(kim.receive_frame().await.is_none(), "whoever wants no answer learns it by the end");
    server.stop().await;
}

fn describe_all() -> DescribeAclsRequest {
    DescribeAclsRequest::default()
        .with_resource_type_filter(1)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(1)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_allow_and_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = sasl(&dir).await;
    let (mut admin, mut kim) = (as_user(&server, "admin").await, as_user(&server, "kim").await);
    for name in ["rain", "snow"] {
        admin.ask(12, &metadata(name)).await;
    }
    allow(&mut admin, vec![rule((2, "rain"), 4, "User:kim"), rule((3, "g"), 3, "User:*")]).await;
    assert_eq!(produced(&mut kim, "rain").await.0, 0);
    assert_eq!(produced(&mut kim, "snow").await.0, DENIED_TOPIC);
    let all = MetadataRequest::default().with_topics(None).with_include_topic_authorized_operations(true);
    let seen = kim.ask(12, &all).await.topics;
    let operations = 1 << 4 | 1 << 8;
    assert_eq!((seen.len(), seen[0].topic_authorized_operations), (1, operations), "write and describe");
    let producer = InitProducerIdRequest::default().with_transactional_id(None);
    assert_eq!(kim.ask(4, &producer).await.error_code, 0);
    let beat = HeartbeatRequest::default().with_group_id(kafka_protocol::messages::GroupId(text("g")));
    assert_eq!(kim.ask(4, &beat).await.error_code, 25, "allowed, but no member");
    let described = admin.ask(3, &describe_all()).await.resources;
    assert_eq!(described.len(), 2);
    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(2)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(1)
        .with_principal_filter(Some(text("User:kim")))
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1);
    let deleted = admin.ask(3, &DeleteAclsRequest::default().with_filters(vec![filter])).await;
    assert_eq!(deleted.filter_results[0].matching_acls.len(), 1);
    assert_eq!(produced(&mut kim, "rain").await.0, DENIED_TOPIC);
    let wrong = CreateAclsRequest::default().with_creations(vec![rule((2, "rain"), 9, "User:kim")]);
    assert_eq!(admin.ask(2, &wrong).await.results[0].error_code, 42);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_kept_over_the_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let server = sasl(&dir).await;
    let mut admin = as_user(&server, "admin").await;
    let upsertion = |name: &str, iterations: i32| {
        let salted = salted_password(Hash::Sha512, "fresh password", b"pepper", 4096);
        ScramCredentialUpsertion::default()
            .with_name(text(name))
            .with_mechanism(2)
            .with_iterations(iterations)
            .with_salt(Bytes::from_static(b"pepper"))
            .with_salted_password(salted.into())
    };
    let deletion = ScramCredentialDeletion::default().with_name(text("nobody")).with_mechanism(1);
    let request = AlterUserScramCredentialsRequest::default()
        .with_upsertions(vec![upsertion("tim", 4096), upsertion("weak", 100)])
        .with_deletions(vec![deletion]);
    let mut codes: Vec<_> = admin.ask(0, &request).await.results;
    codes.sort_by(|one, other| one.user.cmp(&other.user));
    let codes: Vec<_> = codes.iter().map(|result| (&*result.user, result.error_code)).collect();
    assert_eq!(codes, [("nobody", 91), ("tim", 0), ("weak", 93)]);
    let mut tim = server.raw().await;
    scram(&mut tim, Mechanism::ScramSha512, "tim", "fresh password").await.unwrap();
    let all = DescribeUserScramCredentialsRequest::default().with_users(None);
    assert_eq!(admin.ask(0, &all).await.results.len(), 3);
    let named = |name: &str| UserName::default().with_name(text(name));
    let some =
        DescribeUserScramCredentialsRequest::default().with_users(Some(vec![named("tim"), named("x")]));
    let answer = admin.ask(0, &some).await.results;
    assert_eq!(answer[0].credential_infos[0].iterations, 4096);
    assert_eq!(answer[1].error_code, 91);
    server.stop().await;
}

fn entity(kind: &str, name: Option<&str>) -> quotas::EntityData {
    quotas::EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text))
}

fn quota(entity: quotas::EntityData, key: &str, value: f64) -> quotas::EntryData {
    let op = quotas::OpData::default().with_key(text(key)).with_value(value);
    quotas::EntryData::default().with_entity(vec![entity]).with_ops(vec![op])
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_over_the_quota_is_told_to_wait() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&dir, Authentication::None, |_| {}).await;
    let mut raw = server.raw().await;
    raw.ask(12, &metadata("rain")).await;
    assert_eq!(produced(&mut raw, "rain").await, (0, 0));
    let entries = vec![
        quota(entity("client-id", Some("raw")), "producer_byte_rate", 1.0),
        quota(entity("user", None), "consumer_byte_rate", 5.0),
        quota(entity("ip", Some("10.0.0.1")), "connection_creation_rate", 1.0),
        quota(entity("user", Some("kim")), "rainfall", 1.0),
    ];
    let answer = raw.ask(1, &AlterClientQuotasRequest::default().with_entries(entries)).await.entries;
    assert_eq!(answer.iter().map(|entry| entry.error_code).collect::<Vec<_>>(), [0, 0, 35, 42]);
    let component = ComponentData::default().with_entity_type(text("client-id")).with_match_type(2);
    let request = DescribeClientQuotasRequest::default().with_components(vec![component]);
    let found = raw.ask(1, &request).await.entries.unwrap();
    assert_eq!((found.len(), &*found[0].values[0].key), (1, "producer_byte_rate"));
    let all = raw.ask(0, &DescribeClientQuotasRequest::default()).await.entries.unwrap();
    assert_eq!(all.len(), 2);
    // Some seventy bytes at one byte a second: the longest wait there is.
    assert_eq!(produced(&mut raw, "rain").await, (0, 10_000));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_door_wants_no_proof_and_has_no_rules() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&dir, Authentication::None, |_| {}).await;
    let mut raw = server.raw().await;
    let request = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    assert_eq!(raw.ask(1, &request).await.error_code, 34);
    assert_eq!(raw.ask(3, &describe_all()).await.error_code, 54);
    let cluster = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    let operations = raw.ask(1, &cluster).await.cluster_authorized_operations;
    assert_eq!(operations, [5, 7, 8, 9, 10, 11, 12].iter().map(|code| 1 << code).sum::<i32>());
    server.stop().await;
}
