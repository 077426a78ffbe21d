//! The settings of a topic, each defined once: how it is shown and how it is
//! changed.

use pluvio_eventlog::{Cleanup, LogOptions, TimestampType, TopicConfig, TopicSetting};
use pluvio_wire_kafka::Compression;

/// How the protocol calls the type of a setting.
#[derive(Debug, Clone, Copy)]
#[repr(i8)]
pub(crate) enum Kind {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// A setting as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    pub value: String,
    pub read_only: bool,
    /// Whether the topic was given it.
    pub given: bool,
    pub meaning: &'static str,
}

/// What is to happen to a setting.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Set(String),
    Reset,
    /// Add to a list.
    Append(String),
    /// Take from a list.
    Subtract(String),
    Unknown(i8),
}

struct Definition {
    name: &'static str,
    setting: TopicSetting,
    kind: Kind,
    meaning: &'static str,
    get: fn(&TopicConfig, &LogOptions) -> String,
    set: fn(&mut TopicConfig, &str) -> Result<(), String>,
}

const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "cleanup.policy",
        setting: TopicSetting::Cleanup,
        kind: Kind::List,
        meaning: "delete: old events are removed; compact: the newest event of each key is kept; or both.",
        get: |config, _| config.cleanup.name().to_owned(),
        set: |config, value| {
            let mut parts = [false, false];
            for part in list(value) {
                match part {
                    "compact" => parts[0] = true,
                    "delete" => parts[1] = true,
                    _ => return Err(POLICIES.into()),
                }
            }
            config.cleanup = Cleanup::of(parts[0], parts[1]).ok_or(POLICIES)?;
            Ok(())
        },
    },
    Definition {
        name: "retention.ms",
        setting: TopicSetting::RetentionMs,
        kind: Kind::Long,
        meaning: "Events older than this may be removed, in milliseconds; -1 keeps them forever.",
        get: |config, _| config.retention_ms.unwrap_or(-1).to_string(),
        set: |config, value| {
            let retention_ms: i64 = number(value, -1)?;
            config.retention_ms = (retention_ms >= 0).then_some(retention_ms);
            Ok(())
        },
    },
    Definition {
        name: "retention.bytes",
        setting: TopicSetting::RetentionBytes,
        kind: Kind::Long,
        meaning: "A partition's oldest events are removed beyond this many bytes; -1 sets no limit.",
        get: |config, _| config.retention_bytes.map_or("-1".into(), |bytes| bytes.to_string()),
        set: |config, value| {
            config.retention_bytes = u64::try_from(number(value, -1)?).ok();
            Ok(())
        },
    },
    Definition {
        name: "max.message.bytes",
        setting: TopicSetting::MaxMessageBytes,
        kind: Kind::Int,
        meaning: "Largest record batch, in bytes.",
        get: |config, _| config.max_message_bytes.to_string(),
        set: |config, value| {
            config.max_message_bytes = usize::try_from(number(value, 0)?).unwrap_or(usize::MAX);
            Ok(())
        },
    },
    Definition {
        name: "compression.type",
        setting: TopicSetting::Compression,
        kind: Kind::Text,
        meaning: "producer: batches are stored as they come; gzip, snappy, lz4, zstd, uncompressed: batches \
                  that come otherwise are compressed anew.",
        get: |config, _| match config.compression {
            None => "producer".to_owned(),
            Some(Compression::None) => UNCOMPRESSED.to_owned(),
            Some(codec) => codec.name().to_owned(),
        },
        set: |config, value| {
            config.compression = match value.trim() {
                "producer" => None,
                UNCOMPRESSED => Some(Compression::None),
                name => Some(Compression::from_name(name).ok_or(CODECS)?),
            };
            Ok(())
        },
    },
    Definition {
        name: "segment.bytes",
        setting: TopicSetting::SegmentBytes,
        kind: Kind::Int,
        meaning: "Size of the files that a partition is kept in, in bytes.",
        get: |config, _| config.segment_bytes.to_string(),
        set: |config, value| {
            config.segment_bytes = u64::try_from(number(value, 0)?).unwrap_or(u64::MAX);
            Ok(())
        },
    },
    Definition {
        name: "min.cleanable.dirty.ratio",
        setting: TopicSetting::DirtyRatioMin,
        kind: Kind::Double,
        meaning: "A partition is compacted once this part of it was never compacted.",
        get: |config, _| (f64::from(config.dirty_ratio_min_ppm) / 1e6).to_string(),
        set: |config, value| {
            let ratio: f64 = value.trim().parse().unwrap_or(f64::NAN);
            if !(0.0..=1.0).contains(&ratio) {
                return Err(format!("{value:?} is not a number from 0 to 1"));
            }
            // Between 0 and a million: the cast is exact.
            config.dirty_ratio_min_ppm = (ratio * 1e6).round() as u32;
            Ok(())
        },
    },
    Definition {
        name: "message.timestamp.type",
        setting: TopicSetting::Timestamp,
        kind: Kind::Text,
        meaning: "Whose time an event bears: its producer's (CreateTime) or the append's (LogAppendTime).",
        get: |config, _| config.timestamp.name().to_owned(),
        set: |config, value| {
            config.timestamp = match value.trim() {
                "CreateTime" => TimestampType::CreateTime,
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => return Err("allowed are CreateTime and LogAppendTime".into()),
            };
            Ok(())
        },
    },
    Definition {
        name: "flush.messages",
        setting: TopicSetting::FlushMessages,
        kind: Kind::Long,
        meaning: "1: acks=all is answered once the events are on disk. More: acks=all is answered before \
                  that, and a sync begins after this many events.",
        get: |config, _| config.flush_messages.to_string(),
        set: |config, value| {
            config.flush_messages = number(value, 1)?.unsigned_abs();
            Ok(())
        },
    },
    Definition {
        name: "flush.ms",
        setting: TopicSetting::FlushMs,
        kind: Kind::Long,
        meaning: "Longest time that an event nobody waits for is not on disk, in milliseconds.",
        get: |config, _| config.flush_ms.to_string(),
        set: |config, value| number(value, 1).map(|ms| config.flush_ms = ms),
    },
    Definition {
        name: "segment.ms",
        setting: TopicSetting::SegmentMs,
        kind: Kind::Long,
        meaning: "A file that events are appended to is closed after this time, in milliseconds.",
        get: |config, _| config.segment_ms.to_string(),
        set: |config, value| number(value, 1).map(|ms| config.segment_ms = ms),
    },
    Definition {
        name: "delete.retention.ms",
        setting: TopicSetting::DeleteRetentionMs,
        kind: Kind::Long,
        meaning: "How long a compaction leaves deletions in place, in milliseconds.",
        get: |config, _| config.delete_retention_ms.to_string(),
        set: |config, value| number(value, 0).map(|ms| config.delete_retention_ms = ms),
    },
    Definition {
        name: "min.compaction.lag.ms",
        setting: TopicSetting::CompactionLagMin,
        kind: Kind::Long,
        meaning: "Events younger than this are not compacted away, in milliseconds.",
        get: |config, _| config.compaction_lag_min_ms.to_string(),
        set: |config, value| number(value, 0).map(|ms| config.compaction_lag_min_ms = ms),
    },
    Definition {
        name: "max.compaction.lag.ms",
        setting: TopicSetting::CompactionLagMax,
        kind: Kind::Long,
        meaning: "Events older than this are compacted whatever the ratio, in milliseconds.",
        get: |config, _| config.compaction_lag_max_ms.to_string(),
        set: |config, value| number(value, 1).map(|ms| config.compaction_lag_max_ms = ms),
    },
    Definition {
        name: "message.timestamp.before.max.ms",
        setting: TopicSetting::TimestampBeforeMax,
        kind: Kind::Long,
        meaning: "How far an event's time may lie before now, in milliseconds.",
        get: |config, _| config.timestamp_before_max_ms.to_string(),
        set: |config, value| number(value, 0).map(|ms| config.timestamp_before_max_ms = ms),
    },
    Definition {
        name: "message.timestamp.after.max.ms",
        setting: TopicSetting::TimestampAfterMax,
        kind: Kind::Long,
        meaning: "How far an event's time may lie after now, in milliseconds.",
        get: |config, _| config.timestamp_after_max_ms.to_string(),
        set: |config, value| number(value, 0).map(|ms| config.timestamp_after_max_ms = ms),
    },
    Definition {
        name: "memory.tail.bytes",
        setting: TopicSetting::TailBytes,
        kind: Kind::Long,
        meaning: "Most bytes of its newest events that are kept in memory; -1: as many as there is memory for \
                  of all topics.",
        get: |config, log| match config.tail_bytes {
            None => log.tail_bytes_per_topic.to_string(),
            Some(u64::MAX) => "-1".into(),
            Some(bytes) => bytes.to_string(),
        },
        set: |config, value| {
            config.tail_bytes = Some(u64::try_from(number(value, -1)?).unwrap_or(u64::MAX));
            Ok(())
        },
    },
];

