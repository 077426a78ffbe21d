//! What is kept of a group of the classic protocol: its last stable
//! generation, or that it has no members.
//!
//! ```text
//! 4  generation
//!    protocol type, protocol, leader: texts
//! 4  number of members; each:
//!       id, text; instance, text that may be missing; client id, host: texts
//!    8  session timeout, milliseconds
//!    8  rebalance timeout, milliseconds
//!    4  number of ways to assign; each: name, text; what it tells, bytes
//!       assignment, bytes
//! ```

use crate::kafka::fields::{
    put_bytes, put_count, put_optional_text, put_text, take, take_bytes, take_count, take_optional_text,
    take_text,
};
use crate::kafka::groups::group::Group;
use crate::kafka::groups::member::{Joining, Member};
use crate::kafka::groups::state::State;

pub(super) fn put(out: &mut Vec<u8>, group: &Group) {
    out.extend_from_slice(&group.generation.to_be_bytes());
    for text in [&group.protocol_type, &group.protocol, &group.leader] {
        put_text(out, text);
    }
    put_count(out, group.members.len());
    for (id, member) in &group.members {
        put_text(out, id);
        put_optional_text(out, member.instance_id.as_deref());
        put_text(out, &member.client_id);
        put_text(out, &member.client_host);
        out.extend_from_slice(&member.session_timeout_ms.to_be_bytes());
        out.extend_from_slice(&member.rebalance_timeout_ms.to_be_bytes());
        put_count(out, member.protocols.len());
        for (name, metadata) in &member.protocols {
            put_text(out, name);
            put_bytes(out, metadata);
        }
        put_bytes(out, &member.assignment);
    }
}

pub(super) fn take_group(rest: &mut &[u8], mut group: Group) -> Result<Group, String> {
    group.generation = i32::from_be_bytes(take(rest)?);
    group.protocol_type = take_text(rest)?;
    group.protocol = take_text(rest)?;
    group.leader = take_text(rest)?;
    for _ in 0..take_count(rest)? {
        let (id, member) = take_member(rest)?;
        group.members.insert(id, member);
        group.state = State::Stable;
    }
    Ok(group)
}

fn take_member(rest: &mut &[u8]) -> Result<(String, Member), String> {
    let id = take_text(rest)?;
    let mut said = Joining {
        instance_id: take_optional_text(rest)?,
        client_id: take_text(rest)?,
        client_host: take_text(rest)?,
        session_timeout_ms: u64::from_be_bytes(take(rest)?),
        rebalance_timeout_ms: u64::from_be_bytes(take(rest)?),
        ..Joining::default()
    };
    for _ in 0..take_count(rest)? {
        said.protocols.push((take_text(rest)?, take_bytes(rest)?));
    }
    let member = Member { assignment: take_bytes(rest)?, synced: true, ..Member::new(said) };
    Ok((id, member))
}
