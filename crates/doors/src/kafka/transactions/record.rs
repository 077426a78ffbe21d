//! The stored form of a transactional producer: one record per transactional
//! id in the internal topic `__transaction_state`. Integers are big-endian.
//!
//! ```text
//! key    1  kind, 1 = transactional id
//!        2  length of the id, then the id
//! value  1  version, 1
//!        1  state: 0 empty, 1 ongoing, 2 prepared to commit, 3 prepared to
//!           abort, 4 committed, 5 aborted
//!        8  producer id
//!        2  producer epoch
//!        2  epoch before it, -1 if none
//!        8  producer id before it, -1 if none
//!        8  producer id after the prepared end, -1 if the same
//!        2  epoch in which the prepared transaction ran
//!        4  timeout, milliseconds
//!        8  beginning of the transaction, milliseconds since 1970, or -1
//!        8  time of this record, milliseconds since 1970
//!        4  number of topics; each: 2 length of its name, the name,
//!           16 identifier, 4 number of partitions, 4×n partitions
//!        4  number of groups; each: 2 length of its name, the name
//! ```
//!
//! A null value forgets the id. A kind or version that is not known is
//! refused, never skipped: it was written by a newer program.

use std::collections::BTreeSet;

use super::transaction::{State, Touched, Transaction};
use crate::kafka::fields::{end, put_count, put_text, take, take_count, take_text};

const KIND: u8 = 1;
const VERSION: u8 = 1;

pub(super) fn encode_key(id: &str) -> Vec<u8> {
    let mut out = vec![KIND];
    put_text(&mut out, id);
    out
}

pub(super) fn decode_key(bytes: &[u8]) -> Result<String, String> {
    let mut rest = bytes;
    match take(&mut rest)? {
        [KIND] => {}
        [kind] => return Err(format!("key of kind {kind} was written by a newer version")),
    }
    let id = take_text(&mut rest)?;
    end(rest)?;
    Ok(id)
}

pub(super) fn encode(transaction: &Transaction) -> Vec<u8> {
    let it = transaction;
    let mut out = vec![VERSION, it.state as u8];
    out.extend_from_slice(&it.producer_id.to_be_bytes());
    out.extend_from_slice(&it.producer_epoch.to_be_bytes());
    out.extend_from_slice(&it.last_epoch.to_be_bytes());
    out.extend_from_slice(&it.previous_id.to_be_bytes());
    out.extend_from_slice(&it.next_id.to_be_bytes());
    out.extend_from_slice(&it.ran_in_epoch.to_be_bytes());
    out.extend_from_slice(&it.timeout_ms.to_be_bytes());
    out.extend_from_slice(&it.started_ms.to_be_bytes());
    out.extend_from_slice(&it.updated_ms.to_be_bytes());
    put_count(&mut out, it.topics.len());
    for (name, touched) in &it.topics {
        put_text(&mut out, name);
        out.extend_from_slice(&touched.topic_id);
        put_count(&mut out, touched.partitions.len());
        for partition in &touched.partitions {
            out.extend_from_slice(&partition.to_be_bytes());
        }
    }
    put_count(&mut out, it.groups.len());
    for group in &it.groups {
        put_text(&mut out, group);
    }
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<Transaction, String> {
    let mut rest = bytes;
    match take(&mut rest)? {
        [VERSION] => {}
        [version] => return Err(format!("value of version {version} was written by a newer version")),
    }
    let mut transaction = Transaction {
        state: state(take(&mut rest)?)?,
        producer_id: i64::from_be_bytes(take(&mut rest)?),
        producer_epoch: i16::from_be_bytes(take(&mut rest)?),
        last_epoch: i16::from_be_bytes(take(&mut rest)?),
        previous_id: i64::from_be_bytes(take(&mut rest)?),
        next_id: i64::from_be_bytes(take(&mut rest)?),
        ran_in_epoch: i16::from_be_bytes(take(&mut rest)?),
        timeout_ms: i32::from_be_bytes(take(&mut rest)?),
        started_ms: i64::from_be_bytes(take(&mut rest)?),
        updated_ms: i64::from_be_bytes(take(&mut rest)?),
        ..Transaction::new(0, 0)
    };
    for _ in 0..take_count(&mut rest)? {
        let name = take_text(&mut rest)?;
        let mut touched = Touched { topic_id: take(&mut rest)?, partitions: BTreeSet::new() };
        for _ in 0..take_count(&mut rest)? {
            touched.partitions.insert(i32::from_be_bytes(take(&mut rest)?));
        }
        transaction.topics.insert(name, touched);
    }
    for _ in 0..take_count(&mut rest)? {
        transaction.groups.insert(take_text(&mut rest)?);
    }
    end(rest)?;
    Ok(transaction)
}

fn state([code]: [u8; 1]) -> Result<State, String> {
    use State::{CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit};
    let all = [Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort];
    let state = all.get(usize::from(code)).copied();
    state.ok_or_else(|| format!("state {code} was written by a newer version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Transaction {
        let begun = Transaction::new(5_000, 0).identify(None, 5_000, 77, 40).unwrap();
        let begun = begun.add(&[("a".into(), [1; 16], 7), ("b".into(), [2; 16], 0)], Some("g"), 90);
        begun.unwrap().fence(91)
    }

    #[test]
    fn round_trip() {
        assert_eq!(decode(&encode(&sample())).unwrap(), sample());
        assert_eq!(decode_key(&encode_key("tx-ö")).unwrap(), "tx-ö");
    }

    #[test]
    fn the_stored_form_is_frozen() {
        assert_eq!(encode_key("t"), [1, 0, 1, b't']);
        let bytes = encode(&sample());
        assert_eq!((bytes.len(), bytes[..4].to_vec()), (117, vec![1, 3, 0, 0]));
        assert_eq!(bytes[10..14], [0, 1, 255, 255]);
        assert_eq!(bytes[52..59], [0, 0, 0, 2, 0, 1, b'a']);
    }

    #[test]
    fn damage_and_newer_versions_are_refused() {
        let bytes = encode(&sample());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err());
        }
        assert!(decode(&[&bytes[..], &[0]].concat()).is_err());
        assert!(decode(&[9]).unwrap_err().contains("newer"));
        assert!(decode(&[1, 6]).unwrap_err().contains("newer"));
        assert!(decode_key(&[2, 0, 0]).unwrap_err().contains("newer"));
    }
}
