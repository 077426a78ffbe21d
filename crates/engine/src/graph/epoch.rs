//! One epoch: take events, run the operators, commit.

use std::sync::Arc;

use pluvio_catalog::{StartAt, StreamDef, ViewDef};
use pluvio_keytables::{Commit, Span, SpanRetention, Store};
use pluvio_query::{EpochStatus, QueryError, dead_letters};

use super::catching_up::CatchUp;
use super::intake::{self, Intake};
use super::outputs::{DeadLetter, Outputs, dead_letter_rows, row_text};
use super::record::{self, ViewRecord, record_name};
use super::source::Source;
use super::taking::Taking;
use super::view::{ReadRunner, View};
use super::{GraphSpec, dead_letters_name};
use crate::compile::ViewPlan;
use crate::operators::{Bounds, Delta, Epoch};

/// Bytes of dead letters a graph keeps.
const DEAD_LETTER_BYTES: u64 = 16 << 20;

/// The views of a graph, their streams and how far they are.
pub struct Pipeline {
    name: String,
    pub sources: Vec<Source>,
    pub views: Vec<View>,
    /// What the views remember, as of the last commit.
    pub records: Vec<ViewRecord>,
    pub intakes: Vec<Intake>,
    /// The last epoch's number.
    pub epoch: u64,
    /// For each view, the streams that its rows come from, itself or through
    /// others.
    streams: Vec<Vec<usize>>,
    /// For each view, how far behind the watermark it closes windows, in
    /// microseconds: what it allows itself, and what the views do that it reads.
    lateness_us: Vec<i64>,
    /// Views that have not taken part in an epoch.
    newcomers: Vec<bool>,
    /// What some of them take in before there is an epoch of events.
    pub catching_up: Option<CatchUp>,
    dead_letters: Arc<Span>,
    /// How far the event time of one stream may be ahead of another's.
    pub max_drift_us: Option<i64>,
    /// A lookup asks one of these views.
    pub asks_itself: bool,
}

/// What an epoch did.
pub struct Done {
    pub status: EpochStatus,
    pub bytes: u64,
    /// When the events were appended: (Unix milliseconds, events).
    pub appended: Vec<(i64, u32)>,
    /// Partitions that had events: the stream and the partition.
    pub active: Vec<(usize, usize)>,
    intakes: Vec<Intake>,
    records: Vec<ViewRecord>,
}

impl Pipeline {
    /// Opens the views' storage.
    ///
    /// # Errors
    /// Storage that does not fit the definitions.
    pub fn open(
        spec: &GraphSpec,
        plans: Vec<ViewPlan>,
        sources: Vec<Source>,
        store: &Store,
    ) -> Result<Self, QueryError> {
        let mut views: Vec<View> = Vec::new();
        let signatures: Vec<String> = plans.iter().map(ViewPlan::signature).collect();
        for (def, plan) in spec.views.iter().zip(plans) {
            views.push(View::open(def, plan, spec.tells_changes(def), store)?);
        }
        let place = |name: &str| spec.streams.iter().position(|stream| stream.name == name);
        let (mut records, mut newcomers, mut intakes) = (Vec::new(), Vec::new(), Vec::new());
        let mut streams: Vec<Vec<usize>> = Vec::new();
        for i in 0..views.len() {
            let mut own: Vec<usize> = Vec::new();
            let mut of: Vec<usize> = Vec::new();
            for read in 0..views[i].reads.len() {
                let name = views[i].reads[read].name.clone();
                if views[i].reads[read].is_stream {
                    own.extend(place(&name));
                } else if let Some(upstream) = views.iter().position(|view| view.name == name) {
                    views[i].direct &= views[upstream].direct;
                    views[upstream].downstream.push((i, read));
                    of.extend(&streams[upstream]);
                }
            }
            own.sort_unstable();
            own.dedup();
            let names: Vec<&str> = own.iter().map(|stream| spec.streams[*stream].name.as_str()).collect();
            let found = ViewRecord::read(store, &views[i].name, &names)?;
            newcomers.push(found.is_none());
            let mut record = found.unwrap_or_default();
            record.belongs_to(&views[i].name, &signatures[i])?;
            for stream in &own {
                let way = record.streams.get(&spec.streams[*stream].name).cloned();
                let fresh = way.is_none();
                let (record, start) =
                    (way.unwrap_or_default(), start(&spec.views[i], &spec.streams[*stream]));
                intakes.push(Intake { stream: *stream, views: vec![i], record, fresh, start });
            }
            of.extend(own);
            of.sort_unstable();
            of.dedup();
            streams.push(of);
            records.push(record);
        }
        let retention = SpanRetention { age_ms: None, bytes_max: DEAD_LETTER_BYTES };
        let letters = store.create_span(&dead_letters_name(&spec.name), dead_letters::schema(), retention)?;
        let lateness_us = lateness_us(spec, &views);
        let catching_up = CatchUp::begin(&views, &newcomers)?;
        Ok(Self {
            name: spec.name.clone(),
            sources,
            asks_itself: asks_itself(&views),
            views,
            epoch: records.iter().map(|record| record.epoch).max().unwrap_or(0),
            records,
            intakes: intake::unite(intakes),
            streams,
            lateness_us,
            newcomers,
            catching_up,
            dead_letters: letters,
            max_drift_us: max_drift_us(spec),
        })
    }

