//! What is kept of a group of the consumer protocol, and of each of its
//! members.
//!
//! ```text
//! group   4  group epoch
//!         4  assignment epoch
//!         1  way to assign, 1 = uniform, 2 = range
//!         8  digest of the topics subscribed to
//! member  1  version, 1
//!         4  assignment epoch of the group when this was written
//!         4  epoch, 4 previous epoch
//!         1  progress, 0 = settled, 1 = revoking, 2 = awaiting
//!         8  rebalance timeout, milliseconds
//!            instance, rack: texts that may be missing
//!            client id, host: texts
//!         1  way to assign that it prefers, 0 = none
//!         4  number of topics subscribed to; each: name, text
//!            regular expression, text that may be missing
//!            assigned, revoking, target: partitions, each as
//!         4  number of topics; each: 16 identifier, 4 number of partitions,
//!            4×n partitions
//! ```

use super::{VERSION, take_version};
use crate::kafka::fields::{
    end, put_count, put_optional_text, put_text, take, take_count, take_optional_text, take_text,
};
use crate::kafka::groups::consumer::{Assignor, ConsumerGroup, Member, Parts, Progress, by_topic};

/// A member as it was written.
#[derive(Debug)]
pub(crate) struct Stored {
    /// Its regular expression is apart, as members share them.
    pub member: Member,
    pub regex: Option<String>,
    pub target: Parts,
    /// The group's, when this was written.
    pub assignment_epoch: i32,
}

pub(super) fn put_head(out: &mut Vec<u8>, group: &ConsumerGroup) {
    out.extend_from_slice(&group.epoch.to_be_bytes());
    out.extend_from_slice(&group.assignment_epoch.to_be_bytes());
    out.push(code(Some(group.assignor)));
    out.extend_from_slice(&group.resolved.digest.to_be_bytes());
}

pub(super) fn take_head(rest: &mut &[u8], mut group: ConsumerGroup) -> Result<ConsumerGroup, String> {
    group.epoch = i32::from_be_bytes(take(rest)?);
    group.assignment_epoch = i32::from_be_bytes(take(rest)?);
    group.assignor = take_assignor(rest)?.ok_or("a group without a way to assign")?;
    group.resolved.digest = u64::from_be_bytes(take(rest)?);
    Ok(group)
}

/// The value of a member.
pub(crate) fn encode(member: &Member, target: &Parts, assignment_epoch: i32) -> Vec<u8> {
    let mut out = vec![VERSION];
    for epoch in [assignment_epoch, member.epoch, member.previous_epoch] {
        out.extend_from_slice(&epoch.to_be_bytes());
    }
    out.push(member.progress as u8);
    out.extend_from_slice(&member.rebalance_timeout_ms.to_be_bytes());
    put_optional_text(&mut out, member.instance_id.as_deref());
    put_optional_text(&mut out, member.rack_id.as_deref());
    put_text(&mut out, &member.client_id);
    put_text(&mut out, &member.client_host);
    out.push(code(member.assignor));
    put_count(&mut out, member.subscription.topics.len());
    member.subscription.topics.iter().for_each(|topic| put_text(&mut out, topic));
    put_optional_text(&mut out, member.subscription.pattern.as_ref().map(|pattern| pattern.text()));
    for parts in [&member.assigned, &member.revoking, target] {
        put_parts(&mut out, parts);
    }
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Stored, String> {
    let mut rest = bytes;
    take_version(&mut rest)?;
    let assignment_epoch = i32::from_be_bytes(take(&mut rest)?);
    let mut member = Member {
        epoch: i32::from_be_bytes(take(&mut rest)?),
        previous_epoch: i32::from_be_bytes(take(&mut rest)?),
        progress: take_progress(&mut rest)?,
        rebalance_timeout_ms: u64::from_be_bytes(take(&mut rest)?),
        instance_id: take_optional_text(&mut rest)?,
        rack_id: take_optional_text(&mut rest)?,
        client_id: take_text(&mut rest)?,
        client_host: take_text(&mut rest)?,
        assignor: take_assignor(&mut rest)?,
        ..Member::default()
    };
    for _ in 0..take_count(&mut rest)? {
        member.subscription.topics.insert(take_text(&mut rest)?);
    }
    let regex = take_optional_text(&mut rest)?;
    member.assigned = take_parts(&mut rest)?;
    member.revoking = take_parts(&mut rest)?;
    let target = take_parts(&mut rest)?;
    end(rest)?;
    Ok(Stored { member, regex, target, assignment_epoch })
}

fn put_parts(out: &mut Vec<u8>, parts: &Parts) {
    let topics = by_topic(parts);
    put_count(out, topics.len());
    for (id, partitions) in topics {
        out.extend_from_slice(&id);
        put_count(out, partitions.len());
        partitions.iter().for_each(|partition| out.extend_from_slice(&partition.to_be_bytes()));
    }
}

fn take_parts(rest: &mut &[u8]) -> Result<Parts, String> {
    let mut parts = Parts::new();
    for _ in 0..take_count(rest)? {
        let id = take(rest)?;
        for _ in 0..take_count(rest)? {
            parts.insert((id, i32::from_be_bytes(take(rest)?)));
        }
    }
    Ok(parts)
}

fn code(assignor: Option<Assignor>) -> u8 {
    match assignor {
        None => 0,
        Some(Assignor::Uniform) => 1,
        Some(Assignor::Range) => 2,
    }
}

fn take_assignor(rest: &mut &[u8]) -> Result<Option<Assignor>, String> {
    match take(rest)? {
        [0] => Ok(None),
        [1] => Ok(Some(Assignor::Uniform)),
        [2] => Ok(Some(Assignor::Range)),
        [code] => Err(format!("the way to assign {code} was written by a newer version")),
    }
}

fn take_progress(rest: &mut &[u8]) -> Result<Progress, String> {
    let [code] = take(rest)?;
    let all = [Progress::Settled, Progress::Revoking, Progress::Awaiting];
    let progress = all.get(usize::from(code)).copied();
    progress.ok_or_else(|| format!("progress {code} was written by a newer version"))
}
