//! Making, changing and deleting topics: one at a time, each so that a crash leaves
//! it done or not done.

use crate::error::IoContext;
use crate::internal::is_internal;
use crate::meta::Meta;
use crate::options::{check_partitions, check_topic_name};
use crate::partition::Partition;
use crate::shared::Shared;
use crate::topic::{Topic, TopicInfo};
use crate::{EventLog, LogError, TopicConfig, layout, meta};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl EventLog {
    /// Makes a topic. It is there after any crash once this returns.
    ///
    /// Fails with `InvalidTopic`, `TopicExists`, `LimitReached`, `Closed` or `Io`.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: u32,
        mut config: TopicConfig,
    ) -> Result<Arc<Topic>, LogError> {
        check_topic_name(name)?;
        check_partitions(name, partitions)?;
        config.check(name)?;
        config.give_differing(&self.shared.options.topic);
        let _changing = self.changing.lock();
        self.shared.check_open()?;
        if self.topic(name).is_some() {
            return Err(LogError::TopicExists { topic: name.to_owned() });
        }
        self.check_room(name, 1, partitions)?;
        let shared = &self.shared;
        let meta = Meta { name: name.to_owned(), id: shared.random.uuid(), partitions, config };
        let topics = shared.root.join(layout::TOPICS);
        let folder = topics.join(name);
        if shared.disk.exists(&folder) {
            let reason = "a topic's folder that could not be read is in the way; repair or move it".into();
            return Err(LogError::Corrupt { path: folder, reason });
        }
        let made = shared
            .disk
            .create_dir_all(&folder)
            .doing("create", &folder)
            .and_then(|()| meta.write(&*shared.disk, &folder))
            .and_then(|()| shared.disk.sync_dir(&topics).doing("sync", &topics));
        if let Err(error) = made {
            // What cannot be removed now is removed at the next start.
            let _ = shared.disk.remove_dir_all(&folder);
            return Err(error);
        }
        let topic = new_topic(shared, meta);
        shared.add_topic(&topic);
        Ok(topic)
    }

    /// Deletes a topic with all its events. It is gone after any crash once
    /// this returns.
    ///
    /// Fails with `TopicNotFound`, `Closed` or `Io`.
    pub fn delete_topic(&self, name: &str) -> Result<(), LogError> {
        let _changing = self.changing.lock();
        self.shared.check_open()?;
        let topic = self.known(name)?;
        let (shared, info) = (&self.shared, &topic.info);
        let deleted = shared.root.join(layout::DELETED);
        let target = deleted.join(meta::hex(&info.id));
        layout::make_folder(&*shared.disk, &deleted)?;
        shared.disk.rename(&info.folder, &target).doing("rename", &info.folder)?;
        info.set_deleted();
        shared.remove_topic(&topic);
        for partition in topic.partitions() {
            partition.durable_changed.notify_waiters();
            partition.followers.tell();
        }
        shared.tails.forget(&info.tail);
        shared.metrics.forget(name);
        let topics = shared.root.join(layout::TOPICS);
        shared.disk.sync_dir(&topics).doing("sync", &topics)?;
        shared.disk.sync_dir(&deleted).doing("sync", &deleted)?;
        shared.disk.remove_dir_all(&target).doing("remove", &target)
    }

    /// Raises the number of partitions to `total`.
    ///
    /// Fails with `TopicNotFound`, `InvalidTopic` (fewer than there are, or too
    /// many), `LimitReached`, `Closed` or `Io`.
    pub fn add_partitions(&self, name: &str, total: u32) -> Result<(), LogError> {
        check_partitions(name, total)?;
        let _changing = self.changing.lock();
        self.shared.check_open()?;
        let topic = self.known(name)?;
        let present = count(&topic);
        if total < present {
            let reason = format!("it has {present} partitions; they can be added to, not removed");
            return Err(LogError::InvalidTopic { topic: name.to_owned(), reason });
        }
        self.check_room(name, 0, total - present)?;
        self.write_meta(&topic, total, topic.config())?;
        let mut partitions = topic.partitions.write();
        for index in present..total {
            partitions.push(Partition::new(&self.shared, &topic.info, index.cast_signed()));
        }
        drop(partitions);
        self.shared.topics_version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Replaces a topic's configuration.
    ///
    /// Fails with `TopicNotFound`, `InvalidTopic`, `Closed` or `Io`.
    pub fn alter_topic(&self, name: &str, mut config: TopicConfig) -> Result<(), LogError> {
        config.check(name)?;
        config.give_differing(&self.shared.options.topic);
        let _changing = self.changing.lock();
        self.shared.check_open()?;
        let topic = self.known(name)?;
        self.write_meta(&topic, count(&topic), config.clone())?;
        let shared = &self.shared;
        shared.tails.limit(&topic.info.tail, shared.options.tail_bytes(&config));
        *topic.info.config.write() = config;
        Ok(())
    }

    /// Refuses more topics or partitions than there may be.
    fn check_room(&self, name: &str, topics: usize, partitions: u32) -> Result<(), LogError> {
        let (options, present) = (&self.shared.options, self.shared.topics.read());
        let topics = present.len() + topics;
        let partitions =
            present.values().map(|topic| count(topic) as usize).sum::<usize>() + partitions as usize;
        let wanted =
            [("topics", topics, options.topics_max), ("partitions", partitions, options.partitions_max)];
        match wanted.into_iter().find(|(_, count, count_max)| count > count_max) {
            Some((what, count, count_max)) if !is_internal(name) => {
                Err(LogError::LimitReached { topic: name.to_owned(), what, count, count_max })
            }
            _ => Ok(()),
        }
    }

    fn write_meta(&self, topic: &Topic, partitions: u32, config: TopicConfig) -> Result<(), LogError> {
        let meta = Meta { name: topic.name().to_owned(), id: topic.id(), partitions, config };
        meta.write(&*self.shared.disk, &topic.info.folder)
    }

    fn known(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        self.topic(name).ok_or_else(|| LogError::TopicNotFound { topic: name.to_owned() })
    }
}

fn count(topic: &Topic) -> u32 {
    u32::try_from(topic.partitions.read().len()).unwrap_or(u32::MAX)
}

pub(crate) fn new_topic(shared: &Arc<Shared>, meta: Meta) -> Arc<Topic> {
    let info = Arc::new(TopicInfo::new(shared, &meta.name, meta.id, meta.config));
    let partitions = (0..meta.partitions).map(|index| Partition::new(shared, &info, index.cast_signed()));
    let partitions = RwLock::new(partitions.collect());
    Arc::new(Topic { info, partitions })
}
