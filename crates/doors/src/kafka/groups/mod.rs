//! Consumer groups: who shares the partitions of which topics. The machine of
//! the classic protocol is in `group`, its requests in `requests`; that of
//! KIP-848's in `consumer`. Here is the registry, and what lets time pass for
//! each group. A group that lost its members stays, so that its generations
//! rise on, for as long as committed offsets would; it may change its protocol.
//! Beyond the limit of groups those go first that are empty for longest.
//!
//! Groups live in memory: after a restart the members join again, as they
//! would after any change of coordinator. What they committed is durable
//! (`offsets`).

pub(crate) mod consumer;
mod group;
mod member;
mod requests;
mod state;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::broker::{Broker, BrokerOptions};
use super::codes::Code;
use consumer::ConsumerGroup;
use group::Group;
pub(crate) use requests::{delete, describe, heartbeat, join, leave, list, sync};
use state::State;

/// What consumers call what they share.
const CONSUMER: &str = "consumer";

/// All groups that have members, or had lately.
#[derive(Debug)]
pub(crate) struct Groups {
    slots: Mutex<HashMap<String, Slot>>,
    retention_ms: u64,
    groups_max: usize,
    members_max: usize,
    initial_delay_ms: u64,
    consumer: consumer::Settings,
}

#[derive(Debug)]
struct Slot {
    kind: Kind,
    /// Wakes whoever lets time pass for the group.
    wake: Arc<Notify>,
    /// Whether somebody does.
    driven: bool,
    /// When it lost its last member, on the clock that never goes back; none
    /// while somebody lets time pass for it.
    emptied_ms: Option<u64>,
}

/// A group of either protocol.
#[derive(Debug)]
enum Kind {
    Classic(Group),
    Consumer(Box<ConsumerGroup>),
}

impl Kind {
    fn is_idle(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_idle(),
            Self::Consumer(group) => group.is_idle(),
        }
    }

    fn is_known(&self) -> bool {
        self.was_used() || !self.is_idle()
    }

    /// Whether it ever had a member.
    fn was_used(&self) -> bool {
        match self {
            Self::Classic(group) => group.generation > 0,
            Self::Consumer(group) => group.epoch > 0,
        }
    }

    fn on_time(&mut self, now_ms: u64) {
        match self {
            Self::Classic(group) => group.on_time(now_ms),
            Self::Consumer(group) => group.on_time(now_ms),
        }
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        match self {
            Self::Classic(group) => group.next_deadline_ms(),
            Self::Consumer(group) => group.next_deadline_ms(),
        }
    }
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
    pub fn new(options: &BrokerOptions) -> Self {
        Self {
            slots: Mutex::default(),
            retention_ms: u64::try_from(options.offsets_retention_ms).unwrap_or(0),
            groups_max: options.groups_max,
            members_max: options.group_members_max,
            initial_delay_ms: options.group_initial_delay_ms,
            consumer: consumer::Settings {
                session_timeout_ms: options.consumer_session_timeout_ms,
                heartbeat_interval_ms: options.consumer_heartbeat_interval_ms,
                members_max: options.group_members_max,
            },
        }
    }

    /// Works on a classic group.
    pub fn with<T>(&self, name: &str, work: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(name)?;
        let Kind::Classic(group) = &mut slot.kind else { return None };
        let done = work(group);
        slot.wake.notify_one();
        Some(done)
    }

    /// The same for one that is made if it is not there; the flag says that
    /// somebody must now let time pass for it.
    fn with_new<T>(&self, name: &str, work: impl FnOnce(&mut Group) -> T) -> Result<(T, bool), Code> {
        let mut slots = self.slots.lock();
        let slot = self.slot(&mut slots, name, || self.classic())?;
        if matches!(slot.kind, Kind::Consumer(_)) && slot.kind.is_idle() {
            slot.kind = self.classic();
        }
        let Kind::Classic(group) = &mut slot.kind else { return Err(Code::InconsistentGroupProtocol) };
        let done = work(group);
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
            // Groups live in memory, so this is what a member hears after a
            // restart: it joins again, which it would not if its group were
            // said to be unknown.
            false => slots.get_mut(name).ok_or(Code::UnknownMemberId)?,
        };
        if join && matches!(slot.kind, Kind::Classic(_)) && slot.kind.is_idle() {
            slot.kind = consumer();
        }
        let Kind::Consumer(group) = &mut slot.kind else { return Err(Code::GroupIdNotFound) };
        let done = work(group);
        slot.wake.notify_one();
        Ok((done, join && slot.drive()))
    }

    fn slot<'a>(
        &self,
        slots: &'a mut HashMap<String, Slot>,
        name: &str,
        kind: impl FnOnce() -> Kind,
    ) -> Result<&'a mut Slot, Code> {
        if !slots.contains_key(name) && slots.len() >= self.groups_max && !forget_oldest(slots) {
            tracing::warn!(groups_max = self.groups_max, "too many consumer groups; one was refused");
            return Err(Code::CoordinatorNotAvailable);
        }
        let new = || Slot { kind: kind(), wake: Arc::default(), driven: false, emptied_ms: None };
        Ok(slots.entry(name.to_owned()).or_insert_with(new))
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
    pub fn active_since(&self, since_ms: u64) -> std::collections::HashSet<String> {
        let slots = self.slots.lock();
        let active = slots.iter().filter(|(_, slot)| slot.emptied_ms.is_none_or(|at_ms| at_ms >= since_ms));
        active.map(|(name, _)| name.clone()).collect()
    }

    /// Forgets a group without members; tells whether it was there.
    fn forget(&self, name: &str) -> Result<bool, Code> {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(name) else { return Ok(false) };
        if !slot.kind.is_idle() {
            return Err(Code::NonEmptyGroup);
        }
        let was_used = slot.kind.was_used();
        match slot.driven {
            // Whoever lets time pass for it takes it away.
            true => slot.kind = self.classic(),
            false => _ = slots.remove(name),
        }
        Ok(was_used)
    }

    fn classic(&self) -> Kind {
        Kind::Classic(Group::new(self.initial_delay_ms, self.members_max))
    }

    /// All groups, but for those that are empty for too long or never had a
    /// member.
    fn list(&self, now_ms: u64) -> Vec<Listed> {
        let mut slots = self.slots.lock();
        let since_ms = now_ms.saturating_sub(self.retention_ms);
        slots.retain(|_, slot| slot.emptied_ms.is_none_or(|at_ms| at_ms >= since_ms));
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
        slot.kind.on_time(now_ms);
        match slot.kind.next_deadline_ms() {
            Some(deadline_ms) if !slot.kind.is_idle() => Some((deadline_ms, Arc::clone(&slot.wake))),
            _ if slot.kind.was_used() => {
                (slot.driven, slot.emptied_ms) = (false, Some(now_ms));
                None
            }
            _ => {
                slots.remove(name);
                None
            }
        }
    }
}

