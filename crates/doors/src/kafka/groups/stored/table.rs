//! What the journal keeps of groups: the newest record of each group and each
//! member, as it is stored.

use std::collections::BTreeMap;

use super::{Change, Key, consumer, decode_group};
use crate::DoorError;
use crate::kafka::groups::consumer::{ConsumerGroup, Settings};
use crate::kafka::groups::group::Group;
use crate::kafka::journal::{Kept, Record};

/// Bytes of a stored record beside its names and its value.
const RECORD_BYTES: usize = 16;
/// Most bytes of all groups together.
const BYTES_MAX: u64 = 256 << 20;

/// The newest record of everything that is kept: groups first, then members.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub records: BTreeMap<Key, Vec<u8>>,
    bytes: u64,
}

fn stored_bytes(key: &Key, value: &[u8]) -> u64 {
    let id = if let Key::Member { id, .. } = key { id.len() } else { 0 };
    (RECORD_BYTES + key.group().len() + id + value.len()) as u64
}

impl Kept for Table {
    type Change = Change;

    fn encode((key, value): &Change) -> Record {
        (key.encode(), value.clone())
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Change, String> {
        let key = Key::decode(key)?;
        // A value that cannot be read is found now, not when it is needed.
        match (&key, value) {
            (_, None) => {}
            (Key::Member { .. }, Some(value)) => drop(consumer::decode(value)?),
            (Key::Group(_), Some(value)) => {
                decode_group(value, || Group::new(0, 0), || ConsumerGroup::new(Settings::default()))?;
            }
        }
        Ok((key, value.map(<[u8]>::to_vec)))
    }

    fn admit(&self, changes: &[Change]) -> Result<(), DoorError> {
        let of = |(key, value): &Change| value.as_ref().map_or(0, |value| stored_bytes(key, value));
        let old = |(key, _): &Change| self.records.get(key).map_or(0, |old| stored_bytes(key, old));
        let (added, gone): (u64, u64) = (changes.iter().map(of).sum(), changes.iter().map(old).sum());
        let bytes = (self.bytes + added).saturating_sub(gone);
        if added > gone && bytes > BYTES_MAX {
            let what = "bytes of consumer groups; delete groups that are no longer used";
            let (count, count_max) = (bytes as usize, BYTES_MAX as usize);
            return Err(DoorError::Limit { what, count, count_max });
        }
        Ok(())
    }

    fn apply(&mut self, (key, value): Change) {
        if let Some(old) = self.records.remove(&key) {
            self.bytes -= stored_bytes(&key, &old);
        }
        if let Some(value) = value {
            self.bytes += stored_bytes(&key, &value);
            self.records.insert(key, value);
        }
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn live(&mut self, _: i64) -> Vec<Change> {
        self.records.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect()
    }
}
