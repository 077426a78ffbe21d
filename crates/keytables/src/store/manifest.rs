//! Which tables and spans a store has.
//!
//! One file, replaced as a whole with each change:
//!
//! ```text
//! manifest  magic "PvTabl01", next id u32, count u32, entries, crc32 u32 of all before
//! entry     kind u8 (1 table, 2 span, 3 grouped table), id u32, name, schema
//!   table   key columns u32, each u32
//!   span    age u8 (0 none) i64 ms, bytes u64
//!   grouped table
//!           as a table, then how many of the key columns make the group, u32
//! ```
//! A table whose group is its whole key is kind 1, as before there were groups.
//! Name and schema (an empty Arrow IPC stream) have their length (u64) before
//! them. An id is never used again, so that what a dropped table left in the
//! journal means nothing.

use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use pluvio_foundation::Disk;

use crate::block;
use crate::error::{Result, TableError};
use crate::options::{ENTRIES_MAX, MANIFEST_BYTES_MAX, SpanRetention};
use crate::wire::{Fields, put_bytes};

const MAGIC: [u8; 8] = *b"PvTabl01";

/// What kind of thing an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Table { key: Vec<usize>, group: usize },
    Span { retention: SpanRetention },
}

/// A table or a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    pub(crate) shape: Shape,
}

/// All tables and spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) next_id: u32,
    pub(crate) entries: Vec<Entry>,
}

fn path(folder: &Path) -> PathBuf {
    folder.join("manifest")
}

impl Manifest {
    /// Reads the manifest of a store; empty if the store is new.
    pub(crate) fn load(disk: &dyn Disk, folder: &Path) -> Result<Self> {
        let path = path(folder);
        if !disk.exists(&path) {
            return Ok(Self { next_id: 1, entries: Vec::new() });
        }
        let bytes = disk.read(&path, MANIFEST_BYTES_MAX).map_err(TableError::io("reading", &path))?;
        Self::decode(&bytes).ok_or_else(|| TableError::Corrupt {
            path,
            position: 0,
            detail: "the list of tables does not decode".to_owned(),
        })
    }

    /// Replaces the manifest on disk.
    pub(crate) fn save(&self, disk: &dyn Disk, folder: &Path) -> Result<()> {
        let bytes = self.encode()?;
        if bytes.len() as u64 > MANIFEST_BYTES_MAX || self.entries.len() > ENTRIES_MAX {
            return Err(TableError::TooLarge {
                what: format!("the list of {} tables and spans", self.entries.len()),
                bytes: bytes.len() as u64,
                limit: MANIFEST_BYTES_MAX,
                hint: "drop tables that are not needed",
            });
        }
        let path = path(folder);
        disk.replace(&path, &bytes).map_err(TableError::io("writing", &path))
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        put_u32(self.next_id as usize, &mut out);
        put_u32(self.entries.len(), &mut out);
        for entry in &self.entries {
            out.push(match entry.shape {
                Shape::Table { ref key, group } if group == key.len() => 1,
                Shape::Table { .. } => 3,
                Shape::Span { .. } => 2,
            });
            put_u32(entry.id as usize, &mut out);
            put_bytes(entry.name.as_bytes(), &mut out);
            let mut schema = Vec::new();
            block::encode_schema(&entry.schema, &mut schema)?;
            put_bytes(&schema, &mut out);
            match &entry.shape {
                Shape::Table { key, group } => {
                    put_u32(key.len(), &mut out);
                    key.iter().for_each(|column| put_u32(*column, &mut out));
                    if *group != key.len() {
                        put_u32(*group, &mut out);
                    }
                }
                Shape::Span { retention } => {
                    out.push(u8::from(retention.age_ms.is_some()));
                    out.extend_from_slice(&retention.age_ms.unwrap_or(0).to_le_bytes());
                    out.extend_from_slice(&retention.bytes_max.to_le_bytes());
                }
            }
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if crc32fast::hash(content).to_le_bytes() != crc {
            return None;
        }
        let mut fields = Fields(content);
        if fields.take(8)? != MAGIC {
            return None;
        }
        let next_id = fields.u32()?;
        let count = fields.u32()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(decode_entry(&mut fields)?);
        }
        fields.is_empty().then_some(Self { next_id, entries })
    }
}

fn decode_entry(fields: &mut Fields<'_>) -> Option<Entry> {
    let kind = fields.u8()?;
    let id = fields.u32()?;
    let name = fields.text()?.to_owned();
    let schema = block::decode(fields.bytes()?).ok()?.schema();
    let shape = match kind {
        1 | 3 => {
            let count = fields.u32()?;
            let mut key = Vec::new();
            for _ in 0..count {
                key.push(fields.u32()? as usize);
            }
            let group = if kind == 3 { fields.u32()? as usize } else { key.len() };
            Shape::Table { key, group }
        }
        2 => {
            let aged = fields.u8()? == 1;
            let age_ms = fields.i64()?;
            let bytes_max = fields.u64()?;
            Shape::Span { retention: SpanRetention { age_ms: aged.then_some(age_ms), bytes_max } }
        }
        _ => return None,
    };
    Some(Entry { id, name, schema, shape })
}

fn put_u32(value: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(value as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn the_manifest_comes_back() {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let table = |id, key, group| Entry {
            id,
            name: format!("t{id}"),
            schema: schema.clone(),
            shape: Shape::Table { key, group },
        };
        let tables = [table(1, vec![0], 1), table(3, vec![0, 1], 1)];
        let retention = SpanRetention { age_ms: Some(5), bytes_max: 6 };
        let span =
            Entry { id: 2, name: "s".into(), schema: schema.clone(), shape: Shape::Span { retention } };
        let manifest = Manifest { next_id: 4, entries: tables.into_iter().chain([span]).collect() };
        let mut bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&bytes), Some(manifest));
        bytes[20] ^= 1;
        assert_eq!(Manifest::decode(&bytes), None);
    }
}
