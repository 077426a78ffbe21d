//! Appending, and making what was appended durable.

use crate::error::IoContext;
use crate::index::Index;
use crate::partition::{ClosedSegment, Partition, Writer};
use crate::producers::Verdict;
use crate::read::StoredBatch;
use crate::segment::{Segment, write_unsynced};
use crate::{LogError, TimestampType, layout, snapshot};
use bytes::{Bytes, BytesMut};
use pluvio_foundation::{ErrorKind, limits};
use pluvio_wire_kafka::records::{
    BatchHeader, EndMarker, parse_header, recompress, set_append_time, set_base_offset, set_leader_epoch,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Snapshots of producers kept per partition: the newest, and one to fall back.
const SNAPSHOTS_KEPT: usize = 2;

/// Where a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first event.
    pub base_offset: i64,
    /// The offset of its last event.
    pub last_offset: i64,
    /// When it was appended, in milliseconds since 1970.
    pub append_time_ms: i64,
    /// Whether it was in the log already: an idempotent producer sent it
    /// again, and this tells where the first one went.
    pub duplicate: bool,
}

impl Partition {
    /// Appends ONE batch of the stored format, whose checksum was verified.
    /// It is given its offsets, written to the file (not synced) and visible to
    /// readers when this returns. If nothing else holds its bytes they are kept
    /// as they lie, with all the memory they lie in; else they are copied. Where
    /// the topic asks for another compression the batch is compressed anew.
    ///
    /// A transactional batch begins its producer's transaction here, or goes on
    /// with it, until [`Partition::end_transaction`]. Whether the producer may
    /// is for the caller to know.
    ///
    /// Fails with `InvalidBatch`, `TooLarge`, `OutOfOrderSequence`,
    /// `StaleProducerEpoch`, `TransactionState`, `DiskFull` (nothing changed;
    /// works again once there is space), `PartitionFailed`, `TopicDeleted`,
    /// `Closed` or `Io`.
    pub fn append(&self, batch: Bytes) -> Result<Appended, LogError> {
        self.append_numbered(batch, false)
    }

    /// The same for a producer whose every transaction has an epoch of its own:
    /// if it is not known here, its first batch must have sequence 0, so that
    /// a batch cannot overtake one before it that was refused.
    pub fn append_from_zero(&self, batch: Bytes) -> Result<Appended, LogError> {
        self.append_numbered(batch, true)
    }

    fn append_numbered(&self, batch: Bytes, from_zero: bool) -> Result<Appended, LogError> {
        let (batch, header) = self.checked(batch)?;
        let mut writer = self.writer.lock();
        self.check_usable()?;
        if let Some(appended) = self.judge(&writer, &header, from_zero)? {
            return Ok(appended);
        }
        self.check_transaction(&header)?;
        let shared = &self.shared;
        if let Err(full) = shared.space.admit(batch.len(), &*shared.disk, &*shared.clock) {
            shared.cells.refused_disk_full.add(1);
            return Err(full);
        }
        self.place(&mut writer, &header, batch, None)
    }

    /// Writes a batch that was checked, at the end of the log.
    pub(crate) fn place(
        &self,
        writer: &mut Writer,
        header: &BatchHeader,
        batch: Bytes,
        marker: Option<&EndMarker>,
    ) -> Result<Appended, LogError> {
        let base_offset = self.end_offset();
        let last_offset = base_offset
            .checked_add(i64::from(header.last_offset_delta))
            .filter(|last| *last < i64::MAX)
            .ok_or_else(|| self.invalid("the partition has no offsets left"))?;
        let append_time_ms = self.shared.clock.now_ms();
        let mut header = BatchHeader { base_offset, ..*header };
        let mut bytes = self.stored(batch, base_offset);
        if self.topic.config.read().timestamp == TimestampType::LogAppendTime {
            set_append_time(&mut bytes, append_time_ms).map_err(|error| self.invalid(&error.to_string()))?;
            header.max_timestamp = append_time_ms;
        }
        let bytes = bytes.freeze();
        let segment = self.segment_for(writer, &header)?;
        self.write(writer, &segment, &bytes)?;
        self.note_places(&segment, &header, append_time_ms);
        writer.producers.note(&header, append_time_ms);
        if header.is_transactional() {
            self.note_transaction(&header, marker);
        }
        self.count_unsynced(writer, &header);
        self.publish(writer, &header, bytes, append_time_ms);
        Ok(Appended { base_offset, last_offset, append_time_ms, duplicate: false })
    }

