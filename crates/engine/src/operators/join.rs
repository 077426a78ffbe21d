//! A join of two inputs that both change.
//!
//! Each side is an [`Arrangement`] by the join's key. With `L` and `R` before the
//! epoch, its pairs change by `ΔL⋈R + L⋈ΔR + ΔL⋈ΔR`. Where rows without a match
//! matter, matches are counted for the rows of the keys that the other side
//! touched: a row whose count leaves or reaches zero changes sides.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array, new_null_array,
};
use datafusion::arrow::compute::{and, cast, is_not_null, not, or, take};
use datafusion::common::cast::as_timestamp_microsecond_array;
use datafusion::physical_expr::PhysicalExpr;
use pluvio_keytables::{Commit, Store};
use pluvio_query::QueryError;
use pluvio_query::windows::TIME_TYPE;

use super::arrangement::Arrangement;
use super::delta::{Delta, batch_of, concat_arrays, consolidate, gather, gather_as, take_rows};
use super::keys::number;
use super::{Epoch, late_bound, truth};
use crate::compile::{Edge, Half, JoinPlan, JoinSide, WindowClock};

/// How often rows that can find no partner are looked for, in event time.
const EXPIRY: Edge = Edge { to_end_us: 0, every_us: 10_000_000, clock: Some(WindowClock::Event) };
/// Pairs that are joined at a time.
const PAIRS_AT_ONCE: usize = 1 << 18;

/// A join and what it keeps.
pub struct JoinState {
    plan: JoinPlan,
    left: Arrangement,
    right: Arrangement,
}

/// A side's changes in an epoch.
struct Side {
    /// Changes that can match.
    delta: Delta,
    /// Their key columns.
    keys: Vec<ArrayRef>,
    /// For each, its key's number.
    ids: Vec<u32>,
}

/// The rows a side had before for some keys.
struct Before {
    delta: Delta,
    /// For each, its key's number.
    ids: Vec<u32>,
}

impl JoinState {
    /// Opens what is kept under `name`.
    pub fn open(plan: JoinPlan, store: &Store, name: &str) -> Result<Self, QueryError> {
        let side = |which: &str, side: &JoinSide| {
            if plan.whole {
                return Ok(Arrangement::nothing(&side.row));
            }
            Arrangement::open(store, &format!("{name}/{which}"), &plan.key_types, &side.row, side.appends)
        };
        let (left, right) = (side("left", &plan.left)?, side("right", &plan.right)?);
        Ok(Self { plan, left, right })
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
        left: Vec<Delta>,
        right: Vec<Delta>,
    ) -> Result<Vec<Delta>, QueryError> {
        let (left, right) = if self.plan.exchanged { (right, left) } else { (left, right) };
        let mut out = Vec::new();
        if let Some(window) = self.plan.window
            && let Some(bound_us) = epoch.closes(window.edge)
        {
            self.left.evict(commit, window, bound_us)?;
            self.right.evict(commit, window, bound_us)?;
        }
        if let Some(bound_us) = epoch.closes(EXPIRY) {
            for (kept, side) in [(&self.left, &self.plan.left), (&self.right, &self.plan.right)] {
                if !side.expiry.expiries.is_empty() {
                    kept.forget(commit, |rows| expired(side, rows, bound_us))?;
                }
            }
        }
        let (mut left, lone_left) = self.side(epoch, &self.plan.left, left)?;
        let (mut right, lone_right) = self.side(epoch, &self.plan.right, right)?;
        if let Some(lone) = lone_left {
            self.alone(&lone, &mut out)?;
        }
        if let Some(lone) = lone_right
            && self.plan.kind.right_alone
        {
            out.push(self.padded(&lone, false)?);
        }
        let count = number_both(&self.plan, &mut left, &mut right)?;
        self.left.apply(commit, epoch.number, &left.keys, &left.delta)?;
        self.right.apply(commit, epoch.number, &right.keys, &right.delta)?;
        self.changes(&left, &right, count, &mut out)?;
        if self.plan.whole || self.only_adds() {
            return Ok(out);
        }
        Ok(gather(out)?.map(consolidate).transpose()?.into_iter().collect())
    }

