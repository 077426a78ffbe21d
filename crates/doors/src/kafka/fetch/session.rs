//! A fetch session (KIP-227): what one client reads, remembered, so that each
//! of its fetches says and is told only what changed.
//!
//! Promises: a fetch looks only at the partitions that are due, which are those
//! that changed, that the client moved, or that had more than fitted before; a
//! session whose partitions rest costs nothing. A partition that gave records
//! goes behind all others that are due, so that a busy one starves none.
//!
//! Here is no epoch, no limit and no clock: see `sessions`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use pluvio_eventlog::{Changes, Followed};
use pluvio_wire_kafka::TopicRef;
use pluvio_wire_kafka::fetch::{FetchPartition, FetchRequest, FetchedPartition, FetchedTopic};

use super::denied;
use super::partition::{failed, read_one, unknown};
use crate::kafka::broker::Broker;
use crate::kafka::codes::Code;
use crate::kafka::dispatch::Call;

/// The partitions of a session.
#[derive(Debug, Default)]
pub(crate) struct Session {
    topics: HashMap<Arc<TopicRef>, HashMap<i32, u32>>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// The slots to look at, in this order.
    due: VecDeque<u32>,
    changes: Changes,
}

/// One partition.
#[derive(Debug)]
struct Slot {
    topic: Arc<TopicRef>,
    part: FetchPartition,
    followed: Option<Followed>,
    is_due: bool,
    /// End and start as the client knows them, -1 if it does not.
    sent: (i64, i64),
}

/// What one look at the due partitions gave.
#[derive(Debug, Default)]
pub(super) struct Looked {
    found: Vec<(u32, FetchedPartition)>,
    pub bytes: usize,
    pub failed: bool,
}

