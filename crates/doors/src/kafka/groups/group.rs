//! A consumer group of the classic protocol, as a machine without clock, locks
//! or sockets: it is told the time with every call.
//!
//! ```text
//! Empty ── join ──► Preparing ── all joined, or time up ──► Completing ── leader syncs ──► Stable
//!   ▲                  ▲  ▲                                     │                             │
//!   │                  │  └──── join, leave, member lost ───────┴─────────────────────────────┘
//!   └─ last one gone ──┘
//! ```
//!
//! A member that waits for an answer is never given up; any other is, after
//! its session timeout. A member that does not join a new generation in time
//! is left out of it, as is one that does not ask for its assignment in time.
//!
//! What is to survive a restart is a group that is stable or empty; the machine
//! says when there is a new one (`unstored`), others write it.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::member::{JoinAnswer, Joined, Joining, Member, Refusal, SyncAnswer, Synced, subscribed_topics};
use super::memory::GROUP_BYTES_MAX;
use super::state::State;
use crate::kafka::codes::Code;

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    pub state: State,
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub members: BTreeMap<String, Member>,
    /// Whether it became stable or empty, or changed while it was, since it was
    /// last written.
    pub unstored: bool,
    /// Ids given out whose members have not come back yet, and until when they may.
    pending: HashMap<String, u64>,
    /// When preparing or completing ends at the latest.
    deadline_ms: u64,
    /// While a group that was empty waits for more members.
    hold: Option<Hold>,
    initial_delay_ms: u64,
    members_max: usize,
    /// Most that its members may tell, in bytes.
    pub bytes_max: usize,
}

/// The wait for more members though all that there are have joined.
#[derive(Debug, Clone, Copy)]
struct Hold {
    began_ms: u64,
    until_ms: u64,
    /// Whether somebody came since it was last made longer.
    joined: bool,
}

