//! The file `<offset>.producers`: what a partition knows of its producers and
//! their transactions before the event at that offset, so that a start need
//! not go through all batches.
//!
//! Content of version 2, inside the frame of [`crate::sealed`], kind `PLPR`:
//! ```text
//! bytes  field
//!     8  offset
//!     4  number of producers
//!     …  producers: 8 id, 2 epoch, 8 offset and 8 append time (milliseconds)
//!        of the last batch or marker, 1 number of batches, 24×n batches,
//!        newest first: 4 first sequence, 4 last sequence, 8 base offset,
//!        8 append time in milliseconds
//!     4  number of ongoing transactions
//!  16×n  by first offset: 8 producer id, 8 first offset
//!     4  number of aborted transactions
//!  32×n  by marker: 8 producer id, 8 first offset, 8 offset of the marker,
//!        8 last stable offset after it
//! ```
//! Version 1 is read too: it ends with the producers, and these have no offset
//! and time of their own.

use crate::producers::Producers;
use crate::sealed::{self, Sealer};
use crate::transactions::Transactions;
use bytes::{Buf, BufMut};

const KIND: [u8; 4] = *b"PLPR";
const VERSION: u8 = 2;
const VERSION_WITHOUT_TRANSACTIONS: u8 = 1;

/// The file's bytes for the state before `offset`.
pub(crate) fn encode(offset: i64, producers: &Producers, transactions: &Transactions) -> Vec<u8> {
    let bytes = 8 + producers.encoded_bytes() + transactions.encoded_bytes();
    let mut sealer = Sealer::of_version(KIND, VERSION, bytes);
    let content = sealer.content();
    content.put_i64(offset);
    producers.encode(content);
    transactions.encode(content);
    sealer.finish()
}

/// The state before `offset`, if the file is whole and for that offset.
pub(crate) fn decode(file: &[u8], offset: i64) -> Option<(Producers, Transactions)> {
    let (version, mut content) = sealed::open_any(KIND, file)?;
    if content.try_get_i64().ok()? != offset {
        return None;
    }
    let state = match version {
        VERSION => (Producers::decode(&mut content)?, Transactions::decode(&mut content)?),
        VERSION_WITHOUT_TRANSACTIONS => (Producers::decode_1(&mut content)?, Transactions::default()),
        _ => return None,
    };
    content.is_empty().then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::batch_of;
    use pluvio_wire_kafka::records::parse_header;

    fn state() -> (Producers, Transactions) {
        let (mut producers, mut transactions) = (Producers::default(), Transactions::default());
        for id in 0..50 {
            for batch in 0..i32::try_from(id % 8).unwrap() {
                let mut header = parse_header(&batch_of((id, 1, batch), 1)).unwrap();
                header.base_offset = id * 10 + i64::from(batch);
                producers.note(&header, id);
                transactions.note_data(id, header.base_offset);
            }
            if id % 3 == 0 {
                transactions.note_marker(id, id * 10 + 9, id % 2 == 0);
            }
        }
        (producers, transactions)
    }

    #[test]
    fn round_trip() {
        let (producers, transactions) = state();
        let file = encode(777, &producers, &transactions);
        assert_eq!(decode(&file, 777), Some((producers, transactions)));
        assert_eq!(decode(&file, 778), None);
        assert_eq!(decode(&file[..file.len() - 1], 777), None);
    }

    #[test]
    fn version_1_is_read() {
        let file = include_bytes!(
            "../../../tests/formats/v1/eventlog/topics/orders/1/00000000000000000024.producers"
        );
        let (producers, transactions) = decode(file, 24).unwrap();
        assert_eq!(transactions, Transactions::default());
        let [only] = producers.all()[..] else { panic!("one producer") };
        assert_eq!((only.producer_id, only.producer_epoch, only.last_sequence), (0, 2, Some(17)));
        assert!(only.last_append_ms > 0);
    }

    #[test]
    fn a_newer_version_counts_as_absent() {
        let mut sealer = Sealer::of_version(KIND, VERSION + 1, 8);
        sealer.content().put_i64(5);
        assert_eq!(decode(&sealer.finish(), 5), None);
    }
}
