//! ConsumerGroupHeartbeat and ConsumerGroupDescribe, from and to the
//! protocol's messages.

use std::sync::Arc;

use kafka_protocol::messages::consumer_group_describe_response as described;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use kafka_protocol::messages::consumer_group_heartbeat_response as answered;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use pluvio_access::Operation;
use pluvio_eventlog::EventLog;
use uuid::Uuid;

use super::{
    Assignor, Beat, Beaten, ConsumerGroup, EPOCH_PAUSE, Parts, Refusal, TopicId, Topics, by_topic, refuse,
};
use crate::kafka::cluster::text;
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;
use crate::kafka::groups::drive;
use crate::kafka::guard::Rights;

/// Longest name of anything, in bytes.
const NAME_BYTES_MAX: usize = 1024;
/// Most topics that one member may name.
const TOPICS_MAX: usize = 10_000;
/// The member speaks this protocol, not the classic one.
const MEMBER_TYPE: i8 = 1;

/// The topics that a member may see.
struct Visible<'a> {
    log: &'a EventLog,
    rights: &'a Rights,
}

impl Topics for Visible<'_> {
    fn version(&self) -> u64 {
        self.log.topics_version()
    }

    fn find(&self, name: &str) -> Option<(TopicId, u32)> {
        let topic = self.log.topic(name)?;
        Some((topic.id(), u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX)))
    }

    fn names(&self) -> Vec<String> {
        let topics = self.log.topics();
        let names = topics.iter().filter(|topic| !topic.is_internal()).map(|topic| topic.name());
        names.filter(|name| self.rights.topic(Operation::Describe, name)).map(str::to_owned).collect()
    }
}

/// Carries out a ConsumerGroupHeartbeat. What it changed is durable before it
/// is answered.
pub(crate) async fn heartbeat(
    call: Call,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let group = request.group_id.to_string();
    let mut beaten = beat(&call, request);
    if beaten.is_ok()
        && let Err(code) = call.broker.groups.settled(&group).await
    {
        beaten = refuse(code, "the group cannot be written");
    }
    match beaten {
        Ok(beaten) => answer(beaten),
        Err(Refusal { code, message }) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(text(&message))),
    }
}

fn beat(call: &Call, request: ConsumerGroupHeartbeatRequest) -> Result<Beaten, Refusal> {
    check(call, &request)?;
    let group = request.group_id.to_string();
    let mut beat = read(call, request)?;
    if beat.member_id.is_empty() && beat.epoch == 0 {
        beat.member_id = Uuid::from_bytes(call.broker.random.uuid()).to_string();
    }
    let (now_ms, broker) = (call.broker.monotonic_ms(), &call.broker);
    let joins = beat.epoch == 0;
    let topics = Visible { log: &broker.log, rights: &call.rights };
    let done = broker.groups.with_consumer(&group, joins, |it| it.heartbeat(now_ms, beat, &topics));
    let (beaten, undriven) = done
        .or_else(|code| refuse(code, format!("there is no consumer group {group:?} with such a member")))?;
    if undriven {
        drop(tokio::spawn(drive(Arc::clone(broker), group)));
    }
    beaten
}

fn check(call: &Call, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let invalid = |message: &str| refuse(Code::InvalidRequest, message);
    let long = |text: &StrBytes| text.len() > NAME_BYTES_MAX;
    let empty = |text: &Option<StrBytes>| text.as_ref().is_some_and(|text| text.is_empty());
    let joins = request.member_epoch == 0;
    let names = request.subscribed_topic_names.as_deref();
    match () {
        () if request.group_id.is_empty() => invalid("GroupId can't be empty."),
        () if long(&request.group_id) || request.rack_id.as_ref().is_some_and(long) => {
            invalid("GroupId or RackId is too long.")
        }
        () if request.member_id.is_empty() && (call.version() >= 1 || !joins) => {
            invalid("MemberId can't be empty.")
        }
        () if long(&request.member_id) || request.instance_id.as_ref().is_some_and(long) => {
            invalid("MemberId or InstanceId is too long.")
        }
        () if empty(&request.instance_id) => invalid("InstanceId can't be empty."),
        () if empty(&request.rack_id) => invalid("RackId can't be empty."),
        () if request.member_epoch < EPOCH_PAUSE => invalid("MemberEpoch is invalid."),
        () if request.member_epoch == EPOCH_PAUSE && request.instance_id.is_none() => {
            invalid("InstanceId can't be null.")
        }
        () if joins && request.rebalance_timeout_ms < 0 => {
            invalid("RebalanceTimeoutMs must be provided in first request.")
        }
        () if joins && request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            invalid("TopicPartitions must be empty when (re-)joining.")
        }
        () if joins && names.is_none() && request.subscribed_topic_regex.is_none() => {
            invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
        }
        () if names.is_some_and(|names| names.len() > TOPICS_MAX || names.iter().any(|name| long(name))) => {
            invalid("SubscribedTopicNames has too many topics, or one with a name that is too long.")
        }
        () => Ok(()),
    }
}