    /// Whether no row is ever taken back: none of the inputs' is, and none that
    /// matches nothing is given out, which may match later.
    fn only_adds(&self) -> bool {
        let kind = self.plan.kind;
        let alone = kind.left_alone || kind.right_alone || matches!(kind.half, Some(Half::Anti | Half::Mark));
        self.plan.left.appends && self.plan.right.appends && !alone
    }

    /// A side's changes without late ones, and apart those whose key is NULL and
    /// matches nothing.
    fn side(
        &self,
        epoch: &mut Epoch,
        side: &JoinSide,
        deltas: Vec<Delta>,
    ) -> Result<(Side, Option<Delta>), QueryError> {
        let empty = || Delta::added(RecordBatch::new_empty(Arc::clone(&side.row)));
        let mut delta = gather_as(&side.row, deltas)?.unwrap_or_else(empty);
        let mut keys = evaluate(&side.keys, &delta.rows)?;
        if let Some((window, bound_us)) = late_bound(self.plan.window, side.guarded, epoch) {
            let all = delta.len();
            delta = epoch.in_time(delta, &keys[window.place], window.edge, bound_us)?;
            if delta.len() < all {
                keys = evaluate(&side.keys, &delta.rows)?;
            }
        }
        if let (Some(time), Some(bound_us)) = (side.expiry.time, epoch.event.now_us) {
            let late = before_bound(delta.rows.column(time), bound_us, false)?;
            if late.true_count() > 0 {
                behind(epoch, &delta.filter(&late)?);
                delta = delta.filter(&not(&late)?)?;
                keys = evaluate(&side.keys, &delta.rows)?;
            }
        }
        let mut alone = None;
        if !self.plan.null_equals_null && keys.iter().any(|key| key.null_count() > 0) {
            let mut valid = is_not_null(&keys[0])?;
            for key in &keys[1..] {
                valid = and(&valid, &is_not_null(key)?)?;
            }
            alone = Some(delta.filter(&not(&valid)?)?);
            delta = delta.filter(&valid)?;
            keys = evaluate(&side.keys, &delta.rows)?;
        }
        Ok((Side { delta, keys, ids: Vec::new() }, alone))
    }

    /// Left rows that match nothing, given out as the kind of join says.
    fn alone(&self, delta: &Delta, out: &mut Vec<Delta>) -> Result<(), QueryError> {
        if delta.len() == 0 {
            return Ok(());
        }
        match self.plan.kind.half {
            Some(Half::Anti) => out.push(self.half(delta, None)?),
            Some(Half::Mark) => out.push(self.half(delta, Some(false))?),
            Some(Half::Semi) => {}
            None if self.plan.kind.left_alone => out.push(self.padded(delta, true)?),
            None => {}
        }
        Ok(())
    }

    /// One side's rows with NULLs for the other side's columns.
    fn padded(&self, delta: &Delta, left: bool) -> Result<Delta, QueryError> {
        let other = if left { &self.plan.right.row } else { &self.plan.left.row };
        let nulls = other.fields().iter().map(|f| new_null_array(f.data_type(), delta.len()));
        let own = delta.rows.columns().iter().cloned();
        let columns = if left { own.chain(nulls).collect() } else { nulls.chain(own).collect() };
        Ok(delta.with_rows(batch_of(&self.plan.schema, columns, delta.len())?))
    }

    /// Left rows alone, with a mark if there is one.
    fn half(&self, delta: &Delta, mark: Option<bool>) -> Result<Delta, QueryError> {
        let mut columns = delta.rows.columns().to_vec();
        if let Some(mark) = mark {
            columns.push(Arc::new(BooleanArray::from(vec![mark; delta.len()])));
        }
        Ok(delta.with_rows(batch_of(&self.plan.schema, columns, delta.len())?))
    }

