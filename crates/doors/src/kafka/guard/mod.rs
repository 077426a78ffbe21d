//! Who may do what: every request passes here before its work begins, and its
//! answer passes here again. A request without a guard does not compile.
//!
//! What each request needs (a resource that is not named needs nothing; what is
//! refused is answered with the resource's error, the rest is done):
//!
//! | Request | Needs |
//! |---|---|
//! | Produce | Write on the topic; Write on the transactional id |
//! | Fetch, DescribeProducers | Read on the topic |
//! | ListOffsets, OffsetForLeaderEpoch, DescribeTopicPartitions | Describe on the topic |
//! | Metadata | Describe on the topic, others are left out; Create to make it |
//! | CreateTopics | Create on the topic or the cluster |
//! | DeleteTopics, DeleteRecords | Delete on the topic |
//! | CreatePartitions | Alter on the topic |
//! | DescribeConfigs, Alter…Configs | DescribeConfigs, AlterConfigs on the topic, the group or the cluster |
//! | FindCoordinator | Describe on the group or the transactional id |
//! | JoinGroup, SyncGroup, Heartbeat, LeaveGroup | Read on the group |
//! | ConsumerGroupHeartbeat | Read on the group, Describe on the topics |
//! | DescribeGroups, ConsumerGroupDescribe | Describe on the group |
//! | ListGroups | Describe on the cluster or the group, others are left out |
//! | DeleteGroups | Delete on the group |
//! | OffsetCommit | Read on the group and the topic |
//! | OffsetFetch | Describe on the group and the topic |
//! | OffsetDelete | Delete on the group, Read on the topic |
//! | InitProducerId | Write on the transactional id; without one Write on some topic or IdempotentWrite on the cluster |
//! | AddPartitionsToTxn | Write on the transactional id and the topic |
//! | AddOffsetsToTxn, TxnOffsetCommit | Write on the transactional id, Read on the group and the topic |
//! | EndTxn | Write on the transactional id |
//! | DescribeTransactions, ListTransactions | Describe on the transactional id, others are left out of the list |
//! | DescribeLogDirs, ListPartitionReassignments | Describe on the cluster |
//! | ElectLeaders, AlterPartitionReassignments | Alter on the cluster |
//! | DescribeAcls, DescribeUserScramCredentials | Describe on the cluster |
//! | CreateAcls, DeleteAcls, AlterUserScramCredentials | Alter on the cluster |
//! | DescribeClientQuotas, AlterClientQuotas | DescribeConfigs, AlterConfigs on the cluster |
//! | ApiVersions, DescribeCluster | nothing |
//!
//! Produce and Fetch ask for themselves, topic by topic, because they are on
//! the hot path; all others are in the files of this folder.

mod cluster;
mod configs;
mod group_offsets;
mod groups;
mod rights;
mod topics;
mod transactions;

use kafka_protocol::protocol::Request;
use kafka_protocol::protocol::StrBytes;

pub(crate) use rights::Rights;

use super::dispatch::Call;

/// Puts into an answer what was refused and takes out what may not be seen.
type Finish<A> = Box<dyn FnOnce(&mut A) + Send>;

/// What becomes of a request.
pub(crate) enum Verdict<R: Request> {
    /// It is carried out.
    Serve(R),
    /// What is left of it is carried out, and the answer finished.
    Partly(R, Finish<R::Response>),
    /// It is answered with this.
    Refuse(R::Response),
}

/// A request that is looked at before it is carried out.
pub(crate) trait Guarded: Request + Send + 'static {
    /// Decides by the peer's rights.
    fn guard(self, call: &Call) -> Verdict<Self>;
}

impl<R: Request> Verdict<R> {
    fn partly(request: R, finish: impl FnOnce(&mut R::Response) + Send + 'static) -> Self {
        Self::Partly(request, Box::new(finish))
    }

    /// Serves if allowed, refuses otherwise.
    fn whole(request: R, allowed: bool, refusal: impl FnOnce(&R) -> R::Response) -> Self {
        match allowed {
            true => Self::Serve(request),
            false => Self::Refuse(refusal(&request)),
        }
    }
}

/// Takes out the elements that are not allowed.
fn take_denied<T>(elements: &mut Vec<T>, allowed: impl Fn(&T) -> bool) -> Vec<T> {
    match elements.iter().all(&allowed) {
        true => Vec::new(),
        false => elements.extract_if(.., |element| !allowed(element)).collect(),
    }
}

/// What a person reads beside the error code.
fn denied_message() -> Option<StrBytes> {
    Some(StrBytes::from_static_str("not allowed; ask for an access rule (ACL) that allows it"))
}
