//! Consumer groups: who shares the partitions of which topics. The machine of
//! the classic protocol is in `group`, its requests in `requests`; that of
//! KIP-848's in `consumer`. Here is the registry, and what lets time pass for
//! each group. A group that lost its members stays, so that its generations
//! rise on, for as long as committed offsets would; it may change its protocol.
//! Beyond the limit of groups those go first that are empty for longest. What
//! members tell is limited as well, for each group and for all (`memory`).
//!
//! Groups survive a restart: after it members go on as if nothing had happened,
//! each with its whole session timeout from then. Of a group of the classic
//! protocol its last stable generation is kept, or that it has no members; who
//! joined or left since then is not, so a rebalance that is cut short begins
//! anew. Of one of the consumer protocol everything is kept.
//!
//! Promises: what changed is written, in the order of the changes, before the
//! lock of the registry is let go; it is durable before anybody is told
//! ([`Groups::settled`]); what changes nothing writes nothing.
//!
//! Where: in a journal with a topic of its own, `__consumer_groups` (`stored`),
//! not in that of committed offsets. So neither state needs the other's lock
//! to write its journal anew (offsets ask, under theirs, which groups have
//! members), and no record of the one makes the other unreadable.

pub(crate) mod consumer;
mod group;
mod member;
mod memory;
mod requests;
mod slot;
mod start;
mod state;
mod stored;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::broker::Broker;
use super::codes::Code;
use super::journal::{Journal, Wrote};
use consumer::ConsumerGroup;
use group::Group;
use memory::Memory;
pub(crate) use requests::{
    SESSION_TIMEOUT_MS_MAX, SESSION_TIMEOUT_MS_MIN, delete, describe, heartbeat, join, leave, list, sync,
};
use slot::{Kind, Slot};
pub(crate) use start::resume;
use state::State;
use stored::{Key, Table};

/// What consumers call what they share.
const CONSUMER: &str = "consumer";

/// Groups by name.
type Slots = HashMap<String, Slot>;

/// All groups that have members, or had lately.
#[derive(Debug)]
pub(crate) struct Groups {
    slots: Mutex<Slots>,
    memory: Memory,
    journal: Journal<Table>,
    /// Whether time stands still.
    is_stopped: AtomicBool,
    retention_ms: i64,
    groups_max: usize,
    members_max: usize,
    initial_delay_ms: u64,
    consumer: consumer::Settings,
}

/// A group, as lists show it.
#[derive(Debug, Clone)]
struct Listed {
    name: String,
    state: &'static str,
    protocol_type: String,
    group_type: &'static str,
}

impl Groups {
    /// Works on a classic group.
    pub fn with<T>(&self, name: &str, work: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(name)?;
        let Kind::Classic(group) = &mut slot.kind else { return None };
        group.bytes_max = slot.share.bytes_max();
        let done = work(group);
        slot.wake.notify_one();
        // If it cannot be written, whoever would tell of it hears that.
        let _ = slot.keep(name, &self.journal);
        Some(done)
    }

    /// The same for one that is made if it is not there; the flag says that
    /// somebody must now let time pass for it. Nobody joins a group that cannot
    /// be written.
    fn with_new<T>(&self, name: &str, work: impl FnOnce(&mut Group) -> T) -> Result<(T, bool), Code> {
        let mut slots = self.slots.lock();
        let slot = self.slot(&mut slots, name, || Kind::Classic(self.classic()))?;
        slot.keep(name, &self.journal)?;
        if matches!(slot.kind, Kind::Consumer(_)) && slot.kind.is_idle() {
            self.replace(name, slot, Kind::Classic(self.classic()))?;
        }
        let Kind::Classic(group) = &mut slot.kind else { return Err(Code::InconsistentGroupProtocol) };
        group.bytes_max = slot.share.bytes_max();
        let done = work(group);
        let _ = slot.keep(name, &self.journal);
        Ok((done, slot.drive()))
    }

    /// Works on a group of the consumer protocol. If `join`, one is made if it
    /// is not there, or in place of a classic group without members.
    fn with_consumer<T>(
        &self,
        name: &str,
        join: bool,
        work: impl FnOnce(&mut ConsumerGroup) -> T,
    ) -> Result<(T, bool), Code> {
        let mut slots = self.slots.lock();
        let consumer = || Kind::Consumer(Box::new(ConsumerGroup::new(self.consumer)));
        let slot = match join {
            true => self.slot(&mut slots, name, consumer)?,
            // A member of a group that was deleted joins again, which it would
            // not if its group were said to be unknown.
            false => slots.get_mut(name).ok_or(Code::UnknownMemberId)?,
        };
        if join {
            slot.keep(name, &self.journal)?;
        }
        if join && matches!(slot.kind, Kind::Classic(_)) && slot.kind.is_idle() {
            self.replace(name, slot, consumer())?;
        }
        let Kind::Consumer(group) = &mut slot.kind else { return Err(Code::GroupIdNotFound) };
        group.bytes_max = slot.share.bytes_max();
        let done = work(group);
        slot.wake.notify_one();
        let _ = slot.keep(name, &self.journal);
        Ok((done, join && slot.drive()))
    }