    fn changes(
        &self,
        left: &Side,
        right: &Side,
        count: usize,
        out: &mut Vec<Delta>,
    ) -> Result<(), QueryError> {
        let kind = self.plan.kind;
        let (count_left, count_right) = (kind.left_alone || kind.half.is_some(), kind.right_alone);
        // The rows each side had, for the keys the other side touched, and for its
        // own keys where their matches are counted.
        let of_left = keys_of(left, count)?;
        let of_right = keys_of(right, count)?;
        let left_before = before(&self.left, &of_right)?;
        let right_before = before(&self.right, &of_left)?;
        let mut left_counts = Counts::new(count_left, left.delta.len());
        let mut right_counts = Counts::new(count_right, right.delta.len());
        let mut old_left_gain = Counts::new(count_left, left_before.delta.len());
        let mut old_right_gain = Counts::new(count_right, right_before.delta.len());
        let mut pairs =
            |a: &Delta, a_ids: &[u32], b: &Delta, b_ids: &[u32], ca: &mut Counts, cb: &mut Counts| {
                self.pairs(a, a_ids, b, b_ids, count, |pair, at, bt| {
                    ca.add(at, bt, b);
                    cb.add(bt, at, a);
                    if kind.pairs {
                        out.push(pair);
                    }
                    Ok(())
                })
            };
        pairs(
            &left.delta,
            &left.ids,
            &right_before.delta,
            &right_before.ids,
            &mut left_counts,
            &mut old_right_gain,
        )?;
        pairs(
            &left_before.delta,
            &left_before.ids,
            &right.delta,
            &right.ids,
            &mut old_left_gain,
            &mut right_counts,
        )?;
        pairs(&left.delta, &left.ids, &right.delta, &right.ids, &mut left_counts, &mut right_counts)?;
        if count_left {
            let had = self.matches(&left_before, &before(&self.right, &of_right)?, count, true)?;
            self.settle(&left.delta, &left_counts.0, &left_before.delta, &had, &old_left_gain.0, true, out)?;
        }
        if count_right {
            let had = self.matches(&before(&self.left, &of_left)?, &right_before, count, false)?;
            self.settle(
                &right.delta,
                &right_counts.0,
                &right_before.delta,
                &had,
                &old_right_gain.0,
                false,
                out,
            )?;
        }
        Ok(())
    }

    /// How many matches each row of one side had before.
    fn matches(
        &self,
        left: &Before,
        right: &Before,
        count: usize,
        of_left: bool,
    ) -> Result<Vec<i64>, QueryError> {
        let mut counts = Counts::new(true, if of_left { left.delta.len() } else { right.delta.len() });
        self.pairs(&left.delta, &left.ids, &right.delta, &right.ids, count, |_, l, r| {
            match of_left {
                true => counts.add(l, r, &right.delta),
                false => counts.add(r, l, &left.delta),
            }
            Ok(())
        })?;
        Ok(counts.0)
    }

    /// Gives out rows by whether they have matches: new rows as they are now, old
    /// ones where that has changed.
    #[allow(clippy::too_many_arguments)]
    fn settle(
        &self,
        new: &Delta,
        matches: &[i64],
        old: &Delta,
        had: &[i64],
        gained: &[i64],
        left: bool,
        out: &mut Vec<Delta>,
    ) -> Result<(), QueryError> {
        let (mut with, mut without) = (Weighed::default(), Weighed::default());
        for (row, matches) in matches.iter().enumerate() {
            let to = if *matches > 0 { &mut with } else { &mut without };
            to.push(row, new.weight(row));
        }
        self.emit(new, with, true, left, out)?;
        self.emit(new, without, false, left, out)?;
        let (mut with, mut without) = (Weighed::default(), Weighed::default());
        for (row, (had, gained)) in had.iter().zip(gained).enumerate() {
            let sign = match (*had > 0, had + gained > 0) {
                (false, true) => 1,
                (true, false) => -1,
                _ => continue,
            };
            with.push(row, sign * old.weight(row));
            without.push(row, -sign * old.weight(row));
        }
        self.emit(old, with, true, left, out)?;
        self.emit(old, without, false, left, out)
    }

    /// Gives out some rows that have a match, or have none.
    fn emit(
        &self,
        rows: &Delta,
        weighed: Weighed,
        matched: bool,
        left: bool,
        out: &mut Vec<Delta>,
    ) -> Result<(), QueryError> {
        let wanted = match (self.plan.kind.half, matched) {
            (Some(Half::Semi), matched) => matched,
            (Some(Half::Mark), _) => true,
            (_, matched) => !matched,
        };
        if !wanted || weighed.places.is_empty() {
            return Ok(());
        }
        let rows = take_rows(&rows.rows, &UInt32Array::from(weighed.places))?;
        let weights = (!self.only_adds()).then(|| weighed.weights.into());
        let delta = Delta { rows, weights };
        out.push(match self.plan.kind.half {
            None => self.padded(&delta, left)?,
            Some(Half::Mark) => self.half(&delta, Some(matched))?,
            Some(_) => self.half(&delta, None)?,
        });
        Ok(())
    }

