//! A consumer group of the protocol of KIP-848, as a machine without clock,
//! locks or sockets: it is told the time with every call, and the topics there
//! are through [`Topics`].
//!
//! ```text
//! group epoch       rises when members, subscriptions or their topics change
//! assignment epoch  the group epoch that the target was computed for
//! member epoch      the assignment epoch that a member has reached
//! ```
//!
//! The target says who is to have which partition. Each member moves to it on
//! its own, with its heartbeats: it first gives back what it is not to have
//! (and says so by what it reports as owned), then gets what nobody else has
//! any more. So a partition never has two members.
//!
//! All of it survives a restart: the machine notes what changed (`keeping`),
//! others write it before anybody is told.

mod assign;
mod keeping;
mod member;
mod requests;
mod subscription;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::kafka::codes::Code;
use crate::kafka::groups::memory::GROUP_BYTES_MAX;
pub(crate) use assign::Assignor;
use assign::Seat;
use keeping::Unstored;
use member::Change;
pub(crate) use member::{Beat, Beaten, Member, Progress};
pub(crate) use requests::{describe, heartbeat};
pub(crate) use subscription::Topics;
use subscription::{Pattern, Resolved};

/// A topic's identifier.
pub(crate) type TopicId = [u8; 16];
/// A partition of a topic.
pub(crate) type Part = (TopicId, i32);
/// Partitions, by topic.
pub(crate) type Parts = BTreeSet<Part>;

/// The epoch of a member that leaves for good.
const EPOCH_LEAVE: i32 = -1;
/// The epoch of a static member that means to come back.
const EPOCH_PAUSE: i32 = -2;

/// The partitions of each topic.
pub(crate) fn by_topic(parts: &Parts) -> Vec<(TopicId, Vec<i32>)> {
    let mut topics: Vec<(TopicId, Vec<i32>)> = Vec::new();
    for (id, index) in parts.iter().copied() {
        match topics.last_mut().filter(|(last, _)| *last == id) {
            Some((_, partitions)) => partitions.push(index),
            None => topics.push((id, vec![index])),
        }
    }
    topics
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub code: Code,
    pub message: String,
}

pub(super) fn refuse<T>(code: Code, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

/// What the broker says about all groups.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settings {
    pub session_timeout_ms: u64,
    pub heartbeat_interval_ms: u64,
    pub members_max: usize,
}

/// A group.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    settings: Settings,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: Assignor,
    pub members: BTreeMap<String, Member>,
    target: HashMap<String, Parts>,
    /// Who has each partition, or has not given it back yet.
    owners: HashMap<Part, String>,
    pub resolved: Resolved,
    unstored: Unstored,
    /// Most that its members may tell, in bytes.
    pub bytes_max: usize,
}

