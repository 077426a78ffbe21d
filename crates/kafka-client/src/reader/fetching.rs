//! The task that reads ahead: who leads which partition, and a fetch loop for
//! each of these brokers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use kafka_protocol::error::ResponseError;
use pluvio_wire_kafka::client::fetch::{self, Limits, Wanted};
use pluvio_wire_kafka::fetch::FetchedPartition;
use tokio::time::{Instant, sleep, timeout};

use super::committed::committed;
use super::{PartitionReader, Shared};
use crate::error::check;
use crate::{Client, ClientError};

/// How long a broker may wait for records, in milliseconds.
const WAIT_MS: i32 = 500;
/// Most bytes of one answer.
const ANSWER_BYTES_MAX: i32 = 16 << 20;
/// Most bytes of one partition in one answer.
const PARTITION_BYTES_MAX: i32 = 4 << 20;
/// An answer that takes longer than this will not come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look for new partitions and leaders.
const REFRESH: Duration = Duration::from_secs(10);
/// Pauses after failures, doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// For how long an offset beyond the end may be a broker that is still starting.
const BEYOND_THE_END: Duration = Duration::from_secs(15);

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// Reads until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut pause = PAUSE_MIN;
    loop {
        let begun = Instant::now();
        let Err(error) = read(&shared).await else { continue };
        if begun.elapsed() > REFRESH {
            pause = PAUSE_MIN;
        }
        let error = Arc::new(error);
        let before = shared.error.lock().replace(Arc::clone(&error));
        if before.is_none_or(|before| before.to_string() != error.to_string()) {
            tracing::warn!(topic = shared.topic, %error, "reading waits and is tried again");
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Reads until it is time to look for leaders again, or something fails.
async fn read(shared: &Shared) -> Result<(), ClientError> {
    // Answers of fetches come late; questions about the topic use connections of their own.
    let asking = Client::open(shared.connection.clone()).await?;
    let fetching = Client::open(shared.connection.clone()).await?;
    loop {
        let leaders = look(shared, &asking).await?;
        *shared.error.lock() = None;
        let mut by_broker: BTreeMap<String, Vec<Arc<PartitionReader>>> = BTreeMap::new();
        for (partition, leader) in shared.partitions.read().iter().zip(leaders) {
            by_broker.entry(leader).or_default().push(Arc::clone(partition));
        }
        let (asking, fetching) = (&asking, &fetching);
        let loops = by_broker.into_iter().map(|(leader, partitions)| {
            Box::pin(async move { follow(shared, asking, fetching, &leader, &partitions).await })
        });
        let loops: Vec<_> = loops.collect();
        if loops.is_empty() {
            sleep(Duration::from_millis(500)).await;
            continue;
        }
        // Fetches under way are dropped when it is time; what they bring is asked for again.
        if let Ok((ended, ..)) = timeout(REFRESH, select_all(loops)).await {
            let Err(error) = ended;
            return Err(error);
        }
    }
}

/// Finds the topic's partitions, new ones among them, and who leads each.
async fn look(shared: &Shared, asking: &Client) -> Result<Vec<String>, ClientError> {
    let topic = &shared.topic;
    let found = timeout(PATIENCE, asking.metadata(Some(&[topic]))).await.map_err(|_| silent(topic))??;
    let count = found.iter().find(|it| &it.name == topic).map_or(0, |it| it.partitions);
    let known = shared.partitions.read().len();
    let mut added = Vec::new();
    for index in known..usize::try_from(count).unwrap_or(0) {
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        let range = range(asking, topic, index).await?;
        added.push(Arc::new(PartitionReader::new(index, range, Arc::clone(&shared.wanted))));
    }
    // All at once: whoever sees some of a topic must see all of it.
    shared.partitions.write().extend(added);
    Ok(asking.leaders(topic))
}

async fn range(asking: &Client, topic: &str, partition: i32) -> Result<(i64, i64), ClientError> {
    let ask = async {
        let start = asking.list_offsets(topic, partition, EARLIEST).await?;
        Ok((start, asking.stable_offset(topic, partition).await?))
    };
    timeout(PATIENCE, ask).await.map_err(|_| silent(topic))?
}

fn silent(topic: &str) -> ClientError {
    let reason = Some(format!(": topic {topic:?}: no answer within {} s", PATIENCE.as_secs()));
    ClientError::Closed { address: "the broker".into(), reason }
}

/// Fetches from one broker what is wanted of its partitions.
async fn follow(
    shared: &Shared,
    asking: &Client,
    fetching: &Client,
    leader: &str,
    partitions: &[Arc<PartitionReader>],
) -> Result<std::convert::Infallible, ClientError> {
    let topic = &shared.topic;
    let link = match leader.is_empty() {
        false => fetching.link(leader).await?,
        true => check(ResponseError::LeaderNotAvailable.code(), || format!("read topic {topic:?}"))
            .and(Err(silent(topic)))?,
    };
    let limits = Limits { wait_ms: WAIT_MS, bytes_min: 1, bytes_max: ANSWER_BYTES_MAX };
    let mut turn = 0;
    loop {
        let bytes_max = shared.partition_bytes_max();
        let mut wanted: Vec<Wanted> = Vec::with_capacity(partitions.len());
        for partition in partitions {
            if let Some(offset) = partition.wants(bytes_max) {
                let share = i32::try_from(bytes_max).unwrap_or(PARTITION_BYTES_MAX);
                let bytes_max = share.min(PARTITION_BYTES_MAX);
                wanted.push(Wanted { partition: partition.index(), offset, bytes_max });
            }
        }
        if wanted.is_empty() {
            shared.wanted.notified().await;
            continue;
        }
        // Brokers fill an answer from the front: each partition has its turn there.
        turn = (turn + 1) % wanted.len();
        wanted.rotate_left(turn);
        let answer = link.ask(|id, name| fetch::encode(id, name, topic, &wanted, limits, true));
        let body = timeout(PATIENCE, answer).await.map_err(|_| silent(topic))??;
        let (error_code, fetched) = fetch::decode(&body)?;
        check(error_code, || format!("fetch from topic {topic:?}"))?;
        for part in fetched {
            let asked = wanted.iter().find(|it| it.partition == part.index);
            let reader = partitions.iter().find(|it| it.index() == part.index);
            if let (Some(asked), Some(reader)) = (asked, reader) {
                take(shared, asking, reader, asked.offset, part).await?;
            }
        }
    }
}

async fn take(
    shared: &Shared,
    asking: &Client,
    reader: &PartitionReader,
    from: i64,
    part: FetchedPartition,
) -> Result<(), ClientError> {
    let (topic, partition) = (&shared.topic, part.index);
    if part.error_code == ResponseError::OffsetOutOfRange.code() {
        return out_of_range(asking, topic, reader, from).await;
    }
    check(part.error_code, || format!("fetch from topic {topic:?} partition {partition} offset {from}"))?;
    let records = part.records.into_iter().next().unwrap_or_default();
    let (batches, next) = committed(&records, from, &part.aborted)?;
    reader.take(from, batches, next, (part.log_start_offset, part.last_stable_offset));
    Ok(())
}

/// The broker does not have `from`: the reader hears where it begins now, or that
/// the partition is not the one that was read before.
async fn out_of_range(
    asking: &Client,
    topic: &str,
    reader: &PartitionReader,
    from: i64,
) -> Result<(), ClientError> {
    let partition = reader.index();
    let begun = Instant::now();
    loop {
        let (start, stable) = range(asking, topic, partition).await?;
        reader.set_range((start, stable));
        let end = asking.list_offsets(topic, partition, LATEST).await?.max(stable);
        if from < start {
            tracing::warn!(topic, partition, from, to = start, "records were deleted before they were read");
            reader.release(start);
            return Ok(());
        }
        if from <= end {
            return Ok(());
        }
        if begun.elapsed() > BEYOND_THE_END {
            reader.lose(format!(
                "topic {topic:?} partition {partition} ends at offset {end}, before {from}, which was read \
                 already: it was made anew or has lost records; DROP what reads it and CREATE it again"
            ));
            return Ok(());
        }
        sleep(Duration::from_millis(500)).await;
    }
}
