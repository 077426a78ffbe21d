//! One member of a consumer group, and its way to what it is to have.

use super::assign::Assignor;
use super::subscription::{Pattern, Subscription};
use super::{EPOCH_PAUSE, Part, Parts, Refusal, refuse};
use crate::kafka::codes::Code;
use crate::kafka::groups::memory::ENTRY_BYTES;

/// What a heartbeat says. What is none has not changed since the last one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beat {
    pub member_id: String,
    /// The epoch the member is at; 0 to join, -1 and -2 to leave.
    pub epoch: i32,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: Option<u64>,
    pub topics: Option<Vec<String>>,
    pub regex: Option<String>,
    pub assignor: Option<Assignor>,
    pub owned: Option<Parts>,
}

impl Beat {
    /// How much it tells that is kept.
    pub fn bytes(&self) -> usize {
        topics_bytes(self.topics.iter().flatten())
            + self.regex.as_ref().map_or(0, String::len)
            + self.client_id.len()
    }
    /// Whether it says everything, so that the answer does as well.
    pub fn is_full(&self) -> bool {
        let subscribes = self.topics.is_some() || self.regex.is_some();
        self.epoch == 0 || (subscribes && self.rebalance_timeout_ms.is_some() && self.owned.is_some())
    }
}

fn topics_bytes<'a>(names: impl Iterator<Item = &'a String>) -> usize {
    names.map(|name| name.len() + ENTRY_BYTES).sum()
}

/// What a member is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Beaten {
    pub member_id: String,
    pub epoch: i32,
    pub heartbeat_interval_ms: u64,
    /// What it may have now, if that changed.
    pub assignment: Option<Parts>,
}

/// What a heartbeat changes of what is known about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// Nothing that is assigned by.
    Details,
    Subscription,
}

/// What a step towards the target changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Whether anything.
    pub moved: bool,
    /// Whether what the member may have.
    pub assigns: bool,
}

/// How far a member is on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has all of the target of its epoch.
    #[default]
    Settled,
    /// It has to give partitions back first.
    Revoking,
    /// Others have to.
    Awaiting,
}

/// A member.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub epoch: i32,
    pub previous_epoch: i32,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub subscription: Subscription,
    /// How much it tells that is kept, but for its regular expression.
    pub told_bytes: usize,
    pub assignor: Option<Assignor>,
    /// What it has.
    pub assigned: Parts,
    /// What it was told to give back, and may still have.
    pub revoking: Parts,
    pub progress: Progress,
    pub rebalance_timeout_ms: u64,
    /// Until when it must show itself.
    pub session_deadline_ms: u64,
    /// Until when it must have given partitions back.
    pub revoking_deadline_ms: Option<u64>,
}

impl Member {
    /// Whether it has all of the target of this epoch.
    pub fn has_reached(&self, assignment_epoch: i32) -> bool {
        self.progress == Progress::Settled && self.epoch == assignment_epoch
    }

    /// How much it tells that is kept.
    pub fn bytes(&self) -> usize {
        self.told_bytes + self.subscription.pattern.as_ref().map_or(0, |pattern| pattern.text().len())
    }

    /// Counts how much it tells.
    pub fn count(&mut self) {
        self.told_bytes = topics_bytes(self.subscription.topics.iter()) + self.client_id.len();
    }

    /// All that nobody else may have.
    pub fn held(&self) -> Parts {
        self.assigned.union(&self.revoking).copied().collect()
    }

    /// When it is given up, unless something happens before.
    pub fn deadline_ms(&self) -> u64 {
        self.revoking_deadline_ms.unwrap_or(u64::MAX).min(self.session_deadline_ms)
    }

    /// Whether it is at the epoch it says. One that did not get the last
    /// answer is one behind, and one that begins anew is at 0.
    pub fn check_epoch(&self, beat: &Beat) -> Result<(), Refusal> {
        let knows_no_more = || beat.owned.as_ref().is_some_and(|owned| owned.is_subset(&self.assigned));
        match beat.epoch {
            0 => Ok(()),
            epoch if epoch == self.epoch => Ok(()),
            epoch if epoch < self.epoch && epoch == self.previous_epoch && knows_no_more() => Ok(()),
            epoch => {
                let message = format!("the member is at epoch {}, not {epoch}; join again", self.epoch);
                refuse(Code::FencedMemberEpoch, message)
            }
        }
    }