    /// Looks for new partitions, and begins to read them; whether there are any.
    pub fn refresh(&mut self, now_us: u64) -> Result<bool, QueryError> {
        let mut more = false;
        for source in &mut self.sources {
            more |= source.refresh(now_us)?;
        }
        if more {
            for intake in &mut self.intakes {
                let start = intake.fresh.then_some(&intake.start);
                self.sources[intake.stream].begin(&mut intake.record, start)?;
            }
            self.hold();
        }
        Ok(more)
    }

    /// Events that can be read.
    pub fn waiting(&self) -> u64 {
        self.intakes.iter().map(|intake| intake.waiting(&self.sources)).sum()
    }

    /// Of a view, the events that its topics hold and those that it has not read; or,
    /// while it takes in rows of others, those.
    pub fn distance(&self, view: usize) -> (u64, u64) {
        // A view on views is where the first of these is.
        let of_view = |intake: &&Intake| {
            intake.views.contains(&view) || self.views[view].reads.iter().all(|read| !read.is_stream)
        };
        let mine = self.intakes.iter().filter(of_view).filter(|i| self.streams[view].contains(&i.stream));
        if let Some(rows) = self.catching_up.as_ref().filter(|rows| rows.has(view)) {
            return rows.distance();
        }
        mine.fold((0, 0), |(held, left), intake| {
            let source = &self.sources[intake.stream];
            (held + source.held(), left + source.lag(&intake.record.cut))
        })
    }

    /// Whether some view has not taken part in an epoch.
    pub fn begins(&self) -> bool {
        !self.goes_through() || self.views.iter().any(View::lacks_first_result)
    }

    /// Whether windows are due with the partitions as they are now.
    pub fn closes(&self, now_us: i64, monotonic_us: u64) -> bool {
        let watermarks: Vec<Option<i64>> =
            self.intakes.iter().map(|intake| intake.watermark_us(&self.sources, monotonic_us)).collect();
        let instant_us = self.instant_us(now_us);
        (0..self.views.len()).any(|view| {
            let bound_us = self.watermark_us(view, &watermarks);
            let epoch = self.at(view, bound_us, instant_us, 0);
            self.views[view].edges().any(|edge| epoch.closes(edge).is_some())
        })
    }

    /// A view's watermark: the least of its streams', less the lateness that it
    /// allows. `of` are the intakes'.
    fn watermark_us(&self, view: usize, of: &[Option<i64>]) -> Option<i64> {
        let with_time = self.intakes.iter().zip(of).filter(|(intake, _)| {
            self.streams[view].contains(&intake.stream) && self.sources[intake.stream].has_time()
        });
        let watermark_us = with_time.map(|(_, watermark)| *watermark).min().flatten();
        watermark_us.map(|at| at.saturating_sub(self.lateness_us[view]))
    }

    /// The instant of processing at `now_us`, if a stream or a view wants to know; it
    /// never goes back.
    pub fn instant_us(&self, now_us: i64) -> Option<i64> {
        let wanted = self.sources.iter().any(|source| source.stream().processing_time.is_some())
            || self.views.iter().any(View::has_ttl);
        let before = self.records.iter().filter_map(|record| record.processed_us).max();
        wanted.then(|| now_us.max(before.unwrap_or(i64::MIN)))
    }

    fn at(&self, view: usize, watermark_us: Option<i64>, instant_us: Option<i64>, number: u64) -> Epoch {
        let record = &self.records[view];
        // What a view begins with is not late, however long ago it came.
        let watermark_us = watermark_us.filter(|_| !self.newcomers[view]);
        let event = Bounds::to(watermark_us, record.closed_us);
        let processing = Bounds::to(instant_us, record.processed_us);
        let is_first = self.newcomers[view] && self.catching_up.as_ref().is_none_or(CatchUp::is_first);
        Epoch { number, is_first, event, processing, ..Epoch::default() }
    }

