//! What a batch must be before it is appended, beyond being whole: what its
//! topic's settings ask of it.
//!
//! Records are looked at only where a setting needs it: keys in a compacted
//! topic, times where they must not lie too far back.

use bytes::Bytes;
use pluvio_eventlog::{TimestampType, TopicConfig};
use pluvio_foundation::limits;
use pluvio_wire_kafka::WireError;
use pluvio_wire_kafka::produce::RecordError;
use pluvio_wire_kafka::records::{self, BatchHeader, Record};

use super::codes::{self, Code};

/// Most wrong records of a batch that are noted.
const RECORD_ERRORS_MAX: usize = 10_000;

/// Why one partition's batch is not appended, for a client.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub code: Code,
    pub message: String,
    /// The records that are why, if it is about records.
    pub record_errors: Vec<RecordError>,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), record_errors: Vec::new() }
    }
}

/// The times that records may bear, in milliseconds since 1970.
#[derive(Clone, Copy)]
struct Times {
    now_ms: i64,
    oldest_ms: i64,
    newest_ms: i64,
}

impl Times {
    fn of(config: &TopicConfig, now_ms: i64) -> Self {
        let any = Self { now_ms, oldest_ms: i64::MIN, newest_ms: i64::MAX };
        if config.timestamp == TimestampType::LogAppendTime {
            return any;
        }
        let oldest_ms = match config.timestamp_before_max_ms {
            i64::MAX => i64::MIN,
            before_ms => now_ms.saturating_sub(before_ms),
        };
        Self { oldest_ms, newest_ms: now_ms.saturating_add(config.timestamp_after_max_ms), ..any }
    }

    /// The setting that allows no such time; a record without a time has -1.
    fn against(&self, time_ms: i64) -> Option<&'static str> {
        match time_ms {
            _ if time_ms > self.newest_ms => Some("message.timestamp.after.max.ms"),
            0.. if time_ms < self.oldest_ms => Some("message.timestamp.before.max.ms"),
            _ => None,
        }
    }

    fn refusal(&self, time_ms: i64, setting: &str) -> Refusal {
        let now_ms = self.now_ms;
        let message = format!(
            "a record bears the time {time_ms}, it is {now_ms} now: {setting} allows less between them"
        );
        Refusal::new(Code::InvalidTimestamp, message)
    }
}

/// Checks what a producer sent for one partition; `now_ms` is milliseconds
/// since 1970.
pub(crate) fn check_produced(
    config: &TopicConfig,
    batch: &Bytes,
    now_ms: i64,
) -> Result<BatchHeader, Refusal> {
    if batch.is_empty() {
        return Err(Refusal::new(Code::InvalidRecord, "there are no records"));
    }
    let header = records::validate_produced(batch, config.max_message_bytes).map_err(refused)?;
    let times = Times::of(config, now_ms);
    let too_new = header.max_timestamp > times.newest_ms;
    if too_new || times.oldest_ms > i64::MIN || config.cleanup.compacts() {
        check_records(config, batch, times)?;
    }
    match times.against(header.max_timestamp).filter(|_| too_new) {
        Some(setting) => Err(times.refusal(header.max_timestamp, setting)),
        None => Ok(header),
    }
}

/// Refuses the batch for the first record that is wrong, and tells all that are.
fn check_records(config: &TopicConfig, batch: &Bytes, times: Times) -> Result<(), Refusal> {
    let (mut found, mut record_errors, mut batch_index) = (None, Vec::new(), 0);
    let look = |record: Record<'_>| {
        let wrong = if config.cleanup.compacts() && record.key.is_none() {
            let message = "a compacted topic takes records with keys only";
            found.get_or_insert_with(|| Refusal::new(Code::InvalidRecord, message));
            Some(message)
        } else if let Some(setting) = times.against(record.timestamp_ms) {
            found.get_or_insert_with(|| times.refusal(record.timestamp_ms, setting));
            Some("the record's time is too far from now")
        } else {
            None
        };
        if let Some(message) = wrong.filter(|_| record_errors.len() < RECORD_ERRORS_MAX) {
            record_errors.push(RecordError { batch_index, message });
        }
        batch_index += 1;
        Ok(())
    };
    let inflated_bytes_max = limits::RECORD_BATCH_INFLATED_BYTES_MAX;
    records::for_each_record(batch, inflated_bytes_max, &mut Vec::new(), look).map_err(refused)?;
    found.map_or(Ok(()), |refusal| Err(Refusal { record_errors, ..refusal }))
}

fn refused(error: WireError) -> Refusal {
    Refusal::new(codes::of_batch(&error), error.to_string())
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
        check_produced(config, &batch, NOW_MS).map(drop).map_err(|refusal| refusal.code)
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
        assert_eq!(check_produced(&config, &Bytes::new(), NOW_MS).unwrap_err().code, Code::InvalidRecord);
    }

    #[test]
    fn every_wrong_record_is_told() {
        let compacts = TopicConfig { cleanup: Cleanup::Compact, ..TopicConfig::default() };
        let mut builder = BatchBuilder::new(NOW_MS);
        for number in 0..9 {
            let time_ms = if number == 4 { NOW_MS + 7_200_000 } else { NOW_MS };
            builder.push((number % 3 > 0).then_some(b"k"), Some(b"v"), time_ms, &[]);
        }
        let batch = builder.finish(Compression::Zstd, None).unwrap();
        let told = |config| {
            let refusal = check_produced(config, &batch, NOW_MS).unwrap_err();
            let wrong: Vec<i32> = refusal.record_errors.iter().map(|error| error.batch_index).collect();
            (refusal.code, wrong)
        };
        assert_eq!(told(&compacts), (Code::InvalidRecord, vec![0, 3, 4, 6]));
        assert_eq!(told(&TopicConfig::default()), (Code::InvalidTimestamp, vec![4]));
    }
}
