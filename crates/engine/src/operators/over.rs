//! OVER at work: the partitions that an epoch touched are computed before and
//! after, and the difference is given out.
//!
//! A partition's rows are kept in an [`Arrangement`]; where a bound on a rank
//! allows it, only as many as can still be wanted.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, FixedSizeBinaryArray, RecordBatch, UInt32Array, UInt64Array,
};
use datafusion::arrow::compute::{SortColumn, concat, lexsort_to_indices, partition, take};
use datafusion::common::cast::as_fixed_size_binary_array;
use pluvio_keytables::{Commit, Store, fingerprints};
use pluvio_query::QueryError;

use super::arrangement::Arrangement;
use super::delta::{Delta, batch_of, concat_arrays, consolidate, copies, gather, gather_as, sum, take_rows};
use super::join::evaluate;
use super::keys::{number, numbered};
use super::{Epoch, late_bound};
use crate::compile::{OverPlan, RankFunction, RankKind};

/// An OVER node and what it keeps.
pub struct OverState {
    plan: OverPlan,
    rows: Arrangement,
}

/// Rows of some partitions.
struct Rows {
    rows: RecordBatch,
    /// For each, its partition's number.
    partitions: UInt32Array,
    /// For each, what tells it apart from its equals.
    names: ArrayRef,
}

/// The functions over some rows.
struct Computed {
    /// The result's rows.
    rows: RecordBatch,
    /// For each, the place of the row it comes from.
    from: UInt32Array,
}

impl OverState {
    /// Opens what is kept under `name`.
    pub fn open(plan: OverPlan, store: &Store, name: &str) -> Result<Self, QueryError> {
        let rows = match plan.whole {
            true => Arrangement::nothing(&plan.row),
            false => {
                Arrangement::open(store, &format!("{name}/rows"), &plan.key_types, &plan.row, plan.appends)?
            }
        };
        Ok(Self { plan, rows })
    }

    /// The window by which state goes.
    pub fn window(&self) -> Option<crate::compile::Window> {
        self.plan.window
    }

    /// The result's changes.
    pub fn run(
        &self,
        commit: &mut Commit,
        epoch: &mut Epoch,
        deltas: Vec<Delta>,
    ) -> Result<Vec<Delta>, QueryError> {
        if let Some(window) = self.plan.window
            && let Some(bound_us) = epoch.closes(window.edge)
        {
            self.rows.evict(commit, window, bound_us)?;
        }
        let Some(mut delta) = gather_as(&self.plan.row, deltas)? else { return Ok(Vec::new()) };
        let mut keys = evaluate(&self.plan.partition, &delta.rows)?;
        if let Some((window, bound_us)) = late_bound(self.plan.window, self.plan.guarded, epoch) {
            let all = delta.len();
            delta = epoch.in_time(delta, &keys[window.place], window.edge, bound_us)?;
            if delta.len() < all {
                keys = evaluate(&self.plan.partition, &delta.rows)?;
            }
        }
        if delta.len() == 0 {
            return Ok(Vec::new());
        }
        let (touched, numbers) = number(&self.plan.key_types, &keys)?;
        let found = self.rows.rows(&touched)?;
        let old = match &found.rows.weights {
            None => Rows {
                rows: found.rows.rows.clone(),
                partitions: found.probes.clone(),
                names: Arc::new(found.ids.clone()),
            },
            Some(weights) => repeated(&found.rows.rows, &found.probes, &found.ids, &copies(weights)?)?,
        };
        let new = match self.plan.appends {
            true => {
                let names = Arrangement::number(epoch.number, delta.len())?;
                let names: ArrayRef = Arc::new(names);
                Rows {
                    rows: datafusion::arrow::compute::concat_batches(
                        &self.plan.row,
                        [&old.rows, &delta.rows],
                    )?,
                    partitions: UInt32Array::from([old.partitions.values(), &numbers[..]].concat()),
                    names: concat_arrays(&[&old.names, &names])?,
                }
            }
            false => self.changed(&found.rows, &found.probes, &delta, &numbers)?,
        };
        let before = self.compute(&old)?;
        let after = self.compute(&new)?;
        if self.plan.forgets() {
            self.keep(commit, &old, &new, &after, &touched)?;
        } else {
            self.rows.apply(commit, epoch.number, &keys, &delta)?;
        }
        let changes = gather(vec![Delta::taken_back(before.rows), Delta::added(after.rows)])?;
        Ok(changes.map(consolidate).transpose()?.into_iter().filter(|delta| delta.len() > 0).collect())
    }

    /// The rows after changes that may take some back.
    fn changed(
        &self,
        old: &Delta,
        probes: &UInt32Array,
        delta: &Delta,
        numbers: &[u32],
    ) -> Result<Rows, QueryError> {
        let width = self.plan.row.fields().len();
        let (old, delta) = (numbered(old, probes.values())?, numbered(delta, numbers)?);
        let schema = old.rows.schema();
        let all = match gather(vec![old, delta])? {
            Some(all) => sum(all)?,
            None => Delta::added(RecordBatch::new_empty(schema)),
        };
        let rows = batch_of(&self.plan.row, all.rows.columns()[..width].to_vec(), all.len())?;
        let names = fingerprints(rows.columns(), all.len())?;
        let numbers = datafusion::common::cast::as_uint32_array(all.rows.column(width))?;
        match &all.weights {
            None => Ok(Rows { rows, partitions: numbers.clone(), names: Arc::new(names) }),
            Some(weights) => repeated(&rows, numbers, &names, &copies(weights)?),
        }
    }

