//! A group in the registry: its machine, whoever lets time pass for it, and
//! what was written of it.

use std::sync::Arc;

use tokio::sync::Notify;

use super::consumer::{self, ConsumerGroup};
use super::group::Group;
use super::member;
use super::memory::Share;
use super::state::State;
use super::stored::{Change, Key, Table, encode_group};
use crate::kafka::codes::Code;
use crate::kafka::journal::{Journal, Wrote};

/// A group of either protocol.
#[derive(Debug)]
pub(crate) enum Kind {
    Classic(Group),
    Consumer(Box<ConsumerGroup>),
}

/// A group, and what the registry knows about it.
#[derive(Debug)]
pub(super) struct Slot {
    pub kind: Kind,
    /// What it takes of the memory for groups.
    pub share: Share,
    /// Wakes whoever lets time pass for the group.
    pub wake: Arc<Notify>,
    /// Whether somebody does.
    pub driven: bool,
    /// When it lost its last member, on the clock that never goes back, below
    /// zero if that was before the start; none while it has members or
    /// somebody lets time pass for it.
    pub emptied_ms: Option<i64>,
    /// Where it was last written.
    pub wrote: Option<Wrote>,
}

impl Kind {
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_idle(),
            Self::Consumer(group) => group.is_idle(),
        }
    }

    pub fn is_known(&self) -> bool {
        self.was_used() || !self.is_idle()
    }

    /// Whether it ever had a member.
    pub fn was_used(&self) -> bool {
        match self {
            Self::Classic(group) => group.generation > 0,
            Self::Consumer(group) => group.epoch > 0,
        }
    }

    /// How much its members tell and are given.
    fn bytes(&self) -> usize {
        match self {
            Self::Classic(group) => group.members.values().map(member::Member::bytes).sum(),
            Self::Consumer(group) => group.members.values().map(consumer::Member::bytes).sum(),
        }
    }

    pub fn on_time(&mut self, now_ms: u64) {
        match self {
            Self::Classic(group) => group.on_time(now_ms),
            Self::Consumer(group) => group.on_time(now_ms),
        }
    }

    pub fn next_deadline_ms(&self) -> Option<u64> {
        match self {
            Self::Classic(group) => group.next_deadline_ms(),
            Self::Consumer(group) => group.next_deadline_ms(),
        }
    }

    /// Every member has its whole session timeout from now.
    pub fn resume(&mut self, now_ms: u64) {
        match self {
            Self::Classic(group) => group.members.values_mut().for_each(|member| member.touch(now_ms)),
            Self::Consumer(group) => group.resume(now_ms),
        }
    }

    /// What changed since it was last written.
    fn unstored(&self, name: &str, now_ms: i64) -> Vec<Change> {
        match self {
            Self::Classic(group) if group.unstored && matches!(group.state, State::Stable | State::Empty) => {
                vec![(Key::Group(name.to_owned()), Some(encode_group(self, now_ms)))]
            }
            Self::Consumer(group) if group.is_unstored() => group.unstored(name, encode_group(self, now_ms)),
            _ => Vec::new(),
        }
    }

    fn set_stored(&mut self) {
        match self {
            Self::Classic(group) => group.unstored = false,
            Self::Consumer(group) => group.set_stored(),
        }
    }
}

impl Slot {
    pub fn new(kind: Kind, share: Share) -> Self {
        Self { kind, share, wake: Arc::default(), driven: false, emptied_ms: None, wrote: None }
    }

    /// Has whoever lets time pass for it look; tells whether nobody does yet.
    pub fn drive(&mut self) -> bool {
        self.wake.notify_one();
        self.emptied_ms = None;
        !std::mem::replace(&mut self.driven, true)
    }

    /// Counts what it takes of the memory.
    pub fn count(&mut self) {
        self.share.set(self.kind.bytes());
    }

    /// Counts and writes what changed, if anything. What could not be written is tried
    /// again the next time.
    pub fn keep(&mut self, name: &str, journal: &Journal<Table>) -> Result<(), Code> {
        self.count();
        let changes = self.kind.unstored(name, journal.now_ms());
        if changes.is_empty() {
            return Ok(());
        }
        match journal.write(changes) {
            Ok(wrote) => {
                self.kind.set_stored();
                self.wrote = Some(journal.share(wrote));
                Ok(())
            }
            Err(error) => {
                tracing::error!(group = name, %error, "group not written");
                Err(Code::CoordinatorNotAvailable)
            }
        }
    }
}