impl Session {
    /// A session of all that a full fetch named, after it was answered with
    /// `answered`.
    pub fn begin(broker: &Broker, request: &FetchRequest, answered: &[FetchedTopic]) -> Self {
        let mut session = Self::default();
        session.update(request);
        for topic in answered {
            let Some(of_topic) = session.topics.get(&topic.topic) else { continue };
            for fetched in &topic.partitions {
                let slot = of_topic.get(&fetched.index).and_then(|id| session.slots[*id as usize].as_mut());
                if let Some(slot) = slot {
                    slot.resolve(broker, &session.changes, of_topic[&fetched.index]);
                    slot.sent = (fetched.high_watermark, fetched.log_start_offset);
                }
            }
        }
        session
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many partitions there are, with those forgotten but not yet passed
    /// over.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes in what a fetch adds, changes and forgets.
    pub fn update(&mut self, request: &FetchRequest) {
        for fetched in &request.topics {
            let topic = match self.topics.get_key_value(&fetched.topic) {
                Some((topic, _)) => Arc::clone(topic),
                None => Arc::new(fetched.topic.clone()),
            };
            for part in &fetched.partitions {
                self.set(&topic, *part);
            }
        }
        for (topic, partitions) in &request.forgotten {
            for index in partitions {
                self.forget(topic, *index);
            }
        }
    }

    fn set(&mut self, topic: &Arc<TopicRef>, part: FetchPartition) {
        let known = self.topics.get(topic).and_then(|of_topic| of_topic.get(&part.index)).copied();
        let id = known.unwrap_or_else(|| self.add(topic, part));
        if let Some(slot) = &mut self.slots[id as usize] {
            slot.part = part;
        }
        self.make_due(id);
    }

    fn add(&mut self, topic: &Arc<TopicRef>, part: FetchPartition) -> u32 {
        let slot = Slot { topic: Arc::clone(topic), part, followed: None, is_due: false, sent: (-1, -1) };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = Some(slot);
                id
            }
            None => {
                self.slots.push(Some(slot));
                // A request has far fewer elements than this type has values.
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.topics.entry(Arc::clone(topic)).or_default().insert(part.index, id);
        id
    }

    fn forget(&mut self, topic: &TopicRef, index: i32) {
        let Some(of_topic) = self.topics.get_mut(topic) else { return };
        let Some(id) = of_topic.remove(&index) else { return };
        if of_topic.is_empty() {
            self.topics.remove(topic);
        }
        let gone = self.slots[id as usize].take();
        // One that is due is given to another partition only after its turn.
        if !gone.is_some_and(|slot| slot.is_due) {
            self.free.push(id);
        }
    }

    fn make_due(&mut self, id: u32) {
        if let Some(Some(slot)) = self.slots.get_mut(id as usize)
            && !std::mem::replace(&mut slot.is_due, true)
        {
            self.due.push_back(id);
        }
    }

    /// Makes the partitions that changed due.
    pub fn take_changes(&mut self) {
        let mut changed = Vec::new();
        self.changes.take(&mut changed);
        // A token of a slot that was given to another partition since then
        // costs one look.
        for id in changed {
            self.make_due(id);
        }
    }

    /// Waits until a partition changed.
    pub async fn changed(&self) {
        self.changes.changed().await;
    }

    /// Whether there is any partition to look at.
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Looks at the partitions that are due, until `bytes_max` are found. Those
    /// with news are in what it gives, and still due; give it to
    /// [`Self::answer`] or [`Self::put_back`].
    pub async fn read(&mut self, call: &Call, bytes_max: usize, read_committed: bool) -> Looked {
        let mut looked = Looked::default();
        for _ in 0..self.due.len() {
            let left = bytes_max.saturating_sub(looked.bytes);
            if left == 0 && looked.bytes > 0 {
                break;
            }
            let Some(id) = self.due.pop_front() else { break };
            let Some(slot) = &mut self.slots[id as usize] else {
                self.free.push(id);
                continue;
            };
            slot.resolve(&call.broker, &self.changes, id);
            let fetched = slot.read(call, left, looked.bytes == 0, read_committed).await;
            let bytes = fetched.records.iter().map(Bytes::len).sum::<usize>();
            looked.bytes += bytes;
            looked.failed |= fetched.error_code != 0;
            let news = fetched.error_code != 0
                || bytes > 0
                || slot.sent != (fetched.high_watermark, fetched.log_start_offset);
            slot.is_due = news;
            if news {
                looked.found.push((id, fetched));
            }
        }
        looked
    }

    /// Undoes a look that is not answered.
    pub fn put_back(&mut self, looked: Looked) {
        for (id, _) in looked.found.into_iter().rev() {
            self.due.push_front(id);
        }
    }

    /// The answer to a look.
    pub fn answer(&mut self, looked: Looked) -> Vec<FetchedTopic> {
        let mut topics: Vec<FetchedTopic> = Vec::new();
        let mut places: HashMap<*const TopicRef, usize> = HashMap::new();
        for (id, fetched) in looked.found {
            let Some(slot) = &mut self.slots[id as usize] else { continue };
            slot.sent = (fetched.high_watermark, fetched.log_start_offset);
            // Records stay due until the client asks for what follows them, an
            // error until it is gone.
            slot.is_due = fetched.error_code != 0 || !fetched.records.is_empty();
            if slot.is_due {
                self.due.push_back(id);
            }
            let place = *places.entry(Arc::as_ptr(&slot.topic)).or_insert_with(|| {
                topics.push(FetchedTopic { topic: (*slot.topic).clone(), partitions: Vec::new() });
                topics.len() - 1
            });
            topics[place].partitions.push(fetched);
        }
        topics
    }
}

impl Slot {
    /// Finds and follows the partition, if that is not done or if the topic it
    /// was in is gone.
    fn resolve(&mut self, broker: &Broker, changes: &Changes, id: u32) {
        if self.followed.as_ref().is_some_and(|followed| !followed.partition().is_deleted()) {
            return;
        }
        let partition = broker.topic(&self.topic).and_then(|topic| topic.partition(self.part.index));
        self.followed = partition.map(|partition| changes.follow(&partition, id));
    }

    async fn read(&self, call: &Call, left: usize, first: bool, read_committed: bool) -> FetchedPartition {
        if let Some(code) = denied(call, &self.topic) {
            return failed(self.part.index, code);
        }
        let read = match &self.followed {
            Some(followed) => read_one(followed.partition(), &self.part, left, first, read_committed).await,
            None => Err(self.missing(&call.broker)),
        };
        read.unwrap_or_else(|code| failed(self.part.index, code))
    }

    fn missing(&self, broker: &Broker) -> Code {
        unknown(&self.topic, broker.topic(&self.topic).is_some())
    }
}
