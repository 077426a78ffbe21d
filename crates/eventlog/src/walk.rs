//! Going through the batches of a segment in order, around what is damaged.
//! Damage that was not known is quarantined on the way, unless it lies where
//! nothing is known to have been durable: that is for the caller to cut off.

use crate::LogError;
use crate::error::IoContext;
use crate::partition::Partition;
use crate::scan::{Found, Scanner};
use crate::segment::Segment;
use pluvio_foundation::DiskFile;
use pluvio_wire_kafka::records::BatchHeader;
use std::sync::Arc;

/// A step of the walk.
#[derive(Debug)]
pub(crate) enum Step {
    /// A batch that starts at this position.
    Batch(u64, BatchHeader),
    /// Something unreadable where nothing need be readable.
    Torn(String),
    /// The end of the segment.
    End,
}

pub(crate) struct Walk<'a> {
    partition: &'a Partition,
    segment: &'a Arc<Segment>,
    pub(crate) scanner: Scanner<'a>,
    /// Where the next step begins.
    pub(crate) position: u64,
    /// The offset that the next batch has, or has at least after damage.
    pub(crate) offset: i64,
    exact: bool,
    /// Batches from this offset on may be torn.
    durable: i64,
}

impl<'a> Walk<'a> {
    /// A walk from a position where the batch with `offset` begins.
    pub(crate) fn new(
        partition: &'a Partition,
        segment: &'a Arc<Segment>,
        file: &'a dyn DiskFile,
        (position, offset): (u64, i64),
    ) -> Self {
        let scanner = Scanner::new(file, segment.bytes());
        Self { partition, segment, scanner, position, offset, exact: true, durable: i64::MAX }
    }

    /// The same, where batches from offset `durable` on may be torn.
    pub(crate) fn with_durable(mut self, durable: i64) -> Self {
        self.durable = durable;
        self
    }

    /// The next whole batch.
    pub(crate) fn step(&mut self) -> Result<Step, LogError> {
        loop {
            if let Some(known) = self.segment.places.lock().damage_at(self.position) {
                self.position = known.to;
                self.exact = false;
                continue;
            }
            let found = self.scanner.at(self.position, self.exact.then_some(self.offset));
            let reason = match found.doing("read", &self.segment.path)? {
                Found::End => return Ok(Step::End),
                Found::Damage(reason) => reason,
                Found::Batch(header) if header.base_offset < self.offset => {
                    format!("a batch with the past offset {}", header.base_offset)
                }
                Found::Batch(header) => {
                    let start = self.position;
                    self.position += header.total_bytes() as u64;
                    self.offset = header.last_offset() + 1;
                    self.exact = true;
                    return Ok(Step::Batch(start, header));
                }
            };
            if self.offset >= self.durable {
                return Ok(Step::Torn(reason));
            }
            let at = (self.position, self.offset);
            self.partition.quarantine(self.segment, &mut self.scanner, at, &reason)?;
        }
    }
}
