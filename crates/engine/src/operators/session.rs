//! Sessions at work: the rows of open sessions are kept by key, and what an epoch
//! adds may move the edges of those that were there.
//!
//! When the watermark passes a session's end, its rows are forgotten; they were
//! given out with their last edges. A row is late if the session that it makes,
//! or goes on, has ended.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{Field, Schema, TimestampMicrosecondType};
use datafusion::common::cast::as_uint32_array;
use pluvio_keytables::{Commit, Store};
use pluvio_query::QueryError;
use pluvio_query::sessions::{SessionEdge, sessions};
use pluvio_query::windows::TIME_TYPE;

use super::Epoch;
use super::arrangement::Arrangement;
use super::delta::{Delta, batch_of, gather, take_rows};
use super::join::evaluate;
use super::keys::number;
use crate::compile::{Edge, SessionPlan, end_of};

/// Sessions and the rows of open ones.
pub struct SessionState {
    plan: SessionPlan,
    /// The row, and its time behind it.
    rows: Arrangement,
}

/// For each row, where its session begins and ends.
type Edges = Vec<Option<(i64, i64)>>;

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
        self.forget(commit, epoch)?;
        let Some(mut delta) = gather(deltas)? else { return Ok(Vec::new()) };
        delta = Delta::added(delta.copied()?);
        let mut new = self.timed(&delta.rows)?;
        let mut keys = evaluate(&self.plan.keys, &delta.rows)?;
        let (touched, mut numbers) = number(&self.plan.key_types, &keys)?;
        let (old, before) = self.open_rows(&touched, self.edge().and_then(|edge| epoch.closes(edge)))?;
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
        // Of the rows that were there, those whose session has other edges now.
        let moved = (0..before.len()).filter(|row| before[*row] != after[*row]);
        let moved: Vec<u32> = moved.filter_map(|row| u32::try_from(row).ok()).collect();
        let new = (before.len()..after.len()).filter_map(|row| u32::try_from(row).ok());
        let told: UInt32Array = moved.iter().copied().chain(new).collect();
        let old = self.result(&old.rows, &before, &moved.into())?;
        let all = self.result(&all.rows, &after, &told)?;
        Ok(vec![Delta::taken_back(old), Delta::added(all)])
    }

    /// Forgets the rows of sessions that have ended.
    fn forget(&self, commit: &mut Commit, epoch: &Epoch) -> Result<(), QueryError> {
        let Some(bound_us) = self.edge().and_then(|edge| epoch.closes(edge)) else { return Ok(()) };
        let last = self.plan.row.fields().len();
        let may_have_ended = |times: &ArrayRef| -> Result<BooleanArray, QueryError> {
            let times = times.as_primitive::<TimestampMicrosecondType>();
            Ok(BooleanArray::from_unary(times, |time| time.saturating_add(self.plan.gap_us) <= bound_us))
        };
        let Some(keys) = self.rows.keys_by(last, may_have_ended)? else { return Ok(()) };
        let (touched, _) = number(&self.plan.key_types, &keys)?;
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
        Ok(())
    }

    /// The rows of these keys, with their edges, without those that are forgotten:
    /// whose sessions end by the bound, if sessions are closed in this epoch.
    fn open_rows(&self, keys: &[ArrayRef], closes_us: Option<i64>) -> Result<(Rows, Edges), QueryError> {
        let found = self.rows.rows(keys)?;
        let rows = Rows { rows: found.rows.rows, keys: found.probes };
        let mut edges = self.edges(&rows)?;
        let is_open = |edges: &Option<(i64, i64)>| {
            closes_us.is_none_or(|bound_us| edges.is_none_or(|(_, end)| end > bound_us))
        };
        let open: UInt32Array =
            (0_u32..).zip(&edges).filter_map(|(row, edges)| is_open(edges).then_some(row)).collect();
        if open.len() == edges.len() {
            return Ok((rows, edges));
        }
        edges.retain(is_open);
        let keys = as_uint32_array(&take(&rows.keys, &open, None)?)?.clone();
        Ok((Rows { rows: take_rows(&rows.rows, &open)?, keys }, edges))
    }

    /// Rows with their time.
    fn timed(&self, rows: &RecordBatch) -> Result<RecordBatch, QueryError> {
        let width = self.plan.row.fields().len();
        let time = self.plan.time.evaluate(rows)?.into_array(rows.num_rows())?;
        let columns = rows.columns()[..width].iter().cloned().chain([time]).collect();
        batch_of(self.rows.row(), columns, rows.num_rows())
    }

    /// The edges of each row's session.
    fn edges(&self, rows: &Rows) -> Result<Edges, QueryError> {
        let count = rows.rows.num_rows();
        let mut edges = vec![None; count];
        if count == 0 {
            return Ok(edges);
        }
        let times = rows.rows.column(self.plan.row.fields().len());
        let times = times.as_primitive::<TimestampMicrosecondType>();
        // By key, time and row, as one number each; NULL comes first.
        let time = |row: u32| match times.is_valid(row as usize) {
            true => times.value(row as usize).cast_unsigned() ^ 1 << 63,
            false => 0,
        };
        let place =
            |(row, key): (u32, &u32)| u128::from(*key) << 96 | u128::from(time(row)) << 32 | u128::from(row);
        let mut order: Vec<u128> = (0_u32..).zip(rows.keys.values()).map(place).collect();
        order.sort_unstable();
        let row = |place: &u128| (*place & u128::from(u32::MAX)) as usize;
        for of_key in order.chunk_by(|a, b| a >> 96 == b >> 96) {
            let of = |place| times.is_valid(row(place)).then(|| times.value(row(place)));
            let times: TimestampMicrosecondArray = of_key.iter().map(of).collect();
            for (place, edge) in of_key.iter().zip(sessions(&times, self.plan.gap_us)) {
                edges[row(place)] = edge;
            }
        }
        Ok(edges)
    }

    /// Some rows with their edges, as they are given out.
    fn result(
        &self,
        rows: &RecordBatch,
        edges: &[Option<(i64, i64)>],
        places: &UInt32Array,
    ) -> Result<RecordBatch, QueryError> {
        let width = self.plan.row.fields().len();
        let columns = rows.columns()[..width].iter().map(|column| take(column, places, None));
        let mut columns = columns.collect::<Result<Vec<_>, _>>()?;
        for edge in &self.plan.edges {
            let of = |(start, end): (i64, i64)| if *edge == SessionEdge::Start { start } else { end };
            let edges = places.values().iter().map(|row| edges[*row as usize].map(of));
            columns.push(Arc::new(edges.collect::<TimestampMicrosecondArray>()));
        }
        batch_of(&self.plan.schema, columns, places.len())
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
