//! The settings of the broker, shown as they are; what they say is enforced where
//! the constants and options that they name are used.

use pluvio_eventlog::LogOptions;

use super::topic_settings::{Kind, Setting, settings};
use crate::kafka::broker::BrokerOptions;
use crate::kafka::groups::{SESSION_TIMEOUT_MS_MAX, SESSION_TIMEOUT_MS_MIN};
use crate::kafka::offsets::NOTE_BYTES_MAX;

/// Settings of topics under the names that they have on a broker, where they
/// are what a topic that does not say otherwise gets.
const OF_BROKER: &[(&str, &str)] = &[
    ("log.cleanup.policy", "cleanup.policy"),
    ("log.retention.ms", "retention.ms"),
    ("log.retention.bytes", "retention.bytes"),
    ("message.max.bytes", "max.message.bytes"),
    ("log.segment.bytes", "segment.bytes"),
    ("log.roll.ms", "segment.ms"),
    ("log.cleaner.min.cleanable.ratio", "min.cleanable.dirty.ratio"),
    ("log.cleaner.delete.retention.ms", "delete.retention.ms"),
    ("log.cleaner.min.compaction.lag.ms", "min.compaction.lag.ms"),
    ("log.cleaner.max.compaction.lag.ms", "max.compaction.lag.ms"),
    ("log.message.timestamp.type", "message.timestamp.type"),
    ("log.message.timestamp.before.max.ms", "message.timestamp.before.max.ms"),
    ("log.message.timestamp.after.max.ms", "message.timestamp.after.max.ms"),
    ("log.flush.interval.messages", "flush.messages"),
    ("log.flush.interval.ms", "flush.ms"),
    ("compression.type", "compression.type"),
    ("min.insync.replicas", "min.insync.replicas"),
    ("log.index.interval.bytes", "index.interval.bytes"),
    ("log.preallocate", "preallocate"),
    ("unclean.leader.election.enable", "unclean.leader.election.enable"),
];

/// The broker's settings, as far as they mean something here.
pub(crate) fn of_broker(options: &BrokerOptions, log: &LogOptions) -> Vec<Setting> {
    let topics = settings(&log.topic, log);
    let of_topics = OF_BROKER.iter().filter_map(|(name, of_topic)| {
        let setting = topics.iter().find(|setting| setting.name == *of_topic)?;
        Some(Setting { name, read_only: true, ..setting.clone() })
    });
    own_of_broker(options, log).into_iter().chain(of_topics).collect()
}

fn own_of_broker(options: &BrokerOptions, log: &LogOptions) -> Vec<Setting> {
    let general = of_server(options, log).into_iter();
    general.chain(of_groups(options)).chain(of_connections(options)).collect()
}

fn setting(name: &'static str, kind: Kind, value: impl ToString, meaning: &'static str) -> Setting {
    Setting { name, kind, value: value.to_string(), read_only: true, given: false, meaning }
}

fn of_server(options: &BrokerOptions, log: &LogOptions) -> Vec<Setting> {
    let auto_create = options.auto_create_topics;
    let retention_interval_ms = log.retention_check_interval_ms;
    vec![
        setting("broker.id", Kind::Int, options.node_id, "The number of the one broker."),
        setting(
            "auto.create.topics.enable",
            Kind::Boolean,
            auto_create,
            "Whether a topic is made when it is first asked for.",
        ),
        setting("delete.topic.enable", Kind::Boolean, true, "Topics can be deleted."),
        setting(
            "num.partitions",
            Kind::Int,
            options.default_partitions,
            "Partitions of a topic whose maker did not say how many.",
        ),
        setting("default.replication.factor", Kind::Int, 1, "There is one replica."),
        setting(
            "log.retention.check.interval.ms",
            Kind::Long,
            retention_interval_ms,
            "How often what is old is looked for, in milliseconds.",
        ),
        setting(
            "log.cleaner.dedupe.buffer.size",
            Kind::Long,
            log.compaction_map_bytes,
            "Memory that a compaction takes for keys, in bytes.",
        ),
        setting(
            "transaction.max.timeout.ms",
            Kind::Int,
            options.transaction_timeout_ms_max,
            "Longest timeout that a producer may ask for its transactions, in milliseconds.",
        ),
    ]
}

fn of_groups(options: &BrokerOptions) -> Vec<Setting> {
    vec![
        setting(
            "offsets.retention.minutes",
            Kind::Int,
            options.offsets_retention_ms / 60_000,
            "Committed offsets of a group without members are kept this long.",
        ),
        setting(
            "offset.metadata.max.bytes",
            Kind::Int,
            NOTE_BYTES_MAX,
            "Longest text that a client may store beside an offset, in bytes.",
        ),
        setting(
            "group.initial.rebalance.delay.ms",
            Kind::Int,
            options.group_initial_delay_ms,
            "How long a group that was empty waits for more members, in milliseconds.",
        ),
        setting(
            "group.min.session.timeout.ms",
            Kind::Int,
            SESSION_TIMEOUT_MS_MIN,
            "Shortest session timeout of a member of a classic group, in milliseconds.",
        ),
        setting(
            "group.max.session.timeout.ms",
            Kind::Int,
            SESSION_TIMEOUT_MS_MAX,
            "Longest session timeout of a member of a classic group, in milliseconds.",
        ),
        setting("group.max.size", Kind::Int, options.group_members_max, "Most members of a classic group."),
        setting(
            "group.consumer.max.size",
            Kind::Int,
            options.group_members_max,
            "Most members of a group of the consumer protocol.",
        ),
        setting(
            "group.consumer.session.timeout.ms",
            Kind::Int,
            options.consumer_session_timeout_ms,
            "A member of the consumer protocol is given up after so long without a heartbeat.",
        ),
        setting(
            "group.consumer.heartbeat.interval.ms",
            Kind::Int,
            options.consumer_heartbeat_interval_ms,
            "How often a member of the consumer protocol is to send a heartbeat.",
        ),
    ]
}

fn of_connections(options: &BrokerOptions) -> Vec<Setting> {
    let session_lifetime_ms = options.security.as_ref().map_or(0, |security| security.session_lifetime_ms);
    vec![
        setting(
            "connections.max.reauth.ms",
            Kind::Long,
            session_lifetime_ms,
            "How long a password proves who a client is, in milliseconds; 0: as long as it is connected.",
        ),
        setting("socket.request.max.bytes", Kind::Int, options.frame_bytes_max, "Largest request, in bytes."),
        setting("max.connections", Kind::Int, options.connections_max, "Most connections at once."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_settings_are_what_topics_get() {
        let all = of_broker(&BrokerOptions::default(), &LogOptions::default());
        assert_eq!(all.iter().filter(|setting| setting.name == "log.flush.interval.messages").count(), 1);
        let value = |name| all.iter().find(|setting| setting.name == name).map(|it| it.value.as_str());
        assert_eq!(value("group.min.session.timeout.ms"), Some("1000"));
        assert_eq!(value("group.max.session.timeout.ms"), Some("1800000"));
        assert_eq!(value("transaction.max.timeout.ms"), Some("900000"));
        assert_eq!(
            all.len(),
            own_of_broker(&BrokerOptions::default(), &LogOptions::default()).len() + OF_BROKER.len()
        );
    }
}