    /// The batch as the topic wants it.
    fn checked(&self, batch: Bytes) -> Result<(Bytes, BatchHeader), LogError> {
        let (bytes_max, codec) = {
            let config = self.topic.config.read();
            (config.max_message_bytes, config.compression)
        };
        let header = self.check_batch(&batch, bytes_max)?;
        let Some(codec) = codec else { return Ok((batch, header)) };
        let made = recompress(&batch, codec, limits::RECORD_BATCH_INFLATED_BYTES_MAX)
            .map_err(|error| self.invalid(&format!("it cannot be compressed anew: {error}")))?;
        let Some(made) = made.map(Bytes::from) else { return Ok((batch, header)) };
        let header = self.check_batch(&made, bytes_max)?;
        Ok((made, header))
    }

    fn check_batch(&self, batch: &Bytes, bytes_max: usize) -> Result<BatchHeader, LogError> {
        if batch.len() > bytes_max {
            let (topic, bytes) = (self.topic.name.clone(), batch.len());
            return Err(LogError::TooLarge { topic, bytes, bytes_max });
        }
        let header = parse_header(batch).map_err(|error| self.invalid(&error.to_string()))?;
        if header.total_bytes() != batch.len() {
            let (says, has) = (header.total_bytes(), batch.len());
            return Err(self.invalid(&format!("its header says {says} bytes, there are {has}")));
        }
        if header.last_offset_delta < 0 || header.records_count < 0 {
            return Err(self.invalid("it has a negative number of records"));
        }
        if header.is_control() {
            return Err(self.invalid("control batches are the log's own to write"));
        }
        if header.is_transactional() && header.producer_id < 0 {
            return Err(self.invalid("it is transactional and has no producer"));
        }
        Ok(header)
    }

    pub(crate) fn invalid(&self, reason: &str) -> LogError {
        let (topic, reason) = (self.topic.name.clone(), reason.to_owned());
        LogError::InvalidBatch { topic, partition: self.index(), reason }
    }

    /// What the producer's history says: append (`None`), or where it already is.
    fn judge(
        &self,
        writer: &Writer,
        header: &BatchHeader,
        from_zero: bool,
    ) -> Result<Option<Appended>, LogError> {
        let (topic, partition, producer_id) = (&self.topic.name, self.index(), header.producer_id);
        match writer.producers.judge(header, from_zero) {
            Verdict::New => Ok(None),
            Verdict::Duplicate { base_offset, append_time_ms } => {
                self.topic.duplicates.add(1);
                let last_offset = base_offset + i64::from(header.last_offset_delta);
                Ok(Some(Appended { base_offset, last_offset, append_time_ms, duplicate: true }))
            }
            Verdict::OutOfOrder { expected } => {
                let (topic, sequence) = (topic.clone(), header.base_sequence);
                Err(LogError::OutOfOrderSequence { topic, partition, producer_id, sequence, expected })
            }
            Verdict::StaleEpoch { current } => {
                let (topic, epoch) = (topic.clone(), header.producer_epoch);
                Err(LogError::StaleProducerEpoch { topic, partition, producer_id, epoch, current })
            }
        }
    }

