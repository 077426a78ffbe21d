//! Requests about groups and their members.

use kafka_protocol::messages as wire;
use kafka_protocol::messages::consumer_group_describe_response as described;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use pluvio_access::{Operation, ResourceKind};

use super::{Guarded, Verdict, denied_message, take_denied};
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;

const DENIED: Code = Code::GroupAuthorizationFailed;

/// Requests of a member: all need the same, and are refused with one code.
macro_rules! of_members {
    ($($request:ident => $response:ident;)*) => {
        $(impl Guarded for wire::$request {
            fn guard(self, call: &Call) -> Verdict<Self> {
                let allowed = call.rights.group(Operation::Read, &self.group_id);
                Verdict::whole(self, allowed, |_| wire::$response::default().with_error_code(DENIED.code()))
            }
        })*
    };
}

of_members! {
    SyncGroupRequest => SyncGroupResponse;
    HeartbeatRequest => HeartbeatResponse;
    LeaveGroupRequest => LeaveGroupResponse;
}

impl Guarded for wire::JoinGroupRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        let allowed = call.rights.group(Operation::Read, &self.group_id);
        Verdict::whole(self, allowed, |request| {
            wire::JoinGroupResponse::default()
                .with_error_code(DENIED.code())
                .with_generation_id(-1)
                .with_member_id(request.member_id.clone())
        })
    }
}

impl Guarded for wire::ConsumerGroupHeartbeatRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        let refused = |code: Code| {
            let answer = wire::ConsumerGroupHeartbeatResponse::default().with_error_code(code.code());
            Verdict::Refuse(answer.with_error_message(denied_message()))
        };
        if !call.rights.group(Operation::Read, &self.group_id) {
            return refused(DENIED);
        }
        let mut topics = self.subscribed_topic_names.iter().flatten();
        match topics.all(|topic| call.rights.topic(Operation::Describe, topic)) {
            true => Verdict::Serve(self),
            false => refused(Code::TopicAuthorizationFailed),
        }
    }
}

impl Guarded for wire::DescribeGroupsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied = take_denied(&mut self.groups, |group| call.rights.group(Operation::Describe, group));
        let (rights, version) = (call.rights.clone(), call.version());
        let operations = self.include_authorized_operations && version >= 3;
        Verdict::partly(self, move |answer| {
            for group in answer.groups.iter_mut().filter(|group| operations && group.error_code == 0) {
                group.authorized_operations = rights.operations(ResourceKind::Group, &group.group_id);
            }
            answer.groups.extend(
                denied.into_iter().map(|group| {
                    DescribedGroup::default().with_error_code(DENIED.code()).with_group_id(group)
                }),
            );
        })
    }
}

impl Guarded for wire::ConsumerGroupDescribeRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied = take_denied(&mut self.group_ids, |group| call.rights.group(Operation::Describe, group));
        let (rights, operations) = (call.rights.clone(), self.include_authorized_operations);
        Verdict::partly(self, move |answer| {
            for group in answer.groups.iter_mut().filter(|group| group.error_code == 0) {
                if operations {
                    group.authorized_operations = rights.operations(ResourceKind::Group, &group.group_id);
                }
                let members = group.members.iter();
                let mut topics = members.flat_map(|it| {
                    let assigned =
                        it.assignment.topic_partitions.iter().chain(&it.target_assignment.topic_partitions);
                    assigned.map(|of_topic| &of_topic.topic_name).chain(&it.subscribed_topic_names)
                });
                if !topics.all(|topic| rights.topic(Operation::Describe, topic)) {
                    *group = described::DescribedGroup::default()
                        .with_group_id(group.group_id.clone())
                        .with_error_code(Code::TopicAuthorizationFailed.code())
                        .with_error_message(denied_message());
                }
            }
            answer.groups.extend(denied.into_iter().map(|group| {
                let refused = described::DescribedGroup::default().with_error_code(DENIED.code());
                refused.with_error_message(denied_message()).with_group_id(group)
            }));
        })
    }
}

impl Guarded for wire::ListGroupsRequest {
    fn guard(self, call: &Call) -> Verdict<Self> {
        let rights = call.rights.clone();
        Verdict::partly(self, move |answer| {
            if !rights.cluster(Operation::Describe) {
                answer.groups.retain(|group| rights.group(Operation::Describe, &group.group_id));
            }
        })
    }
}

impl Guarded for wire::DeleteGroupsRequest {
    fn guard(mut self, call: &Call) -> Verdict<Self> {
        let denied = take_denied(&mut self.groups_names, |group| call.rights.group(Operation::Delete, group));
        Verdict::partly(self, |answer| {
            answer.results.extend(denied.into_iter().map(|group| {
                DeletableGroupResult::default().with_error_code(DENIED.code()).with_group_id(group)
            }));
        })
    }
}