    /// All pairs of rows of the same key for which the condition holds, some at a
    /// time: the pairs as changes of the result, and their places on each side.
    fn pairs(
        &self,
        left: &Delta,
        left_ids: &[u32],
        right: &Delta,
        right_ids: &[u32],
        count: usize,
        mut then: impl FnMut(Delta, &[u32], &[u32]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        if left.len() == 0 || right.len() == 0 {
            return Ok(());
        }
        let by_id = ById::new(right_ids, count);
        let (mut l, mut r) = (Vec::new(), Vec::new());
        for (row, id) in (0_u32..).zip(left_ids) {
            let matches = by_id.rows(*id);
            l.extend(std::iter::repeat_n(row, matches.len()));
            r.extend_from_slice(matches);
            if l.len() >= PAIRS_AT_ONCE {
                self.joined(left, right, std::mem::take(&mut l), std::mem::take(&mut r), &mut then)?;
            }
        }
        self.joined(left, right, l, r, &mut then)
    }

    fn joined(
        &self,
        left: &Delta,
        right: &Delta,
        mut l: Vec<u32>,
        mut r: Vec<u32>,
        then: &mut impl FnMut(Delta, &[u32], &[u32]) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        if l.is_empty() {
            return Ok(());
        }
        if self.plan.condition.is_none() && !self.plan.kind.pairs {
            return then(Delta::added(RecordBatch::new_empty(Arc::clone(&self.plan.schema))), &l, &r);
        }
        let (left_at, right_at) = (UInt32Array::from(l.clone()), UInt32Array::from(r.clone()));
        // The plan's left side comes first, whichever is kept as left.
        let mut columns = Vec::with_capacity(self.plan.pair.fields().len());
        let mut add = |rows: &RecordBatch, at: &UInt32Array| -> Result<(), QueryError> {
            for column in rows.columns() {
                columns.push(take(column, at, None)?);
            }
            Ok(())
        };
        match self.plan.exchanged {
            true => add(&right.rows, &right_at).and_then(|()| add(&left.rows, &left_at))?,
            false => add(&left.rows, &left_at).and_then(|()| add(&right.rows, &right_at))?,
        }
        let mut pair = batch_of(&self.plan.pair, columns, l.len())?;
        if let Some(condition) = &self.plan.condition {
            let holds = condition.evaluate(&pair)?.into_array(l.len())?;
            let holds = truth(&holds)?;
            if holds.true_count() < l.len() {
                pair = datafusion::arrow::compute::filter_record_batch(&pair, &holds)?;
                let mut kept = holds.values().iter();
                l.retain(|_| kept.next().unwrap_or(false));
                let mut kept = holds.values().iter();
                r.retain(|_| kept.next().unwrap_or(false));
            }
        }
        if !self.plan.kind.pairs {
            return then(Delta::added(RecordBatch::new_empty(Arc::clone(&self.plan.schema))), &l, &r);
        }
        let weights = match (&left.weights, &right.weights) {
            (None, None) => None,
            _ => {
                let weight = |(l, r): (&u32, &u32)| left.weight(*l as usize) * right.weight(*r as usize);
                Some(l.iter().zip(&r).map(weight).collect::<Int64Array>())
            }
        };
        let rows = pair.columns().to_vec();
        let rows = batch_of(&self.plan.schema, rows, l.len())?;
        then(Delta { rows, weights }, &l, &r)
    }
}

/// Remembers rows that came after their partners may have been forgotten.
fn behind(epoch: &mut Epoch, delta: &Delta) {
    let reason = "late: the watermark has passed it, and its partners may be gone";
    let rows = (0..delta.len()).map(|row| (delta.rows.slice(row, 1), reason.to_owned()));
    epoch.failed.extend(rows);
}

/// Which rows cannot find a partner any more.
fn expired(side: &JoinSide, rows: &RecordBatch, bound_us: i64) -> Result<BooleanArray, QueryError> {
    let mut gone = BooleanArray::from(vec![false; rows.num_rows()]);
    for expiry in &side.expiry.expiries {
        let until = expiry.until.evaluate(rows)?.into_array(rows.num_rows())?;
        gone = or(&gone, &before_bound(&until, bound_us.saturating_add(expiry.offset_us), true)?)?;
    }
    Ok(gone)
}

/// Which times lie before the bound; `no_time` tells what no time counts as.
fn before_bound(times: &ArrayRef, bound_us: i64, no_time: bool) -> Result<BooleanArray, QueryError> {
    let times = cast(times, &TIME_TYPE)?;
    let times = as_timestamp_microsecond_array(&times)?;
    Ok(times.iter().map(|time| Some(time.map_or(no_time, |time| time < bound_us))).collect())
}

/// Some rows of a batch, each with a weight.
#[derive(Default)]
struct Weighed {
    places: Vec<u32>,
    weights: Vec<i64>,
}

impl Weighed {
    fn push(&mut self, row: usize, weight: i64) {
        self.places.push(u32::try_from(row).unwrap_or(u32::MAX));
        self.weights.push(weight);
    }
}

/// For each row, how many matches it has; nothing if that is not asked.
struct Counts(Vec<i64>);

impl Counts {
    fn new(wanted: bool, rows: usize) -> Self {
        Self(if wanted { vec![0; rows] } else { Vec::new() })
    }

