//! One member of a consumer group.

use std::collections::BTreeSet;

use bytes::Bytes;
use pluvio_wire_kafka::WireError;
use pluvio_wire_kafka::reader::Reader;
use tokio::sync::oneshot;

use super::memory::ENTRY_BYTES;
use crate::kafka::codes::Code;

/// What a member is told once its group is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub member_id: String,
    /// The leader is told to keep the assignment there is.
    pub skip_assignment: bool,
    /// All members, for the leader only: id, instance, what it told about itself.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

/// Why a join or sync was refused, and the id the member should use if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub code: Code,
    pub member_id: String,
}

/// What a member is told after its leader assigned the work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    pub protocol_type: String,
    pub protocol: String,
    pub assignment: Bytes,
}

pub(crate) type JoinAnswer = oneshot::Sender<Result<Joined, Refusal>>;
pub(crate) type SyncAnswer = oneshot::Sender<Result<Synced, Code>>;

/// What a member says when it joins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Joining {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: u64,
    pub rebalance_timeout_ms: u64,
    pub protocol_type: String,
    /// Ways to assign that it knows, best first: name, what it tells about itself.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether a new member must come back with the id it is given.
    pub id_first: bool,
    /// Whether it understands being told to keep the assignment.
    pub may_skip: bool,
}

impl Joining {
    /// How much the member tells about itself.
    pub fn bytes(&self) -> usize {
        told_bytes(self.instance_id.as_deref(), &self.client_id, &self.protocols)
    }
}

fn told_bytes(instance_id: Option<&str>, client_id: &str, protocols: &[(String, Bytes)]) -> usize {
    let told = protocols.iter().map(|(name, metadata)| name.len() + metadata.len() + ENTRY_BYTES);
    told.sum::<usize>() + instance_id.map_or(0, str::len) + client_id.len()
}

/// A member.
#[derive(Debug)]
pub(crate) struct Member {
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: u64,
    pub rebalance_timeout_ms: u64,
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// Waits for the group to be complete.
    pub joining: Option<JoinAnswer>,
    /// Waits for its assignment.
    pub syncing: Option<SyncAnswer>,
    /// Whether it has asked for its assignment in this generation.
    pub synced: bool,
    /// When it is given up if it does not show itself.
    pub session_deadline_ms: u64,
}

impl Member {
    pub fn new(joining: Joining) -> Self {
        Self {
            instance_id: joining.instance_id,
            client_id: joining.client_id,
            client_host: joining.client_host,
            session_timeout_ms: joining.session_timeout_ms,
            rebalance_timeout_ms: joining.rebalance_timeout_ms,
            protocols: joining.protocols,
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            synced: false,
            session_deadline_ms: 0,
        }
    }

    /// Takes over what a member says when it joins again.
    pub fn update(&mut self, joining: Joining) {
        self.session_timeout_ms = joining.session_timeout_ms;
        self.rebalance_timeout_ms = joining.rebalance_timeout_ms;
        self.protocols = joining.protocols;
        self.client_id = joining.client_id;
        self.client_host = joining.client_host;
    }

    /// It showed itself.
    pub fn touch(&mut self, now_ms: u64) {
        self.session_deadline_ms = now_ms + self.session_timeout_ms;
    }

    /// Whether it is waiting for us, so that its silence means nothing. A
    /// member whose connection is gone waits no more.
    pub fn is_waiting(&self) -> bool {
        self.joining.as_ref().is_some_and(|answer| !answer.is_closed())
            || self.syncing.as_ref().is_some_and(|answer| !answer.is_closed())
    }

    /// How much it tells about itself and is given.
    pub fn bytes(&self) -> usize {
        self.told_bytes() + self.assignment.len()
    }

    /// How much it tells about itself.
    pub fn told_bytes(&self) -> usize {
        told_bytes(self.instance_id.as_deref(), &self.client_id, &self.protocols)
    }

    /// What it tells about itself under this way to assign.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// Whether it knows this way to assign.
    pub fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }
}

/// The topics that a consumer names in what it tells about itself, if it is one:
/// that is a version, an array of topics, then what does not matter here.
pub(crate) fn subscribed_topics(metadata: &Bytes) -> Option<BTreeSet<String>> {
    let mut reader = Reader::new(metadata, "consumer's metadata");
    let mut read = || {
        reader.int16()?;
        let count = reader.array_length(false)?.unwrap_or(0);
        (0..count).map(|_| reader.required_string(false).map(str::to_owned)).collect::<Result<_, WireError>>()
    };
    read().ok()
}
