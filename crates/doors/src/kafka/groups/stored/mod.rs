//! The stored form of consumer groups: records in the internal topic
//! `__consumer_groups`, one for each group and one more for each member of a
//! group of the consumer protocol. Integers are big-endian; texts, bytes and
//! what may be missing as in `fields`.
//!
//! ```text
//! key    1  kind, 1 = group, 2 = member of a group of the consumer protocol
//!           group's name, text
//!           member's id, text; kind 2 only
//! value of a group
//!        1  version, 1
//!        1  protocol, 1 = classic, 2 = consumer
//!        8  time of this record, milliseconds since 1970; if the group has no
//!           members, it has had none since then
//!           what its protocol keeps: `classic`, `consumer`
//! value of a member: `consumer`
//! ```
//!
//! A null value forgets the group or the member. A kind, version or protocol
//! that is not known is refused, never skipped: it was written by a newer
//! program.

pub(crate) mod classic;
pub(crate) mod consumer;
mod table;

use super::consumer::ConsumerGroup;
use super::group::Group;
use super::slot::Kind;
use crate::kafka::fields::{end, put_text, take, take_text};
pub(super) use table::Table;

/// A new value, or none to forget what is there.
pub(crate) type Change = (Key, Option<Vec<u8>>);

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Group(String),
    Member { group: String, id: String },
}

const GROUP: u8 = 1;
const MEMBER: u8 = 2;
const VERSION: u8 = 1;
const CLASSIC: u8 = 1;
const CONSUMER: u8 = 2;

impl Key {
    pub fn group(&self) -> &str {
        match self {
            Self::Group(group) | Self::Member { group, .. } => group,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![if matches!(self, Self::Group(_)) { GROUP } else { MEMBER }];
        put_text(&mut out, self.group());
        if let Self::Member { id, .. } = self {
            put_text(&mut out, id);
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        let [kind] = take(&mut rest)?;
        let group = take_text(&mut rest)?;
        let key = match kind {
            GROUP => Self::Group(group),
            MEMBER => Self::Member { group, id: take_text(&mut rest)? },
            kind => return Err(format!("key of kind {kind} was written by a newer version")),
        };
        end(rest)?;
        Ok(key)
    }
}

/// Refuses what a newer program wrote.
fn take_version(rest: &mut &[u8]) -> Result<(), String> {
    match take(rest)? {
        [VERSION] => Ok(()),
        [version] => Err(format!("value of version {version} was written by a newer version")),
    }
}

/// The value of a group, written at this time.
pub(crate) fn encode_group(kind: &Kind, now_ms: i64) -> Vec<u8> {
    let protocol = if matches!(kind, Kind::Classic(_)) { CLASSIC } else { CONSUMER };
    let mut out = vec![VERSION, protocol];
    out.extend_from_slice(&now_ms.to_be_bytes());
    match kind {
        Kind::Classic(group) => classic::put(&mut out, group),
        Kind::Consumer(group) => consumer::put_head(&mut out, group),
    }
    out
}

/// A group, without its members if it is of the consumer protocol, and when it
/// was written. It goes on from one of these.
pub(crate) fn decode_group(
    bytes: &[u8],
    classic: impl FnOnce() -> Group,
    consumer: impl FnOnce() -> ConsumerGroup,
) -> Result<(Kind, i64), String> {
    let mut rest = bytes;
    take_version(&mut rest)?;
    let [protocol] = take(&mut rest)?;
    let written_ms = i64::from_be_bytes(take(&mut rest)?);
    let kind = match protocol {
        CLASSIC => Kind::Classic(classic::take_group(&mut rest, classic())?),
        CONSUMER => Kind::Consumer(Box::new(consumer::take_head(&mut rest, consumer())?)),
        protocol => return Err(format!("protocol {protocol} was written by a newer version")),
    };
    end(rest)?;
    Ok((kind, written_ms))
}

#[cfg(test)]
mod tests;
