//! The requests that are understood: key, versions, and the shape of each, in
//! one table.
//!
//! A shape describes a request's bytes well enough to walk over them before
//! anything is decoded (see [`crate::shape`]). Its letters: `b` one byte, `h`
//! two, `w` four, `l` eight, `u` a UUID, `s` a string, `y` bytes, `[x]` an
//! array of one primitive, `{…}` an array of structures, `(…)` a structure
//! that may be null. `@3+` after one means
//! it is there from version 3 on, `@0-5` only in those versions.

use kafka_protocol::messages::ApiKey;

use crate::WireError;

/// One request of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    /// Its key.
    pub key: ApiKey,
    /// Lowest version that is read.
    pub version_min: i16,
    /// Highest version that is read.
    pub version_max: i16,
    /// The shape of its body; empty for those with a decoder of their own.
    pub(crate) shape: &'static str,
}

const fn api(key: ApiKey, version_min: i16, version_max: i16, shape: &'static str) -> Api {
    Api { key, version_min, version_max, shape }
}

/// All requests that are understood, by key.
pub const APIS: &[Api] = &[
    api(ApiKey::Produce, 0, 13, ""),
    api(ApiKey::Fetch, 4, 18, ""),
    api(ApiKey::ListOffsets, 1, 10, "w b@2+ {s {w w@4+ l}} w@10+"),
    api(ApiKey::Metadata, 0, 13, "{u@10+ s} b@4+ b@8-10 b@8+"),
    api(ApiKey::OffsetCommit, 2, 9, "s w s s@7+ l@2-4 {s {w l w@6+ s}}"),
    api(ApiKey::OffsetFetch, 1, 9, "s@0-7 {s [w]}@0-7 {s s@9+ w@9+ {s [w]}}@8+ b@7+"),
    api(ApiKey::FindCoordinator, 0, 6, "s@0-3 b@1+ [s]@4+"),
    api(ApiKey::JoinGroup, 0, 9, "s w w@1+ s s@5+ s {s y} s@8+"),
    api(ApiKey::Heartbeat, 0, 4, "s w s s@3+"),
    api(ApiKey::LeaveGroup, 0, 5, "s s@0-2 {s s s@5+}@3+"),
    api(ApiKey::SyncGroup, 0, 5, "s w s s@3+ s@5+ s@5+ {s y}"),
    api(ApiKey::DescribeGroups, 0, 6, "[s] b@3+"),
    api(ApiKey::ListGroups, 0, 5, "[s]@4+ [s]@5+"),
    api(ApiKey::SaslHandshake, 0, 1, "s"),
    api(ApiKey::ApiVersions, 0, 4, "s@3+ s@3+"),
    api(ApiKey::CreateTopics, 2, 7, "{s w h {w [w]} {s s}} w b"),
    api(ApiKey::DeleteTopics, 1, 6, "{s u}@6+ [s]@0-5 w"),
    api(ApiKey::DeleteRecords, 0, 2, "{s {w l}} w"),
    api(ApiKey::InitProducerId, 0, 5, "s w l@3+ h@3+"),
    api(ApiKey::AddPartitionsToTxn, 0, 5, "{s l h b {s [w]}}@4+ s@0-3 l@0-3 h@0-3 {s [w]}@0-3"),
    api(ApiKey::AddOffsetsToTxn, 0, 4, "s l h s"),
    api(ApiKey::EndTxn, 0, 5, "s l h b"),
    api(ApiKey::TxnOffsetCommit, 0, 5, "s s l h w@3+ s@3+ s@3+ {s {w l w@2+ s}}"),
    api(ApiKey::DescribeProducers, 0, 0, "{s [w]}"),
    api(ApiKey::DescribeTransactions, 0, 0, "[s]"),
    api(ApiKey::ListTransactions, 0, 2, "[s] [l] l@1+ s@2+"),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4, "w@3+ {s {w w w}}"),
    api(ApiKey::DescribeAcls, 1, 3, "b s b s s b b"),
    api(ApiKey::CreateAcls, 1, 3, "{b s b s s b b}"),
    api(ApiKey::DeleteAcls, 1, 3, "{b s b s s b b}"),
    api(ApiKey::DescribeConfigs, 1, 4, "{b s [s]} b b@3+"),
    api(ApiKey::AlterConfigs, 0, 2, "{b s {s s}} b"),
    api(ApiKey::SaslAuthenticate, 0, 2, "y"),
    api(ApiKey::CreatePartitions, 0, 3, "{s w {[w]}} w b"),
    api(ApiKey::DeleteGroups, 0, 2, "[s]"),
    api(ApiKey::IncrementalAlterConfigs, 0, 1, "{b s {s b s}} b"),
    api(ApiKey::OffsetDelete, 0, 0, "s {s {w}}"),
    api(ApiKey::DescribeClientQuotas, 0, 1, "{s b s} b"),
    api(ApiKey::AlterClientQuotas, 0, 1, "{{s s} {s l b}} b"),
    api(ApiKey::DescribeUserScramCredentials, 0, 0, "{s}"),
    api(ApiKey::AlterUserScramCredentials, 0, 0, "{s b} {s b w y y}"),
    api(ApiKey::DescribeCluster, 0, 2, "b b@1+ b@2+"),
    api(ApiKey::DescribeLogDirs, 1, 4, "{s [w]}"),
    api(ApiKey::ElectLeaders, 0, 2, "b@1+ {s [w]} w"),
    api(ApiKey::AlterPartitionReassignments, 0, 1, "w b@1+ {s {w [w]}}"),
    api(ApiKey::ListPartitionReassignments, 0, 0, "w {s [w]}"),
    api(ApiKey::DescribeTopicPartitions, 0, 0, "{s} w (s w)"),
    api(ApiKey::ConsumerGroupHeartbeat, 0, 1, "s s w s s w [s] s@1+ s {u [w]}"),
    api(ApiKey::ConsumerGroupDescribe, 0, 1, "[s] b"),
];

impl Api {
    /// The request with this key.
    pub fn of(key: i16) -> Option<&'static Self> {
        APIS.iter().find(|api| api.key as i16 == key)
    }

    /// The request with this key, if this version of it is read.
    pub fn served(key: i16, version: i16) -> Result<&'static Self, WireError> {
        let api = Self::of(key).filter(|api| (api.version_min..=api.version_max).contains(&version));
        api.ok_or(WireError::ApiVersion { api_key: key, version })
    }

    /// Whether this version has compact lengths and tagged fields.
    pub fn is_flexible(&self, version: i16) -> bool {
        // Produce below 3 is older than the tables of the library.
        self.key.request_header_version(version) >= 2
    }
}