    /// The segment that this batch goes to; a new one if the newest is full.
    fn segment_for(&self, writer: &mut Writer, header: &BatchHeader) -> Result<Arc<Segment>, LogError> {
        let newest = self.segments.read().last().cloned();
        if let Some(newest) = newest {
            let segment_bytes = self.topic.config.read().segment_bytes;
            let bytes = newest.bytes() + header.total_bytes() as u64;
            let offsets = header.last_offset().saturating_sub(newest.base_offset);
            if newest.bytes() == 0 || (bytes <= segment_bytes && u32::try_from(offsets).is_ok()) {
                return Ok(newest);
            }
            return self.roll(writer, &newest);
        }
        self.make_segment(writer, header.base_offset)
    }

    /// Closes the newest segment and begins another.
    pub(crate) fn roll(&self, writer: &mut Writer, newest: &Arc<Segment>) -> Result<Arc<Segment>, LogError> {
        let end_offset = self.end_offset();
        let next = self.make_segment(writer, end_offset)?;
        newest.close(&self.shared);
        let producers = self.encode_snapshot(writer, end_offset);
        let segment = Arc::clone(newest);
        writer.closed.push(ClosedSegment { segment, index: None, end_offset, producers });
        Ok(next)
    }

    pub(crate) fn make_segment(
        &self,
        writer: &mut Writer,
        base_offset: i64,
    ) -> Result<Arc<Segment>, LogError> {
        let (shared, folder) = (&self.shared, self.folder());
        if !writer.folder_made {
            shared.disk.create_dir_all(&folder).map_err(|error| self.refused("create", &folder, error))?;
            writer.folder_made = true;
        }
        let segment = Arc::new(Segment::new(base_offset, layout::segment(&folder, base_offset), 0));
        segment.keep_growing(Index::new(base_offset), shared.clock.now_ms());
        segment.create(shared).map_err(|error| self.refused("create", &segment.path, error))?;
        writer.names_unsynced = true;
        writer.described_bytes = 0;
        self.segments.write().push(Arc::clone(&segment));
        Ok(segment)
    }

    /// The batch with its offset and our leader epoch in it.
    fn stored(&self, batch: Bytes, base_offset: i64) -> BytesMut {
        let mut bytes = batch.try_into_mut().unwrap_or_else(|batch| {
            let mut copy = self.shared.buffers.take(batch.len());
            copy.extend_from_slice(&batch);
            copy
        });
        set_base_offset(&mut bytes, base_offset);
        set_leader_epoch(&mut bytes, 0);
        bytes
    }

    /// Writes at the segment's end. What was written of a refused batch is cut
    /// off again, so that the file ends with whole batches.
    fn write(&self, writer: &mut Writer, segment: &Arc<Segment>, bytes: &Bytes) -> Result<(), LogError> {
        let file = segment.file(&self.shared)?;
        let position = segment.bytes();
        let written = file.write_all_at(bytes, position);
        // A cut must become durable too, or a crash brings back what was cut.
        self.mark_unsynced(writer, segment);
        let Err(error) = written else { return Ok(()) };
        if let Err(cut) = file.truncate(position) {
            let path = segment.path.display();
            self.fail(&format!("a write to {path} failed ({error}) and could not be undone ({cut})"));
        }
        Err(self.refused("write", &segment.path, error))
    }

    fn refused(&self, what: &'static str, path: &std::path::Path, source: std::io::Error) -> LogError {
        if ErrorKind::of_io(&source) == ErrorKind::DiskFull {
            self.shared.cells.refused_disk_full.add(1);
            return self.shared.space.refused(&*self.shared.disk);
        }
        LogError::Io { what, path: path.to_owned(), source }
    }

    fn note_places(&self, segment: &Segment, header: &BatchHeader, append_time_ms: i64) {
        let position = segment.bytes();
        if let Some(index) = segment.places.lock().index.as_mut() {
            index.push(header, position);
            index.last_append_ms = append_time_ms;
        }
        segment.set_bytes(position + header.total_bytes() as u64);
    }

