//! The stored form of a committed offset: one record per group, topic and
//! partition in the internal topic `__consumer_offsets`. Integers are
//! big-endian.
//!
//! ```text
//! key    1  kind, 1 = committed offset
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

const KIND: u8 = 1;
const VERSION: u8 = 1;

impl Place {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(9 + self.group.len() + self.topic.len());
        out.push(KIND);
        put_text(&mut out, &self.group);
        put_text(&mut out, &self.topic);
        out.extend_from_slice(&self.partition.to_be_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        match take(&mut rest)? {
            [KIND] => {}
            [kind] => return Err(format!("key of kind {kind} was written by a newer version")),
        }
        let (group, topic) = (take_text(&mut rest)?, take_text(&mut rest)?);
        let partition = i32::from_be_bytes(take(&mut rest)?);
        end(rest)?;
        Ok(Self { group, topic, partition })
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

/// Writes at most 65,535 bytes; the requests allow less.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or("the record is too short")?;
    *rest = after;
    Ok(*taken)
}

fn take_text(rest: &mut &[u8]) -> Result<String, String> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (text, after) = rest.split_at_checked(length).ok_or("the record is too short")?;
    *rest = after;
    String::from_utf8(text.to_vec()).map_err(|_| "a name is not UTF-8".to_owned())
}

fn end(rest: &[u8]) -> Result<(), String> {
    match rest.len() {
        0 => Ok(()),
        extra => Err(format!("{extra} bytes follow the record")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Place, Committed) {
        let place = Place { group: "g".into(), topic: "regen-öl".into(), partition: 7 };
        let committed = Committed {
            topic_id: [3; 16],
            offset: 1 << 40,
            leader_epoch: 0,
            committed_at_ms: 1_700_000_000_000,
            note: "note".into(),
        };
        (place, committed)
    }

    #[test]
    fn round_trip() {
        let (place, committed) = sample();
        assert_eq!(Place::decode(&place.encode()).unwrap(), place);
        assert_eq!(Committed::decode(&committed.encode()).unwrap(), committed);
    }

    #[test]
    fn the_stored_form_is_frozen() {
        let place = Place { group: "g".into(), topic: "t".into(), partition: 2 };
        assert_eq!(place.encode(), [1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 2]);
        let (_, committed) = sample();
        let bytes = committed.encode();
        assert_eq!((bytes.len(), bytes[0], &bytes[17..25]), (43, 1, &(1_i64 << 40).to_be_bytes()[..]));
    }

    #[test]
    fn damage_and_newer_versions_are_refused() {
        let (place, committed) = sample();
        let (key, value) = (place.encode(), committed.encode());
        for length in 0..key.len() {
            assert!(Place::decode(&key[..length]).is_err());
        }
        for length in 0..value.len() {
            assert!(Committed::decode(&value[..length]).is_err());
        }
        assert!(Place::decode(&[2, 0]).unwrap_err().contains("newer"));
        assert!(Committed::decode(&[9]).unwrap_err().contains("newer"));
        assert!(Place::decode(&[&key[..], &[0]].concat()).is_err());
    }
}
