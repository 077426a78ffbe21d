//! The settings of a topic, each defined once: how it is shown and how it is
//! changed.

use pluvio_eventlog::TopicConfig;

use crate::kafka::broker::BrokerOptions;

/// How the protocol calls the type of a setting.
#[derive(Debug, Clone, Copy)]
#[repr(i8)]
pub(crate) enum Kind {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Long = 5,
    List = 7,
}

/// A setting as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    pub value: String,
    pub read_only: bool,
    pub meaning: &'static str,
}

/// What is to happen to a setting.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Set(String),
    Reset,
    /// Add to a list or take from it.
    Merge,
    Unknown(i8),
}

struct Definition {
    name: &'static str,
    kind: Kind,
    meaning: &'static str,
    get: fn(&TopicConfig) -> String,
    set: fn(&mut TopicConfig, &str) -> Result<(), String>,
}

const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "cleanup.policy",
        kind: Kind::List,
        meaning: "delete: old events are removed; compact: the newest event of each key is kept.",
        get: |config| if config.compact { "compact".into() } else { "delete".into() },
        set: |config, value| {
            config.compact = match value {
                "delete" => false,
                "compact" => true,
                _ => return Err("allowed are delete and compact".into()),
            };
            Ok(())
        },
    },
    Definition {
        name: "retention.ms",
        kind: Kind::Long,
        meaning: "Events older than this may be removed, in milliseconds; -1 keeps them forever.",
        get: |config| config.retention_ms.unwrap_or(-1).to_string(),
        set: |config, value| {
            let retention_ms: i64 = number(value, -1)?;
            config.retention_ms = (retention_ms >= 0).then_some(retention_ms);
            Ok(())
        },
    },
    Definition {
        name: "retention.bytes",
        kind: Kind::Long,
        meaning: "A partition's oldest events are removed beyond this many bytes; -1 sets no limit.",
        get: |config| config.retention_bytes.map_or("-1".into(), |bytes| bytes.to_string()),
        set: |config, value| {
            config.retention_bytes = u64::try_from(number(value, -1)?).ok();
            Ok(())
        },
    },
    Definition {
        name: "max.message.bytes",
        kind: Kind::Int,
        meaning: "Largest record batch, in bytes.",
        get: |config| config.max_message_bytes.to_string(),
        set: |config, value| {
            config.max_message_bytes = usize::try_from(number(value, 0)?).unwrap_or(usize::MAX);
            Ok(())
        },
    },
    Definition {
        name: "segment.bytes",
        kind: Kind::Int,
        meaning: "Size of the files that a partition is kept in, in bytes.",
        get: |config| config.segment_bytes.to_string(),
        set: |config, value| {
            config.segment_bytes = u64::try_from(number(value, 0)?).unwrap_or(u64::MAX);
            Ok(())
        },
    },
];

/// Kafka's settings that have one value here.
const FIXED: &[(&str, Kind, &str, &str)] = &[
    ("compression.type", Kind::Text, "producer", "Batches are stored as the producer compressed them."),
    ("message.timestamp.type", Kind::Text, "CreateTime", "An event's time is its producer's."),
    ("min.insync.replicas", Kind::Int, "1", "There is one replica."),
    ("unclean.leader.election.enable", Kind::Boolean, "false", "There is one replica."),
];

fn number(value: &str, min: i64) -> Result<i64, String> {
    match value.trim().parse() {
        Ok(number) if number >= min => Ok(number),
        _ => Err(format!("{value:?} is not a whole number from {min} up")),
    }
}

/// All settings of a topic, in a fixed order.
pub(crate) fn settings(config: &TopicConfig) -> Vec<Setting> {
    let own = DEFINITIONS.iter().map(|it| Setting {
        name: it.name,
        kind: it.kind,
        value: (it.get)(config),
        read_only: false,
        meaning: it.meaning,
    });
    let fixed = FIXED.iter().map(|(name, kind, value, meaning)| Setting {
        name,
        kind: *kind,
        value: (*value).to_owned(),
        read_only: true,
        meaning,
    });
    own.chain(fixed).collect()
}

