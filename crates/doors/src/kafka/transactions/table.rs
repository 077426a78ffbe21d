//! What the journal keeps of transactional producers: the newest record of
//! each, as it is stored.

use std::collections::HashMap;

use super::record::{decode, decode_key, encode_key};
use super::transaction::Transaction;
use crate::DoorError;
use crate::kafka::journal::{Kept, Record};

/// Bytes of a stored record beside its key and value.
const RECORD_BYTES: usize = 16;

/// The newest record by transactional id.
#[derive(Debug, Default)]
pub(super) struct Table {
    records: HashMap<String, Vec<u8>>,
    bytes: u64,
}

fn stored_bytes(id: &str, value: &[u8]) -> u64 {
    (RECORD_BYTES + id.len() + value.len()) as u64
}

impl Kept for Table {
    type Change = (String, Option<Vec<u8>>);

    fn encode((id, value): &Self::Change) -> Record {
        (encode_key(id), value.clone())
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self::Change, String> {
        // A value that cannot be read is found now, not when it is needed.
        value.map(decode).transpose()?;
        Ok((decode_key(key)?, value.map(<[u8]>::to_vec)))
    }

    /// The number of ids and what each holds are limited where they are made.
    fn admit(&self, _: &[Self::Change]) -> Result<(), DoorError> {
        Ok(())
    }

    fn apply(&mut self, (id, value): Self::Change) {
        let old = match value {
            Some(value) => {
                self.bytes += stored_bytes(&id, &value);
                self.records.insert(id.clone(), value)
            }
            None => self.records.remove(&id),
        };
        self.bytes -= old.map_or(0, |old| stored_bytes(&id, &old));
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn live(&mut self, _: i64) -> Vec<Self::Change> {
        self.records.iter().map(|(id, value)| (id.clone(), Some(value.clone()))).collect()
    }
}

impl Table {
    /// All of them, decoded.
    pub fn transactions(&self) -> Result<Vec<(String, Transaction)>, DoorError> {
        let one = |(id, value): (&String, &Vec<u8>)| {
            let transaction = decode(value);
            let transaction = transaction.map_err(|reason| DoorError::Stored {
                topic: super::TRANSACTION_STATE,
                offset: -1,
                reason,
            })?;
            Ok((id.clone(), transaction))
        };
        self.records.iter().map(one).collect()
    }
}
