//! What a batch must be before it is appended, beyond being whole: what its
//! topic's settings ask of it.
//!
//! Records are looked at only where a setting needs it: keys in a compacted
//! topic, times where they must not lie too far back.

use bytes::Bytes;
use pluvio_eventlog::{TimestampType, TopicConfig};
use pluvio_foundation::limits;
use pluvio_wire_kafka::records::{self, BatchHeader};
use pluvio_wire_kafka::{WireError, records::Record};

use super::codes::{self, Code};

/// Why a batch is not accepted, for a client.
pub(crate) type Invalid = (Code, String);

/// Checks what a producer sent for one partition; `now_ms` is milliseconds
/// since 1970.
pub(crate) fn check_produced(
    config: &TopicConfig,
    batch: &Bytes,
    now_ms: i64,
) -> Result<BatchHeader, Invalid> {
    if batch.is_empty() {
        return Err((Code::InvalidRecord, "there are no records".into()));
    }
    let header = records::validate_produced(batch, config.max_message_bytes).map_err(refused)?;
    let own_times = config.timestamp == TimestampType::CreateTime;
    let newest_ms = now_ms.saturating_add(config.timestamp_after_max_ms);
    if own_times && header.max_timestamp > newest_ms {
        return Err(mistimed(header.max_timestamp, now_ms, "message.timestamp.after.max.ms"));
    }
    let oldest_ms = match config.timestamp_before_max_ms {
        i64::MAX => i64::MIN,
        before_ms => now_ms.saturating_sub(before_ms),
    };
    let bounded = own_times && oldest_ms > i64::MIN;
    if bounded || config.cleanup.compacts() {
        check_records(config, batch, if bounded { oldest_ms } else { i64::MIN }, now_ms)?;
    }
    Ok(header)
}

fn check_records(config: &TopicConfig, batch: &Bytes, oldest_ms: i64, now_ms: i64) -> Result<(), Invalid> {
    let mut found = None;
    let look = |record: Record<'_>| {
        if config.cleanup.compacts() && record.key.is_none() {
            let message = "a compacted topic takes records with keys only".to_owned();
            found.get_or_insert((Code::InvalidRecord, message));
        }
        // A record without a time has -1.
        if (0..oldest_ms).contains(&record.timestamp_ms) {
            let setting = "message.timestamp.before.max.ms";
            found.get_or_insert_with(|| mistimed(record.timestamp_ms, now_ms, setting));
        }
        Ok(())
    };
    let inflated_bytes_max = limits::RECORD_BATCH_INFLATED_BYTES_MAX;
    records::for_each_record(batch, inflated_bytes_max, &mut Vec::new(), look).map_err(refused)?;
    found.map_or(Ok(()), Err)
}

fn refused(error: WireError) -> Invalid {
    (codes::of_batch(&error), error.to_string())
}

fn mistimed(time_ms: i64, now_ms: i64, setting: &str) -> Invalid {
    let message =
        format!("a record bears the time {time_ms}, it is {now_ms} now: {setting} allows less between them");
    (Code::InvalidTimestamp, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pluvio_eventlog::Cleanup;
    use pluvio_wire_kafka::Compression;
    use pluvio_wire_kafka::records::BatchBuilder;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn checked(config: &TopicConfig, times: &[i64], key: Option<&[u8]>) -> Result<(), Code> {
        let mut builder = BatchBuilder::new(times[0]);
        for time_ms in times {
            builder.push(key, Some(b"v"), *time_ms, &[]);
        }
        let batch = builder.finish(Compression::Lz4, None).unwrap();
        check_produced(config, &batch, NOW_MS).map(drop).map_err(|(code, _)| code)
    }

    #[test]
    fn times_are_bounded_both_ways() {
        let config = TopicConfig { timestamp_before_max_ms: 1000, ..TopicConfig::default() };
        let hour_ms = 3_600_000;
        assert_eq!(checked(&config, &[NOW_MS, NOW_MS - 1000, NOW_MS + hour_ms], None), Ok(()));
        assert_eq!(checked(&config, &[NOW_MS, NOW_MS - 1001, NOW_MS], None), Err(Code::InvalidTimestamp));
        assert_eq!(checked(&config, &[NOW_MS, NOW_MS + hour_ms + 1], None), Err(Code::InvalidTimestamp));
        assert_eq!(checked(&TopicConfig::default(), &[0], None), Ok(()));
        let ours = TopicConfig { timestamp: TimestampType::LogAppendTime, ..config };
        assert_eq!(checked(&ours, &[0, NOW_MS * 2], None), Ok(()));
    }

    #[test]
    fn compaction_needs_keys() {
        let config = TopicConfig { cleanup: Cleanup::CompactDelete, ..TopicConfig::default() };
        assert_eq!(checked(&config, &[NOW_MS], Some(b"k")), Ok(()));
        assert_eq!(checked(&config, &[NOW_MS], None), Err(Code::InvalidRecord));
        assert_eq!(check_produced(&config, &Bytes::new(), NOW_MS).unwrap_err().0, Code::InvalidRecord);
    }
}
