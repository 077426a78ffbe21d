//! What a cluster of one tells about itself: ApiVersions, DescribeCluster,
//! FindCoordinator.

use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest,
    FindCoordinatorResponse,
};
use kafka_protocol::protocol::StrBytes;
use pluvio_wire_kafka::APIS;

use super::codes::Code;
use super::dispatch::Call;

/// The type of endpoints that clients connect to.
const BROKERS: i8 = 1;
const GROUP_COORDINATOR: i8 = 0;
const TRANSACTION_COORDINATOR: i8 = 1;
const UNKNOWN_KIND: &str = "coordinators are asked for by 0 (groups) or 1 (transactions)";

/// What all of the cluster can do, by Kafka's names, with its level: 1 of
/// `group.version` is the consumer protocol of KIP-848, 2 of
/// `transaction.version` an epoch of its own for every transaction (KIP-890).
const FEATURES: &[(&str, i16)] = &[("group.version", 1), ("transaction.version", 2)];
/// The version of ApiVersions that tells features.
const FEATURES_FROM: i16 = 3;

/// The requests that work, with their versions.
pub(crate) fn api_versions(version: i16) -> ApiVersionsResponse {
    let keys = APIS.iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(api.version_min)
            .with_max_version(api.version_max)
    });
    let response = ApiVersionsResponse::default().with_api_keys(keys.collect());
    if version < FEATURES_FROM {
        return response;
    }
    let supported = FEATURES.iter().map(|(name, level)| {
        SupportedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_min_version(1)
            .with_max_version(*level)
    });
    let finalized = FEATURES.iter().map(|(name, level)| {
        FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str(name))
            .with_min_version_level(1)
            .with_max_version_level(*level)
    });
    response
        .with_supported_features(supported.collect())
        .with_finalized_features_epoch(0)
        .with_finalized_features(finalized.collect())
}

/// The same, for a client whose version of the question we do not know.
pub(crate) fn api_versions_unknown() -> ApiVersionsResponse {
    api_versions(0).with_error_code(Code::UnsupportedVersion.code())
}

/// Carries out a DescribeCluster.
pub(crate) fn describe_cluster(call: &Call, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let options = &call.broker.options;
    let broker = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(options.node_id))
        .with_host(text(&options.advertised_host))
        .with_port(i32::from(options.advertised_port));
    let mut response = DescribeClusterResponse::default()
        .with_cluster_id(text(&call.broker.cluster_id))
        .with_controller_id(BrokerId(options.node_id))
        .with_brokers(vec![broker]);
    if call.version() >= 1 {
        if request.endpoint_type != BROKERS {
            let message = "this is a broker; it tells of brokers only";
            return DescribeClusterResponse::default()
                .with_error_code(Code::MismatchedEndpointType.code())
                .with_error_message(Some(StrBytes::from_static_str(message)))
                .with_endpoint_type(BROKERS);
        }
        response = response.with_endpoint_type(BROKERS);
    }
    response
}

/// Carries out a FindCoordinator: it is this broker.
pub(crate) fn find_coordinator(call: &Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let options = &call.broker.options;
    let served = matches!(request.key_type, GROUP_COORDINATOR | TRANSACTION_COORDINATOR);
    let code = if served { 0 } else { Code::UnsupportedVersion.code() };
    let message = (!served).then(|| StrBytes::from_static_str(UNKNOWN_KIND));
    let (host, port) = match served {
        true => (text(&options.advertised_host), i32::from(options.advertised_port)),
        false => (StrBytes::default(), -1),
    };
    let node_id = BrokerId(if served { options.node_id } else { -1 });
    if call.version() < 4 {
        let response = FindCoordinatorResponse::default()
            .with_error_code(code)
            .with_node_id(node_id)
            .with_host(host)
            .with_port(port);
        return match call.version() {
            0 => response,
            _ => response.with_error_message(message),
        };
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(code)
            .with_error_message(message.clone())
            .with_node_id(node_id)
            .with_host(host.clone())
            .with_port(port)
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

/// A string of the protocol.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