    /// Lets readers see the batch.
    fn publish(&self, writer: &mut Writer, header: &BatchHeader, bytes: Bytes, append_time_ms: i64) {
        let topic = &self.topic;
        topic.bytes_appended.add(bytes.len() as u64);
        topic.records_appended.add(u64::from(header.records_count.unsigned_abs()));
        let last_offset = header.last_offset();
        let batch = StoredBatch {
            bytes,
            base_offset: header.base_offset,
            last_offset,
            records: header.records_count.unsigned_abs(),
            append_time_ms: Some(append_time_ms),
        };
        self.shared.tails.push(&topic.tail, &self.tail, batch);
        writer.sidecars_stale = true;
        self.set_end(last_offset + 1);
    }

    /// Notes that the segment's file differs from what the disk surely holds.
    fn mark_unsynced(&self, writer: &mut Writer, segment: &Arc<Segment>) {
        if !writer.unsynced.last().is_some_and(|last| Arc::ptr_eq(last, segment)) {
            writer.unsynced.push(Arc::clone(segment));
        }
        if !self.dirty.swap(true, Ordering::AcqRel)
            && let Some(me) = self.me.upgrade()
        {
            let flush_us = self.topic.config.read().flush_ms.unsigned_abs().saturating_mul(1000);
            let due_us = self.shared.clock.monotonic_us().saturating_add(flush_us);
            self.shared.syncs.add_dirty(me, due_us);
        }
    }

    /// Counts what waits for the disk. Asks for a sync once there are as many unsynced events as the topic
    /// allows; a topic that allows one leaves it to who waits.
    fn count_unsynced(&self, writer: &mut Writer, header: &BatchHeader) {
        let bytes = header.total_bytes() as u64;
        writer.unsynced_bytes += bytes;
        self.shared.backlog.add(&self.topic.unsynced_bytes, bytes);
        writer.unsynced_events += u64::from(header.records_count.unsigned_abs());
        let flush_messages = self.topic.config.read().flush_messages;
        if flush_messages > 1 && writer.unsynced_events >= flush_messages && self.shared.options.background {
            writer.unsynced_events = 0;
            // Refused only at the close, which syncs everything itself.
            let _ = self.want_sync();
        }
    }

    /// Makes everything appended so far durable and wakes who waits for it. A
    /// failure marks the partition as failed.
    pub(crate) fn sync_round(&self) {
        self.sync_round_upto(i64::MAX);
    }

    /// The same for a caller who waits only for what lies before `upto`: the
    /// round that was running when it came may have done that already.
    pub(crate) fn sync_round_upto(&self, upto: i64) {
        {
            let _syncing = self.syncing.lock();
            if self.durable_offset() < upto {
                self.sync_locked();
            }
        }
        self.pass_on_wanted();
    }

    /// The round itself; the caller holds `syncing`.
    pub(crate) fn sync_locked(&self) {
        let mut writer = self.writer.lock();
        self.dirty.store(false, Ordering::Release);
        let target = self.end_offset();
        let segments = std::mem::take(&mut writer.unsynced);
        let names = std::mem::take(&mut writer.names_unsynced);
        let mut closed = std::mem::take(&mut writer.closed);
        closed.extend(self.describe_newest(&mut writer));
        writer.unsynced_events = 0;
        let bytes = std::mem::take(&mut writer.unsynced_bytes);
        drop(writer);
        if !self.check_failed() {
            match self.sync_files(&segments, names) {
                Ok(()) => _ = self.durable.fetch_max(target, Ordering::AcqRel),
                Err(error) => {
                    self.fail(&format!("a sync failed ({error}), so what the disk holds is not known"));
                }
            }
        }
        // Whoever waits for room finds what became of the bytes it waited for.
        self.shared.backlog.remove(&self.topic.unsynced_bytes, bytes);
        if self.check_failed() {
            return;
        }
        self.durable_changed.notify_waiters();
        for closed in closed {
            self.write_closed(&closed);
        }
    }

