//! Record batches of Kafka's format 2, the unit that is produced, stored and
//! fetched.
//!
//! ```text
//! offset  bytes  field
//!      0      8  baseOffset            set by the log
//!      8      4  batchLength           bytes after this field
//!     12      4  partitionLeaderEpoch  set by the log
//!     16      1  magic                 2
//!     17      4  crc                   CRC-32C of everything after it
//!     21      2  attributes            0-2 compression, 3 append time, 4 transactional, 5 control,
//!                                      6 delete horizon
//!     23      4  lastOffsetDelta
//!     27      8  baseTimestamp         milliseconds; the delete horizon if bit 6 is set
//!     35      8  maxTimestamp          milliseconds
//!     43      8  producerId            -1 if none
//!     51      2  producerEpoch
//!     53      4  baseSequence
//!     57      4  recordsCount
//!     61      …  records, compressed as one block if at all
//! ```
//!
//! A record: varint length of what follows, one byte of attributes, varint
//! timestamp delta, varint offset delta, varint key length (-1 if null) and
//! key, the same for the value, varint header count, and the headers.

mod builder;
mod header;
mod iterate;
mod marker;
mod recompress;
mod retain;

pub use builder::BatchBuilder;
pub use header::{
    BatchHeader, HEADER_BYTES, parse_header, set_base_offset, set_leader_epoch, validate_produced, verify_crc,
};
pub use iterate::{HeaderIter, Record, RecordIter, for_each_record, records};
pub use marker::{EndMarker, end_marker, read_end_marker};
pub use recompress::recompress;
pub use retain::{Retained, retain_records, set_append_time};