impl Slot {
    /// Has whoever lets time pass for it look; tells whether nobody does yet.
    fn drive(&mut self) -> bool {
        self.wake.notify_one();
        self.emptied_ms = None;
        !std::mem::replace(&mut self.driven, true)
    }
}

/// Makes room for a group; false if none is empty.
fn forget_oldest(slots: &mut HashMap<String, Slot>) -> bool {
    let empty = slots.iter().filter_map(|(name, slot)| Some((slot.emptied_ms?, name)));
    let Some(oldest) = empty.min().map(|(_, name)| name.clone()) else { return false };
    slots.remove(&oldest).is_some()
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
mod tests {
    use super::*;

    fn joins(groups: &Groups, name: &str) -> Result<i32, Code> {
        let joining = member::Joining {
            member_id: String::new(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            session_timeout_ms: 1_000,
            rebalance_timeout_ms: 1_000,
            protocol_type: CONSUMER.into(),
            protocols: vec![("range".into(), bytes::Bytes::new())],
            id_first: false,
            may_skip: false,
        };
        let (answer, mut answered) = tokio::sync::oneshot::channel();
        groups.with_new(name, |group| group.join(0, joining, "m".into(), answer))?;
        Ok(answered.try_recv().unwrap().unwrap().generation)
    }

    /// The group gets a member and loses it.
    fn used(groups: &Groups, name: &str, at_ms: u64) -> i32 {
        let generation = joins(groups, name).unwrap();
        groups.with(name, |group| group.leave(at_ms, "m", None)).unwrap().unwrap();
        assert!(groups.tick(name, at_ms).is_none());
        generation
    }

    fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort();
        names
    }

    #[test]
    fn groups_that_lost_their_members_lately_are_remembered_up_to_the_limit() {
        let options = BrokerOptions { groups_max: 2, offsets_retention_ms: 100, ..BrokerOptions::default() };
        let groups = Groups::new(&options);
        for (at_ms, name) in [(100, "a"), (200, "b")] {
            used(&groups, name, at_ms);
        }
        let since = |since_ms| sorted(groups.active_since(since_ms));
        assert_eq!((since(100), since(101)), (vec!["a".into(), "b".into()], vec!["b".to_owned()]));
        used(&groups, "c", 300);
        assert_eq!(since(0), ["b", "c"]);
        let listed = |now_ms| groups.list(now_ms).into_iter().map(|it| (it.name, it.state));
        assert_eq!(
            listed(300).collect::<HashMap<_, _>>(),
            [("b", "Empty"), ("c", "Empty")].map(|(name, state)| (name.to_owned(), state)).into()
        );
        assert_eq!(sorted(listed(301).map(|(name, _)| name)), ["c"]);
        // Those with members are not given up for others.
        for name in ["c", "d"] {
            joins(&groups, name).unwrap();
        }
        assert_eq!(joins(&groups, "e"), Err(Code::CoordinatorNotAvailable));
    }

    #[test]
    fn generations_rise_on_until_the_group_is_deleted() {
        let groups = Groups::new(&BrokerOptions::default());
        assert_eq!((used(&groups, "a", 1), used(&groups, "a", 2)), (1, 3));
        joins(&groups, "a").unwrap();
        assert_eq!(groups.forget("a"), Err(Code::NonEmptyGroup));
        groups.with("a", |group| group.leave(3, "m", None)).unwrap().unwrap();
        assert_eq!((groups.forget("a"), groups.forget("a")), (Ok(true), Ok(false)));
        assert!(groups.list(3).is_empty());
        assert!(groups.tick("a", 3).is_none());
        assert_eq!(used(&groups, "a", 4), 1);
    }
}
