//! The requests of consumer groups, from and to the protocol's messages.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::group::Group;
use super::member::{Joined, Joining, Member, Refusal, Synced};
use super::memory::ENTRY_BYTES;
use super::state::State;
use super::{Listed, drive};
use crate::kafka::broker::Broker;
use crate::kafka::cluster::text;
use crate::kafka::codes::{self, Code};
use crate::kafka::dispatch::Call;
use crate::kafka::fields::TEXT_BYTES_MAX;

/// Shortest session timeout of a member, in milliseconds.
pub(crate) const SESSION_TIMEOUT_MS_MIN: i32 = 1_000;
/// Longest session timeout of a member, in milliseconds.
pub(crate) const SESSION_TIMEOUT_MS_MAX: i32 = 1_800_000;
/// Most that a member may tell about itself, in bytes.
const MEMBER_BYTES_MAX: usize = 512 << 10;
const CLIENT_ID_BYTES_MAX: usize = 100;

/// Carries out a JoinGroup; the answer comes once the group is complete. Until then
/// nothing of the request is kept but what the group does.
pub(crate) fn join(call: Call, request: JoinGroupRequest) -> impl Future<Output = JoinGroupResponse> {
    let (group, member_id) = (request.group_id.to_string(), request.member_id.to_string());
    let begun = begin_join(&call, &group, request);
    async move {
        let refused = |code| join_answer(call.version(), Err(Refusal { code, member_id }));
        let answer = match begun {
            Ok(answered) => answered.await,
            Err(code) => return refused(code),
        };
        // What a static member that is replaced changes is durable first.
        if let Err(code) = call.broker.groups.settled(&group).await {
            return refused(code);
        }
        match answer {
            Ok(answer) => join_answer(call.version(), answer),
            Err(_) => refused(Code::UnknownMemberId),
        }
    }
}

fn begin_join(
    call: &Call,
    group: &str,
    request: JoinGroupRequest,
) -> Result<oneshot::Receiver<Result<Joined, Refusal>>, Code> {
    if group.is_empty() || group.len() > TEXT_BYTES_MAX {
        return Err(Code::InvalidGroupId);
    }
    if !(SESSION_TIMEOUT_MS_MIN..=SESSION_TIMEOUT_MS_MAX).contains(&request.session_timeout_ms) {
        return Err(Code::InvalidSessionTimeout);
    }
    if is_too_large(&request) {
        return Err(Code::InvalidRequest);
    }
    let joining = joining(call, request);
    let new_id = new_member_id(call, joining.instance_id.as_deref());
    let (answer, answered) = oneshot::channel();
    let now_ms = call.broker.monotonic_ms();
    let ((), undriven) = call.broker.groups.with_new(group, |it| it.join(now_ms, joining, new_id, answer))?;
    if undriven {
        drop(tokio::spawn(drive(Arc::clone(&call.broker), group.to_owned())));
    }
    Ok(answered)
}

fn is_too_large(request: &JoinGroupRequest) -> bool {
    let names = request.protocols.iter().map(|protocol| &protocol.name);
    let mut texts = names.chain(&request.group_instance_id).chain([&request.protocol_type]);
    let told = |it: &JoinGroupRequestProtocol| it.name.len() + it.metadata.len() + ENTRY_BYTES;
    let told = request.protocols.iter().map(told);
    texts.any(|text| text.len() > TEXT_BYTES_MAX) || told.sum::<usize>() > MEMBER_BYTES_MAX
}

fn joining(call: &Call, request: JoinGroupRequest) -> Joining {
    let session_timeout_ms = u64::try_from(request.session_timeout_ms).unwrap_or(0);
    let rebalance_timeout_ms = u64::try_from(request.rebalance_timeout_ms).unwrap_or(session_timeout_ms);
    let protocols = request.protocols.into_iter().map(|protocol| {
        // A copy, so that the member does not hold on to the whole request.
        (protocol.name.to_string(), Bytes::copy_from_slice(&protocol.metadata))
    });
    Joining {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        client_id: call.head.client_id.clone(),
        client_host: call.host.to_string(),
        session_timeout_ms,
        rebalance_timeout_ms: rebalance_timeout_ms.min(SESSION_TIMEOUT_MS_MAX as u64 * 2),
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.collect(),
        id_first: call.version() >= 4,
        may_skip: call.version() >= 9,
    }
}

