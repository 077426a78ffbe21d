//! The Protobuf decoder: one message per event, straight into columns.
//!
//! Rules
//! - Fields find their column by exact name (as in the `.proto` text), else by
//!   name without regard to ASCII case; undeclared fields are passed over. A
//!   column that the message has no field for is NULL.
//! - A field that was not written is NULL if it tells its absence (`optional`,
//!   a oneof, a message, proto2), else its type's default (0, empty text, the
//!   enum's first value). Where NULL meets NOT NULL the event is rejected.
//! - Messages fill STRUCT columns, repeated fields ARRAY, maps MAP. Enums are
//!   text, or their number in an integer column. `google.protobuf.Timestamp`
//!   fills a TIMESTAMP, a wrapper a nullable column of its value.
//! - Of a field written several times the last counts, messages are merged, and
//!   of a oneof the last one written counts, as the standard says.
//! - With [`Framing::Confluent`] a schema id and the place of the message in its
//!   file come first. Messages evolve by field number, so one schema reads what
//!   was written with others.
//!
//! Limits: a schema's text or descriptors of 4 MiB. Elements take bytes of the
//! record each, so memory is bounded by the bytes that came.

mod descriptor;
mod lexer;
mod plan;
mod read;
mod set;
mod text;
mod well_known;
mod wire;

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use crate::column::{Columns, Object, TYPED_TYPES, typed_column};
use crate::decode::OnError;
use crate::error::FormatError;
use crate::framing::{Framing, no_schema_id, split_schema_id};
use crate::rows::Rejection;
use crate::tabular;
use descriptor::{Types, invalid};
use plan::MessagePlan;
use wire::{Wire, unzigzag};

/// How Protobuf messages were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtobufOptions {
    /// What defines the message.
    pub schema: ProtobufSchema,
    /// The message's full name (`package.Message`), or its own name if it is the
    /// only one of that name.
    pub message: String,
    /// What stands in front of each record.
    pub framing: Framing,
}

/// What defines messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtobufSchema {
    /// A serialized `FileDescriptorSet`, as `protoc --include_imports -o` writes it.
    Descriptor(Vec<u8>),
    /// A `.proto` text.
    Text {
        /// The text.
        text: String,
        /// The texts of what it imports, by the path in the import. Those of
        /// `google/protobuf/` are known.
        imports: BTreeMap<String, String>,
    },
}

/// See the module.
pub(crate) struct Messages {
    on_error: OnError,
    framing: Framing,
    /// The message's full name.
    message: String,
    /// The message's place in its file, from the outside in.
    path: Vec<u32>,
    plan: MessagePlan,
    root: Object<()>,
}

impl Messages {
    /// Empty columns of this schema.
    pub(crate) fn new(
        options: &ProtobufOptions,
        schema: &SchemaRef,
        on_error: OnError,
    ) -> Result<Self, FormatError> {
        let columns = Columns { format: "format protobuf", supported: TYPED_TYPES, scalar: &typed_column };
        let root = Object::new(schema.fields(), "", 0, &columns)?;
        let types = types(&options.schema)?;
        let (message, found) = types.message(&options.message)?;
        let plan = MessagePlan::new(&types, message, &found.definition, &root);
        Ok(Self {
            on_error,
            framing: options.framing,
            message: message.to_owned(),
            path: found.path.clone(),
            plan,
            root,
        })
    }

    /// Checks which message of the schema this is; gives the record behind it.
    fn behind_path<'a>(&self, bytes: &'a [u8], id: u32) -> Result<&'a [u8], Rejection> {
        let mut wire = Wire::new(bytes);
        let mut next = || wire.varint().map(unzigzag).map_err(|fault| fault.reason());
        let matches = next().and_then(|count| match count {
            // The first message of the file, by far the most common, is written as 0 alone.
            0 => Ok(self.path == [0]),
            count if i64::try_from(self.path.len()) == Ok(count) => {
                let mut same = true;
                for index in &self.path {
                    same &= next()? == i64::from(*index);
                }
                Ok(same)
            }
            _ => Ok(false),
        });
        match matches {
            Ok(true) => Ok(wire.rest()),
            Ok(false) => Err(Rejection::Event(format!(
                "schema id {id}: the record is another message of its schema than `{}`",
                self.message
            ))),
            Err(reason) => Err(Rejection::Event(format!("schema id {id}, the message's place: {reason}"))),
        }
    }
}

/// The paths that a `.proto` text imports.
///
/// # Errors
/// [`FormatError::Invalid`] says what is wrong with the text.
pub fn imports_of(text: &str) -> Result<Vec<String>, FormatError> {
    Ok(text::file(text)?.1)
}

/// All types of a schema and what it imports.
fn types(schema: &ProtobufSchema) -> Result<Types, FormatError> {
    let mut types = Types::default();
    match schema {
        ProtobufSchema::Descriptor(bytes) => {
            set::files(bytes)?.into_iter().for_each(|file| types.add(file));
        }
        ProtobufSchema::Text { text, imports } => {
            let (file, mut open) = text::file(text)?;
            types.add(file);
            let mut seen: Vec<String> = Vec::new();
            while let Some(path) = open.pop() {
                if seen.contains(&path) {
                    continue;
                }
                match imports.get(&path) {
                    Some(text) => {
                        let (file, more) = text::file(text)?;
                        types.add(file);
                        open.extend(more);
                    }
                    None if well_known::is_known(&path) => {}
                    None => return Err(invalid(&format!("it imports \"{path}\"; give that text too"))),
                }
                seen.push(path);
            }
        }
    }
    well_known::add(&mut types)?;
    Ok(types)
}

impl tabular::Reader for Messages {
    const EXPECTED: &'static str = "a Protobuf message";

    fn read(&mut self, value: &[u8], row: usize) -> Result<(), Rejection> {
        let (id, record) = match self.framing {
            Framing::Plain => (None, value),
            Framing::Confluent => {
                let (id, record) =
                    split_schema_id(value).ok_or_else(|| Rejection::Event(no_schema_id(value)))?;
                (Some(id), self.behind_path(record, id)?)
            }
        };
        let wire = Wire::new(record);
        let Err(reject) = read::message(&self.plan, &mut self.root, wire, row, self.on_error) else {
            return Ok(());
        };
        self.root.truncate(row);
        Err(match (reject.verdict(|malformed| malformed.reason()), id) {
            (Rejection::Event(reason), Some(id)) => {
                let start = value.len() - record.len();
                Rejection::Event(format!("schema id {id} (record from byte {start} on): {reason}"))
            }
            (rejection, _) => rejection,
        })
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        self.root.finish()
    }
}
