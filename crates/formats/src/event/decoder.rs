//! A format's decoder, and around it the columns that come from elsewhere.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{FieldRef, Fields, Schema, SchemaRef};

use super::fill::Surroundings;
use super::{ColumnSource, EventOptions, OnTombstone, RowContext};
use crate::decode::{Decoded, Decoder, Format, OnError, RowError, decoder};
use crate::error::FormatError;
use crate::rows::Rejection;

/// Decodes values by their format and fills other columns beside them.
pub(crate) struct EventDecoder {
    schema: SchemaRef,
    /// Of each column: is it from the value, and which is it there?
    places: Vec<Place>,
    values: Box<dyn Decoder>,
    surroundings: Surroundings,
    on_tombstone: OnTombstone,
    pushed: u32,
    /// The events that have a row in `surroundings`.
    entries: Vec<Entry>,
    errors: Vec<RowError>,
    full: bool,
}

#[derive(Clone, Copy)]
enum Place {
    Value(usize),
    Surrounding(usize),
}

struct Entry {
    ordinal: u32,
    /// Whether its value was pushed; else it is a deletion.
    has_value: bool,
}

impl EventDecoder {
    /// A decoder into this schema.
    pub(crate) fn new(
        format: &Format,
        schema: SchemaRef,
        on_error: OnError,
        options: &EventOptions,
    ) -> Result<Self, FormatError> {
        let count = schema.fields().len();
        if options.sources.len() != count && !options.sources.is_empty() {
            let found = options.sources.len();
            return Err(FormatError::Invalid(format!("{found} sources for {count} columns; give each one")));
        }
        let source = |column: usize| options.sources.get(column).cloned().unwrap_or_default();
        let (mut values, mut others): (Vec<FieldRef>, Vec<(FieldRef, ColumnSource)>) = Default::default();
        for (column, field) in schema.fields().iter().enumerate() {
            match source(column) {
                ColumnSource::Value => values.push(Arc::clone(field)),
                source => others.push((Arc::clone(field), source)),
            }
        }
        if options.on_tombstone == OnTombstone::Delete
            && let Some(field) = values.iter().find(|field| !field.is_nullable())
        {
            return Err(FormatError::Invalid(format!(
                "a deletion has no value for column `{}`; let it be NULL",
                field.name()
            )));
        }
        let places = places(schema.fields().len(), &source);
        let values = decoder(format, Arc::new(Schema::new(Fields::from(values))), on_error)?;
        Ok(Self {
            schema,
            places,
            values,
            surroundings: Surroundings::new(others, on_error)?,
            on_tombstone: options.on_tombstone,
            pushed: 0,
            entries: Vec::new(),
            errors: Vec::new(),
            full: false,
        })
    }

    /// What stands in the columns: for each row the row of its surroundings, the
    /// row of its value if it has one, its event and its weight.
    fn rows(&mut self, values: &Decoded) -> Assembled {
        let mut rows = Assembled::default();
        let (mut next, mut value_events) = (0, Vec::with_capacity(self.entries.len()));
        for (place, entry) in (0_u32..).zip(&self.entries) {
            if !entry.has_value {
                rows.push(place, None, entry.ordinal, -1);
                continue;
            }
            let event = u32::try_from(value_events.len()).unwrap_or(u32::MAX);
            value_events.push(entry.ordinal);
            while values.ordinals.get(next) == Some(&event) {
                let weight = values.weights.as_ref().and_then(|weights| weights.get(next)).copied();
                rows.push(place, u32::try_from(next).ok(), entry.ordinal, weight.unwrap_or(1));
                next += 1;
            }
        }
        for error in &values.errors {
            if let Some(ordinal) = value_events.get(error.ordinal as usize) {
                self.errors.push(RowError { ordinal: *ordinal, reason: error.reason.clone() });
            }
        }
        self.errors.sort_by_key(|error| error.ordinal);
        rows
    }
}

/// Where each column of the schema is found.
fn places(count: usize, source: &dyn Fn(usize) -> ColumnSource) -> Vec<Place> {
    // Surroundings put the fields of the key first.
    let mut place_key = 0;
    let mut place_other = (0..count).filter(|column| source(*column) == ColumnSource::KeyField).count();
    let mut place_value = 0;
    let next = |place: &mut usize| {
        *place += 1;
        *place - 1
    };
    let place = |column| match source(column) {
        ColumnSource::Value => Place::Value(next(&mut place_value)),
        ColumnSource::KeyField => Place::Surrounding(next(&mut place_key)),
        _ => Place::Surrounding(next(&mut place_other)),
    };
    (0..count).map(place).collect()
}

