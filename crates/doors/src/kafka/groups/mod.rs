//! Consumer groups of the classic protocol: who shares the partitions of which
//! topics. The machine is in `group`, its requests in `requests`; here is the
//! registry, and what lets time pass for each group.
//!
//! Groups live in memory: after a restart the members join again, as they
//! would after any change of coordinator. What they committed is durable
//! (`offsets`).

mod group;
mod member;
mod requests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::broker::{Broker, BrokerOptions};
use super::codes::Code;
use group::{Group, State};
pub(crate) use requests::{delete, describe, heartbeat, join, leave, list, sync};

/// All groups that have members.
#[derive(Debug)]
pub(crate) struct Groups {
    slots: Mutex<HashMap<String, Slot>>,
    groups_max: usize,
    members_max: usize,
    initial_delay_ms: u64,
}

#[derive(Debug)]
struct Slot {
    group: Group,
    /// Wakes whoever lets time pass for the group.
    wake: Arc<Notify>,
    /// Whether somebody does.
    driven: bool,
}

impl Groups {
    pub fn new(options: &BrokerOptions) -> Self {
        Self {
            slots: Mutex::default(),
            groups_max: options.groups_max,
            members_max: options.group_members_max,
            initial_delay_ms: options.group_initial_delay_ms,
        }
    }

    /// Works on a group that has members.
    pub fn with<T>(&self, name: &str, work: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(name)?;
        let done = work(&mut slot.group);
        slot.wake.notify_one();
        Some(done)
    }

    /// The same for one that is made if it is not there; the flag says that
    /// somebody must now let time pass for it.
    fn with_new<T>(&self, name: &str, work: impl FnOnce(&mut Group) -> T) -> Result<(T, bool), Code> {
        let mut slots = self.slots.lock();
        if !slots.contains_key(name) {
            if slots.len() >= self.groups_max {
                tracing::warn!(groups_max = self.groups_max, "too many consumer groups; one was refused");
                return Err(Code::CoordinatorNotAvailable);
            }
            let group = Group::new(self.initial_delay_ms, self.members_max);
            slots.insert(name.to_owned(), Slot { group, wake: Arc::default(), driven: false });
        }
        let slot = slots.get_mut(name).ok_or(Code::CoordinatorNotAvailable)?;
        let done = work(&mut slot.group);
        slot.wake.notify_one();
        Ok((done, !std::mem::replace(&mut slot.driven, true)))
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
        let checked = self.with(name, |group| {
            if group.is_idle() && generation < 0 {
                return Ok(());
            }
            group.check(member.0, member.1, generation)?;
            let _ = group.heartbeat(now_ms, member.0);
            match group.state {
                State::Completing => Err(Code::RebalanceInProgress),
                _ => Ok(()),
            }
        });
        match checked {
            Some(checked) => checked,
            None if generation < 0 => Ok(()),
            None => Err(Code::UnknownMemberId),
        }
    }

    /// Whether the group has members.
    pub fn is_active(&self, name: &str) -> bool {
        self.slots.lock().get(name).is_some_and(|slot| !slot.group.is_idle())
    }

    /// The names of all groups that have members.
    pub fn active(&self) -> std::collections::HashSet<String> {
        let slots = self.slots.lock();
        slots.iter().filter(|(_, slot)| !slot.group.is_idle()).map(|(name, _)| name.clone()).collect()
    }

    /// Name, state and protocol type of all groups that have members.
    fn list(&self) -> Vec<(String, State, String)> {
        let slots = self.slots.lock();
        let shown = |(name, slot): (&String, &Slot)| {
            (name.clone(), slot.group.state, slot.group.protocol_type.clone())
        };
        slots.iter().map(shown).collect()
    }

    /// Does what is due; tells when the next thing is, or forgets the group.
    fn tick(&self, name: &str, now_ms: u64) -> Option<(u64, Arc<Notify>)> {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(name)?;
        slot.group.on_time(now_ms);
        match slot.group.next_deadline_ms() {
            Some(deadline_ms) if !slot.group.is_idle() => Some((deadline_ms, Arc::clone(&slot.wake))),
            _ => {
                slots.remove(name);
                None
            }
        }
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
