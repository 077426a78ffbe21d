//! The one-at-a-time part of a commit: spans to disk, the frame to the journal,
//! then memory for all at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use crc32fast::Hasher;

use super::commit::{Append, Change, Commit};
use super::resolve::{Effect, effects};
use super::{CommitState, Inner};
use crate::cold;
use crate::error::{Result, TableError};
use crate::hot::{Hot, Origin};
use crate::journal::section::{Section, SpanEnd};
use crate::options::CHUNK_ROWS_MAX;
use crate::span::segment::{Place, Record};
use crate::span::{Entry, Span};
use crate::table::KeyTable;

/// A span's rows that are on disk and not yet committed.
struct Written {
    span: Arc<Span>,
    end: SpanEnd,
    entries: Vec<Entry>,
}

impl Inner {
    pub(super) fn commit(&self, commit: Commit) -> Result<u64> {
        let started = self.clock.monotonic_us();
        self.make_room(commit.memory_bytes)?;
        let seq = self.commit_one(commit)?;
        self.metrics.commits.add(1);
        self.metrics.commit_us.add(self.clock.monotonic_us().saturating_sub(started));
        if self.needs_checkpoint() {
            self.wake();
        }
        Ok(seq)
    }

    /// Makes changed holds durable without waiting for a commit.
    pub(crate) fn commit_holds(&self) -> Result<()> {
        let mut state = self.commit.lock();
        if self.holds.lock().is_empty() {
            return Ok(());
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(TableError::Closed);
        }
        self.commit_no_change(&mut state)
    }

    /// A commit that changes no rows: it tells what any commit tells.
    pub(super) fn commit_no_change(&self, state: &mut CommitState) -> Result<()> {
        let seq = state.seq + 1;
        self.write_frame(state, seq, &[], &[])?;
        let _exclusive = self.publish.write();
        self.finish(state, seq);
        Ok(())
    }

    fn commit_one(&self, commit: Commit) -> Result<u64> {
        let Commit { changes, appends, notes, sections, .. } = commit;
        let mut state = self.commit.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(TableError::Closed);
        }
        if changes.is_empty() && appends.is_empty() && notes.is_empty() {
            return Ok(state.seq);
        }
        check_present(&changes, &appends)?;
        let effects = effects(&changes)?;
        let seq = state.seq + 1;
        let spans: Vec<Arc<Span>> = appends.iter().map(|(span, _)| Arc::clone(span)).collect();
        let written = self.write_spans(appends).and_then(|written| {
            self.write_frame(&mut state, seq, &written, &sections)?;
            Ok(written)
        });
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                spans.iter().for_each(|span| span.writer.lock().reject());
                return Err(error);
            }
        };
        self.publish_all(&mut state, seq, changes, effects, written, notes);
        for table in state.changed.values() {
            compact(table)?;
            self.metrics.show_table(&table.name, table.len());
        }
        for span in &spans {
            span.evict();
            self.metrics.show_span(&span.name, span.len_rows(), span.bytes());
        }
        self.show_memory();
        Ok(seq)
    }

    /// Writes and syncs the rows of every span.
    fn write_spans(&self, appends: Vec<(Arc<Span>, Vec<Append>)>) -> Result<Vec<Written>> {
        let mut all = Vec::with_capacity(appends.len());
        for (span, appends) in appends {
            let (records, mut batches): (Vec<Record>, Vec<_>) =
                appends.into_iter().map(|append| (append.record, append.batch)).unzip();
            check_tags(&span, &records)?;
            let mut writer = span.writer.lock();
            let bytes = self.options.segment_bytes;
            let (end, places) = writer.write(&*self.disk, &span.folder, bytes, &records)?;
            drop(writer);
            batches.retain(|batch| batch.num_rows() > 0);
            let kept = records.iter().filter(|record| record.rows > 0).zip(batches).zip(places);
            let entry = |((record, batch), place): ((&Record, arrow::array::RecordBatch), Place)| Entry {
                tag: record.tag,
                time_ms: record.time_ms,
                rows: record.rows,
                bytes: batch.get_array_memory_size() as u64,
                place,
                batch: Some(batch),
            };
            let entries = kept.map(entry).collect();
            all.push(Written { span, end, entries });
        }
        Ok(all)
    }

    /// Makes the frame durable: the spans' new ends, changed holds, how many rows
    /// the tables have that earlier commits changed, `sections`.
    fn write_frame(
        &self,
        state: &mut CommitState,
        seq: u64,
        spans: &[Written],
        sections: &[u8],
    ) -> Result<()> {
        let mut first = seq.to_le_bytes().to_vec();
        for written in spans {
            Section::Span(written.span.id, written.end).encode(&mut first);
        }
        let holds = self.holds.lock().clone();
        for ((span, holder), after_tag) in &holds {
            Section::Hold { span: *span, holder, after_tag: *after_tag }.encode(&mut first);
        }
        for (id, table) in &state.changed {
            Section::Rows { table: *id, rows: table.len() as u64 }.encode(&mut first);
        }
        let mut hash = Hasher::new();
        hash.update(sections);
        state.journal.append(seq, &first, sections, &hash)?;
        state.changed.clear();
        for ((span, holder), after_tag) in holds {
            let value = after_tag.map(|tag| Bytes::copy_from_slice(&tag.to_le_bytes()));
            state.meta_changes.insert(cold::hold_key(span, &holder), value);
            let mut queued = self.holds.lock();
            let key = (span, holder);
            if queued.get(&key) == Some(&after_tag) {
                queued.remove(&key);
            }
        }
        Ok(())
    }

    /// Changes memory, for all readers at once.
    fn publish_all(
        &self,
        state: &mut CommitState,
        seq: u64,
        changes: Vec<(Arc<KeyTable>, Change)>,
        effects: Vec<Effect>,
        spans: Vec<Written>,
        notes: Vec<(String, Option<Bytes>)>,
    ) {
        let _exclusive = self.publish.write();
        for ((table, change), effect) in changes.into_iter().zip(effects) {
            let mut hot = table.hot.write();
            let origin = if hot.cold_rows == 0 { Origin::New } else { Origin::Changed };
            apply(&mut hot, change, &effect, origin);
            drop(hot);
            table.version.store(seq, Ordering::Release);
            state.changed.insert(table.id, table);
        }
        for written in spans {
            written.span.writer.lock().accept(written.end);
            let mut value = Vec::new();
            written.end.encode(&mut value);
            state.meta_changes.insert(cold::span_key(written.span.id), Some(value.into()));
            let mut span = written.span.state.write();
            written.entries.into_iter().for_each(|entry| span.push(entry));
            span.last_tag = Some(written.end.last_tag);
        }
        let mut all = self.notes.write();
        for (name, value) in notes {
            state.meta_changes.insert(cold::note_key(&name), value.clone());
            match value {
                Some(value) => all.insert(name, value),
                None => all.remove(&name),
            };
        }
        drop(all);
        self.finish(state, seq);
    }

    fn finish(&self, state: &mut CommitState, seq: u64) {
        state.seq = seq;
        self.committed.store(seq, Ordering::Release);
        let bytes = state.journal.bytes();
        self.journal_bytes.store(bytes, Ordering::Relaxed);
        self.metrics.journal_bytes.set(bytes);
    }
}