    /// Runs an epoch on what was taken, up to its commit, which the caller makes.
    pub fn run(
        &self,
        commit: &mut Commit,
        mut taking: Taking,
        now_us: i64,
        monotonic_us: u64,
    ) -> Result<Done, QueryError> {
        let number = self.epoch + 1;
        let instant_us = taking.instant_us;
        let mut records = self.records.clone();
        // By the watermark of the epoch before: what belongs to its windows is in
        // the state, and this epoch's rows for them are late.
        let watermarks: Vec<Option<i64>> =
            self.intakes.iter().map(|intake| intake.record.watermark_us).collect();
        let mut letters = std::mem::take(&mut taking.outputs.dead_letters);
        let mut rows = 0;
        for (i, view) in self.views.iter().enumerate() {
            records[i].epoch = number;
            if let Some(rows) = &self.catching_up {
                if !rows.has(i) {
                    continue;
                }
                records[i].catching_up = !rows.is_last();
            }
            let mut epoch = self.at(i, self.watermark_us(i, &watermarks), instant_us, number);
            self.catch_up(i, &mut epoch, &mut taking.outputs)?;
            let taken = std::mem::take(&mut taking.outputs.taken[i]);
            let changed = match view.direct && self.goes_through() {
                true => view.append(commit, number, taken),
                false => self.run_view(i, commit, &mut epoch, taken, &mut taking.outputs)?,
            };
            records[i].rows_out += changed;
            records[i].closed_us = epoch.event.now_us;
            records[i].processed_us = epoch.processing.now_us;
            rows += changed;
            self.lost(i, epoch, &mut letters);
        }
        for (i, record) in records.iter_mut().enumerate() {
            record.rows_in += taking.outputs.rows_in[i];
        }
        let dead_letters = self.write_dead_letters(commit, number, &letters, now_us)?;
        for (intake, before) in taking.intakes.iter_mut().zip(&self.intakes) {
            let source = &self.sources[intake.stream];
            intake.record.watermark_us = before.record.watermark_us;
            let active = |partition: usize| taking.active.contains(&(intake.stream, partition));
            intake.record.watermark_us = source.watermark_after(&intake.record, monotonic_us, &active);
            for view in &intake.views {
                records[*view].streams.insert(source.stream().name.clone(), intake.record.clone());
            }
        }
        for (view, record) in self.views.iter().zip(&records) {
            commit.note(&record_name(&view.name), Some(record.encode()?.into()));
        }
        let watermark_us = taking.intakes.iter().map(|intake| intake.record.watermark_us).min().flatten();
        let status = EpochStatus {
            graph: self.name.clone(),
            epoch: number.cast_signed(),
            committed_at_us: 0,
            events: taking.events,
            rows,
            dead_letters,
            duration_ms: 0.0,
            commit_ms: 0.0,
            watermark_us,
        };
        let Taking { intakes, bytes, appended, active, .. } = taking;
        Ok(Done { status, bytes, appended, active, intakes, records })
    }

    /// Whether rows go through direct views where events are decoded. Not while
    /// some view begins: what it begins with goes on to others.
    pub fn goes_through(&self) -> bool {
        !self.newcomers.contains(&true)
    }

    /// Runs a view's operators, and hands its changes to the views that read it.
    fn run_view(
        &self,
        view: usize,
        commit: &mut Commit,
        epoch: &mut Epoch,
        taken: Vec<Vec<Delta>>,
        outputs: &mut Outputs,
    ) -> Result<u64, QueryError> {
        let told = !self.views[view].downstream.is_empty();
        let (changed, changes) = self.views[view].run(commit, epoch, taken, told)?;
        for (next, read) in &self.views[view].downstream {
            for change in &changes {
                outputs.rows_in[*next] += change.len() as u64;
                let change = self.views[*next].step_delta(*read, epoch, change.clone())?;
                outputs.taken[*next][*read].push(change);
            }
        }
        Ok(changed)
    }

    /// Waits until everything that an epoch takes is on disk: it must not include
    /// an event that a power failure could take back.
    pub fn make_durable(&self, done: &Done) -> Result<(), QueryError> {
        done.intakes
            .iter()
            .try_for_each(|intake| self.sources[intake.stream].make_durable(&intake.record.cut))
    }

