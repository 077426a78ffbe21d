//! One producer's transactions: what state they are in, and which step may
//! follow. Nothing here writes or waits.
//!
//! ```text
//! Empty ──► Ongoing ──► PrepareCommit ──► CompleteCommit ──► Ongoing …
//!              └──────► PrepareAbort ───► CompleteAbort ───► Ongoing …
//! ```
//! A prepared transaction is decided: it is completed whatever happens. Every
//! end raises the epoch if the client can follow (KIP-890) and whenever the
//! producer is to be fenced, so that nothing sent before it counts after it.

use std::collections::{BTreeMap, BTreeSet};

use crate::kafka::codes::Code;

/// No epoch.
pub(super) const NO_EPOCH: i16 = -1;
/// No producer.
pub(super) const NO_ID: i64 = -1;
/// The last epoch that a producer is given. The one above it fences; then a new
/// id is needed.
const EPOCH_MAX: i16 = i16::MAX - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

/// The state with everything a restart needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub state: State,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// The epoch before the last raise that the client may ask for again;
    /// `NO_EPOCH` if another client may be meant.
    pub last_epoch: i16,
    /// The producer's id before its epochs ran out.
    pub previous_id: i64,
    /// The producer's id once the prepared transaction is complete, if its
    /// epochs ran out.
    pub next_id: i64,
    /// The epoch in which the prepared transaction ran.
    pub ran_in_epoch: i16,
    pub timeout_ms: i32,
    /// When the transaction began, -1 if none did.
    pub started_ms: i64,
    pub updated_ms: i64,
    /// Where it wrote, by topic.
    pub topics: BTreeMap<String, Touched>,
    /// The groups whose offsets it commits.
    pub groups: BTreeSet<String>,
}

/// A topic's partitions in a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Touched {
    pub topic_id: [u8; 16],
    pub partitions: BTreeSet<i32>,
}

/// What was asked for by EndTxn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub producer_id: i64,
    pub epoch: i16,
    pub is_commit: bool,
    /// Whether the client learns of a raised epoch from the answer.
    pub raises_epoch: bool,
}

/// What is to be done about an EndTxn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// This becomes the state.
    Prepare(Box<Transaction>),
    /// It was done before.
    Done,
}