/// Fails if a table or span was dropped.
fn check_present(changes: &[(Arc<KeyTable>, Change)], appends: &[(Arc<Span>, Vec<Append>)]) -> Result<()> {
    for (table, _) in changes {
        if table.dropped.load(Ordering::Acquire) {
            return Err(TableError::NotFound { what: "table", name: table.name.clone() });
        }
    }
    for (span, _) in appends {
        if span.dropped.load(Ordering::Acquire) {
            return Err(TableError::NotFound { what: "span", name: span.name.clone() });
        }
    }
    Ok(())
}

fn check_tags(span: &Span, records: &[Record]) -> Result<()> {
    let mut last = span.last_tag().unwrap_or(0);
    for record in records {
        if record.tag < last {
            let detail = format!("tag {} after tag {last}: tags never go back", record.tag);
            return Err(TableError::Invalid { what: "span", name: span.name.clone(), detail });
        }
        last = record.tag;
    }
    Ok(())
}

/// Changes a table's memory.
pub(super) fn apply(hot: &mut Hot, change: Change, effect: &Effect, origin: Origin) {
    hot.leave_cold(effect.cold, &effect.cold_deleted);
    match change {
        Change::Upsert(chunks) => chunks.into_iter().for_each(|chunk| hot.upsert(chunk, origin)),
        Change::Delete { probe, encoded } => hot.delete(&probe, &encoded),
    }
}

/// Merges small and half-dead chunks, a bounded number of rows. Called by
/// whoever holds the commit lock, so that nothing changes in between.
pub(super) fn compact(table: &KeyTable) -> Result<()> {
    for _ in 0..MERGES_PER_COMMIT {
        let merge = {
            let hot = table.hot.read();
            let Some(candidates) = hot.merge_candidates() else { return Ok(()) };
            hot.prepare_merge(candidates, &table.layout)?
        };
        table.hot.write().finish_merge(merge);
    }
    Ok(())
}

/// Most merges of one table behind one commit; each takes at most
/// [`CHUNK_ROWS_MAX`] rows.
const MERGES_PER_COMMIT: usize = 4;
const _: () = assert!(MERGES_PER_COMMIT * CHUNK_ROWS_MAX <= 1 << 20);