/// The rows of a batch, before their columns are put together.
#[derive(Default)]
struct Assembled {
    surroundings: Vec<u32>,
    values: Vec<Option<u32>>,
    ordinals: Vec<u32>,
    weights: Vec<i64>,
}

impl Assembled {
    fn push(&mut self, surrounding: u32, value: Option<u32>, ordinal: u32, weight: i64) {
        self.surroundings.push(surrounding);
        self.values.push(value);
        self.ordinals.push(ordinal);
        self.weights.push(weight);
    }
}

impl Decoder for EventDecoder {
    /// An event without anything but its value: no key, no header, offset 0 of
    /// partition 0 in 1970.
    fn push(&mut self, value: Option<&[u8]>) {
        let context = RowContext { key: None, headers: &[], partition: 0, offset: 0, timestamp_ms: 0 };
        self.push_with(value, &context);
    }

    fn push_with(&mut self, value: Option<&[u8]>, context: &RowContext<'_>) {
        let ordinal = self.pushed;
        self.pushed = self.pushed.saturating_add(1);
        if value.is_none() && self.on_tombstone == OnTombstone::Ignore {
            return;
        }
        match self.surroundings.push(context) {
            Err(Rejection::Event(reason)) => self.errors.push(RowError { ordinal, reason }),
            Err(Rejection::BatchFull) => self.full = true,
            Ok(()) => {
                let has_value = value.is_some() || self.on_tombstone == OnTombstone::Format;
                self.entries.push(Entry { ordinal, has_value });
                if has_value {
                    self.values.push(value);
                }
            }
        }
    }

    fn pushed(&self) -> usize {
        self.pushed as usize
    }

    fn finish(&mut self) -> Result<Decoded, FormatError> {
        let arrays = self.surroundings.finish();
        let values = self.values.finish();
        let full = std::mem::take(&mut self.full);
        let outcome = match (values, full) {
            (Ok(values), false) => Ok((self.rows(&values), values)),
            (Ok(_), true) => Err(FormatError::BatchTooLarge),
            (Err(error), _) => Err(error),
        };
        self.pushed = 0;
        self.entries.clear();
        let errors = std::mem::take(&mut self.errors);
        let (rows, values) = outcome?;
        let batch = self.batch(&rows, &arrays, &values.batch)?;
        let changes = values.weights.is_some() || rows.weights.iter().any(|weight| *weight != 1);
        let weights = changes.then_some(rows.weights);
        Ok(Decoded { batch, ordinals: rows.ordinals, weights, errors })
    }
}

impl EventDecoder {
    fn batch(
        &self,
        rows: &Assembled,
        surroundings: &[ArrayRef],
        values: &RecordBatch,
    ) -> Result<RecordBatch, FormatError> {
        let same = |count: usize, indices: &mut dyn Iterator<Item = Option<u32>>| {
            rows.ordinals.len() == count && indices.zip(0_u32..).all(|(index, row)| index == Some(row))
        };
        let surrounding_rows = surroundings.first().map_or(0, |array| array.len());
        let all_surroundings = same(surrounding_rows, &mut rows.surroundings.iter().copied().map(Some));
        let all_values = same(values.num_rows(), &mut rows.values.iter().copied());
        let surrounding_indices = UInt32Array::from(rows.surroundings.clone());
        let value_indices = UInt32Array::from(rows.values.clone());
        let mut columns = Vec::with_capacity(self.places.len());
        for place in &self.places {
            columns.push(match *place {
                Place::Surrounding(column) if all_surroundings => Arc::clone(&surroundings[column]),
                Place::Surrounding(column) => take(&surroundings[column], &surrounding_indices, None)?,
                Place::Value(column) if all_values => Arc::clone(values.column(column)),
                Place::Value(column) if values.num_rows() == 0 => {
                    new_null_array(values.column(column).data_type(), rows.ordinals.len())
                }
                Place::Value(column) => take(values.column(column), &value_indices, None)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.ordinals.len()));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?)
    }
}