/// What topics call what producers call `none`; that is taken too.
const UNCOMPRESSED: &str = "uncompressed";
const CODECS: &str = "allowed are producer, uncompressed, gzip, snappy, lz4 and zstd";
const POLICIES: &str = "allowed are delete, compact, and both";

/// Kafka's settings that have one value here.
const FIXED: &[(&str, Kind, &str, &str)] = &[
    ("min.insync.replicas", Kind::Int, "1", "There is one replica."),
    ("unclean.leader.election.enable", Kind::Boolean, "false", "There is one replica."),
    ("file.delete.delay.ms", Kind::Long, "0", "Files are removed at once."),
    ("index.interval.bytes", Kind::Int, "65536", "One entry of the index for so many bytes of batches."),
    ("preallocate", Kind::Boolean, "false", "Files grow as they are written."),
    ("segment.jitter.ms", Kind::Long, "0", "Files are closed when their time comes."),
    ("remote.storage.enable", Kind::Boolean, "false", "All events are on this machine."),
];

/// The parts of a list.
fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn number(value: &str, min: i64) -> Result<i64, String> {
    match value.trim().parse() {
        Ok(number) if number >= min => Ok(number),
        _ => Err(format!("{value:?} is not a whole number from {min} up")),
    }
}

/// All settings of a topic, in a fixed order.
pub(crate) fn settings(config: &TopicConfig, log: &LogOptions) -> Vec<Setting> {
    let own = DEFINITIONS.iter().map(|it| Setting {
        name: it.name,
        kind: it.kind,
        value: (it.get)(config, log),
        read_only: false,
        given: config.is_given(it.setting),
        meaning: it.meaning,
    });
    let fixed = FIXED.iter().map(|(name, kind, value, meaning)| Setting {
        name,
        kind: *kind,
        value: (*value).to_owned(),
        read_only: true,
        given: false,
        meaning,
    });
    own.chain(fixed).collect()
}

