//! Requests about the server, and about access itself.

use kafka_protocol::messages as wire;
use kafka_protocol::messages::alter_client_quotas_response as quotas;
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use pluvio_access::acl::CLUSTER;
use pluvio_access::{Operation, ResourceKind};

use super::{Guarded, Verdict, denied_message, take_denied};
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;

const DENIED: Code = Code::ClusterAuthorizationFailed;
const GROUP_COORDINATOR: i8 = 0;

impl Guarded for wire::ApiVersionsRequest {
    fn guard(self, _: &Call) -> Verdict<Self> {
        Verdict::Serve(self)
    }
}

impl Guarded for wire::DescribeClusterRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        if !self.include_cluster_authorized_operations {
            return Verdict::Serve(self);
        }
        let operations = call.rights.operations(ResourceKind::Cluster, CLUSTER);
        Verdict::partly(self, move |answer| answer.cluster_authorized_operations = operations)
    }
}

impl Guarded for wire::FindCoordinatorRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let of_group = self.key_type == GROUP_COORDINATOR;
        let may = |key: &str| match of_group {
            true => call.rights.group(Operation::Describe, key),
            false => call.rights.transaction(Operation::Describe, key),
        };
        let code = match of_group {
            true => Code::GroupAuthorizationFailed,
            false => Code::TransactionalIdAuthorizationFailed,
        };
        if call.version() < 4 {
            let (allowed, version) = (may(&self.key), call.version());
            return Verdict::whole(self, allowed, |_| {
                let answer = wire::FindCoordinatorResponse::default()
                    .with_error_code(code.code())
                    .with_node_id(wire::BrokerId(-1))
                    .with_port(-1);
                match version {
                    0 => answer,
                    _ => answer.with_error_message(denied_message()),
                }
            });
        }
        let denied = take_denied(&mut self.coordinator_keys, |key| may(key));
        Verdict::partly(self, move |answer| {
            answer.coordinators.extend(denied.into_iter().map(|key| {
                Coordinator::default()
                    .with_key(key)
                    .with_node_id(wire::BrokerId(-1))
                    .with_port(-1)
                    .with_error_code(code.code())
                    .with_error_message(denied_message())
            }));
        })
    }
}

impl Guarded for wire::DescribeAclsRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        Verdict::whole(self, call.rights.cluster(Operation::Describe), |_| {
            wire::DescribeAclsResponse::default()
                .with_error_code(DENIED.code())
                .with_error_message(denied_message())
        })
    }
}

impl Guarded for wire::CreateAclsRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        Verdict::whole(self, call.rights.cluster(Operation::Alter), |request| {
            let result = AclCreationResult::default().with_error_code(DENIED.code());
            let result = result.with_error_message(denied_message());
            wire::CreateAclsResponse::default().with_results(vec![result; request.creations.len()])
        })
    }
}

impl Guarded for wire::DeleteAclsRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        Verdict::whole(self, call.rights.cluster(Operation::Alter), |request| {
            let result = DeleteAclsFilterResult::default().with_error_code(DENIED.code());
            let result = result.with_error_message(denied_message());
            wire::DeleteAclsResponse::default().with_filter_results(vec![result; request.filters.len()])
        })
    }
}

impl Guarded for wire::DescribeUserScramCredentialsRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        Verdict::whole(self, call.rights.cluster(Operation::Describe), |_| {
            wire::DescribeUserScramCredentialsResponse::default()
                .with_error_code(DENIED.code())
                .with_error_message(denied_message())
        })
    }
}

impl Guarded for wire::AlterUserScramCredentialsRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        Verdict::whole(self, call.rights.cluster(Operation::Alter), |request| {
            let set = request.upsertions.iter().map(|it| it.name.clone());
            let users = set.chain(request.deletions.iter().map(|it| it.name.clone()));
            let results = users.map(|user| {
                AlterUserScramCredentialsResult::default()
                    .with_user(user)
                    .with_error_code(DENIED.code())
                    .with_error_message(denied_message())
            });
            wire::AlterUserScramCredentialsResponse::default().with_results(results.collect())
        })
    }
}

impl Guarded for wire::DescribeClientQuotasRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        Verdict::whole(self, call.rights.cluster(Operation::DescribeConfigs), |_| {
            wire::DescribeClientQuotasResponse::default()
                .with_error_code(DENIED.code())
                .with_error_message(denied_message())
                .with_entries(None)
        })
    }
}

impl Guarded for wire::AlterClientQuotasRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        Verdict::whole(self, call.rights.cluster(Operation::AlterConfigs), |request| {
            let entries = request.entries.iter().map(|entry| {
                let entity = entry.entity.iter().map(|part| {
                    quotas::EntityData::default()
                        .with_entity_type(part.entity_type.clone())
                        .with_entity_name(part.entity_name.clone())
                });
                quotas::EntryData::default()
                    .with_error_code(DENIED.code())
                    .with_error_message(denied_message())
                    .with_entity(entity.collect())
            });
            wire::AlterClientQuotasResponse::default().with_entries(entries.collect())
        })
    }
}

impl Guarded for wire::DescribeLogDirsRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        let version = call.version();
        Verdict::whole(self, call.rights.cluster(Operation::Describe), |_| {
            let answer = wire::DescribeLogDirsResponse::default();
            // Older clients understand the empty list.
            if version >= 3 { answer.with_error_code(DENIED.code()) } else { answer }
        })
    }
}

impl Guarded for wire::ElectLeadersRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        let version = call.version();
        Verdict::whole(self, call.rights.cluster(Operation::Alter), |request| {
            let refused = PartitionResult::default()
                .with_error_code(DENIED.code())
                .with_error_message(denied_message());
            let topics = request.topic_partitions.iter().flatten().map(|topic| {
                let partitions =
                    topic.partitions.iter().map(|index| refused.clone().with_partition_id(*index));
                ReplicaElectionResult::default()
                    .with_topic(topic.topic.clone())
                    .with_partition_result(partitions.collect())
            });
            let answer =
                wire::ElectLeadersResponse::default().with_replica_election_results(topics.collect());
            if version >= 1 { answer.with_error_code(DENIED.code()) } else { answer }
        })
    }
}

impl Guarded for wire::AlterPartitionReassignmentsRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        Verdict::whole(self, call.rights.cluster(Operation::Alter), |_| {
            wire::AlterPartitionReassignmentsResponse::default()
                .with_error_code(DENIED.code())
                .with_error_message(denied_message())
        })
    }
}

impl Guarded for wire::ListPartitionReassignmentsRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        Verdict::whole(self, call.rights.cluster(Operation::Describe), |_| {
            wire::ListPartitionReassignmentsResponse::default()
                .with_error_code(DENIED.code())
                .with_error_message(denied_message())
        })
    }
}