fn new_member_id(call: &Call, instance_id: Option<&str>) -> String {
    let base = instance_id.unwrap_or(&call.head.client_id);
    let mut end = base.len().min(CLIENT_ID_BYTES_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{}", &base[..end], uuid::Uuid::from_bytes(call.broker.random.uuid()))
}

fn join_answer(version: i16, answer: Result<Joined, Refusal>) -> JoinGroupResponse {
    let joined = match answer {
        Ok(joined) => joined,
        Err(Refusal { code, member_id }) => {
            return JoinGroupResponse::default()
                .with_error_code(code.code())
                .with_generation_id(-1)
                .with_protocol_name((version < 7).then(StrBytes::default))
                .with_member_id(text(&member_id));
        }
    };
    let members = joined.members.into_iter().map(|(id, instance_id, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(text(&id)).with_metadata(metadata);
        match version {
            5.. => member.with_group_instance_id(instance_id.map(StrBytes::from_string)),
            _ => member,
        }
    });
    let mut response = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(text(&joined.protocol)))
        .with_leader(text(&joined.leader))
        .with_member_id(text(&joined.member_id))
        .with_members(members.collect());
    if version >= 7 {
        response = response.with_protocol_type(Some(text(&joined.protocol_type)));
    }
    if version >= 9 {
        response = response.with_skip_assignment(joined.skip_assignment);
    }
    response
}

/// Carries out a SyncGroup; the answer comes once the leader has assigned and
/// the generation is durable. Until then nothing of the request is kept.
pub(crate) fn sync(call: Call, request: SyncGroupRequest) -> impl Future<Output = SyncGroupResponse> {
    let group = request.group_id.to_string();
    let begun = begin_sync(&call, &request);
    async move {
        let refused = |code: Code| SyncGroupResponse::default().with_error_code(code.code());
        let answer = match begun {
            Ok(answered) => answered.await.unwrap_or(Err(Code::UnknownMemberId)),
            Err(code) => return refused(code),
        };
        let settled = call.broker.groups.settled(&group).await;
        match settled.and(answer) {
            Err(code) => refused(code),
            Ok(synced) => {
                let response = SyncGroupResponse::default().with_assignment(synced.assignment);
                match call.version() {
                    5.. => response
                        .with_protocol_type(Some(text(&synced.protocol_type)))
                        .with_protocol_name(Some(text(&synced.protocol))),
                    _ => response,
                }
            }
        }
    }
}

fn begin_sync(
    call: &Call,
    request: &SyncGroupRequest,
) -> Result<oneshot::Receiver<Result<Synced, Code>>, Code> {
    let assignments = request
        .assignments
        .iter()
        .map(|assignment| (assignment.member_id.to_string(), Bytes::copy_from_slice(&assignment.assignment)));
    let assignments: Vec<(String, Bytes)> = assignments.collect();
    let assigned_bytes: usize = assignments.iter().map(|(_, assignment)| assignment.len()).sum();
    let (answer, answered) = oneshot::channel();
    let now_ms = call.broker.monotonic_ms();
    let begun = call.broker.groups.with(&request.group_id, |group| {
        let instance = request.group_instance_id.as_deref();
        group.check(&request.member_id, instance, request.generation_id)?;
        let differs = |said: &Option<StrBytes>, is: &str| said.as_ref().is_some_and(|said| **said != *is);
        if differs(&request.protocol_type, &group.protocol_type)
            || differs(&request.protocol_name, &group.protocol)
        {
            return Err(Code::InconsistentGroupProtocol);
        }
        let told_bytes = || group.members.values().map(Member::told_bytes).sum::<usize>();
        if *request.member_id == *group.leader && told_bytes() + assigned_bytes > group.bytes_max {
            return Err(Code::GroupMaxSizeReached);
        }
        group.sync(now_ms, &request.member_id, assignments, answer);
        Ok(())
    });
    begun.unwrap_or(Err(Code::UnknownMemberId)).map(|()| answered)
}

/// Carries out a Heartbeat.
pub(crate) fn heartbeat(call: &Call, request: &HeartbeatRequest) -> HeartbeatResponse {
    let now_ms = call.broker.monotonic_ms();
    let shown = call.broker.groups.with(&request.group_id, |group| {
        let instance = request.group_instance_id.as_deref();
        group.check(&request.member_id, instance, request.generation_id)?;
        group.heartbeat(now_ms, &request.member_id)
    });
    let code = shown.unwrap_or(Err(Code::UnknownMemberId)).err();
    HeartbeatResponse::default().with_error_code(code.map_or(0, |code| code.code()))
}

