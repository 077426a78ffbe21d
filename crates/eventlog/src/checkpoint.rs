//! The file `checkpoint`: for each partition what is known to be on disk, so
//! that a start can tell a torn tail from damage to acknowledged events.
//!
//! Content, inside the frame of [`crate::sealed`], kind `PLCP`:
//! ```text
//! offset  bytes  field
//!      0      4  number of entries
//!      4   36×n  entries: 16 topic id, 4 partition, 8 start offset,
//!                8 durable offset (every event before it is on disk)
//! ```
//! Replaced as a whole, atomically, every few seconds and at a clean close; it
//! lags behind the truth and never runs ahead of it.

use crate::sealed::{self, Sealer};
use bytes::{Buf, BufMut};
use std::collections::HashMap;

const KIND: [u8; 4] = *b"PLCP";
const ENTRY_BYTES: usize = 36;
pub(crate) const FILE_NAME: &str = "checkpoint";
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;

/// What is known of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Known {
    pub(crate) start_offset: i64,
    pub(crate) durable_offset: i64,
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    pub(crate) partitions: HashMap<([u8; 16], i32), Known>,
}

/// The file's bytes for these partitions.
pub(crate) fn encode(entries: &[([u8; 16], i32, Known)]) -> Vec<u8> {
    let mut sealer = Sealer::new(KIND, 4 + entries.len() * ENTRY_BYTES);
    let content = sealer.content();
    content.put_u32(u32::try_from(entries.len()).unwrap_or(0));
    for (topic, partition, known) in entries {
        content.put_slice(topic);
        content.put_i32(*partition);
        content.put_i64(known.start_offset);
        content.put_i64(known.durable_offset);
    }
    sealer.finish()
}

/// The checkpoint, if the file is whole.
pub(crate) fn decode(file: &[u8]) -> Option<Checkpoint> {
    let mut content = sealed::open(KIND, file)?;
    if content.len() < 4 {
        return None;
    }
    let count = usize::try_from(content.get_u32()).ok()?;
    if content.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    let mut partitions = HashMap::with_capacity(count);
    for _ in 0..count {
        let mut topic = [0; 16];
        content.copy_to_slice(&mut topic);
        let partition = content.get_i32();
        let known = Known { start_offset: content.get_i64(), durable_offset: content.get_i64() };
        partitions.insert((topic, partition), known);
    }
    Some(Checkpoint { partitions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let known = Known { start_offset: 3, durable_offset: 9 };
        let file = encode(&[([1; 16], 0, known), ([2; 16], 7, Known::default())]);
        let checkpoint = decode(&file).unwrap();
        assert_eq!(checkpoint.partitions.len(), 2);
        assert_eq!(checkpoint.partitions[&([1; 16], 0)], known);
        assert_eq!(decode(&file[1..]), None);
        assert_eq!(decode(&encode(&[])), Some(Checkpoint::default()));
    }
}
