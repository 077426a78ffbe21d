//! Sessions at work: the rows of open sessions are kept by key, and what an epoch
//! adds may move the edges of those that were there.
//!
//! When the watermark passes a session's end, its rows are forgotten; they were
//! given out with their last edges. A row is late if the session that it makes,
//! or goes on, has ended.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, RecordBatch, TimestampMicrosecondArray,
    UInt32Array,
};
use datafusion::arrow::compute::{SortColumn, lexsort_to_indices, take};
use datafusion::arrow::datatypes::{Field, Schema, TimestampMicrosecondType};
use datafusion::common::cast::as_uint32_array;
use pluvio_keytables::{Commit, Store};
use pluvio_query::QueryError;
use pluvio_query::sessions::{SessionEdge, sessions};
use pluvio_query::windows::TIME_TYPE;

use super::Epoch;
use super::arrangement::Arrangement;
use super::delta::{Delta, batch_of, consolidate, gather, take_rows};
use super::join::evaluate;
use super::keys::number;
use crate::compile::{Edge, SessionPlan, end_of};

/// Sessions and the rows of open ones.
pub struct SessionState {
    plan: SessionPlan,
    /// The row, and its time behind it.
    rows: Arrangement,
}

/// Rows of some keys, by the numbers of the keys.
struct Rows {
    /// The row, and its time behind it.
    rows: RecordBatch,
    keys: UInt32Array,
}

