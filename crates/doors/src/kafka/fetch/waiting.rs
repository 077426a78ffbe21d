//! A full fetch that waits: its partitions are followed, and of them only those
//! that changed are read again.

use std::sync::Arc;

use bytes::Bytes;
use pluvio_eventlog::{Changes, Followed, Partition};
use pluvio_wire_kafka::fetch::{FetchRequest, FetchedPartition};
use tokio::time::Instant;

use super::{Reading, read_part};
use crate::kafka::broker::Broker;
use crate::kafka::dispatch::Call;

/// The partitions of a fetch. A partition's token is its number in the request.
pub(super) struct Waiting {
    changes: Changes,
    _followed: Vec<Followed>,
    /// Of each partition: which topic of the request, which of its partitions.
    places: Vec<(usize, usize)>,
    /// Those that changed and were not read again.
    changed: Vec<u32>,
    /// Those that have records, but not enough for an answer.
    held: Vec<u32>,
}

impl Waiting {
    /// Follows what was read, and takes note of what changed since.
    pub fn on(broker: &Broker, request: &FetchRequest, reading: &mut Reading) -> Self {
        let (changes, mut followed, mut places) = (Changes::default(), Vec::new(), Vec::new());
        let (mut changed, mut held) = (Vec::new(), Vec::new());
        for (at, fetched) in request.topics.iter().enumerate() {
            let topic = broker.topic(&fetched.topic);
            for (part_at, part) in fetched.partitions.iter().enumerate() {
                // A request has far fewer elements than this type has values.
                let token = u32::try_from(places.len()).unwrap_or(u32::MAX);
                places.push((at, part_at));
                let read = &reading.topics[at].partitions[part_at];
                match topic.as_ref().and_then(|topic| topic.partition(part.index)) {
                    Some(partition) => {
                        followed.push(changes.follow(&partition, token));
                        if moved(&partition, read) {
                            changed.push(token);
                        }
                    }
                    None => changed.push(token),
                }
                if !read.records.is_empty() {
                    held.push(token);
                }
            }
        }
        let mut waiting = Self { changes, _followed: followed, places, changed, held };
        waiting.put_back(reading);
        waiting
    }

    /// Waits until a partition changes.
    pub async fn until(&mut self, deadline: Instant) {
        if self.changed.is_empty() {
            let _ = tokio::time::timeout_at(deadline, self.changes.changed()).await;
        }
        self.changes.take(&mut self.changed);
    }

    /// Reads again what changed, and what is held for want of more.
    pub async fn read(
        &mut self,
        call: &Call,
        request: &FetchRequest,
        reading: &mut Reading,
        bytes_max: usize,
    ) {
        self.held.append(&mut self.changed);
        self.held.sort_unstable();
        self.held.dedup();
        for token in &self.held {
            let (at, part_at) = self.places[*token as usize];
            let fetched = &request.topics[at];
            let topic = call.broker.topic(&fetched.topic);
            let part = &fetched.partitions[part_at];
            let read = read_part(topic.as_deref(), &fetched.topic, part, request, (reading.bytes, bytes_max));
            let read = read.await;
            reading.count(&read);
            reading.topics[at].partitions[part_at] = read;
        }
    }

    /// Lets go of records that are too few for an answer; they are read again
    /// with what comes.
    pub fn put_back(&mut self, reading: &mut Reading) {
        let (places, topics) = (&self.places, &mut reading.topics);
        self.held.retain(|token| {
            let (at, part_at) = places[*token as usize];
            let records: &mut Vec<Bytes> = &mut topics[at].partitions[part_at].records;
            !std::mem::take(records).is_empty()
        });
        reading.bytes = 0;
    }
}

/// Whether the partition is not any more as it was read.
fn moved(partition: &Arc<Partition>, read: &FetchedPartition) -> bool {
    let now = (partition.start_offset(), partition.end_offset(), partition.stable_offset());
    now != (read.log_start_offset, read.high_watermark, read.last_stable_offset)
}
