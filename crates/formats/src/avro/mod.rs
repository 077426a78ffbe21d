//! The Avro decoder: one binary record per event, straight into columns.
//!
//! Rules
//! - Fields find their column by exact name, else by name without regard to
//!   ASCII case; undeclared fields are passed over. A column whose field the
//!   writer's schema does not have is NULL, or rejects the event if it is NOT
//!   NULL. A schema's default values play no part.
//! - Records fill STRUCT columns, arrays ARRAY, maps MAP; of a union the branch
//!   that was written counts. Enums and UUIDs are text. Dates, times and
//!   timestamps fill columns of their type, or integer columns with the number
//!   as it was written. Decimals round to the column's scale.
//! - With [`Framing::Confluent`] the writer's schema is found by the id in front
//!   of the record; an event whose id is unknown is rejected.
//! - The record ends where the event does.
//!
//! Limits, checked before memory is taken: a schema's text of 1 MiB, elements of
//! arrays and maps as many as the record has bytes and 4096 more.

mod input;
mod plan;
mod read;
mod schema;

use std::collections::{BTreeMap, HashMap};

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use crate::column::{Columns, Object, TYPED_TYPES, typed_column};
use crate::decode::OnError;
use crate::error::FormatError;
use crate::framing::{Framing, HEADER_BYTES, no_schema_id, split_schema_id};
use crate::rows::Rejection;
use crate::tabular;
use input::Input;
use plan::{RecordPlan, plan};
use read::{Reader, Reject};
use schema::Schema;

/// How Avro records were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AvroOptions {
    /// The writer's schema as JSON. With ids in front of the records, the schema
    /// of those ids that `schemas` does not have; empty if there are none such.
    pub schema: String,
    /// What stands in front of each record.
    pub framing: Framing,
    /// The writers' schemas as JSON, by id.
    pub schemas: BTreeMap<u32, String>,
}

/// A writer's schema and how to read it.
struct Writer {
    schema: Schema,
    plan: RecordPlan,
}

/// See the module.
pub(crate) struct Records {
    on_error: OnError,
    framing: Framing,
    /// For records without an id, and for ids that are not in `writers`.
    default: Option<Writer>,
    writers: HashMap<u32, Writer>,
    root: Object<()>,
}

impl Records {
    /// Empty columns of this schema.
    pub(crate) fn new(
        options: &AvroOptions,
        schema: &SchemaRef,
        on_error: OnError,
    ) -> Result<Self, FormatError> {
        let columns = Columns { format: "format avro", supported: TYPED_TYPES, scalar: &typed_column };
        let root = Object::new(schema.fields(), "", 0, &columns)?;
        let writer = |text: &String| {
            let schema = Schema::parse(text)?;
            let plan = plan(&schema, &root)?;
            Ok::<_, FormatError>(Writer { schema, plan })
        };
        let mut writers = HashMap::with_capacity(options.schemas.len());
        for (id, text) in &options.schemas {
            writers.insert(*id, writer(text)?);
        }
        let default = match options.schema.is_empty() && options.framing == Framing::Confluent {
            true if writers.is_empty() => {
                return Err(FormatError::Invalid("format avro needs a schema".to_owned()));
            }
            true => None,
            false => Some(writer(&options.schema)?),
        };
        let framing = options.framing;
        Ok(Self { on_error, framing, default, writers, root })
    }
}

impl tabular::Reader for Records {
    const EXPECTED: &'static str = "an Avro record";

    fn read(&mut self, value: &[u8], row: usize) -> Result<(), Rejection> {
        let (id, record) = match self.framing {
            Framing::Plain => (None, value),
            Framing::Confluent => {
                let (id, record) =
                    split_schema_id(value).ok_or_else(|| Rejection::Event(no_schema_id(value)))?;
                (Some(id), record)
            }
        };
        let writer = id.and_then(|id| self.writers.get(&id)).or(self.default.as_ref());
        let Some(writer) = writer else {
            let id = id.unwrap_or(0);
            return Err(Rejection::Event(format!("schema id {id} is unknown; give the stream its schema")));
        };
        let reader = Reader { types: &writer.schema.types, on_error: self.on_error };
        let mut input = Input::new(record);
        let outcome = reader
            .record(&writer.plan, &mut self.root, &mut input)
            .and_then(|()| input.expect_end().map_err(Reject::from));
        let Err(reject) = outcome else { return Ok(()) };
        self.root.truncate(row);
        Err(match (reject.verdict(|malformed| malformed.reason()), id) {
            (Rejection::Event(reason), Some(id)) => {
                Rejection::Event(format!("schema id {id} (record from byte {HEADER_BYTES} on): {reason}"))
            }
            (rejection, _) => rejection,
        })
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        self.root.finish()
    }
}
