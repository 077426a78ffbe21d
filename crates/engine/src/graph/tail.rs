//! Where a view's changes go: the span or table that readers see.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, UInt32Array,
};
use datafusion::arrow::compute::{cast, filter_record_batch, take};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use pluvio_catalog::{ViewDef, ViewKind};
use pluvio_keytables::{Commit, KeyTable, Span, SpanRetention, Store, fingerprints};
use pluvio_query::QueryError;

use super::content::{self, Content};
use crate::compile::{Edge, How, Output, Window};
use crate::operators::{
    Counted, Delta, Epoch, HoldState, StepRunner, batch_of, closed, consolidate, counted, gather, sum,
    take_rows,
};

/// A view's rows and how changes get there.
pub struct Tail {
    stored: SchemaRef,
    stored_from: Vec<usize>,
    visible: SchemaRef,
    rows: Rows,
    /// How long rows of closed windows stay.
    retention_us: Option<i64>,
    window: Option<Window>,
}

enum Rows {
    Appended(Arc<Span>),
    OnClose { span: Arc<Span>, hold: Box<HoldState> },
    Replaced { table: Arc<KeyTable>, key: Vec<usize>, steps: StepRunner },
    Counted(Arc<KeyTable>),
}

impl Tail {
    /// Opens the view's storage; `name` is for what waits.
    pub fn open(def: &ViewDef, output: Output, store: &Store, name: &str) -> Result<Self, QueryError> {
        let fields = output.stored.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true));
        let stored: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let visible: SchemaRef = Arc::new(stored.project(&(0..output.visible).collect::<Vec<_>>())?);
        let span = || {
            let retention = SpanRetention { age_ms: def.retention_ms, bytes_max: def.retention_bytes };
            store.create_span(&def.name, Arc::clone(&stored), retention)
        };
        let table = || match &output.kind {
            ViewKind::Keyed { key } => store.create_table(&def.name, Arc::clone(&stored), key),
            ViewKind::Append { .. } => store.create_table(&def.name, Arc::clone(&stored), &[]),
        };
        let rows = match output.how {
            How::Append => Rows::Appended(span()?),
            How::Count => Rows::Counted(table()?),
            How::Replace { key, tail } => {
                Rows::Replaced { table: table()?, key, steps: StepRunner::new(tail, store)? }
            }
            How::OnClose(plan) => {
                Rows::OnClose { span: span()?, hold: Box::new(HoldState::open(plan, store, name)?) }
            }
        };
        Ok(Self {
            stored,
            stored_from: output.stored_from,
            visible,
            rows,
            retention_us: def.retention_ms.map(|ms| ms.saturating_mul(1000)),
            window: output.window,
        })
    }

    /// The windows whose end matters here.
    pub fn edge(&self) -> Option<Edge> {
        match &self.rows {
            Rows::OnClose { hold, .. } => Some(hold.edge()),
            _ => None,
        }
    }

    /// The span of an append-only view.
    pub fn span(&self) -> Option<&Arc<Span>> {
        match &self.rows {
            Rows::Appended(span) | Rows::OnClose { span, .. } => Some(span),
            Rows::Replaced { .. } | Rows::Counted(_) => None,
        }
    }

    /// A row of the last operator in the stored columns and types, as far as it
    /// has them.
    pub fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let column = |(from, field): (&usize, &Arc<Field>)| -> Result<ArrayRef, QueryError> {
            let column = batch.column(*from);
            match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false => Ok(cast(column, field.data_type())?),
            }
        };
        let columns = self.stored_from.iter().zip(self.stored.fields()).map(column);
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let schema = match columns.len() == self.stored.fields().len() {
            true => &self.stored,
            false => &self.visible,
        };
        batch_of(schema, columns, batch.num_rows())
    }

    /// Appends stored rows of an epoch; returns how many.
    pub fn append(&self, commit: &mut Commit, epoch: u64, rows: Vec<Delta>) -> u64 {
        let Some(span) = self.span() else { return 0 };
        let mut count = 0;
        for delta in rows.into_iter().filter(|delta| delta.len() > 0) {
            count += delta.len() as u64;
            commit.append(span, epoch, delta.rows);
        }
        count
    }

    /// Puts the last operator's changes into the commit. Returns how many rows
    /// readers see changed, and the changes, if they are wanted.
    pub fn write(
        &self,
        commit: &mut Commit,
        epoch: &mut Epoch,
        deltas: Vec<Delta>,
        told: bool,
    ) -> Result<(u64, Vec<Delta>), QueryError> {
        match &self.rows {
            Rows::Appended(_) => self.append_all(commit, epoch.number, deltas, told),
            Rows::OnClose { hold, .. } => {
                let rows = hold.run(commit, epoch, deltas)?;
                self.append_all(commit, epoch.number, rows.into_iter().collect(), told)
            }
            Rows::Replaced { table, key, steps } => {
                self.expire(commit, epoch, table)?;
                self.replace(commit, epoch, (table, key, steps), deltas, told)
            }
            Rows::Counted(table) => self.count(commit, table, deltas),
        }
    }

    fn append_all(
        &self,
        commit: &mut Commit,
        epoch: u64,
        deltas: Vec<Delta>,
        told: bool,
    ) -> Result<(u64, Vec<Delta>), QueryError> {
        let conform = |delta: Delta| Ok(Delta::added(self.conform(&delta.rows)?));
        let rows = deltas.into_iter().map(conform).collect::<Result<Vec<_>, QueryError>>()?;
        let tell = if told { rows.clone() } else { Vec::new() };
        Ok((self.append(commit, epoch, rows), tell))
    }

    /// Replaces rows by key.
    fn replace(
        &self,
        commit: &mut Commit,
        epoch: &mut Epoch,
        (table, key, steps): (&Arc<KeyTable>, &[usize], &StepRunner),
        deltas: Vec<Delta>,
        told: bool,
    ) -> Result<(u64, Vec<Delta>), QueryError> {
        let Some(delta) = gather(deltas)?.map(consolidate).transpose()? else { return Ok((0, Vec::new())) };
        let touched = self.keys(table, &delta.rows, key)?;
        let added: BooleanArray = (0..delta.len()).map(|row| Some(delta.weight(row) > 0)).collect();
        let new = Delta::added(filter_record_batch(&delta.rows, &added)?);
        let new = steps.run_delta(epoch, new)?;
        let new = self.conform(&new.rows)?;
        let kept = new.project(table.key())?;
        let gone = without(&touched, &kept)?;
        let old = table.lookup(gone.columns(), Some(&[]))?;
        let gone = filter_record_batch(&gone, &old.found)?;
        let mut changes = Vec::new();
        if told {
            let all: Vec<usize> = (0..self.visible.fields().len()).collect();
            for keys in [&gone, &distinct(&kept)?] {
                let old = table.lookup(keys.columns(), Some(&all))?;
                let rows = batch_of(&self.visible, old.columns, keys.num_rows())?;
                changes.push(Delta::taken_back(filter_record_batch(&rows, &old.found)?));
            }
            changes.push(Delta::added(self.readable(&new)?));
            changes = gather(changes)?.map(consolidate).transpose()?.into_iter().collect();
        }
        let count = (new.num_rows() + gone.num_rows()) as u64;
        commit.delete(table, gone);
        commit.upsert(table, new);
        Ok((count, changes))
    }

    /// Keeps each row once, with how often it is there.
    fn count(
        &self,
        commit: &mut Commit,
        table: &Arc<KeyTable>,
        deltas: Vec<Delta>,
    ) -> Result<(u64, Vec<Delta>), QueryError> {
        let conform = |delta: Delta| Ok(delta.with_rows(self.conform(&delta.rows)?));
        let deltas = deltas.into_iter().map(conform).collect::<Result<Vec<_>, QueryError>>()?;
        let Some(delta) = gather(deltas)?.map(sum).transpose()? else { return Ok((0, Vec::new())) };
        let names: ArrayRef = Arc::new(fingerprints(delta.rows.columns(), delta.len())?);
        let stored = table.lookup(std::slice::from_ref(&names), Some(&[self.stored.fields().len() - 1]))?;
        let Counted { set, counts, gone, .. } = counted(&stored.columns[0], &delta)?;
        let schema = Arc::new(self.stored.project(table.key())?);
        let gone = take(&names, &UInt32Array::from(gone), None)?;
        let set = UInt32Array::from(set);
        let mut columns = take_rows(&delta.rows, &set)?.columns().to_vec();
        columns.extend([take(&names, &set, None)?, Arc::new(Int64Array::from(counts)) as ArrayRef]);
        commit.delete(table, RecordBatch::try_new(schema, vec![gone])?);
        commit.upsert(table, RecordBatch::try_new(Arc::clone(&self.stored), columns)?);
        Ok((delta.len() as u64, vec![delta]))
    }

    /// Deletes rows whose windows ended longer ago than they are to be kept.
    fn expire(&self, commit: &mut Commit, epoch: &Epoch, table: &Arc<KeyTable>) -> Result<(), QueryError> {
        let (Some(window), Some(retention_us)) = (self.window, self.retention_us) else { return Ok(()) };
        let Some(bound_us) = epoch.closes(window.edge) else { return Ok(()) };
        for rows in table.snapshot().scan(Some(table.key())) {
            let rows = rows?;
            let mask = closed(rows.column(window.place), window.edge, bound_us.saturating_sub(retention_us))?;
            if mask.true_count() > 0 {
                commit.delete(table, filter_record_batch(&rows, &mask)?);
            }
        }
        Ok(())
    }

    /// The stored key of these rows of the last operator.
    fn keys(&self, table: &KeyTable, rows: &RecordBatch, key: &[usize]) -> Result<RecordBatch, QueryError> {
        let schema = Arc::new(self.stored.project(table.key())?);
        let typed = |(place, field): (&usize, &Arc<Field>)| cast(rows.column(*place), field.data_type());
        let columns = key.iter().zip(schema.fields()).map(typed).collect::<Result<Vec<_>, _>>()?;
        batch_of(&schema, columns, rows.num_rows())
    }

    /// Stored rows as readers see them.
    fn readable(&self, rows: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let columns = rows.columns()[..self.visible.fields().len()].to_vec();
        batch_of(&self.visible, columns, rows.num_rows())
    }

    /// All rows, as readers see them.
    pub fn content(&self) -> Content {
        let rows = match &self.rows {
            Rows::Appended(span) | Rows::OnClose { span, .. } => content::Rows::Span(Arc::clone(span)),
            Rows::Replaced { table, .. } => content::Rows::Table(table.snapshot()),
            Rows::Counted(table) => content::Rows::Counted(table.snapshot()),
        };
        Content::new(rows, Arc::clone(&self.visible))
    }
}

/// The distinct rows of `all` that are not in `some`.
fn without(all: &RecordBatch, some: &RecordBatch) -> Result<RecordBatch, QueryError> {
    let there = fingerprints(some.columns(), some.num_rows())?;
    let there: HashSet<&[u8], ahash::RandomState> = (0..there.len()).map(|row| there.value(row)).collect();
    first_of_each(all, |name| !there.contains(name))
}

/// Each row once.
fn distinct(all: &RecordBatch) -> Result<RecordBatch, QueryError> {
    first_of_each(all, |_| true)
}

fn first_of_each(all: &RecordBatch, wanted: impl Fn(&[u8]) -> bool) -> Result<RecordBatch, QueryError> {
    let names: FixedSizeBinaryArray = fingerprints(all.columns(), all.num_rows())?;
    let mut seen: HashSet<&[u8], ahash::RandomState> = HashSet::default();
    let first: BooleanArray =
        (0..names.len()).map(|row| Some(wanted(names.value(row)) && seen.insert(names.value(row)))).collect();
    Ok(filter_record_batch(all, &first)?)
}
