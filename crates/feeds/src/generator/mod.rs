//! Events made of random values, as JSON.
//!
//! Event number n has the same content whenever it is made, apart from dates and
//! times, which are taken from the clock: its values follow from the seed, n and
//! the column's place alone. The numbers of a batch stand in its last event
//! ([`crate::mark`]), so a generator goes on behind the last one that the topic
//! has, and makes those again that a loss of power took from the middle.
//!
//! Batches go to one partition after another. The time of an event is that of
//! its batch.

mod numbers;
mod pace;
mod rows;

use std::time::Duration;

use pluvio_catalog::GeneratorDef;
use pluvio_wire_kafka::records::BatchBuilder;

use crate::FeedError;
use crate::checkpoint::{self, Checkpoint};
use crate::context::Context;
use crate::mark::{MARK, Mark};
use crate::runner::Ended;
use crate::scan::scan;
use crate::status::FeedState;
use crate::target::{BATCH_BYTES, Target, Waiter, seal};
use numbers::{Numbers, Positions};
use pace::Pace;
use rows::Rows;

/// Most events of a batch.
const BATCH_ROWS: u64 = 10_000;

/// Makes events until there are enough, or the feed is to stop.
///
/// # Errors
/// The log's, and columns of types that are not made.
pub(crate) fn run(context: &Context, def: &GeneratorDef) -> Result<Ended, FeedError> {
    let fields = def.fields(&context.spec.columns)?;
    let rows_max = def.rows(&fields);
    let target = Target::open(context)?;
    let Some(numbers) = find(context, &target, rows_max.unwrap_or(u64::MAX))? else {
        return Ok(Ended::Stopped);
    };
    let mut making = Making {
        context,
        rows: Rows::new(&fields, def.seed),
        waiter: Waiter::new()?,
        value: Vec::new(),
        spare: Vec::new(),
        value_bytes_max: target.value_bytes_max(context, 0)?,
        target,
        numbers,
        batches: 0,
    };
    // The topic need not be read again, whatever comes.
    making.save()?;
    let ended = making.run(Pace::new(def.rows_per_second, context.clock.monotonic_us()))?;
    making.save()?;
    Ok(ended)
}

/// Which numbers the topic lacks. `None` if the feed is to stop meanwhile.
fn find(context: &Context, target: &Target, end: u64) -> Result<Option<Numbers>, FeedError> {
    let known: Option<Checkpoint<Positions>> = checkpoint::load(context, &target.topic);
    let is_whole =
        known.is_some() || target.topic.partitions().iter().all(|partition| partition.start_offset() == 0);
    let (ends, positions) = known.map(|it| (it.ends, it.positions)).unwrap_or_default();
    let mut numbers = Numbers::new(positions, end);
    let is_read = scan(context, &target.topic, &ends, |mark, _| {
        if let Mark::Numbers(range) = mark {
            numbers.note(range);
        }
    })?;
    if !is_whole {
        // What is missing in front may have been removed for its age.
        numbers.forgive();
    }
    Ok(is_read.then_some(numbers))
}

struct Making<'a> {
    context: &'a Context,
    target: Target,
    waiter: Waiter,
    rows: Rows,
    numbers: Numbers,
    value: Vec<u8>,
    /// Room for another.
    spare: Vec<u8>,
    value_bytes_max: usize,
    batches: u64,
}

impl Making<'_> {
    fn run(&mut self, mut pace: Pace) -> Result<Ended, FeedError> {
        let context = self.context;
        let mut saved_us = context.clock.monotonic_us();
        self.show();
        while !self.numbers.is_over() {
            if context.stop.is_asked() {
                return Ok(Ended::Stopped);
            }
            let now_us = context.clock.monotonic_us();
            let due = pace.due(now_us).min(BATCH_ROWS);
            if due == 0 {
                context.stop.wait(Duration::from_micros(pace.wait_us(now_us)));
                continue;
            }
            pace.made(self.append(due)?);
            if context.passed(saved_us, context.options.checkpoint_interval_ms) {
                self.save()?;
                saved_us = context.clock.monotonic_us();
            }
        }
        Ok(Ended::Finished)
    }

    /// Makes a batch of at most `count` events. Returns how many it has.
    fn append(&mut self, count: u64) -> Result<u64, FeedError> {
        let context = self.context;
        let (now_us, records_bytes) = (context.clock.now_us(), self.target.records_bytes(context));
        let now_ms = now_us.div_euclid(1000);
        self.rows.set_now(now_us);
        let range = self.numbers.next(count);
        let mut builder = BatchBuilder::with_capacity(now_ms, BATCH_BYTES);
        let (mut number, mut bytes) = (range.start, 0);
        self.make(number)?;
        loop {
            number += 1;
            bytes += self.value.len();
            let value = std::mem::take(&mut self.value);
            // Whether it is the last of its batch depends on the next one.
            let taken = builder.bytes() + Target::record_bytes(value.len(), 0);
            self.value = std::mem::take(&mut self.spare);
            let has_next = number < range.end && {
                self.make(number)?;
                taken + Target::record_bytes(self.value.len(), 0) < records_bytes
            };
            if has_next {
                builder.push(None, Some(&value), now_ms, &[]);
                self.spare = value;
                continue;
            }
            let mark = Mark::Numbers(range.start..number).encode(&context.spec.stream);
            builder.push(None, Some(&value), now_ms, &[(MARK, Some(mark.as_bytes()))]);
            self.spare = value;
            break;
        }
        let partition = self.target.partition(self.batches)?;
        self.target.append(context, &partition, seal(builder)?)?;
        let count = number - range.start;
        self.batches += 1;
        self.numbers.made(count);
        context.board.count(count, bytes as u64);
        self.show();
        self.waiter.room(context, &partition);
        Ok(count)
    }

    /// Makes one event. Refuses it if no batch of the topic can hold it.
    fn make(&mut self, number: u64) -> Result<(), FeedError> {
        self.value.clear();
        self.rows.write(number, &mut self.value);
        if self.value.len() <= self.value_bytes_max {
            return Ok(());
        }
        let config = self.target.topic.config();
        let (topic, bytes_max) = (self.target.topic.name().to_owned(), config.max_message_bytes);
        Err(FeedError::SmallBatches { topic, bytes_max })
    }

    fn show(&self) {
        self.context.board.show(FeedState::Running, self.numbers.show(), None);
    }

    fn save(&mut self) -> Result<(), FeedError> {
        self.target.save(self.context, self.numbers.positions())
    }
}
