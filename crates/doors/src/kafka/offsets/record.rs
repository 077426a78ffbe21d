//! The stored form of a committed offset: one record per group, topic and
//! partition in the internal topic `__consumer_offsets`. Integers are
//! big-endian.
//!
//! ```text
//! key    1  kind, 1 = committed offset, 2 = pending until a transaction ends
//!        8  producer whose transaction it is, kind 2 only
//!        2  length of the group's name, then the name
//!        2  length of the topic's name, then the name
//!        4  partition
//! value  1  version, 1
//!       16  the topic's identifier
//!        8  offset
//!        4  leader epoch
//!        8  time of the commit, milliseconds since 1970
//!        2  length of the client's note, then the note
//! ```
//!
//! A null value takes the committed offset back. A kind or version that is not
//! known is refused, never skipped: it was written by a newer program.

use crate::kafka::fields::{end, put_text, take, take_text};

/// Which committed offset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub group: String,
    pub topic: String,
    pub partition: i32,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub topic_id: [u8; 16],
    pub offset: i64,
    pub leader_epoch: i32,
    pub committed_at_ms: i64,
    pub note: String,
}

/// What a record is about: a committed offset, or one that is pending in the
/// transaction of a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub pending_of: Option<i64>,
    pub place: Place,
}

const COMMITTED: u8 = 1;
const PENDING: u8 = 2;
const VERSION: u8 = 1;

impl Key {
    pub fn encode(&self) -> Vec<u8> {
        let place = &self.place;
        let mut out = Vec::with_capacity(17 + place.group.len() + place.topic.len());
        match self.pending_of {
            None => out.push(COMMITTED),
            Some(producer_id) => {
                out.push(PENDING);
                out.extend_from_slice(&producer_id.to_be_bytes());
            }
        }
        put_text(&mut out, &place.group);
        put_text(&mut out, &place.topic);
        out.extend_from_slice(&place.partition.to_be_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        let pending_of = match take(&mut rest)? {
            [COMMITTED] => None,
            [PENDING] => Some(i64::from_be_bytes(take(&mut rest)?)),
            [kind] => return Err(format!("key of kind {kind} was written by a newer version")),
        };
        let (group, topic) = (take_text(&mut rest)?, take_text(&mut rest)?);
        let partition = i32::from_be_bytes(take(&mut rest)?);
        end(rest)?;
        Ok(Self { pending_of, place: Place { group, topic, partition } })
    }
}

impl Committed {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(39 + self.note.len());
        out.push(VERSION);
        out.extend_from_slice(&self.topic_id);
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.to_be_bytes());
        out.extend_from_slice(&self.committed_at_ms.to_be_bytes());
        put_text(&mut out, &self.note);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        match take(&mut rest)? {
            [VERSION] => {}
            [version] => return Err(format!("value of version {version} was written by a newer version")),
        }
        let committed = Self {
            topic_id: take(&mut rest)?,
            offset: i64::from_be_bytes(take(&mut rest)?),
            leader_epoch: i32::from_be_bytes(take(&mut rest)?),
            committed_at_ms: i64::from_be_bytes(take(&mut rest)?),
            note: take_text(&mut rest)?,
        };
        end(rest)?;
        Ok(committed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Key, Committed) {
        let place = Place { group: "g".into(), topic: "regen-öl".into(), partition: 7 };
        let key = Key { pending_of: None, place };
        let committed = Committed {
            topic_id: [3; 16],
            offset: 1 << 40,
            leader_epoch: 0,
            committed_at_ms: 1_700_000_000_000,
            note: "note".into(),
        };
        (key, committed)
    }

    #[test]
    fn round_trip() {
        let (key, committed) = sample();
        let pending = Key { pending_of: Some(1 << 50), ..key.clone() };
        for key in [key, pending] {
            assert_eq!(Key::decode(&key.encode()).unwrap(), key);
        }
        assert_eq!(Committed::decode(&committed.encode()).unwrap(), committed);
    }

    #[test]
    fn the_stored_form_is_frozen() {
        let place = Place { group: "g".into(), topic: "t".into(), partition: 2 };
        let key = Key { pending_of: None, place };
        assert_eq!(key.encode(), [1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 2]);
        let key = Key { pending_of: Some(3), ..key };
        assert_eq!(key.encode(), [2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 2]);
        let (_, committed) = sample();
        let bytes = committed.encode();
        assert_eq!((bytes.len(), bytes[0], &bytes[17..25]), (43, 1, &(1_i64 << 40).to_be_bytes()[..]));
    }

    #[test]
    fn damage_and_newer_versions_are_refused() {
        let (key, committed) = sample();
        let (key, value) = (key.encode(), committed.encode());
        for length in 0..key.len() {
            assert!(Key::decode(&key[..length]).is_err());
        }
        for length in 0..value.len() {
            assert!(Committed::decode(&value[..length]).is_err());
        }
        assert!(Key::decode(&[3, 0]).unwrap_err().contains("newer"));
        assert!(Committed::decode(&[9]).unwrap_err().contains("newer"));
        assert!(Key::decode(&[&key[..], &[0]].concat()).is_err());
    }
}
