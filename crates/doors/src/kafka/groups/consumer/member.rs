//! One member of a consumer group, and its way to what it is to have.

use super::assign::Assignor;
use super::subscription::{Pattern, Subscription};
use super::{EPOCH_PAUSE, Part, Parts, Refusal, refuse};
use crate::kafka::codes::Code;

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
    /// Whether it says everything, so that the answer does as well.
    pub fn is_full(&self) -> bool {
        let subscribes = self.topics.is_some() || self.regex.is_some();
        self.epoch == 0 || (subscribes && self.rebalance_timeout_ms.is_some() && self.owned.is_some())
    }
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

/// How far a member is on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Progress {
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
    previous_epoch: i32,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub subscription: Subscription,
    pub assignor: Option<Assignor>,
    /// What it has.
    pub assigned: Parts,
    /// What it was told to give back, and may still have.
    revoking: Parts,
    progress: Progress,
    rebalance_timeout_ms: u64,
    /// Until when it must show itself.
    pub session_deadline_ms: u64,
    /// Until when it must have given partitions back.
    revoking_deadline_ms: Option<u64>,
}

impl Member {
    /// Whether it has all of the target of this epoch.
    pub fn has_reached(&self, assignment_epoch: i32) -> bool {
        self.progress == Progress::Settled && self.epoch == assignment_epoch
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

    /// Takes over what a heartbeat says; tells whether that changes what is to
    /// be assigned.
    pub fn update(&mut self, beat: &Beat, pattern: Option<Pattern>) -> bool {
        self.client_id.clone_from(&beat.client_id);
        self.client_host.clone_from(&beat.client_host);
        if beat.instance_id.is_some() {
            self.instance_id.clone_from(&beat.instance_id);
        }
        if beat.rack_id.is_some() {
            self.rack_id.clone_from(&beat.rack_id);
        }
        self.rebalance_timeout_ms = beat.rebalance_timeout_ms.unwrap_or(self.rebalance_timeout_ms);
        let assignor = beat.assignor.or(self.assignor);
        let mut changed = std::mem::replace(&mut self.assignor, assignor) != assignor;
        if let Some(topics) = &beat.topics {
            let topics = topics.iter().cloned().collect();
            changed |= self.subscription.topics != topics;
            self.subscription.topics = topics;
        }
        if beat.regex.is_some() {
            changed |= self.subscription.pattern != pattern;
            self.subscription.pattern = pattern;
        }
        changed
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
    /// if that is what it had. Tells whether what it may have changed.
    pub fn reconcile(
        &mut self,
        now_ms: u64,
        target_epoch: i32,
        target: &Parts,
        owned: Option<&Parts>,
        is_free: impl Fn(&Part) -> bool,
    ) -> bool {
        let still_has = |parts: &Parts| owned.is_none_or(|owned| !owned.is_disjoint(parts));
        match self.progress {
            Progress::Settled if self.epoch == target_epoch => return false,
            Progress::Revoking if still_has(&self.revoking) => return false,
            _ => {}
        }
        let mut assigned: Parts = self.assigned.intersection(target).copied().collect();
        let surplus: Parts = self.assigned.difference(target).copied().collect();
        self.previous_epoch = self.epoch;
        self.revoking_deadline_ms = None;
        if !surplus.is_empty() && still_has(&surplus) {
            self.progress = Progress::Revoking;
            self.revoking = surplus;
            self.revoking_deadline_ms = Some(now_ms + self.rebalance_timeout_ms);
        } else {
            let missing = || target.difference(&self.assigned).copied();
            assigned.extend(missing().filter(&is_free));
            let all = assigned.len() == target.len();
            self.progress = if all { Progress::Settled } else { Progress::Awaiting };
            self.revoking.clear();
            self.epoch = target_epoch;
        }
        let changed = assigned != self.assigned;
        self.assigned = assigned;
        changed
    }
}