/// Changes one setting, or resets it to what the log has; the error says what is
/// wrong and what is allowed.
pub(crate) fn apply(
    config: &mut TopicConfig,
    log: &LogOptions,
    name: &str,
    change: &Change,
) -> Result<(), String> {
    let Some(definition) = DEFINITIONS.iter().find(|it| it.name == name) else {
        return apply_fixed(name, change);
    };
    let value = match change {
        Change::Set(value) => value.clone(),
        Change::Reset => {
            config.reset(definition.setting, &log.topic);
            return Ok(());
        }
        Change::Append(_) | Change::Subtract(_) if !matches!(definition.kind, Kind::List) => {
            return Err(format!("{name} takes one value; set it instead of adding to it or taking from it"));
        }
        Change::Append(more) => format!("{},{more}", (definition.get)(config, log)),
        Change::Subtract(less) => {
            let less: Vec<&str> = list(less).collect();
            let present = (definition.get)(config, log);
            list(&present).filter(|part| !less.contains(part)).collect::<Vec<_>>().join(",")
        }
        Change::Unknown(operation) => return Err(format!("{name}: operation {operation} is unknown")),
    };
    (definition.set)(config, &value).map_err(|reason| format!("{name} = {value}: {reason}"))?;
    config.give(definition.setting);
    Ok(())
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

    fn log() -> LogOptions {
        LogOptions::default()
    }

    fn set(value: &str) -> Change {
        Change::Set(value.to_owned())
    }

    #[test]
    fn what_is_shown_can_be_set() {
        let mut config = TopicConfig::default();
        let shown = |config: &TopicConfig| {
            let settings = settings(config, &log()).into_iter();
            settings.map(|it| (it.value, it.given || it.read_only)).collect::<Vec<_>>()
        };
        let before = shown(&config);
        for setting in settings(&TopicConfig::default(), &log()) {
            apply(&mut config, &log(), setting.name, &set(&setting.value)).unwrap();
        }
        assert!(shown(&config).iter().zip(before).all(|(now, before)| now.0 == before.0 && now.1));
        for setting in settings(&TopicConfig::default(), &log()) {
            apply(&mut config, &log(), setting.name, &Change::Reset).unwrap();
        }
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn changes_and_resets() {
        let mut config = TopicConfig::default();
        apply(&mut config, &log(), "retention.ms", &set("-1")).unwrap();
        apply(&mut config, &log(), "retention.bytes", &set("1000")).unwrap();
        apply(&mut config, &log(), "cleanup.policy", &set("compact")).unwrap();
        let changed = (config.retention_ms, config.retention_bytes, config.cleanup);
        assert_eq!(changed, (None, Some(1000), Cleanup::Compact));
        for name in ["retention.ms", "retention.bytes", "cleanup.policy"] {
            apply(&mut config, &log(), name, &Change::Reset).unwrap();
        }
        assert_eq!(config, TopicConfig::default());
    }

    #[test]
    fn a_list_is_added_to_and_taken_from() {
        let (mut config, log) = (TopicConfig::default(), log());
        let mut change =
            |name: &str, change: Change| apply(&mut config, &log, name, &change).map(|()| config.cleanup);
        let add = |text: &str| Change::Append(text.into());
        let take = |text: &str| Change::Subtract(text.into());
        assert_eq!(change("cleanup.policy", add("compact")), Ok(Cleanup::CompactDelete));
        assert_eq!(change("cleanup.policy", add("compact")), Ok(Cleanup::CompactDelete));
        assert_eq!(change("cleanup.policy", take("delete")), Ok(Cleanup::Compact));
        assert!(change("cleanup.policy", take("compact")).unwrap_err().contains("allowed are"));
        assert!(change("retention.ms", add("5")).unwrap_err().contains("one value"));
        assert_eq!(change("cleanup.policy", set(" delete , compact ")), Ok(Cleanup::CompactDelete));
    }

    #[test]
    fn every_setting_changes_what_it_is_named_for() {
        for (name, value) in [
            ("segment.ms", "60000"),
            ("delete.retention.ms", "0"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("min.compaction.lag.ms", "5"),
            ("max.compaction.lag.ms", "50"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.before.max.ms", "7"),
            ("message.timestamp.after.max.ms", "8"),
            ("flush.messages", "10000"),
            ("flush.ms", "200"),
            ("compression.type", "uncompressed"),
            ("compression.type", "gzip"),
            ("compression.type", "snappy"),
            ("compression.type", "lz4"),
            ("compression.type", "zstd"),
            ("memory.tail.bytes", "-1"),
            ("memory.tail.bytes", "0"),
        ] {
            let mut config = TopicConfig::default();
            apply(&mut config, &log(), name, &set(value)).unwrap();
            let (now, before) = (settings(&config, &log()), settings(&TopicConfig::default(), &log()));
            let changed: Vec<_> =
                now.iter().zip(&before).filter(|(now, before)| now.value != before.value).collect();
            assert_eq!((changed.len(), changed[0].0.name, changed[0].0.value.as_str()), (1, name, value));
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let mut config = TopicConfig::default();
        let mut refused = |name, value| apply(&mut config, &log(), name, &set(value)).unwrap_err();
        assert!(refused("retention.ms", "soon").contains("whole number"));
        assert!(refused("cleanup.policy", "burn").contains("allowed are delete"));
        assert!(refused("min.cleanable.dirty.ratio", "2").contains("from 0 to 1"));
        assert!(refused("compression.type", "brotli").contains("allowed are producer"));
        assert!(refused("min.insync.replicas", "2").contains("always 1"));
        assert!(refused("no.such.thing", "2").contains("not a setting"));
    }
}