    /// Takes over what a heartbeat says.
    pub fn update(&mut self, beat: &Beat, pattern: Option<Pattern>) -> Change {
        let mut differs = set(&mut self.client_id, &beat.client_id);
        differs |= set(&mut self.client_host, &beat.client_host);
        differs |= beat.instance_id.is_some() && set(&mut self.instance_id, &beat.instance_id);
        differs |= beat.rack_id.is_some() && set(&mut self.rack_id, &beat.rack_id);
        differs |= beat.rebalance_timeout_ms.is_some_and(|it| set(&mut self.rebalance_timeout_ms, &it));
        let mut subscribes = beat.assignor.is_some() && set(&mut self.assignor, &beat.assignor);
        if let Some(topics) = &beat.topics {
            let topics = topics.iter().cloned().collect();
            subscribes |= set(&mut self.subscription.topics, &topics);
        }
        if subscribes || differs {
            self.count();
        }
        subscribes |= beat.regex.is_some() && set(&mut self.subscription.pattern, &pattern);
        match (subscribes, differs) {
            (true, _) => Change::Subscription,
            (false, true) => Change::Details,
            (false, false) => Change::Nothing,
        }
    }

    /// It has its whole session timeout from now.
    pub fn resume(&mut self, now_ms: u64, session_timeout_ms: u64) {
        self.session_deadline_ms = now_ms + session_timeout_ms;
        let is_revoking = self.progress == Progress::Revoking;
        self.revoking_deadline_ms = is_revoking.then(|| now_ms + self.rebalance_timeout_ms);
    }

    /// A static member leaves and means to come back: what it has is kept.
    pub fn pause(&mut self) {
        self.epoch = EPOCH_PAUSE;
        self.progress = Progress::Settled;
        self.revoking.clear();
        self.revoking_deadline_ms = None;
    }

    /// A static member came back.
    pub fn rejoin(&mut self) {
        self.epoch = 0;
        self.previous_epoch = 0;
    }

    /// One step towards `target`. `owned` is what the member says it has, none
    /// if that is what it had.
    pub fn reconcile(
        &mut self,
        now_ms: u64,
        target_epoch: i32,
        target: &Parts,
        owned: Option<&Parts>,
        is_free: impl Fn(&Part) -> bool,
    ) -> Step {
        let still_has = |parts: &Parts| owned.is_none_or(|owned| !owned.is_disjoint(parts));
        match self.progress {
            Progress::Settled if self.epoch == target_epoch => return Step::default(),
            Progress::Revoking if still_has(&self.revoking) => return Step::default(),
            _ => {}
        }
        let before = (self.epoch, self.previous_epoch, self.progress);
        let mut assigned: Parts = self.assigned.intersection(target).copied().collect();
        let mut revoking: Parts = self.assigned.difference(target).copied().collect();
        self.previous_epoch = self.epoch;
        self.revoking_deadline_ms = None;
        if !revoking.is_empty() && still_has(&revoking) {
            self.progress = Progress::Revoking;
            self.revoking_deadline_ms = Some(now_ms + self.rebalance_timeout_ms);
        } else {
            let missing = || target.difference(&self.assigned).copied();
            assigned.extend(missing().filter(&is_free));
            let all = assigned.len() == target.len();
            self.progress = if all { Progress::Settled } else { Progress::Awaiting };
            revoking.clear();
            self.epoch = target_epoch;
        }
        let assigns = set(&mut self.assigned, &assigned);
        let revokes = set(&mut self.revoking, &revoking);
        let moved = assigns || revokes || before != (self.epoch, self.previous_epoch, self.progress);
        Step { moved, assigns }
    }
}

/// Tells whether that changed it.
fn set<T: Clone + PartialEq>(known: &mut T, said: &T) -> bool {
    let differs = known != said;
    if differs {
        known.clone_from(said);
    }
    differs
}