fn read(call: &Call, request: ConsumerGroupHeartbeatRequest) -> Result<Beat, Refusal> {
    let assignor = match request.server_assignor.as_deref() {
        None => None,
        Some(name) => match Assignor::named(name) {
            Some(assignor) => Some(assignor),
            None => {
                let names = Assignor::NAMES;
                let message =
                    format!("ServerAssignor {name} is not supported. Supported assignors: {names}.");
                return refuse(Code::UnsupportedAssignor, message);
            }
        },
    };
    let owned = request.topic_partitions.map(|topics| {
        let parts = |it: Owned| it.partitions.into_iter().map(move |index| (it.topic_id.into_bytes(), index));
        topics.into_iter().flat_map(parts).collect()
    });
    let topics = request.subscribed_topic_names;
    Ok(Beat {
        member_id: request.member_id.to_string(),
        epoch: request.member_epoch,
        instance_id: request.instance_id.map(|id| id.to_string()),
        rack_id: request.rack_id.map(|id| id.to_string()),
        client_id: call.head.client_id.clone(),
        client_host: call.host.to_string(),
        rebalance_timeout_ms: u64::try_from(request.rebalance_timeout_ms).ok(),
        topics: topics.map(|names| names.iter().map(|name| name.to_string()).collect()),
        regex: request.subscribed_topic_regex.map(|regex| regex.to_string()),
        assignor,
        owned,
    })
}

fn answer(beaten: Beaten) -> ConsumerGroupHeartbeatResponse {
    let assignment = beaten.assignment.map(|parts| {
        let topics = by_topic(&parts).into_iter().map(|(id, partitions)| {
            answered::TopicPartitions::default()
                .with_topic_id(Uuid::from_bytes(id))
                .with_partitions(partitions)
        });
        answered::Assignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(text(&beaten.member_id)))
        .with_member_epoch(beaten.epoch)
        .with_heartbeat_interval_ms(i32::try_from(beaten.heartbeat_interval_ms).unwrap_or(i32::MAX))
        .with_assignment(assignment)
}

/// Carries out a ConsumerGroupDescribe.
pub(crate) fn describe(call: &Call, request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse {
    let version = call.version();
    let groups = request.group_ids.into_iter().map(|id| {
        let log = &call.broker.log;
        let found = call.broker.groups.with_consumer(&id, false, |group| shown(version, log, group));
        let group = match found {
            Ok((group, _)) => group,
            _ => described::DescribedGroup::default()
                .with_error_code(Code::GroupIdNotFound.code())
                .with_error_message(Some(text(&format!("Group {} is not a consumer group.", &*id))))
                .with_group_state(text("Dead")),
        };
        group.with_group_id(id)
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

fn shown(version: i16, log: &EventLog, group: &ConsumerGroup) -> described::DescribedGroup {
    let members = group.members.iter().map(|(id, member)| {
        let topics = member.subscription.topics.iter().map(|name| TopicName(text(name)));
        let pattern = member.subscription.pattern.as_ref();
        let shown = described::Member::default()
            .with_member_id(text(id))
            .with_instance_id(member.instance_id.as_deref().map(text))
            .with_rack_id(member.rack_id.as_deref().map(text))
            .with_member_epoch(member.epoch)
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_subscribed_topic_names(topics.collect())
            .with_subscribed_topic_regex(pattern.map(|pattern| text(pattern.text())))
            .with_assignment(assignment(log, &member.assigned))
            .with_target_assignment(assignment(log, &group.target_of(id)));
        if version >= 1 { shown.with_member_type(MEMBER_TYPE) } else { shown }
    });
    described::DescribedGroup::default()
        .with_group_state(text(group.state()))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(text(group.assignor.name()))
        .with_members(members.collect())
}

/// The partitions of the topics that still exist.
fn assignment(log: &EventLog, parts: &Parts) -> described::Assignment {
    let topics = by_topic(parts).into_iter().filter_map(|(id, partitions)| {
        let topic = log.topic_by_id(id)?;
        Some(
            described::TopicPartitions::default()
                .with_topic_id(Uuid::from_bytes(id))
                .with_topic_name(TopicName(text(topic.name())))
                .with_partitions(partitions),
        )
    });
    described::Assignment::default().with_topic_partitions(topics.collect())
}