impl ConsumerGroup {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            epoch: 0,
            assignment_epoch: 0,
            assignor: Assignor::Uniform,
            members: BTreeMap::new(),
            target: HashMap::new(),
            owners: HashMap::new(),
            resolved: Resolved::default(),
            unstored: Unstored::default(),
            bytes_max: GROUP_BYTES_MAX,
        }
    }

    /// Whether there are no members.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty()
    }

    /// The name clients show for where the group is.
    pub fn state(&self) -> &'static str {
        let reached = |member: &Member| member.has_reached(self.assignment_epoch);
        match () {
            () if self.members.is_empty() => "Empty",
            () if self.epoch > self.assignment_epoch => "Assigning",
            () if !self.members.values().all(reached) => "Reconciling",
            () => "Stable",
        }
    }

    /// What a member is to have.
    pub fn target_of(&self, id: &str) -> Parts {
        self.target.get(id).cloned().unwrap_or_default()
    }

    /// Whether any member subscribes to the topic.
    pub fn subscribes_to(&self, topic: &str) -> bool {
        self.members.values().any(|member| member.subscription.includes(topic))
    }

    /// Carries out a heartbeat: the one request of a member's whole life.
    pub fn heartbeat(&mut self, now_ms: u64, beat: Beat, topics: &dyn Topics) -> Result<Beaten, Refusal> {
        if beat.epoch == EPOCH_LEAVE || beat.epoch == EPOCH_PAUSE {
            return self.leave(&beat);
        }
        let pattern = self.pattern(beat.regex.as_deref())?;
        let known = self.find(&beat)?;
        let newcomer = known.is_none();
        if newcomer && self.members.len() >= self.settings.members_max {
            let count_max = self.settings.members_max;
            return refuse(Code::GroupMaxSizeReached, format!("the group has {count_max} members already"));
        }
        self.check_memory(known.as_deref(), &beat)?;
        if let Some(old_id) = known.filter(|id| *id != beat.member_id) {
            self.replace(&old_id, &beat.member_id);
        }
        let member = self.members.entry(beat.member_id.clone()).or_default();
        let change = member.update(&beat, pattern);
        member.session_deadline_ms = now_ms + self.settings.session_timeout_ms;
        if newcomer || change != Change::Nothing {
            self.unstored.members.insert(beat.member_id.clone());
        }
        let subscribes = change == Change::Subscription;
        if self.resolve(topics, subscribes) || subscribes || newcomer {
            self.raise_epoch();
        }
        if self.epoch > self.assignment_epoch {
            self.assign();
        }
        Ok(self.reconcile(now_ms, &beat))
    }

    /// Refuses a member that tells more than there is memory for.
    fn check_memory(&self, known: Option<&str>, beat: &Beat) -> Result<(), Refusal> {
        let before = known.and_then(|id| self.members.get(id)).map_or(0, Member::bytes);
        if beat.bytes() <= before {
            return Ok(());
        }
        let all = self.members.values().map(Member::bytes).sum::<usize>() - before + beat.bytes();
        match all > self.bytes_max {
            true => refuse(Code::GroupMaxSizeReached, "the groups' members tell too much together"),
            false => Ok(()),
        }
    }

    /// The pattern of a regular expression, from another member if it has the
    /// same.
    fn pattern(&self, regex: Option<&str>) -> Result<Option<Pattern>, Refusal> {
        let Some(regex) = regex.filter(|regex| !regex.is_empty()) else { return Ok(None) };
        let known = self.members.values().filter_map(|member| member.subscription.pattern.as_ref());
        match known.into_iter().find(|pattern| pattern.text() == regex) {
            Some(pattern) => Ok(Some(pattern.clone())),
            None => Pattern::new(regex).map(Some),
        }
    }

    /// The id under which the sender is known; none if it is new.
    fn find(&self, beat: &Beat) -> Result<Option<String>, Refusal> {
        let of_instance = beat.instance_id.as_deref().and_then(|instance| self.id_of_instance(instance));
        let id = match (of_instance, beat.epoch) {
            // Its predecessor has said that it goes.
            (Some(id), 0) if id != beat.member_id => {
                let paused = self.members.get(&id).is_some_and(|member| member.epoch == EPOCH_PAUSE);
                if !paused {
                    let message = format!("the instance is in use by member {id:?}, which must leave first");
                    return refuse(Code::UnreleasedInstanceId, message);
                }
                return Ok(Some(id));
            }
            (Some(id), _) if id != beat.member_id => {
                return refuse(Code::FencedInstanceId, format!("the instance belongs to member {id:?} now"));
            }
            (Some(id), _) => id,
            (None, 0) if !self.members.contains_key(&beat.member_id) => return Ok(None),
            (None, _) if beat.instance_id.is_some() && beat.epoch != 0 => {
                return refuse(Code::UnknownMemberId, "no member has this instance id");
            }
            (None, _) => beat.member_id.clone(),
        };
        match self.members.get(&id) {
            None => refuse(Code::UnknownMemberId, "the group has no such member; join again"),
            Some(member) => member.check_epoch(beat).map(|()| Some(id)),
        }
    }

    fn id_of_instance(&self, instance: &str) -> Option<String> {
        let found = self.members.iter().find(|(_, it)| it.instance_id.as_deref() == Some(instance));
        found.map(|(id, _)| id.clone())
    }

    /// A static member came back under a new id.
    fn replace(&mut self, old_id: &str, new_id: &str) {
        let Some(mut member) = self.members.remove(old_id) else { return };
        member.rejoin();
        for owner in self.owners.values_mut().filter(|owner| *owner == old_id) {
            new_id.clone_into(owner);
        }
        self.members.insert(new_id.to_owned(), member);
        if let Some(parts) = self.target.remove(old_id) {
            self.target.insert(new_id.to_owned(), parts);
        }
        self.unstored.members.extend([old_id.to_owned(), new_id.to_owned()]);
    }

    fn raise_epoch(&mut self) {
        self.epoch += 1;
        self.unstored.head = true;
    }

    fn leave(&mut self, beat: &Beat) -> Result<Beaten, Refusal> {
        let of_instance = beat.instance_id.as_deref().map(|instance| self.id_of_instance(instance));
        let id = match of_instance {
            None => beat.member_id.clone(),
            Some(None) => return refuse(Code::UnknownMemberId, "no member has this instance id"),
            Some(Some(id)) if id == beat.member_id => id,
            Some(Some(id)) => {
                return refuse(Code::FencedInstanceId, format!("the instance belongs to member {id:?} now"));
            }
        };
        let Some(member) = self.members.get_mut(&id) else {
            return refuse(Code::UnknownMemberId, "the group has no such member");
        };
        if beat.epoch == EPOCH_PAUSE {
            member.pause();
            self.unstored.members.insert(id.clone());
        } else {
            self.remove(&id);
        }
        Ok(Beaten { member_id: id, epoch: beat.epoch, heartbeat_interval_ms: 0, assignment: None })
    }

    /// Takes a member out; the others get its partitions with their next
    /// heartbeats.
    fn remove(&mut self, id: &str) {
        if self.members.remove(id).is_none() {
            return;
        }
        self.target.remove(id);
        self.owners.retain(|_, owner| owner != id);
        self.unstored.members.insert(id.to_owned());
        self.raise_epoch();
    }

    /// Looks up the topics subscribed to, if they or the subscriptions may have
    /// changed; tells whether they did.
    fn resolve(&mut self, topics: &dyn Topics, changed: bool) -> bool {
        if !changed && self.resolved.is_current(topics) {
            return false;
        }
        let subscriptions = self.members.values().map(|member| &member.subscription);
        let resolved = Resolved::of(subscriptions, topics);
        let differs = resolved.digest != self.resolved.digest;
        self.resolved = resolved;
        differs
    }

    /// Computes the target anew.
    fn assign(&mut self) {
        self.assignor = Assignor::preferred(self.members.values().filter_map(|member| member.assignor));
        let seats = self.members.iter().map(|(id, member)| Seat {
            id,
            instance_id: member.instance_id.as_deref(),
            topics: self.resolved.topics_of(&member.subscription),
            had: self.target.get(id),
        });
        let seats: Vec<Seat<'_>> = seats.collect();
        let assigned = self.assignor.assign(&seats, self.resolved.counts());
        let target: HashMap<String, Parts> =
            seats.iter().map(|seat| seat.id.to_owned()).zip(assigned).collect();
        let moved = target.iter().filter(|(id, parts)| self.target.get(*id) != Some(parts));
        self.unstored.members.extend(moved.map(|(id, _)| id.clone()));
        self.unstored.head = true;
        self.target = target;
        self.assignment_epoch = self.epoch;
    }

    /// Moves the sender one step towards its target, and answers it.
    fn reconcile(&mut self, now_ms: u64, beat: &Beat) -> Beaten {
        let id = &beat.member_id;
        let none = Parts::new();
        let target = self.target.get(id).unwrap_or(&none);
        let mut beaten = Beaten { member_id: id.clone(), ..Beaten::default() };
        beaten.heartbeat_interval_ms = self.settings.heartbeat_interval_ms;
        let Some(member) = self.members.get_mut(id) else { return beaten };
        let before = member.held();
        let owners = &self.owners;
        let is_free = |part: &Part| owners.get(part).is_none_or(|owner| owner == id);
        let step = member.reconcile(now_ms, self.assignment_epoch, target, beat.owned.as_ref(), is_free);
        if step.moved {
            self.unstored.members.insert(id.clone());
        }
        let after = member.held();
        beaten.epoch = member.epoch;
        beaten.assignment = (step.assigns || beat.is_full()).then(|| member.assigned.clone());
        for part in before.difference(&after) {
            self.owners.remove(part);
        }
        for part in after.difference(&before) {
            self.owners.insert(*part, id.clone());
        }
        beaten
    }

    /// Whether a member may commit or read offsets; -1 is nobody's epoch.
    pub fn check_offsets(&self, member_id: &str, epoch: i32) -> Result<(), Code> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(Code::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(Code::StaleMemberEpoch) }
    }

    /// When time alone will next change something.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.members.values().map(Member::deadline_ms).min()
    }

    /// Takes out members that were not heard of, or that did not give back
    /// partitions in time.
    pub fn on_time(&mut self, now_ms: u64) {
        let late = self.members.iter().filter(|(_, member)| member.deadline_ms() <= now_ms);
        for id in late.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            tracing::info!(member = id, "member given up");
            self.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests;