    fn slot<'a>(
        &self,
        slots: &'a mut Slots,
        name: &str,
        kind: impl FnOnce() -> Kind,
    ) -> Result<&'a mut Slot, Code> {
        if !slots.contains_key(name) && slots.len() >= self.groups_max && !self.forget_oldest(slots) {
            tracing::warn!(groups_max = self.groups_max, "too many consumer groups; one was refused");
            return Err(Code::CoordinatorNotAvailable);
        }
        Ok(slots.entry(name.to_owned()).or_insert_with(|| Slot::new(kind(), self.memory.share())))
    }

    /// Lets a group without members change its protocol: what it was is forgotten.
    fn replace(&self, name: &str, slot: &mut Slot, kind: Kind) -> Result<(), Code> {
        if slot.kind.was_used() {
            let wrote = self.forget_stored(&[name.to_owned()])?;
            slot.wrote = Some(self.journal.share(wrote));
        }
        slot.kind = kind;
        Ok(())
    }

    /// Waits until all that was done to a group is durable.
    pub async fn settled(&self, name: &str) -> Result<(), Code> {
        let wrote = match self.slots.lock().get_mut(name) {
            Some(slot) => {
                slot.keep(name, &self.journal)?;
                slot.wrote
            }
            None => None,
        };
        let Some(wrote) = wrote else { return Ok(()) };
        self.journal.durable(wrote).await.map_err(|error| {
            tracing::error!(group = name, %error, "group not durable");
            Code::CoordinatorNotAvailable
        })
    }

    /// Whether a member may commit offsets, or a reader without a group's
    /// membership may.
    pub fn check_commit(
        &self,
        now_ms: u64,
        name: &str,
        member: (&str, Option<&str>),
        generation: i32,
    ) -> Result<(), Code> {
        let mut slots = self.slots.lock();
        match slots.get_mut(name) {
            None if generation < 0 => Ok(()),
            None => Err(Code::UnknownMemberId),
            Some(Slot { kind: Kind::Consumer(group), .. }) => group.check_offsets(member.0, generation),
            Some(Slot { kind: Kind::Classic(group), wake, .. }) => {
                wake.notify_one();
                check_classic_commit(group, now_ms, member, generation)
            }
        }
    }

    /// Whether a member may read its group's offsets: one of the consumer
    /// protocol says at which epoch it is.
    pub fn check_fetch(&self, name: &str, member: &str, epoch: i32) -> Result<(), Code> {
        match self.slots.lock().get(name) {
            Some(Slot { kind: Kind::Consumer(group), .. }) => group.check_offsets(member, epoch),
            _ => Ok(()),
        }
    }

    /// Whether the group has members, or had lately.
    pub fn is_known(&self, name: &str) -> bool {
        self.slots.lock().get(name).is_some_and(|slot| slot.kind.is_known())
    }

    /// Whether the group has members of the consumer protocol.
    pub fn is_consumer(&self, name: &str) -> bool {
        let slots = self.slots.lock();
        slots.get(name).is_some_and(|slot| matches!(slot.kind, Kind::Consumer(_)) && !slot.kind.is_idle())
    }

    /// Whether the group has members that are no consumers, so that nobody here
    /// knows what they read.
    pub fn is_foreign(&self, name: &str) -> bool {
        match self.slots.lock().get(name).map(|slot| &slot.kind) {
            Some(Kind::Classic(group)) => !group.members.is_empty() && group.protocol_type != CONSUMER,
            _ => false,
        }
    }

    /// Whether a member of the group reads the topic, as far as is known.
    pub fn subscribes_to(&self, name: &str, topic: &str) -> bool {
        match self.slots.lock().get(name).map(|slot| &slot.kind) {
            Some(Kind::Consumer(group)) => group.subscribes_to(topic),
            Some(Kind::Classic(group)) => group.subscribes_to(topic),
            None => false,
        }
    }

    /// The names of all groups that have members, or had since then.
    pub fn active_since(&self, since_ms: i64) -> HashSet<String> {
        let slots = self.slots.lock();
        let active = slots.iter().filter(|(_, slot)| slot.emptied_ms.is_none_or(|at_ms| at_ms >= since_ms));
        active.map(|(name, _)| name.clone()).collect()
    }

    /// Forgets a group without members; tells where that was written, if it was
    /// there.
    fn forget(&self, name: &str) -> Result<Option<Wrote>, Code> {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(name) else { return Ok(None) };
        if !slot.kind.is_idle() {
            return Err(Code::NonEmptyGroup);
        }
        slot.keep(name, &self.journal)?;
        if !slot.kind.was_used() {
            return Ok(None);
        }
        let wrote = self.forget_stored(&[name.to_owned()])?;
        match slot.driven {
            // Whoever lets time pass for it takes it away.
            true => slot.kind = Kind::Classic(self.classic()),
            false => _ = slots.remove(name),
        }
        Ok(Some(wrote))
    }

    fn forget_stored(&self, names: &[String]) -> Result<Wrote, Code> {
        let gone = names.iter().map(|name| (Key::Group(name.clone()), None));
        self.journal.write(gone.collect()).map_err(|error| {
            tracing::error!(?names, %error, "groups not forgotten");
            Code::CoordinatorNotAvailable
        })
    }

    /// Takes groups away that nobody asked to be forgotten; false if it cannot.
    fn give_up(&self, slots: &mut Slots, names: &[String]) -> bool {
        let Ok(wrote) = self.forget_stored(names) else { return false };
        self.journal.leave(wrote);
        names.iter().for_each(|name| _ = slots.remove(name));
        true
    }

    /// Makes room for a group; false if none is empty.
    fn forget_oldest(&self, slots: &mut Slots) -> bool {
        let empty = slots.iter().filter_map(|(name, slot)| Some((slot.emptied_ms?, name)));
        let Some(oldest) = empty.min().map(|(_, name)| name.clone()) else { return false };
        self.give_up(slots, &[oldest])
    }

    fn classic(&self) -> Group {
        Group::new(self.initial_delay_ms, self.members_max)
    }

    /// All groups, but for those that are empty for too long or never had a
    /// member.
    fn list(&self, now_ms: u64) -> Vec<Listed> {
        let mut slots = self.slots.lock();
        let since_ms = signed(now_ms) - self.retention_ms;
        let old = slots.iter().filter(|(_, slot)| slot.emptied_ms.is_some_and(|at_ms| at_ms < since_ms));
        let old: Vec<String> = old.map(|(name, _)| name.clone()).collect();
        self.give_up(&mut slots, &old);
        let shown = |(name, slot): (&String, &Slot)| match &slot.kind {
            Kind::Classic(group) => Listed::classic(name, group.state.name(), group.protocol_type.clone()),
            Kind::Consumer(group) => Listed {
                name: name.clone(),
                state: group.state(),
                protocol_type: CONSUMER.into(),
                group_type: "Consumer",
            },
        };
        slots.iter().filter(|(_, slot)| slot.kind.is_known()).map(shown).collect()
    }

    /// Does what is due; tells when the next thing is, unless the group is empty.
    fn tick(&self, name: &str, now_ms: u64) -> Option<(u64, Arc<Notify>)> {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(name)?;
        if self.is_stopped.load(Ordering::SeqCst) {
            slot.driven = false;
            return None;
        }
        slot.kind.on_time(now_ms);
        let _ = slot.keep(name, &self.journal);
        match slot.kind.next_deadline_ms() {
            Some(deadline_ms) if !slot.kind.is_idle() => Some((deadline_ms, Arc::clone(&slot.wake))),
            _ if slot.kind.was_used() => {
                (slot.driven, slot.emptied_ms) = (false, Some(signed(now_ms)));
                None
            }
            _ => {
                slots.remove(name);
                None
            }
        }
    }
}

/// A time on the clock that never goes back, where it may be before the start.
fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

impl Listed {
    fn classic(name: &str, state: &'static str, protocol_type: String) -> Self {
        Self { name: name.to_owned(), state, protocol_type, group_type: "Classic" }
    }
}

fn check_classic_commit(
    group: &mut Group,
    now_ms: u64,
    member: (&str, Option<&str>),
    generation: i32,
) -> Result<(), Code> {
    if group.is_idle() && generation < 0 {
        return Ok(());
    }
    group.check(member.0, member.1, generation)?;
    let _ = group.heartbeat(now_ms, member.0);
    match group.state {
        State::Completing => Err(Code::RebalanceInProgress),
        _ => Ok(()),
    }
}

/// Lets time pass for a group until it has no members.
async fn drive(broker: Arc<Broker>, name: String) {
    loop {
        let now_ms = broker.monotonic_ms();
        let Some((deadline_ms, wake)) = broker.groups.tick(&name, now_ms) else { return };
        let left = Duration::from_millis(deadline_ms.saturating_sub(now_ms));
        let _ = tokio::time::timeout(left, wake.notified()).await;
    }
}

#[cfg(test)]
pub(crate) mod tests;