impl Group {
    pub fn new(initial_delay_ms: u64, members_max: usize) -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            unstored: false,
            pending: HashMap::new(),
            deadline_ms: 0,
            hold: None,
            initial_delay_ms,
            members_max,
            bytes_max: GROUP_BYTES_MAX,
        }
    }

    /// Whether nothing is left that needs the group.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// A member joins, again or for the first time. `new_id` is used if it has
    /// no id yet.
    pub fn join(&mut self, now_ms: u64, joining: Joining, new_id: String, answer: JoinAnswer) {
        if let Err(refusal) = self.may_join(&joining) {
            let _ = answer.send(Err(refusal));
            return;
        }
        if !joining.member_id.is_empty() {
            return match self.members.contains_key(&joining.member_id) {
                true => self.join_again(now_ms, joining, answer),
                false => self.join_pending(now_ms, joining, answer),
            };
        }
        let known = joining.instance_id.as_ref().and_then(|instance| self.id_of_instance(instance));
        match known {
            Some(old_id) => self.replace(now_ms, &old_id, new_id, joining, answer),
            None if joining.id_first && joining.instance_id.is_none() => {
                self.pending.insert(new_id.clone(), now_ms + joining.session_timeout_ms);
                let _ = answer.send(Err(Refusal { code: Code::MemberIdRequired, member_id: new_id }));
            }
            None => self.add(now_ms, new_id, joining, answer),
        }
    }

    fn may_join(&self, joining: &Joining) -> Result<(), Refusal> {
        let refuse = |code| Err(Refusal { code, member_id: joining.member_id.clone() });
        let known = self.members.contains_key(&joining.member_id)
            || self.pending.contains_key(&joining.member_id)
            || joining.instance_id.as_ref().is_some_and(|instance| self.id_of_instance(instance).is_some());
        if !known && self.members.len() + self.pending.len() >= self.members_max {
            return refuse(Code::GroupMaxSizeReached);
        }
        if joining.protocols.is_empty() || joining.protocol_type.is_empty() {
            return refuse(Code::InconsistentGroupProtocol);
        }
        let others = || self.members.iter().filter(|(id, _)| **id != joining.member_id);
        let stays =
            |member: &Member| joining.instance_id.is_none() || member.instance_id != joining.instance_id;
        let stay = others().filter(|(_, member)| stays(member));
        if stay.map(|(_, member)| member.bytes()).sum::<usize>() + joining.bytes() > self.bytes_max {
            return refuse(Code::GroupMaxSizeReached);
        }
        if others().next().is_none() {
            return Ok(());
        }
        let shared = joining.protocols.iter().any(|(name, _)| others().all(|(_, other)| other.knows(name)));
        if joining.protocol_type != self.protocol_type || !shared {
            return refuse(Code::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn id_of_instance(&self, instance: &str) -> Option<String> {
        let found = self.members.iter().find(|(_, it)| it.instance_id.as_deref() == Some(instance));
        found.map(|(id, _)| id.clone())
    }

    fn join_pending(&mut self, now_ms: u64, joining: Joining, answer: JoinAnswer) {
        let id = joining.member_id.clone();
        if self.pending.remove(&id).is_some() {
            return self.add(now_ms, id, joining, answer);
        }
        let fenced =
            joining.instance_id.as_ref().is_some_and(|instance| self.id_of_instance(instance).is_some());
        let code = if fenced { Code::FencedInstanceId } else { Code::UnknownMemberId };
        let _ = answer.send(Err(Refusal { code, member_id: id }));
    }

    fn add(&mut self, now_ms: u64, id: String, joining: Joining, answer: JoinAnswer) {
        if self.members.is_empty() {
            self.protocol_type = joining.protocol_type.clone();
            self.leader = id.clone();
        }
        let mut member = Member::new(joining);
        member.joining = Some(answer);
        member.touch(now_ms);
        self.members.insert(id, member);
        if let Some(hold) = &mut self.hold {
            hold.joined = true;
        }
        self.rebalance(now_ms);
    }

    fn join_again(&mut self, now_ms: u64, joining: Joining, answer: JoinAnswer) {
        let id = joining.member_id.clone();
        let Some(member) = self.members.get_mut(&id) else { return };
        if joining.instance_id.is_some() && joining.instance_id != member.instance_id {
            let _ = answer.send(Err(Refusal { code: Code::FencedInstanceId, member_id: id }));
            return;
        }
        let same = member.protocols == joining.protocols;
        let stays = match self.state {
            // It did not get the answer, or asks again to be sure.
            State::Completing => same,
            // A leader that joins again wants a new assignment.
            State::Stable => same && id != self.leader,
            _ => false,
        };
        member.update(joining);
        member.touch(now_ms);
        if stays {
            let joined = self.joined(&id);
            let _ = answer.send(Ok(joined));
            return;
        }
        if let Some(earlier) = member.joining.replace(answer) {
            let _ = earlier.send(Err(Refusal { code: Code::UnknownMemberId, member_id: id }));
        }
        self.rebalance(now_ms);
    }

    /// A static member came back under a new id.
    fn replace(&mut self, now_ms: u64, old_id: &str, new_id: String, joining: Joining, answer: JoinAnswer) {
        let Some(mut member) = self.members.remove(old_id) else { return };
        let fenced = || Refusal { code: Code::FencedInstanceId, member_id: old_id.to_owned() };
        if let Some(earlier) = member.joining.take() {
            let _ = earlier.send(Err(fenced()));
        }
        if let Some(earlier) = member.syncing.take() {
            let _ = earlier.send(Err(Code::FencedInstanceId));
        }
        let read = subscribed_topics(&member.metadata(&self.protocol));
        let may_skip = joining.may_skip;
        let was_leader = self.leader == old_id;
        member.update(joining);
        member.touch(now_ms);
        if was_leader {
            self.leader = new_id.clone();
        }
        let reads_the_same = read == subscribed_topics(&member.metadata(&self.protocol));
        self.members.insert(new_id.clone(), member);
        // What it owned is not compared: it comes back without, and keeps it.
        if self.state == State::Stable && reads_the_same && self.elect() == self.protocol {
            self.unstored = true;
            let mut joined = self.joined(&new_id);
            if was_leader && may_skip {
                joined.skip_assignment = true;
            } else if was_leader {
                // An older client would assign anew if it were told that it leads.
                joined.leader = old_id.to_owned();
                joined.members.clear();
            }
            let _ = answer.send(Ok(joined));
            return;
        }
        if let Some(member) = self.members.get_mut(&new_id) {
            member.joining = Some(answer);
        }
        self.rebalance(now_ms);
    }

    /// Begins a new generation, or goes on preparing it.
    fn rebalance(&mut self, now_ms: u64) {
        if self.state != State::Preparing {
            for member in self.members.values_mut() {
                if let Some(answer) = member.syncing.take() {
                    let _ = answer.send(Err(Code::RebalanceInProgress));
                    member.touch(now_ms);
                }
            }
            let waits = self.state == State::Empty && self.initial_delay_ms > 0;
            let until_ms = now_ms + if waits { self.initial_delay_ms } else { self.longest_rebalance_ms() };
            self.hold = waits.then_some(Hold { began_ms: now_ms, until_ms, joined: false });
            self.deadline_ms = until_ms;
            self.state = State::Preparing;
        }
        self.complete_if_all_joined(now_ms);
    }

    fn longest_rebalance_ms(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    fn complete_if_all_joined(&mut self, now_ms: u64) {
        let all = self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some());
        let held = self.hold.is_some_and(|hold| now_ms < hold.until_ms) && !self.members.is_empty();
        if self.state == State::Preparing && all && !held {
            self.complete(now_ms);
        }
    }

    /// A new group to which somebody came while it waited waits as long again,
    /// but in all no longer than members have to join.
    fn hold_longer(&mut self, now_ms: u64) -> bool {
        let longest_ms = self.longest_rebalance_ms();
        let Some(hold) = &mut self.hold else { return false };
        let until_ms = (hold.began_ms + longest_ms).min(now_ms + self.initial_delay_ms);
        let longer = std::mem::take(&mut hold.joined) && until_ms > now_ms;
        if longer {
            hold.until_ms = until_ms;
            self.deadline_ms = until_ms;
        }
        longer
    }

    /// Ends preparing with those who have joined.
    fn complete(&mut self, now_ms: u64) {
        self.hold = None;
        self.members.retain(|_, member| member.joining.is_some() || member.instance_id.is_some());
        // Static members that are all away have until their sessions end.
        if !self.members.is_empty() && !self.members.values().any(|member| member.joining.is_some()) {
            self.deadline_ms = now_ms + self.longest_rebalance_ms();
            return;
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.unstored = true;
            self.state = State::Empty;
            self.leader.clear();
            self.protocol.clear();
            return;
        }
        let leads = self.members.get(&self.leader).is_some_and(|member| member.joining.is_some());
        if !leads {
            let first = self.members.iter().find(|(_, member)| member.joining.is_some());
            self.leader = first.map(|(id, _)| id.clone()).unwrap_or_default();
        }
        self.protocol = self.elect();
        self.state = State::Completing;
        self.deadline_ms = now_ms + self.longest_rebalance_ms();
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let joined = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = Bytes::new();
            member.synced = false;
            member.touch(now_ms);
            if let Some(answer) = member.joining.take() {
                let _ = answer.send(Ok(joined));
            }
        }
    }

    /// Every member votes for the first way to assign, in its own order, that
    /// all members know.
    fn elect(&self) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let shared = |name: &str| self.members.values().all(|other| other.knows(name));
            let vote = member.protocols.iter().map(|(name, _)| name.as_str()).find(|name| shared(name));
            if let Some(vote) = vote {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let best = votes.into_iter().max_by_key(|(_, votes)| *votes);
        best.map(|(name, _)| name.to_owned()).unwrap_or_default()
    }

    fn joined(&self, id: &str) -> Joined {
        let members =
            self.members.iter().filter(|_| id == self.leader).map(|(id, member)| {
                (id.clone(), member.instance_id.clone(), member.metadata(&self.protocol))
            });
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: id.to_owned(),
            skip_assignment: false,
            members: members.collect(),
        }
    }

    /// Whether the member is one of this generation.
    pub fn check(&self, id: &str, instance: Option<&str>, generation: i32) -> Result<(), Code> {
        if let Some(known) = instance.and_then(|instance| self.id_of_instance(instance))
            && known != id
        {
            return Err(Code::FencedInstanceId);
        }
        match self.members.contains_key(id) {
            false => Err(Code::UnknownMemberId),
            true if generation != self.generation => Err(Code::IllegalGeneration),
            true => Ok(()),
        }
    }

    /// A member asks for its assignment; the leader brings everybody's.
    pub fn sync(&mut self, now_ms: u64, id: &str, assignments: Vec<(String, Bytes)>, answer: SyncAnswer) {
        if matches!(self.state, State::Empty | State::Preparing) {
            let code =
                if self.state == State::Empty { Code::UnknownMemberId } else { Code::RebalanceInProgress };
            let _ = answer.send(Err(code));
            return;
        }
        let Some(member) = self.members.get_mut(id) else {
            let _ = answer.send(Err(Code::UnknownMemberId));
            return;
        };
        member.touch(now_ms);
        member.synced = true;
        if let Some(earlier) = member.syncing.replace(answer) {
            let _ = earlier.send(Err(Code::UnknownMemberId));
        }
        if self.state == State::Completing && id == self.leader {
            for (id, assignment) in assignments {
                if let Some(member) = self.members.get_mut(&id) {
                    member.assignment = assignment;
                }
            }
            self.state = State::Stable;
            self.unstored = true;
        }
        if self.state == State::Stable {
            self.hand_out(now_ms);
        }
    }

    fn hand_out(&mut self, now_ms: u64) {
        for member in self.members.values_mut() {
            let Some(answer) = member.syncing.take() else { continue };
            member.touch(now_ms);
            let _ = answer.send(Ok(Synced {
                protocol_type: self.protocol_type.clone(),
                protocol: self.protocol.clone(),
                assignment: member.assignment.clone(),
            }));
        }
    }

    /// A member shows itself; it is told if it must join again.
    pub fn heartbeat(&mut self, now_ms: u64, id: &str) -> Result<(), Code> {
        let member = self.members.get_mut(id).ok_or(Code::UnknownMemberId)?;
        member.touch(now_ms);
        match self.state {
            State::Preparing => Err(Code::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// A member leaves, by id or by instance.
    pub fn leave(&mut self, now_ms: u64, id: &str, instance: Option<&str>) -> Result<(), Code> {
        let id = match instance.map(|instance| self.id_of_instance(instance)) {
            None => id.to_owned(),
            Some(None) => return Err(Code::UnknownMemberId),
            Some(Some(known)) if id.is_empty() || id == known => known,
            Some(Some(_)) => return Err(Code::FencedInstanceId),
        };
        if self.pending.remove(&id).is_some() {
            self.complete_if_all_joined(now_ms);
            return Ok(());
        }
        match self.remove(&id) {
            true => {
                self.rebalance(now_ms);
                Ok(())
            }
            false => Err(Code::UnknownMemberId),
        }
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some(member) = self.members.remove(id) else { return false };
        if let Some(answer) = member.joining {
            let _ = answer.send(Err(Refusal { code: Code::UnknownMemberId, member_id: id.to_owned() }));
        }
        if let Some(answer) = member.syncing {
            let _ = answer.send(Err(Code::UnknownMemberId));
        }
        true
    }

    /// Whether a member reads the topic, as far as members tell: those of
    /// consumers do.
    pub fn subscribes_to(&self, topic: &str) -> bool {
        let read = |member: &Member| subscribed_topics(&member.metadata(&self.protocol));
        self.members.values().any(|member| read(member).is_some_and(|read| read.contains(topic)))
    }

    /// When time alone will next change something.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let state = match self.state {
            State::Preparing | State::Completing => Some(self.deadline_ms),
            _ => None,
        };
        let silent = self.members.values().filter(|member| !member.is_waiting());
        let sessions = silent.map(|member| member.session_deadline_ms).min();
        let pending = self.pending.values().copied().min();
        [state, sessions, pending].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn on_time(&mut self, now_ms: u64) {
        let pending_before = self.pending.len();
        self.pending.retain(|_, deadline_ms| *deadline_ms > now_ms);
        let lost = |member: &Member| !member.is_waiting() && member.session_deadline_ms <= now_ms;
        let unsynced = self.state == State::Completing && self.deadline_ms <= now_ms;
        let gone = self.members.iter().filter(|(_, member)| lost(member) || (unsynced && !member.synced));
        let gone: Vec<String> = gone.map(|(id, _)| id.clone()).collect();
        for id in &gone {
            self.remove(id);
        }
        if !gone.is_empty() || unsynced {
            self.rebalance(now_ms);
        } else if pending_before != self.pending.len() {
            self.complete_if_all_joined(now_ms);
        }
        if self.state == State::Preparing && self.deadline_ms <= now_ms && !self.hold_longer(now_ms) {
            self.complete(now_ms);
        }
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