    /// Goes on behind a committed epoch.
    pub fn advance(&mut self, done: &mut Done, monotonic_us: u64) {
        for (stream, partition) in &done.active {
            self.sources[*stream].mark_active(*partition, monotonic_us);
        }
        self.epoch += 1;
        self.records = std::mem::take(&mut done.records);
        self.intakes = intake::unite(std::mem::take(&mut done.intakes));
        match &mut self.catching_up {
            None => self.newcomers.fill(false),
            Some(rows) => {
                rows.committed();
                if rows.is_last() {
                    self.newcomers.iter_mut().enumerate().for_each(|(i, new)| *new &= !rows.has(i));
                    self.catching_up = None;
                }
            }
        }
        self.views.iter_mut().for_each(View::committed);
        self.hold();
    }

    /// Lets go of the events that all views have read, and no more.
    pub fn hold(&self) {
        for (stream, source) in self.sources.iter().enumerate() {
            source.hold(&self.name, intake::rear(&self.intakes, stream).as_deref());
        }
    }

    /// Lets go of all events.
    pub fn release(&self) {
        self.sources.iter().for_each(|source| source.hold(&self.name, None));
    }

    /// Gives a new view its portion of the rows that the views it reads had before.
    fn catch_up(&self, newcomer: usize, epoch: &mut Epoch, outputs: &mut Outputs) -> Result<(), QueryError> {
        for (from, rows) in self.catching_up.iter().flat_map(CatchUp::portion) {
            for (_, read) in self.views[*from].downstream.iter().filter(|(to, _)| *to == newcomer) {
                outputs.rows_in[newcomer] += rows.len() as u64;
                let rows = self.views[newcomer].step_delta(*read, epoch, rows.clone())?;
                outputs.taken[newcomer][*read].push(rows);
            }
        }
        Ok(())
    }

    /// Rows that a view could not take become dead letters.
    fn lost(&self, view: usize, epoch: Epoch, letters: &mut Vec<DeadLetter>) {
        let name = &self.views[view].name;
        let stream = self.streams[view].first().copied().unwrap_or(0);
        let late = epoch
            .late
            .into_iter()
            .map(|row| (row, "late: its window was closed by the watermark".to_owned()));
        letters.extend(late.chain(epoch.failed).map(|(row, reason)| DeadLetter {
            stream,
            partition: None,
            offset: None,
            reason: format!("{name}: {reason}"),
            value: row_text(&row),
        }));
    }

    fn write_dead_letters(
        &self,
        commit: &mut Commit,
        epoch: u64,
        letters: &[DeadLetter],
        now_us: i64,
    ) -> Result<u64, QueryError> {
        if letters.is_empty() {
            return Ok(0);
        }
        let streams = self.sources.iter().map(Source::stream);
        let streams: Vec<_> = streams.map(|s| (s.name.as_str(), s.topic.as_str())).collect();
        commit.append(&self.dead_letters, epoch, dead_letter_rows(letters, now_us, &streams)?);
        Ok(letters.len() as u64)
    }
}

/// How far the event time of one stream may be ahead of another's: the least that a
/// view allows.
fn max_drift_us(spec: &GraphSpec) -> Option<i64> {
    let allowed_ms = spec.views.iter().filter_map(|view| view.max_drift_ms).min();
    allowed_ms.map(|ms| ms.saturating_mul(1000))
}

/// How far behind the watermark each view closes windows: what it allows itself, and
/// what the views allow that it reads.
fn lateness_us(spec: &GraphSpec, views: &[View]) -> Vec<i64> {
    let allowed_us = |view: &ViewDef| view.allowed_lateness_ms.unwrap_or(0).saturating_mul(1000);
    let mut upstream_us = vec![0; views.len()];
    let mut all_us = Vec::with_capacity(views.len());
    for (i, view) in views.iter().enumerate() {
        let own_us = allowed_us(&spec.views[i]).saturating_add(upstream_us[i]);
        for (next, _) in &view.downstream {
            upstream_us[*next] = own_us.max(upstream_us[*next]);
        }
        all_us.push(own_us);
    }
    all_us
}

/// Whether a lookup of one of the views asks one of them.
fn asks_itself(views: &[View]) -> bool {
    let mut asked = views.iter().flat_map(|view| &view.reads).flat_map(ReadRunner::tables);
    asked.any(|table| views.iter().any(|view| view.name == table))
}

/// Where a view begins to read a stream.
fn start(view: &ViewDef, stream: &StreamDef) -> StartAt {
    let of_stream = || stream.kafka.as_ref().map(|kafka| kafka.start.clone());
    view.start.clone().or_else(of_stream).unwrap_or_default()
}

/// Puts old records away once their views have new ones.
pub fn put_away_old_records(spec: &GraphSpec, store: &Store, commit: &mut Commit) {
    spec.views.iter().for_each(|view| record::remove_1(store, commit, &view.name));
}
