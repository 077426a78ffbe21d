//! Looking at a log's folder without opening the log: nothing is changed,
//! repaired or locked. Meant for a folder that no process writes to; where one
//! does, what is found at the very end may be half written.

mod verify;
mod walk;

use crate::checkpoint::{self, Known};
use crate::error::IoContext;
use crate::layout::{self, Listing};
use crate::meta::Meta;
use crate::{LogError, TopicConfig};
use pluvio_foundation::Disk;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
pub use verify::{Finding, PartitionCheck};
pub use walk::Item;

/// A log's folder.
#[derive(Debug)]
pub struct Inspection {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    known: Option<checkpoint::Checkpoint>,
    /// What is wrong with the folder as a whole.
    pub findings: Vec<String>,
}

/// A topic as it is described in its folder.
#[derive(Debug, Clone)]
pub struct InspectedTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// Its settings; those that it was not given are as by default.
    pub config: TopicConfig,
    id: [u8; 16],
}

impl Inspection {
    /// Looks at the log in `root`.
    ///
    /// Fails with `Corrupt` if there is no log, and with `Io`.
    pub fn open(root: &Path, disk: Arc<dyn Disk>) -> Result<Self, LogError> {
        let topics = root.join(layout::TOPICS);
        if !disk.exists(&topics) {
            let reason = "there is no event log; name the folder that holds it".to_owned();
            return Err(LogError::Corrupt { path: root.to_owned(), reason });
        }
        let path = root.join(checkpoint::FILE_NAME);
        let mut findings = Vec::new();
        let known = match disk.exists(&path) {
            false => None,
            true => {
                let file = disk.read(&path, checkpoint::FILE_BYTES_MAX).doing("read", &path)?;
                let known = checkpoint::decode(&file);
                if known.is_none() {
                    findings.push(format!("{} is damaged; what is durable is not known", path.display()));
                }
                known
            }
        };
        Ok(Self { root: root.to_owned(), disk, known, findings })
    }

    /// The topics, by name; for one that cannot be read, why.
    pub fn topics(&self) -> Result<Vec<Result<InspectedTopic, LogError>>, LogError> {
        let folder = self.root.join(layout::TOPICS);
        let names = self.disk.list(&folder).doing("list", &folder)?;
        Ok(names.iter().map(|name| self.topic(name)).collect())
    }

    /// One topic.
    ///
    /// Fails with `TopicNotFound`, `Corrupt` or `Io`.
    pub fn topic(&self, name: &str) -> Result<InspectedTopic, LogError> {
        let not_found = || LogError::TopicNotFound { topic: name.to_owned() };
        crate::options::check_topic_name(name).map_err(|_| not_found())?;
        let folder = self.root.join(layout::TOPICS).join(name);
        if !self.disk.exists(&folder) {
            return Err(not_found());
        }
        let (meta, _) = Meta::read(&*self.disk, &folder, &TopicConfig::default())?;
        let Meta { name, id, partitions, config } = meta;
        Ok(InspectedTopic { name, partitions, config, id })
    }

    fn folder(&self, topic: &InspectedTopic, partition: u32) -> PathBuf {
        self.root.join(layout::TOPICS).join(&topic.name).join(partition.to_string())
    }

    fn listing(&self, folder: &Path) -> Result<Listing, LogError> {
        Ok(Listing::of(&self.disk.list(folder).doing("list", folder)?))
    }

    /// What the checkpoint says, if it is whole.
    fn known(&self, topic: &InspectedTopic, partition: u32) -> Option<Known> {
        let known = self.known.as_ref()?;
        Some(known.partitions.get(&(topic.id, partition.cast_signed())).copied().unwrap_or_default())
    }

    /// Bytes of a partition's segments.
    pub fn bytes(&self, topic: &InspectedTopic, partition: u32) -> Result<u64, LogError> {
        let folder = self.folder(topic, partition);
        let mut bytes = 0;
        for base in self.listing(&folder)?.segments {
            bytes += walk::file_bytes(&*self.disk, &layout::segment(&folder, base))?;
        }
        Ok(bytes)
    }

    /// Goes through a partition from the batch that holds `from` on: batches
    /// and what lies damaged between them, until `visit` breaks off.
    pub fn walk(
        &self,
        topic: &InspectedTopic,
        partition: u32,
        from: i64,
        mut visit: impl FnMut(&Path, Item<'_>) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let folder = self.folder(topic, partition);
        let bases = self.listing(&folder)?.segments;
        let first = bases.partition_point(|base| *base <= from).saturating_sub(1);
        for base in bases.get(first..).unwrap_or_default() {
            let path = layout::segment(&folder, *base);
            let mut ended = ControlFlow::Continue(());
            walk::segment(&*self.disk, &path, *base, |item| {
                let before = matches!(&item, Item::Batch { header, .. } if header.last_offset() < from);
                if !before {
                    ended = visit(&path, item);
                }
                ended
            })?;
            if ended.is_break() {
                break;
            }
        }
        Ok(())
    }
}
