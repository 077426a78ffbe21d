//! A stream's definition: what its statement leaves open is filled in, and what
//! could fail when the first event comes is tried now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pluvio_catalog::{FormatDef, ProtobufDef, StreamDef};
use pluvio_foundation::ErrorKind;

use super::blocking;
use crate::QueryError;
use crate::session::Session;
use crate::source::{StreamDecoder, plan_computed};
use crate::sql::CreateStream;

/// Most bytes of a schema's file, and of all that it imports.
const SCHEMA_BYTES_MAX: u64 = 4 << 20;

/// The definition that a CREATE STREAM asks for.
pub async fn definition(session: &Session, create: CreateStream) -> Result<StreamDef, QueryError> {
    let CreateStream { mut stream, schema_file } = create;
    if stream.partitions == 0 {
        stream.partitions = session.platform().options().default_partitions;
    }
    if let Some((path, position)) = schema_file {
        let (path, format) = (session.path(&path), stream.format);
        let read = blocking(move || with_schema(format, &path)).await;
        stream.format = read.map_err(|e| e.at(position))?;
    }
    let state = session.platform().sources().functions();
    let schema = stream.schema();
    for computed in &mut stream.computed {
        computed.column.data_type = plan_computed(state, &schema, &computed.expression)?.1;
    }
    if let Some(watermark) = &stream.watermark {
        let column = stream.computed.iter().find(|computed| computed.column.name == watermark.column);
        let is_time = |data_type: &_| matches!(data_type, arrow::datatypes::DataType::Timestamp(..));
        if let Some(computed) = column.filter(|computed| !is_time(&computed.column.data_type)) {
            let message = format!(
                "a watermark needs a TIMESTAMP column: \"{}\" is {}",
                watermark.column,
                crate::sql::sql_name(&computed.column.data_type)
            );
            return Err(QueryError::invalid(message));
        }
    }
    StreamDecoder::new(&stream, state)?;
    Ok(stream)
}

/// The format with the schema that a file has.
fn with_schema(format: FormatDef, path: &Path) -> Result<FormatDef, QueryError> {
    let mut left = SCHEMA_BYTES_MAX;
    Ok(match format {
        FormatDef::Avro { .. } => FormatDef::Avro { schema: text(path, &mut left)? },
        FormatDef::Protobuf { message, .. } if path.extension().is_some_and(|e| e == "proto") => {
            let text = text(path, &mut left)?;
            let imports = imports(path, &text, &mut left)?;
            FormatDef::Protobuf { schema: ProtobufDef::Text { text, imports }, message }
        }
        FormatDef::Protobuf { message, .. } => {
            FormatDef::Protobuf { schema: ProtobufDef::Descriptor(bytes(path, &mut left)?), message }
        }
        other => other,
    })
}

/// What a .proto file imports, itself and through others, from its own folder or
/// one above it.
fn imports(path: &Path, text_of_file: &str, left: &mut u64) -> Result<BTreeMap<String, String>, QueryError> {
    let mut found = BTreeMap::new();
    let mut open = pluvio_formats::imports_of(text_of_file)?;
    while let Some(import) = open.pop() {
        if found.contains_key(&import) || import.starts_with("google/protobuf/") {
            continue;
        }
        let folders = path.ancestors().skip(1);
        let Some(file) = folders.map(|folder| folder.join(&import)).find(|file: &PathBuf| file.is_file())
        else {
            let message = format!("{} imports \"{import}\", which is not beside it", path.display());
            return Err(QueryError::new(ErrorKind::NotFound, message));
        };
        let text = text(&file, left)?;
        open.extend(pluvio_formats::imports_of(&text)?);
        found.insert(import, text);
    }
    Ok(found)
}

fn text(path: &Path, left: &mut u64) -> Result<String, QueryError> {
    let invalid = |_| QueryError::invalid(format!("{} is not UTF-8", path.display()));
    String::from_utf8(bytes(path, left)?).map_err(invalid)
}

fn bytes(path: &Path, left: &mut u64) -> Result<Vec<u8>, QueryError> {
    let failed = |e: std::io::Error| {
        QueryError::new(ErrorKind::NotFound, format!("cannot read {}: {e}", path.display()))
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > *left {
        let message = format!("{}: schemas have at most {SCHEMA_BYTES_MAX} bytes", path.display());
        return Err(QueryError::new(ErrorKind::TooLarge, message));
    }
    *left -= size;
    std::fs::read(path).map_err(failed)
}