impl Transaction {
    pub fn new(timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            state: State::Empty,
            producer_id: NO_ID,
            producer_epoch: NO_EPOCH,
            last_epoch: NO_EPOCH,
            previous_id: NO_ID,
            next_id: NO_ID,
            ran_in_epoch: NO_EPOCH,
            timeout_ms,
            started_ms: -1,
            updated_ms: now_ms,
            topics: BTreeMap::new(),
            groups: BTreeSet::new(),
        }
    }

    pub fn is_prepared(&self) -> bool {
        matches!(self.state, State::PrepareCommit | State::PrepareAbort)
    }

    /// Whether one more step up leaves no epoch for a producer.
    pub fn is_exhausted(&self) -> bool {
        self.producer_epoch >= EPOCH_MAX
    }

    /// How many partitions and groups it touched.
    pub fn len(&self) -> usize {
        self.topics.values().map(|touched| touched.partitions.len()).sum::<usize>() + self.groups.len()
    }

    pub fn has_partition(&self, topic: &str, topic_id: [u8; 16], partition: i32) -> bool {
        let touched = self.topics.get(topic).filter(|touched| touched.topic_id == topic_id);
        touched.is_some_and(|touched| touched.partitions.contains(&partition))
    }

    /// Whether this is the present instance of the producer.
    pub fn check_producer(&self, producer_id: i64, epoch: i16) -> Result<(), Code> {
        match () {
            () if producer_id != self.producer_id => Err(Code::InvalidProducerIdMapping),
            () if epoch != self.producer_epoch => Err(Code::ProducerFenced),
            () => Ok(()),
        }
    }

    /// Whether a client that says who it was may be given an epoch.
    pub fn check_expected(&self, expected: Option<(i64, i16)>) -> Result<(), Code> {
        let Some((id, epoch)) = expected else { return Ok(()) };
        let is_previous = id == self.previous_id && epoch >= EPOCH_MAX;
        let is_known = self.producer_epoch == NO_EPOCH || id == self.producer_id || is_previous;
        if is_known { Ok(()) } else { Err(Code::ProducerFenced) }
    }

    /// Whether [`Self::identify`] needs a new producer id.
    pub fn needs_id(&self, expected: Option<(i64, i16)>) -> bool {
        let is_present = expected.is_none_or(|(_, epoch)| epoch == self.producer_epoch);
        self.producer_id == NO_ID || (self.is_exhausted() && is_present)
    }

    /// Gives an instance of the producer its epoch; those before it are fenced.
    /// Nothing may be ongoing or prepared. `new_id` is used if
    /// [`Self::needs_id`].
    pub fn identify(
        &self,
        expected: Option<(i64, i16)>,
        timeout_ms: i32,
        now_ms: i64,
        new_id: i64,
    ) -> Result<Self, Code> {
        self.check_expected(expected)?;
        let mut next = Self { state: State::Empty, timeout_ms, updated_ms: now_ms, ..self.clone() };
        next.started_ms = -1;
        if self.needs_id(expected) {
            next.last_epoch = if expected.is_some() { self.producer_epoch } else { NO_EPOCH };
            next.previous_id = self.producer_id;
            (next.producer_id, next.producer_epoch) = (new_id, 0);
            return Ok(next);
        }
        match expected {
            None => next.last_epoch = NO_EPOCH,
            Some((_, epoch)) if epoch == self.producer_epoch => next.last_epoch = epoch,
            // Asked again: the answer was lost.
            Some((_, epoch)) if epoch == self.last_epoch && epoch != NO_EPOCH => return Ok(next),
            Some((id, _)) if id == self.previous_id && id != NO_ID => return Ok(next),
            Some(_) => return Err(Code::ProducerFenced),
        }
        next.producer_epoch += 1;
        Ok(next)
    }

    /// Adds what the transaction is about to touch, beginning one if none is
    /// ongoing. `None` if there is nothing to add.
    pub fn add(&self, topics: &[(String, [u8; 16], i32)], group: Option<&str>, now_ms: i64) -> Option<Self> {
        let known = |(topic, id, index): &(String, [u8; 16], i32)| self.has_partition(topic, *id, *index);
        let is_ongoing = self.state == State::Ongoing;
        if is_ongoing && topics.iter().all(known) && group.is_none_or(|group| self.groups.contains(group)) {
            return None;
        }
        let mut next = Self { state: State::Ongoing, updated_ms: now_ms, ..self.clone() };
        if !is_ongoing {
            next.started_ms = now_ms;
            next.topics.clear();
            next.groups.clear();
        }
        for (topic, topic_id, partition) in topics {
            let touched = next.topics.entry(topic.clone()).or_default();
            if touched.topic_id != *topic_id {
                // The earlier topic of this name is gone with what was written to it.
                *touched = Touched { topic_id: *topic_id, partitions: BTreeSet::new() };
            }
            touched.partitions.insert(*partition);
        }
        next.groups.extend(group.map(str::to_owned));
        Some(next)
    }

    /// What an EndTxn leads to. Nothing may be prepared. `new_id` is used if
    /// the epoch is exhausted.
    pub(super) fn end(&self, ending: &Ending, now_ms: i64, new_id: i64) -> Result<Decision, Code> {
        let is_raised = ending.raises_epoch && self.is_end_again(ending);
        let is_rotated = ending.raises_epoch
            && ending.producer_id == self.previous_id
            && ending.epoch == EPOCH_MAX
            && self.producer_epoch == 0;
        if !is_rotated && ending.producer_id != self.producer_id {
            return Err(Code::InvalidProducerIdMapping);
        }
        if !is_raised && !is_rotated && ending.epoch != self.producer_epoch {
            return Err(Code::ProducerFenced);
        }
        let again = is_raised || is_rotated || !ending.raises_epoch;
        match (self.state, ending.is_commit) {
            (State::Ongoing, _) => {}
            (State::CompleteCommit, true) | (State::CompleteAbort, false) if again => {
                return Ok(Decision::Done);
            }
            // Nothing was written; the client gets its new epoch all the same.
            (State::Empty | State::CompleteCommit | State::CompleteAbort, false)
                if ending.raises_epoch && !is_raised && !is_rotated => {}
            _ => return Err(Code::InvalidTxnState),
        }
        let mut next = self.prepared(ending.is_commit, now_ms);
        if ending.raises_epoch {
            next.last_epoch = self.producer_epoch;
            next.producer_epoch = self.producer_epoch + 1;
            next.next_id = if self.is_exhausted() { new_id } else { NO_ID };
        }
        Ok(Decision::Prepare(Box::new(next)))
    }

    /// Whether this end is one that already happened, seen from the epoch it
    /// was asked in.
    fn is_end_again(&self, ending: &Ending) -> bool {
        self.state != State::Ongoing
            && self.last_epoch != NO_EPOCH
            && ending.epoch == self.last_epoch
            && self.producer_epoch == ending.epoch + 1
    }

    /// The abort of an ongoing transaction whose producer is given up.
    pub fn fence(&self, now_ms: i64) -> Self {
        let mut next = self.prepared(false, now_ms);
        next.producer_epoch = self.producer_epoch.saturating_add(1);
        next.last_epoch = NO_EPOCH;
        next
    }

    fn prepared(&self, is_commit: bool, now_ms: i64) -> Self {
        let state = if is_commit { State::PrepareCommit } else { State::PrepareAbort };
        let mut next = Self { state, updated_ms: now_ms, ran_in_epoch: self.producer_epoch, ..self.clone() };
        if self.state != State::Ongoing {
            next.topics.clear();
            next.groups.clear();
        }
        next
    }

    /// The state once all markers of a prepared transaction are durable.
    pub fn completed(&self, now_ms: i64) -> Self {
        let state = match self.state {
            State::PrepareCommit => State::CompleteCommit,
            _ => State::CompleteAbort,
        };
        let mut next = Self { state, updated_ms: now_ms, ..self.clone() };
        next.topics.clear();
        next.groups.clear();
        if self.next_id != NO_ID {
            next.previous_id = self.producer_id;
            (next.producer_id, next.producer_epoch, next.next_id) = (self.next_id, 0, NO_ID);
        }
        next
    }

    /// The identity under which the client goes on after the prepared end.
    pub fn identity_after(&self) -> (i64, i16) {
        match self.next_id {
            NO_ID => (self.producer_id, self.producer_epoch),
            next => (next, 0),
        }
    }

    /// Whether the ongoing transaction has taken too long.
    pub fn is_overdue(&self, now_ms: i64) -> bool {
        self.state == State::Ongoing && now_ms.saturating_sub(self.started_ms) >= i64::from(self.timeout_ms)
    }

    /// Whether nothing is under way and nothing was since `before_ms`.
    pub fn is_idle_since(&self, before_ms: i64) -> bool {
        let at_rest = matches!(self.state, State::Empty | State::CompleteCommit | State::CompleteAbort);
        at_rest && self.updated_ms < before_ms
    }
}

impl State {
    /// The protocol's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
