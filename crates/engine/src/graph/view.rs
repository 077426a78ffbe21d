//! A view at work: its steps, its aggregate and where its rows go.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::{cast, filter_record_batch, not};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use pluvio_catalog::{UnknownKey, ViewDef, ViewKind};
use pluvio_keytables::{Commit, KeyTable, Span, SpanRetention, Store};
use pluvio_query::QueryError;
use pluvio_query::tables::state_table_name;

use crate::compile::ViewPlan;
use crate::operators::{AggregateState, StepRunner, Touched, Tracked};

/// Where a view's rows are kept.
enum Rows {
    Span(Arc<Span>),
    Table(Arc<KeyTable>),
}

/// A view of a running graph.
pub struct View {
    pub name: String,
    /// The places of the views that read it.
    pub downstream: Vec<usize>,
    /// Whether it reads the stream itself.
    pub reads_stream: bool,
    steps: StepRunner,
    pub aggregate: Option<AggregateState>,
    after: StepRunner,
    stored: SchemaRef,
    stored_from: Vec<usize>,
    emit_on_window_close: bool,
    unknown_key: UnknownKey,
    retention_ms: Option<i64>,
    /// Positions of the key in the stored columns.
    key: Vec<usize>,
    rows: Rows,
}

impl View {
    /// Opens the view's storage.
    pub fn open(
        def: &ViewDef,
        plan: ViewPlan,
        store: &Store,
        reads_stream: bool,
    ) -> Result<Self, QueryError> {
        let fields = plan.stored.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true));
        let stored: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let (rows, key) = match &plan.kind {
            ViewKind::Append { .. } => {
                let retention = SpanRetention { age_ms: def.retention_ms, bytes_max: def.retention_bytes };
                (Rows::Span(store.create_span(&def.name, Arc::clone(&stored), retention)?), Vec::new())
            }
            ViewKind::Keyed { key } => {
                (Rows::Table(store.create_table(&def.name, Arc::clone(&stored), key)?), key.clone())
            }
        };
        let aggregate = match plan.aggregate {
            Some(aggregate) => {
                let key: Vec<usize> = (0..aggregate.groups.len()).collect();
                let table =
                    store.create_table(&state_table_name(&def.name), aggregate.state_schema(), &key)?;
                Some(AggregateState::new(aggregate, table))
            }
            None => None,
        };
        Ok(Self {
            name: def.name.clone(),
            downstream: Vec::new(),
            reads_stream,
            steps: StepRunner::new(plan.steps, store)?,
            aggregate,
            after: StepRunner::new(plan.after, store)?,
            stored,
            stored_from: plan.stored_from,
            emit_on_window_close: plan.emit_on_window_close,
            unknown_key: def.unknown_key,
            retention_ms: def.retention_ms,
            key,
            rows,
        })
    }

    /// What readers see before the first event.
    pub fn begin(&self, commit: &mut Commit) -> Result<(), QueryError> {
        match self.aggregate.as_ref().map(AggregateState::over_nothing).transpose()?.flatten() {
            Some(touched) => self.update(commit, touched).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Runs the stateless steps; without an aggregate, the result is what is
    /// stored. Tells the rows whose key a lookup did not find, each with the
    /// table's name, if they are to be dead letters.
    pub fn step(&self, batch: RecordBatch) -> Result<(RecordBatch, Vec<(u32, String)>), QueryError> {
        let (out, missed) = match self.unknown_key {
            UnknownKey::Drop => (self.steps.run(batch)?, Vec::new()),
            UnknownKey::DeadLetter => {
                let tracked = self.steps.run_tracked(batch)?;
                (tracked.batch, tracked.missed)
            }
        };
        match self.aggregate {
            Some(_) => Ok((out, missed)),
            None => Ok((self.conform(&out)?, missed)),
        }
    }

    /// A step's output in the stored columns and types.
    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let column = |(from, field): (&usize, &Arc<Field>)| -> Result<ArrayRef, QueryError> {
            let column = batch.column(*from);
            match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false => Ok(cast(column, field.data_type())?),
            }
        };
        let columns = self.stored_from.iter().zip(self.stored.fields()).map(column);
        Ok(RecordBatch::try_new(Arc::clone(&self.stored), columns.collect::<Result<Vec<_>, _>>()?)?)
    }

    /// The span of an append-only view.
    pub fn span(&self) -> Option<&Arc<Span>> {
        match &self.rows {
            Rows::Span(span) => Some(span),
            Rows::Table(_) => None,
        }
    }

    /// Whether a batch is in the stored columns (a closed window's rows), not the
    /// aggregate's input.
    pub fn is_stored(&self, batch: &RecordBatch) -> bool {
        Arc::ptr_eq(&batch.schema(), &self.stored)
    }

    /// Appends rows of an epoch.
    pub fn append(&self, commit: &mut Commit, epoch: u64, rows: RecordBatch) {
        if let (Rows::Span(span), true) = (&self.rows, rows.num_rows() > 0) {
            commit.append(span, epoch, rows);
        }
    }

    /// Puts an epoch's changed groups into the commit; returns how many rows
    /// readers see changed.
    pub fn update(&self, commit: &mut Commit, touched: Touched) -> Result<u64, QueryError> {
        let Some(aggregate) = &self.aggregate else { return Ok(0) };
        let mut changed = 0;
        if let Rows::Table(table) = &self.rows {
            let groups = touched.results.num_rows();
            let keys = touched.states.project(&(0..self.key.len()).collect::<Vec<_>>())?;
            let Tracked { batch, rows: kept, .. } = self.after.run_tracked(touched.results)?;
            let rows = self.conform(&batch)?;
            changed += rows.num_rows() as u64;
            if kept.len() < groups {
                changed += self.retract(commit, table, &keys, &kept)?;
            }
            commit.upsert(table, rows);
        }
        commit.upsert(aggregate.table(), touched.states);
        Ok(changed)
    }

    /// Deletes the rows of groups that HAVING no longer lets through.
    fn retract(
        &self,
        commit: &mut Commit,
        table: &Arc<KeyTable>,
        keys: &RecordBatch,
        kept: &[u32],
    ) -> Result<u64, QueryError> {
        let mut gone = vec![true; keys.num_rows()];
        for row in kept {
            gone[*row as usize] = false;
        }
        let gone = filter_record_batch(keys, &gone.into())?;
        let shown = table.lookup(gone.columns(), Some(&[]))?.found;
        if shown.true_count() == 0 {
            return Ok(0);
        }
        let gone = filter_record_batch(&gone, &shown)?;
        let count = gone.num_rows() as u64;
        commit.delete(table, gone);
        Ok(count)
    }

    /// The end of the newest window that the watermark has closed.
    pub fn boundary(&self, watermark_us: Option<i64>) -> Option<i64> {
        let window = self.aggregate.as_ref()?.window()?;
        let watermark_us = watermark_us.filter(|_| window.edge.on_event_time)?;
        Some(watermark_us - watermark_us.rem_euclid(window.edge.every_us))
    }

    /// Closes the windows that the watermark has passed: their states go; their
    /// rows are returned if they are emitted now.
    pub fn close(&self, commit: &mut Commit, watermark_us: i64) -> Result<Option<RecordBatch>, QueryError> {
        let Some(aggregate) = &self.aggregate else { return Ok(None) };
        if let (Rows::Table(table), Some(retention_ms)) = (&self.rows, self.retention_ms) {
            self.expire(
                commit,
                table,
                aggregate,
                watermark_us.saturating_sub(retention_ms.saturating_mul(1000)),
            )?;
        }
        let Some(closed) = aggregate.close(watermark_us)? else { return Ok(None) };
        let groups = closed.states.num_columns().min(aggregate.table().key().len());
        let keys = closed.states.project(&(0..groups).collect::<Vec<_>>())?;
        commit.delete(aggregate.table(), keys);
        if !self.emit_on_window_close {
            return Ok(None);
        }
        let rows = self.after.run(closed.results)?;
        let rows = self.conform(&rows)?;
        Ok((rows.num_rows() > 0).then_some(rows))
    }

    /// Deletes result rows of windows that ended before `bound_us`.
    fn expire(
        &self,
        commit: &mut Commit,
        table: &Arc<KeyTable>,
        aggregate: &AggregateState,
        bound_us: i64,
    ) -> Result<(), QueryError> {
        let Some(window) = aggregate.window() else { return Ok(()) };
        for rows in table.snapshot().batches(Some(&self.key))? {
            let mask = aggregate.closed(rows.column(window.group), bound_us)?;
            if mask.true_count() > 0 {
                commit.delete(table, filter_record_batch(&rows, &mask)?);
            }
        }
        Ok(())
    }
}

/// Runs `work` on the batch; if it fails, finds the rows that fail, reports each
/// with its place and reason, and returns the results of the others, each with
/// the place of its first row.
pub fn isolate<T>(
    batch: RecordBatch,
    first: usize,
    work: &impl Fn(RecordBatch) -> Result<T, QueryError>,
    done: &mut Vec<(usize, T)>,
    failed: &mut Vec<(usize, RecordBatch, QueryError)>,
) {
    let rows = batch.num_rows();
    match work(batch.clone()) {
        Ok(result) => done.push((first, result)),
        Err(error) if rows <= 1 => failed.push((first, batch, error)),
        Err(_) => {
            let half = rows / 2;
            isolate(batch.slice(0, half), first, work, done, failed);
            isolate(batch.slice(half, rows - half), first + half, work, done, failed);
        }
    }
}

/// All rows but these.
pub fn without_rows(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch, QueryError> {
    let mut drop = vec![false; batch.num_rows()];
    rows.iter().for_each(|row| drop[*row] = true);
    Ok(filter_record_batch(batch, &not(&drop.into())?)?)
}
