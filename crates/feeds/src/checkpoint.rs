//! A feed's checkpoint: up to which offsets of its topic the positions that it
//! holds are known. At a start only what is behind these offsets is read.
//!
//! ```text
//! {"version":1,"stream":"…","topic_id":"…","ends":{"0":17},"positions":…}
//! ```
//! Replaced whole. The events before its offsets are on disk before it is
//! written, so it never knows more than the topic. One that is damaged, or of
//! another stream or topic, counts as missing: then the whole topic is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pluvio_eventlog::{Partition, Topic};
use pluvio_foundation::Disk;
use pluvio_foundation::hash::stable_hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::FeedError;
use crate::context::Context;

const VERSION: u32 = 1;
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Characters of a stream's name that its file's name shows.
const NAME_CHARS_MAX: usize = 80;

#[derive(Debug, Serialize, Deserialize)]
struct File<P> {
    version: u32,
    stream: String,
    topic_id: String,
    ends: BTreeMap<i32, i64>,
    positions: P,
}

/// A topic's offsets, and what the feed knows of everything before them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checkpoint<P> {
    pub ends: BTreeMap<i32, i64>,
    pub positions: P,
}

/// The name of a stream's file.
pub(crate) fn file_name(stream: &str) -> String {
    let safe = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let shown: String = stream.chars().take(NAME_CHARS_MAX).map(safe).collect();
    format!("{shown}-{:016x}.json", stable_hash(stream.as_bytes()))
}

fn topic_id(topic: &Topic) -> String {
    topic.id().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the last checkpoint says, if there is one for this topic.
pub(crate) fn load<P: DeserializeOwned>(context: &Context, topic: &Topic) -> Option<Checkpoint<P>> {
    let path = &context.checkpoint;
    let bytes = match context.disk.read(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a feed's checkpoint cannot be read; its topic is");
            return None;
        }
    };
    let file: File<P> = match serde_json::from_slice(&bytes) {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a feed's checkpoint is damaged; its topic is read");
            return None;
        }
    };
    let is_ours = file.version == VERSION
        && file.stream == context.spec.stream
        && file.topic_id == topic_id(topic)
        && topic.partitions().iter().all(|it| end_of(&file.ends, it) <= it.end_offset());
    is_ours.then_some(Checkpoint { ends: file.ends, positions: file.positions })
}

/// Up to which offset a checkpoint knows a partition.
pub(crate) fn end_of(ends: &BTreeMap<i32, i64>, partition: &Partition) -> i64 {
    ends.get(&partition.index()).copied().unwrap_or(0)
}

/// Writes `positions` down. They hold everything that the feed appended so far.
///
/// # Errors
/// The events could not be made durable, or the file not written.
pub(crate) fn save<P: Serialize>(context: &Context, topic: &Topic, positions: P) -> Result<(), FeedError> {
    let partitions = topic.partitions();
    let mut ends = BTreeMap::new();
    for partition in partitions.iter().filter(|partition| partition.end_offset() > 0) {
        let end = partition.end_offset();
        partition.sync(end)?;
        ends.insert(partition.index(), end);
    }
    let file = File {
        version: VERSION,
        stream: context.spec.stream.clone(),
        topic_id: topic_id(topic),
        ends,
        positions,
    };
    let path = &context.checkpoint;
    let bytes = serde_json::to_vec(&file).map_err(|error| FeedError::Fault(error.to_string()))?;
    context.disk.replace(path, &bytes).map_err(|error| FeedError::io("write", path, error))?;
    for partition in &partitions {
        hold(context, partition, None);
    }
    Ok(())
}

/// Keeps events that no checkpoint knows from being removed before one does.
pub(crate) fn hold(context: &Context, partition: &Partition, from: Option<i64>) {
    partition.hold(&format!("feed:{}", context.spec.stream), from);
}

/// Removes the checkpoints of all streams but these.
///
/// # Errors
/// The folder cannot be read, or a file in it not removed.
pub(crate) fn forget_others(disk: &Arc<dyn Disk>, folder: &Path, streams: &[&str]) -> Result<(), FeedError> {
    let kept: Vec<String> = streams.iter().map(|stream| file_name(stream)).collect();
    let names = disk.list(folder).map_err(|error| FeedError::io("list", folder, error))?;
    for name in names.into_iter().filter(|name| name.ends_with(".json") && !kept.contains(name)) {
        let path: PathBuf = folder.join(name);
        disk.remove_file(&path).map_err(|error| FeedError::io("remove", &path, error))?;
    }
    Ok(())
}