/// The broker's own settings, as far as clients ask for them.
pub(crate) fn of_broker(options: &BrokerOptions, topics: &TopicConfig) -> Vec<Setting> {
    let setting =
        |name, kind, value: String, meaning| Setting { name, kind, value, read_only: true, meaning };
    vec![
        setting(
            "auto.create.topics.enable",
            Kind::Boolean,
            options.auto_create_topics.to_string(),
            "Whether a topic is made when it is first asked for.",
        ),
        setting(
            "num.partitions",
            Kind::Int,
            options.default_partitions.to_string(),
            "Partitions of a topic whose maker did not say how many.",
        ),
        setting("default.replication.factor", Kind::Int, "1".into(), "There is one replica."),
        setting(
            "message.max.bytes",
            Kind::Int,
            topics.max_message_bytes.to_string(),
            "Largest record batch of a topic that does not say otherwise, in bytes.",
        ),
        setting(
            "log.retention.ms",
            Kind::Long,
            topics.retention_ms.unwrap_or(-1).to_string(),
            "How long a topic that does not say otherwise keeps its events.",
        ),
        setting(
            "log.segment.bytes",
            Kind::Long,
            topics.segment_bytes.to_string(),
            "Size of a segment file of a topic that does not say otherwise.",
        ),
        setting(
            "offsets.retention.minutes",
            Kind::Int,
            (options.offsets_retention_ms / 60_000).to_string(),
            "Committed offsets of a group without members are kept this long.",
        ),
    ]
}

/// Changes one setting, or resets it to what `defaults` has; the error says what
/// is wrong and what is allowed.
pub(crate) fn apply(
    config: &mut TopicConfig,
    defaults: &TopicConfig,
    name: &str,
    change: &Change,
) -> Result<(), String> {
    let Some(definition) = DEFINITIONS.iter().find(|it| it.name == name) else {
        return apply_fixed(name, change);
    };
    let value = match change {
        Change::Set(value) => value.clone(),
        Change::Reset => (definition.get)(defaults),
        Change::Merge => {
            return Err(format!("{name} takes one value; set it instead of adding to it or taking from it"));
        }
        Change::Unknown(operation) => return Err(format!("{name}: operation {operation} is unknown")),
    };
    (definition.set)(config, &value).map_err(|reason| format!("{name} = {value}: {reason}"))
}

fn apply_fixed(name: &str, change: &Change) -> Result<(), String> {
    let Some((_, _, only, _)) = FIXED.iter().find(|(fixed, ..)| *fixed == name) else {
        return Err(format!("{name} is not a setting of a topic here"));
    };
    match change {
        Change::Reset => Ok(()),
        Change::Set(value) if value == only => Ok(()),
        _ => Err(format!("{name} is always {only}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: &str) -> Change {
        Change::Set(value.to_owned())
    }

    #[test]
    fn what_is_shown_can_be_set() {
        let mut config = TopicConfig::default();
        for setting in settings(&TopicConfig::default()) {
            apply(&mut config, &TopicConfig::default(), setting.name, &set(&setting.value)).unwrap();
        }
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn changes_and_resets() {
        let mut config = TopicConfig::default();
        apply(&mut config, &TopicConfig::default(), "retention.ms", &set("-1")).unwrap();
        apply(&mut config, &TopicConfig::default(), "retention.bytes", &set("1000")).unwrap();
        apply(&mut config, &TopicConfig::default(), "cleanup.policy", &set("compact")).unwrap();
        assert_eq!((config.retention_ms, config.retention_bytes, config.compact), (None, Some(1000), true));
        for name in ["retention.ms", "retention.bytes", "cleanup.policy"] {
            apply(&mut config, &TopicConfig::default(), name, &Change::Reset).unwrap();
        }
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let mut config = TopicConfig::default();
        let mut refused =
            |name, value| apply(&mut config, &TopicConfig::default(), name, &set(value)).unwrap_err();
        assert!(refused("retention.ms", "soon").contains("whole number"));
        assert!(refused("cleanup.policy", "burn").contains("delete and compact"));
        assert!(refused("min.insync.replicas", "2").contains("always 1"));
        assert!(refused("no.such.thing", "2").contains("not a setting"));
    }
}
