//! What of a group survives a restart, and how it comes back: everything but
//! deadlines. One record for the group's head, one for each member with its
//! target; only those that changed are written.
//!
//! Members are written before the head and taken away after it, as a write of
//! many may be cut short: a member whose record is of a later assignment than
//! the head's tells that not all of that assignment was written, and a member
//! that should be gone is given up once more. Either way the partitions are
//! assigned anew.

use std::collections::BTreeSet;

use super::{ConsumerGroup, Refusal};
use crate::kafka::groups::stored::consumer::{Stored, encode};
use crate::kafka::groups::stored::{Change, Key};

/// What changed since it was last written.
#[derive(Debug, Default)]
pub(super) struct Unstored {
    pub head: bool,
    /// The ids of members that changed, came or went.
    pub members: BTreeSet<String>,
}

impl ConsumerGroup {
    /// Whether anything is to be written.
    pub fn is_unstored(&self) -> bool {
        self.unstored.head || !self.unstored.members.is_empty()
    }

    /// What is to be written, with the head as it is stored.
    pub fn unstored(&self, group: &str, head: Vec<u8>) -> Vec<Change> {
        let change = |id: &String| {
            let encoded = |member| encode(member, &self.target_of(id), self.assignment_epoch);
            let key = Key::Member { group: group.to_owned(), id: id.clone() };
            (key, self.members.get(id).map(encoded))
        };
        let changes = self.unstored.members.iter().map(change);
        let (mut changes, gone): (Vec<Change>, Vec<Change>) = changes.partition(|(_, value)| value.is_some());
        if self.unstored.head {
            changes.push((Key::Group(group.to_owned()), Some(head)));
        }
        changes.extend(gone);
        changes
    }

    /// All of it is written.
    pub fn set_stored(&mut self) {
        self.unstored = Unstored::default();
    }

    /// Takes a member back in.
    pub fn restore(&mut self, id: String, stored: Stored) -> Result<(), Refusal> {
        let Stored { mut member, regex, target, assignment_epoch } = stored;
        member.subscription.pattern = self.pattern(regex.as_deref())?;
        member.count();
        self.owners.extend(member.held().into_iter().map(|part| (part, id.clone())));
        self.target.insert(id.clone(), target);
        self.members.insert(id, member);
        if assignment_epoch > self.assignment_epoch {
            self.epoch = self.epoch.max(assignment_epoch + 1);
        }
        Ok(())
    }

    /// Every member has its whole session timeout from now.
    pub fn resume(&mut self, now_ms: u64) {
        let session_timeout_ms = self.settings.session_timeout_ms;
        self.members.values_mut().for_each(|member| member.resume(now_ms, session_timeout_ms));
    }
}