    /// What the sidecars are to say of the newest segment, if it has grown by
    /// much since they were written: a start after a crash goes through what
    /// came later, and not through all of the segment.
    fn describe_newest(&self, writer: &mut Writer) -> Option<ClosedSegment> {
        let segment = self.segments.read().last().cloned()?;
        let bytes = segment.bytes();
        if bytes.saturating_sub(writer.described_bytes) < self.shared.options.sidecar_interval_bytes {
            return None;
        }
        writer.described_bytes = bytes;
        let index = segment.places.lock().index.as_ref().map(Index::encode);
        let end_offset = self.end_offset();
        let producers = self.encode_snapshot(writer, end_offset);
        Some(ClosedSegment { segment, index, end_offset, producers })
    }

    fn sync_files(&self, segments: &[Arc<Segment>], names: bool) -> Result<(), LogError> {
        let shared = &self.shared;
        for segment in segments {
            let file = segment.file(shared)?;
            let began_us = shared.clock.monotonic_us();
            file.sync().doing("sync", &segment.path)?;
            shared.cells.fsyncs.add(1);
            shared.cells.fsync_us.add(shared.clock.monotonic_us().saturating_sub(began_us));
        }
        if names { self.sync_names() } else { Ok(()) }
    }

    /// Makes the names of the segments, and of their folder, durable.
    pub(crate) fn sync_names(&self) -> Result<(), LogError> {
        for folder in [&self.folder(), &self.topic.folder] {
            self.shared.disk.sync_dir(folder).doing("sync", folder)?;
        }
        Ok(())
    }

    /// Writes the sidecars of a closed segment. Without them a start is slower
    /// and nothing is lost, so a failure is only told.
    fn write_closed(&self, closed: &ClosedSegment) {
        let sidecar = match &closed.index {
            Some(index) => write_unsynced(&self.shared, &closed.segment.sidecar_path(), index),
            None => closed.segment.write_sidecar(&self.shared),
        };
        let written = sidecar.and_then(|()| self.write_snapshot(closed.end_offset, &closed.producers));
        if let Err(error) = written
            && !self.topic.is_deleted()
        {
            tracing::warn!("{}: {error}", self.label());
        }
    }

    fn encode_snapshot(&self, writer: &Writer, end_offset: i64) -> Vec<u8> {
        snapshot::encode(end_offset, &writer.producers, &self.transactions.read())
    }

    fn write_snapshot(&self, offset: i64, bytes: &[u8]) -> Result<(), LogError> {
        let folder = self.folder();
        write_unsynced(&self.shared, &layout::snapshot(&folder, offset), bytes)?;
        let old = {
            let snapshots = &mut self.writer.lock().snapshots;
            snapshots.retain(|known| *known != offset);
            snapshots.push(offset);
            let over = snapshots.len().saturating_sub(SNAPSHOTS_KEPT);
            snapshots.drain(..over).collect::<Vec<_>>()
        };
        for offset in old {
            let path = layout::snapshot(&folder, offset);
            self.shared.disk.remove_file(&path).doing("remove", &path)?;
        }
        Ok(())
    }

    /// Makes everything durable and writes what makes the next start quick.
    pub(crate) fn close(&self) {
        self.sync_round();
        let _syncing = self.syncing.lock();
        let mut writer = self.writer.lock();
        let end_offset = self.end_offset();
        if !writer.sidecars_stale || self.check_failed() || self.durable_offset() < end_offset {
            return;
        }
        writer.sidecars_stale = false;
        let producers = self.encode_snapshot(&writer, end_offset);
        drop(writer);
        let newest = self.segments.read().last().cloned();
        if let Some(segment) = newest {
            self.write_closed(&ClosedSegment { segment, index: None, end_offset, producers });
        }
    }
}
