//! The book of a batch in the making: which events became rows, which did not.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use crate::decode::{Decoded, RowError};
use crate::error::FormatError;

/// Why an event became no row.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// The event is at fault, for this reason.
    Event(String),
    /// The batch has no room for it.
    BatchFull,
}

/// Accepted and rejected events of the batch in the making.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pushed: usize,
    ordinals: Vec<u32>,
    /// Only where rows may go.
    weights: Option<Vec<i64>>,
    errors: Vec<RowError>,
    full: bool,
}

impl Rows {
    /// Events so far.
    pub(crate) fn pushed(&self) -> usize {
        self.pushed
    }

    /// Rows so far.
    pub(crate) fn accepted(&self) -> usize {
        self.ordinals.len()
    }

    /// Enters the verdict on the next event.
    pub(crate) fn enter(&mut self, verdict: Result<(), Rejection>) {
        let ordinal = u32::try_from(self.pushed).unwrap_or(u32::MAX);
        self.pushed += 1;
        match verdict {
            Ok(()) => self.ordinals.push(ordinal),
            Err(Rejection::Event(reason)) => self.errors.push(RowError { ordinal, reason }),
            Err(Rejection::BatchFull) => self.full = true,
        }
    }

    /// Enters what the next event changes: a row of each weight, or no row.
    pub(crate) fn enter_changes(&mut self, verdict: Result<&[i64], Rejection>) {
        match verdict {
            Ok(changes) => {
                let ordinal = u32::try_from(self.pushed).unwrap_or(u32::MAX);
                self.pushed += 1;
                self.ordinals.extend(changes.iter().map(|_| ordinal));
                self.weights.get_or_insert_default().extend(changes);
            }
            Err(rejection) => self.enter(Err(rejection)),
        }
    }

    /// Closes the book over the finished columns and opens the next.
    pub(crate) fn finish(
        &mut self,
        schema: &SchemaRef,
        columns: Vec<ArrayRef>,
    ) -> Result<Decoded, FormatError> {
        let next = Self { ordinals: Vec::with_capacity(self.ordinals.len()), ..Self::default() };
        let rows = std::mem::replace(self, next);
        if rows.full {
            return Err(FormatError::BatchTooLarge);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.ordinals.len()));
        let batch = RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)?;
        Ok(Decoded { batch, ordinals: rows.ordinals, weights: rows.weights, errors: rows.errors })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::datatypes::Schema;
    use pluvio_foundation::ErrorKind;

    #[test]
    fn a_full_batch_is_an_error_and_the_next_is_not() {
        let schema = Arc::new(Schema::empty());
        let mut rows = Rows::default();
        rows.enter(Ok(()));
        rows.enter(Err(Rejection::BatchFull));
        assert_eq!((rows.pushed(), rows.accepted()), (2, 1));
        assert_eq!(rows.finish(&schema, Vec::new()).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(rows.pushed(), 0);
        rows.enter(Err(Rejection::Event("bad".to_owned())));
        rows.enter(Ok(()));
        let decoded = rows.finish(&schema, Vec::new()).unwrap();
        assert_eq!((decoded.ordinals, decoded.errors[0].ordinal), (vec![1], 0));
    }
}