/// Carries out a LeaveGroup. That the last member left is durable before it is
/// answered.
pub(crate) async fn leave(call: Call, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let left = leave_all(&call, &request);
    match call.broker.groups.settled(&request.group_id).await {
        Ok(()) => left,
        Err(code) => LeaveGroupResponse::default().with_error_code(code.code()),
    }
}

fn leave_all(call: &Call, request: &LeaveGroupRequest) -> LeaveGroupResponse {
    let now_ms = call.broker.monotonic_ms();
    let leave = |id: &str, instance: Option<&str>| {
        let left = call.broker.groups.with(&request.group_id, |group| group.leave(now_ms, id, instance));
        left.unwrap_or(Err(Code::UnknownMemberId)).err().map_or(0, |code| code.code())
    };
    if call.version() < 3 {
        return LeaveGroupResponse::default().with_error_code(leave(&request.member_id, None));
    }
    let members = request.members.iter().map(|member| {
        MemberResponse::default()
            .with_error_code(leave(&member.member_id, member.group_instance_id.as_deref()))
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

/// Carries out a DescribeGroups.
pub(crate) fn describe(call: &Call, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| {
        let described = call.broker.groups.with(&id, |group| described(call.version(), group));
        let described = described.unwrap_or_else(|| {
            let empty = DescribedGroup::default();
            let consumer = call.broker.groups.is_consumer(&id);
            let message =
                if consumer { "the group is not a classic group" } else { "the group does not exist" };
            match (call.broker.offsets.has_group(&id) && !consumer, call.version()) {
                (true, _) => empty.with_group_state(text(State::Empty.name())),
                (false, 6..) => empty
                    .with_group_state(text("Dead"))
                    .with_error_code(Code::GroupIdNotFound.code())
                    .with_error_message(Some(text(message))),
                (false, _) => empty.with_group_state(text("Dead")),
            }
        });
        described.with_group_id(id)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn described(version: i16, group: &mut Group) -> DescribedGroup {
    let settled = group.state == State::Stable;
    let members = group.members.iter().map(|(id, member)| {
        let shown = DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host));
        let shown = match settled {
            true => shown
                .with_member_metadata(member.metadata(&group.protocol))
                .with_member_assignment(member.assignment.clone()),
            false => shown,
        };
        match version {
            4.. => shown.with_group_instance_id(member.instance_id.as_deref().map(text)),
            _ => shown,
        }
    });
    DescribedGroup::default()
        .with_group_state(text(group.state.name()))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(if settled { text(&group.protocol) } else { StrBytes::default() })
        .with_members(members.collect())
}

/// Carries out a ListGroups.
pub(crate) fn list(call: &Call, request: &ListGroupsRequest) -> ListGroupsResponse {
    let mut groups = call.broker.groups.list(call.broker.monotonic_ms());
    let stored = call.broker.offsets.groups().into_iter();
    groups.extend(stored.map(|name| Listed::classic(&name, State::Empty.name(), String::new())));
    groups.sort_by(|one, other| one.name.cmp(&other.name));
    groups.dedup_by(|one, other| one.name == other.name);
    let wanted = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let version = call.version();
    let listed = groups.into_iter().filter(|group| {
        wanted(&request.states_filter, group.state) && wanted(&request.types_filter, group.group_type)
    });
    let listed = listed.map(|found| {
        let mut group = ListedGroup::default()
            .with_group_id(GroupId(text(&found.name)))
            .with_protocol_type(text(&found.protocol_type));
        if version >= 4 {
            group = group.with_group_state(text(found.state));
        }
        if version >= 5 {
            group = group.with_group_type(text(found.group_type));
        }
        group
    });
    ListGroupsResponse::default().with_groups(listed.collect())
}

/// Carries out a DeleteGroups: forgets groups without members, and what they
/// committed.
pub(crate) async fn delete(call: Call, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for id in request.groups_names {
        let code = delete_one(&call.broker, &id).await.err().map_or(0, |code| code.code());
        results.push(DeletableGroupResult::default().with_error_code(code).with_group_id(id));
    }
    DeleteGroupsResponse::default().with_results(results)
}

async fn delete_one(broker: &Broker, group: &str) -> Result<(), Code> {
    let forgotten = broker.groups.forget(group)?;
    if forgotten.is_none() && !broker.offsets.has_group(group) {
        return Err(Code::GroupIdNotFound);
    }
    let deleted = async {
        if let Some(wrote) = forgotten {
            broker.groups.journal.durable(wrote).await?;
        }
        broker.offsets.remove_group(group).await
    };
    deleted.await.map_err(|error| {
        tracing::error!(group, %error, "group or its committed offsets not deleted");
        codes::of_door(&error)
    })
}