impl SessionState {
    /// Opens what is kept under `name`.
    pub fn open(plan: SessionPlan, store: &Store, name: &str) -> Result<Self, QueryError> {
        let mut fields: Vec<_> = plan.row.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("$time", TIME_TYPE, true)));
        let row = Arc::new(Schema::new(fields));
        let rows = Arrangement::open(store, &format!("{name}/rows"), &plan.key_types, &row, true)?;
        Ok(Self { plan, rows })
    }

    /// The windows by which rows go.
    pub fn edge(&self) -> Option<Edge> {
        self.plan.clock.map(|_| end_of(self.plan.clock))
    }

    /// The result's changes.
    pub fn run(
        &self,
        commit: &mut Commit,
        epoch: &mut Epoch,
        deltas: Vec<Delta>,
    ) -> Result<Vec<Delta>, QueryError> {
        let ended = self.forget(commit, epoch)?;
        let Some(mut delta) = gather(deltas)? else { return Ok(Vec::new()) };
        delta = Delta::added(delta.copied()?);
        let mut new = self.timed(&delta.rows)?;
        let mut keys = evaluate(&self.plan.keys, &delta.rows)?;
        let (touched, mut numbers) = number(&self.plan.key_types, &keys)?;
        let old = self.open_rows(&touched, &ended)?;
        let before = self.edges(&old)?;
        let mut all = old.and(&new, &numbers)?;
        let mut after = self.edges(&all)?;
        if let Some(bound_us) = self.edge().and_then(|edge| epoch.bound(edge)) {
            let first = old.rows.num_rows();
            let in_time: BooleanArray = after[first..]
                .iter()
                .map(|edges| Some(edges.is_none_or(|(_, end)| end > bound_us)))
                .collect();
            if in_time.true_count() < in_time.len() {
                epoch.late(&delta.filter(&datafusion::arrow::compute::not(&in_time)?)?);
                delta = delta.filter(&in_time)?;
                new = self.timed(&delta.rows)?;
                keys = evaluate(&self.plan.keys, &delta.rows)?;
                let kept = numbers.iter().zip(in_time.values().iter());
                numbers = kept.filter_map(|(number, kept)| kept.then_some(*number)).collect();
                all = old.and(&new, &numbers)?;
                after = self.edges(&all)?;
            }
        }
        self.rows.apply(commit, epoch.number, &keys, &Delta::added(new))?;
        let (old, all) = (self.result(&old.rows, &before)?, self.result(&all.rows, &after)?);
        let changes = gather(vec![Delta::taken_back(old), Delta::added(all)])?;
        Ok(changes.map(consolidate).transpose()?.into_iter().collect())
    }

    /// Forgets the rows of sessions that have ended; gives their names.
    fn forget(&self, commit: &mut Commit, epoch: &Epoch) -> Result<HashSet<Vec<u8>>, QueryError> {
        let mut names = HashSet::new();
        let Some(bound_us) = self.edge().and_then(|edge| epoch.closes(edge)) else { return Ok(names) };
        let last = self.plan.row.fields().len();
        let may_have_ended = |times: &ArrayRef| -> Result<BooleanArray, QueryError> {
            let times = times.as_primitive::<TimestampMicrosecondType>();
            Ok(BooleanArray::from_unary(times, |time| time.saturating_add(self.plan.gap_us) <= bound_us))
        };
        let Some((at, _)) = self.rows.select_by(last, may_have_ended)? else { return Ok(names) };
        let (touched, _) = number(&self.plan.key_types, &at[..self.plan.keys.len()])?;
        let found = self.rows.rows(&touched)?;
        let rows = Rows { rows: found.rows.rows, keys: found.probes };
        let gone: UInt32Array = (0_u32..)
            .zip(self.edges(&rows)?)
            .filter_map(|(row, edges)| edges.is_some_and(|(_, end)| end <= bound_us).then_some(row))
            .collect();
        let mut at = Vec::with_capacity(touched.len() + 1);
        for key in &touched {
            at.push(take(key, &rows.keys, None)?);
        }
        at.push(Arc::new(found.ids.clone()));
        if !gone.is_empty() {
            self.rows.remove(commit, &at, &gone)?;
        }
        names.extend(gone.values().iter().map(|row| found.ids.value(*row as usize).to_vec()));
        Ok(names)
    }

    /// The rows of these keys whose sessions are open.
    fn open_rows(&self, keys: &[ArrayRef], ended: &HashSet<Vec<u8>>) -> Result<Rows, QueryError> {
        let found = self.rows.rows(keys)?;
        let rows = Rows { rows: found.rows.rows, keys: found.probes };
        if ended.is_empty() {
            return Ok(rows);
        }
        let open = |ids: &FixedSizeBinaryArray, row: usize| !ended.contains(ids.value(row));
        let open: UInt32Array =
            (0_u32..).take(found.ids.len()).filter(|row| open(&found.ids, *row as usize)).collect();
        let keys = as_uint32_array(&take(&rows.keys, &open, None)?)?.clone();
        Ok(Rows { rows: take_rows(&rows.rows, &open)?, keys })
    }

    /// Rows with their time.
    fn timed(&self, rows: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let width = self.plan.row.fields().len();
        let time = self.plan.time.evaluate(rows)?.into_array(rows.num_rows())?;
        let columns = rows.columns()[..width].iter().cloned().chain([time]).collect();
        batch_of(self.rows.row(), columns, rows.num_rows())
    }

    /// The edges of each row's session.
    fn edges(&self, rows: &Rows) -> Result<Vec<Option<(i64, i64)>>, QueryError> {
        let count = rows.rows.num_rows();
        let mut edges = vec![None; count];
        if count == 0 {
            return Ok(edges);
        }
        let times = rows.rows.column(self.plan.row.fields().len());
        let plain = |values: ArrayRef| SortColumn { values, options: None };
        let keys: ArrayRef = Arc::new(rows.keys.clone());
        let order = lexsort_to_indices(&[plain(keys), plain(Arc::clone(times))], None)?;
        let sorted = take(times, &order, None)?;
        let sorted = sorted.as_primitive::<TimestampMicrosecondType>();
        let key = |place: usize| rows.keys.value(order.value(place) as usize);
        let mut first = 0;
        while first < count {
            let last = (first..count).take_while(|place| key(*place) == key(first)).count() + first;
            let part: TimestampMicrosecondArray = sorted.slice(first, last - first);
            for (place, edge) in (first..last).zip(sessions(&part, self.plan.gap_us)) {
                edges[order.value(place) as usize] = edge;
            }
            first = last;
        }
        Ok(edges)
    }

    /// Rows with their edges, as they are given out.
    fn result(&self, rows: &RecordBatch, edges: &[Option<(i64, i64)>]) -> Result<RecordBatch, QueryError> {
        let width = self.plan.row.fields().len();
        let mut columns = rows.columns()[..width].to_vec();
        for edge in &self.plan.edges {
            let of = |(start, end): (i64, i64)| if *edge == SessionEdge::Start { start } else { end };
            let column = edges.iter().map(|edges| edges.map(of)).collect::<TimestampMicrosecondArray>();
            columns.push(Arc::new(column));
        }
        batch_of(&self.plan.schema, columns, rows.num_rows())
    }
}

impl Rows {
    /// These rows, and behind them new ones with the numbers of their keys.
    fn and(&self, rows: &RecordBatch, numbers: &[u32]) -> Result<Self, QueryError> {
        Ok(Self {
            rows: datafusion::arrow::compute::concat_batches(&rows.schema(), [&self.rows, rows])?,
            keys: UInt32Array::from([self.keys.values(), numbers].concat()),
        })
    }
}
