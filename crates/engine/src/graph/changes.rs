//! A view's changes, written down for sinks that tell of rows that go.
//!
//! Promises: the span begins with what the view held when the first such sink was
//! made, and has every change since, epoch by epoch, in the commit that makes it.
//! A note tells that the beginning is written; without it, what the span holds is
//! of an earlier sink and goes.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, Int64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pluvio_catalog::ViewDef;
use pluvio_keytables::{Commit, Span, SpanRetention, Store};
use pluvio_query::QueryError;
use pluvio_query::tables::WEIGHT;

use crate::operators::{Delta, batch_of};

/// The name of the span of a view's changes.
pub fn changes_name(view: &str) -> String {
    format!("{view}$changes")
}

/// The name of the note that its beginning is written.
pub fn changes_note(view: &str) -> String {
    format!("changes/{view}")
}

/// See the module.
pub struct ChangesLog {
    view: String,
    span: Arc<Span>,
    schema: SchemaRef,
    begun: bool,
}

impl ChangesLog {
    /// Opens the span of a view, or removes it if no sink `wants` it.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(def: &ViewDef, wanted: bool, store: &Store) -> Result<Option<Self>, QueryError> {
        let (name, note) = (changes_name(&def.name), changes_note(&def.name));
        let begun = store.note(&note).is_some();
        if begun && !wanted {
            let mut commit = store.begin();
            commit.note(&note, None);
            commit.commit()?;
        }
        if !(begun && wanted) && store.span(&name).is_some() {
            store.drop_span(&name)?;
        }
        if !wanted {
            return Ok(None);
        }
        let mut fields: Vec<_> = def.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new(WEIGHT, DataType::Int64, true));
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let retention = SpanRetention { age_ms: None, bytes_max: def.retention_bytes };
        let span = store.create_span(&name, Arc::clone(&schema), retention)?;
        Ok(Some(Self { view: def.name.clone(), span, schema, begun }))
    }

    /// Whether the view's content as it is must be written first.
    pub fn begins(&self) -> bool {
        !self.begun
    }

    /// Tells the commit that the beginning is written.
    pub fn begin(&self, commit: &mut Commit) {
        commit.note(&changes_note(&self.view), Some(Bytes::from_static(b"1")));
    }

    /// The epoch is committed.
    pub fn committed(&mut self) {
        self.begun = true;
    }

    /// The span.
    pub fn span(&self) -> &Arc<Span> {
        &self.span
    }

    /// Writes changes, as readers see the rows.
    ///
    /// # Errors
    /// Arrow's.
    pub fn write(&self, commit: &mut Commit, epoch: u64, changes: &[Delta]) -> Result<(), QueryError> {
        for change in changes.iter().filter(|change| change.len() > 0) {
            let weights = match &change.weights {
                Some(weights) => weights.clone(),
                None => Int64Array::from(vec![1; change.len()]),
            };
            let weights: ArrayRef = Arc::new(weights);
            let columns = change.rows.columns().iter().cloned().chain([weights]).collect();
            commit.append(&self.span, epoch, batch_of(&self.schema, columns, change.len())?);
        }
        Ok(())
    }
}