    fn add(&mut self, mine: &[u32], theirs: &[u32], other: &Delta) {
        if self.0.is_empty() {
            return;
        }
        for (mine, theirs) in mine.iter().zip(theirs) {
            self.0[*mine as usize] += other.weight(*theirs as usize);
        }
    }
}

/// Rows by the number of their key.
struct ById {
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl ById {
    fn new(ids: &[u32], count: usize) -> Self {
        let mut starts = vec![0_u32; count + 1];
        ids.iter().for_each(|id| starts[*id as usize + 1] += 1);
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; ids.len()];
        for (row, id) in (0_u32..).zip(ids) {
            rows[next[*id as usize] as usize] = row;
            next[*id as usize] += 1;
        }
        Self { starts, rows }
    }

    fn rows(&self, id: u32) -> &[u32] {
        &self.rows[self.starts[id as usize] as usize..self.starts[id as usize + 1] as usize]
    }
}

/// Distinct keys with their numbers.
struct DistinctKeys {
    keys: Vec<ArrayRef>,
    ids: Vec<u32>,
}

/// The distinct keys of a side's changes.
fn keys_of(side: &Side, count: usize) -> Result<DistinctKeys, QueryError> {
    let mut first = vec![u32::MAX; count];
    for (row, id) in (0_u32..).zip(&side.ids) {
        let first = &mut first[*id as usize];
        *first = row.min(*first);
    }
    let chosen = (0_u32..).zip(&first).filter(|(_, row)| **row != u32::MAX);
    let (ids, rows): (Vec<u32>, Vec<u32>) = chosen.map(|(id, row)| (id, *row)).unzip();
    let rows = UInt32Array::from(rows);
    let keys = side.keys.iter().map(|key| take(key, &rows, None)).collect::<Result<_, _>>()?;
    Ok(DistinctKeys { keys, ids })
}

fn before(arrangement: &Arrangement, keys: &DistinctKeys) -> Result<Before, QueryError> {
    let found = arrangement.rows(&keys.keys)?;
    let ids = found.probes.values().iter().map(|probe| keys.ids[*probe as usize]).collect();
    Ok(Before { delta: found.rows, ids })
}

/// Gives every key of both sides a number; returns how many there are.
fn number_both(plan: &JoinPlan, left: &mut Side, right: &mut Side) -> Result<usize, QueryError> {
    let both = left.keys.iter().zip(&right.keys).map(|(l, r)| concat_arrays(&[l, r]));
    let (keys, ids) = number(&plan.key_types, &both.collect::<Result<Vec<_>, _>>()?)?;
    let (l, r) = ids.split_at(left.delta.len());
    (left.ids, right.ids) = (l.to_vec(), r.to_vec());
    Ok(keys[0].len())
}

/// Expressions over a batch, as arrays.
pub fn evaluate(
    expressions: &[Arc<dyn PhysicalExpr>],
    rows: &RecordBatch,
) -> Result<Vec<ArrayRef>, QueryError> {
    let count = rows.num_rows();
    let evaluated = expressions.iter().map(|e| e.evaluate(rows)?.into_array(count));
    Ok(evaluated.collect::<datafusion::error::Result<Vec<_>>>()?)
}