    /// The functions over the rows, without those beyond the limit.
    fn compute(&self, rows: &Rows) -> Result<Computed, QueryError> {
        let count = rows.rows.num_rows();
        if count == 0 {
            let rows = RecordBatch::new_empty(Arc::clone(&self.plan.schema));
            return Ok(Computed { rows, from: UInt32Array::from(Vec::<u32>::new()) });
        }
        let plain = |values: ArrayRef| SortColumn { values, options: None };
        let mut order = vec![plain(Arc::new(rows.partitions.clone()))];
        for (expression, options) in &self.plan.order {
            let values = expression.evaluate(&rows.rows)?.into_array(count)?;
            order.push(SortColumn { values, options: Some(*options) });
        }
        let peers = order.len();
        order.push(plain(Arc::clone(&rows.names)));
        let mut from = lexsort_to_indices(&order, None)?;
        let sorted = |columns: &[SortColumn]| -> Result<Vec<ArrayRef>, QueryError> {
            Ok(columns.iter().map(|c| take(&c.values, &from, None)).collect::<Result<_, _>>()?)
        };
        let by_order = sorted(&order[..peers])?;
        let partitions = partition(&by_order[..1])?.ranges();
        let mut taken = take_rows(&rows.rows, &from)?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.plan.functions.len());
        for function in &self.plan.functions {
            columns.push(match function {
                RankFunction::Rank(kind) => Arc::new(ranks(*kind, &partitions, &by_order, count)?),
                RankFunction::Other(function) => {
                    let part = |range: &std::ops::Range<usize>| {
                        function.evaluate(&taken.slice(range.start, range.len()))
                    };
                    let parts = partitions.iter().map(part).collect::<datafusion::error::Result<Vec<_>>>()?;
                    concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?
                }
            });
        }
        if let Some((place, limit)) = self.plan.limit {
            let rank = datafusion::common::cast::as_uint64_array(&columns[place])?;
            let within: UInt32Array =
                (0_u32..).zip(rank.values()).filter_map(|(i, rank)| (*rank <= limit).then_some(i)).collect();
            if within.len() < count {
                taken = take_rows(&taken, &within)?;
                columns = columns.iter().map(|c| take(c, &within, None)).collect::<Result<_, _>>()?;
                from = datafusion::common::cast::as_uint32_array(&take(&from, &within, None)?)?.clone();
            }
        }
        let columns = taken.columns().iter().cloned().chain(columns).collect();
        Ok(Computed { rows: batch_of(&self.plan.schema, columns, from.len())?, from })
    }

    /// Keeps the rows within the limit, and no others.
    fn keep(
        &self,
        commit: &mut Commit,
        old: &Rows,
        new: &Rows,
        after: &Computed,
        touched: &[ArrayRef],
    ) -> Result<(), QueryError> {
        let kept_before = old.rows.num_rows();
        let mut stays = vec![false; kept_before];
        let mut comes = Vec::new();
        // The rows there were come first among those there are now.
        for place in after.from.values() {
            match (*place as usize).cmp(&kept_before) {
                Ordering::Less => stays[*place as usize] = true,
                _ => comes.push(*place),
            }
        }
        let goes: Vec<u32> =
            (0_u32..).zip(&stays).filter_map(|(place, stays)| (!stays).then_some(place)).collect();
        let keys = |rows: &Rows, places: &UInt32Array| -> Result<Vec<ArrayRef>, QueryError> {
            let partitions = take(&rows.partitions, places, None)?;
            let partitions = datafusion::common::cast::as_uint32_array(&partitions)?;
            Ok(touched.iter().map(|key| take(key, partitions, None)).collect::<Result<_, _>>()?)
        };
        if !goes.is_empty() {
            let goes = UInt32Array::from(goes);
            let mut at = keys(old, &goes)?;
            at.push(take(&old.names, &goes, None)?);
            let all: UInt32Array = (0..u32::try_from(goes.len()).unwrap_or(u32::MAX)).collect();
            self.rows.remove(commit, &at, &all)?;
        }
        if !comes.is_empty() {
            let comes = UInt32Array::from(comes);
            let at = keys(new, &comes)?;
            let names = take(&new.names, &comes, None)?;
            let rows = take_rows(&new.rows, &comes)?;
            self.rows.add(commit, &at, as_fixed_size_binary_array(&names)?, &rows)?;
        }
        Ok(())
    }
}

fn repeated(
    rows: &RecordBatch,
    partitions: &UInt32Array,
    names: &FixedSizeBinaryArray,
    places: &UInt32Array,
) -> Result<Rows, QueryError> {
    let partitions = take(partitions, places, None)?;
    Ok(Rows {
        rows: take_rows(rows, places)?,
        partitions: datafusion::common::cast::as_uint32_array(&partitions)?.clone(),
        names: take(names, places, None)?,
    })
}

/// Ranks within sorted partitions; `order` holds the partition and what it is
/// ordered by.
fn ranks(
    kind: RankKind,
    partitions: &[std::ops::Range<usize>],
    order: &[ArrayRef],
    count: usize,
) -> Result<UInt64Array, QueryError> {
    let mut ranks = Vec::with_capacity(count);
    if kind == RankKind::RowNumber {
        partitions.iter().for_each(|range| ranks.extend(1..=range.len() as u64));
        return Ok(ranks.into());
    }
    let peers = partition(order)?.ranges();
    let mut starts = partitions.iter().map(|range| range.start).peekable();
    let (mut start, mut dense) = (0, 0);
    for range in peers {
        if starts.next_if_eq(&range.start).is_some() {
            (start, dense) = (range.start, 0);
        }
        dense += 1;
        let rank = if kind == RankKind::Rank { (range.start - start) as u64 + 1 } else { dense };
        ranks.extend(std::iter::repeat_n(rank, range.len()));
    }
    Ok(ranks.into())
}
