//! What a journal frame's body holds.
//!
//! ```text
//! body     seq u64, sections
//! section  kind u8, then
//!   1 upsert        table u32, length u64, rows (Arrow IPC stream)
//!   2 delete        table u32, length u64, key columns in key order (Arrow IPC stream)
//!   3 span          span u32, segment u64, length u64, last tag u64: up to where
//!                   the span's rows are committed
//!   4 note          name (length u64, UTF-8), value (length u64, bytes)
//!   5 note removed  name
//!   6 hold          span u32, holder, after-tag u64
//!   7 hold released span u32, holder
//!   8               table u32, rows u64: what version 2 said of the table after the
//!                   commit; not used any more
//!   9 rows          table u32, rows u64: how many rows the table had before this
//!                   commit; since version 3 one for each table that was changed
//!                   since the last frame that says it
//! ```
//! Sections take effect in order: later ones on the same key win.

use crate::wire::{Fields, put_bytes};

/// One section, borrowed from the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section<'a> {
    /// Rows that replace those of the same keys.
    Upsert { table: u32, block: &'a [u8] },
    /// Keys that go.
    Delete { table: u32, block: &'a [u8] },
    /// How far a span is committed.
    Span(u32, SpanEnd),
    /// A note's new value, none if it goes.
    Note { name: &'a str, value: Option<&'a [u8]> },
    /// How many rows a table had before the commit.
    Rows { table: u32, rows: u64 },
    /// How many it had after it, by version 2.
    RowsAfter,
    /// What a holder of a span still needs, none if nothing.
    Hold { span: u32, holder: &'a str, after_tag: Option<u64> },
}

/// How far a span is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SpanEnd {
    /// The segment that was written last.
    pub(crate) segment: u64,
    /// Its committed length in bytes.
    pub(crate) length: u64,
    /// The last tag appended.
    pub(crate) last_tag: u64,
}

impl SpanEnd {
    /// As stored.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for field in [self.segment, self.length, self.last_tag] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    /// From stored bytes.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { segment: fields.u64()?, length: fields.u64()?, last_tag: fields.u64()? })
    }
}

impl Section<'_> {
    /// Appends the section.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Upsert { table, block } => put_rows(1, *table, block, out),
            Self::Delete { table, block } => put_rows(2, *table, block, out),
            Self::Span(span, end) => {
                out.push(3);
                out.extend_from_slice(&span.to_le_bytes());
                end.encode(out);
            }
            Self::Note { name, value } => {
                out.push(if value.is_some() { 4 } else { 5 });
                put_bytes(name.as_bytes(), out);
                if let Some(value) = value {
                    put_bytes(value, out);
                }
            }
            Self::Rows { table, rows } => {
                out.push(9);
                out.extend_from_slice(&table.to_le_bytes());
                out.extend_from_slice(&rows.to_le_bytes());
            }
            // Only read.
            Self::RowsAfter => {}
            Self::Hold { span, holder, after_tag } => {
                out.push(if after_tag.is_some() { 6 } else { 7 });
                out.extend_from_slice(&span.to_le_bytes());
                put_bytes(holder.as_bytes(), out);
                if let Some(after_tag) = after_tag {
                    out.extend_from_slice(&after_tag.to_le_bytes());
                }
            }
        }
    }
}

fn put_rows(kind: u8, table: u32, block: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&table.to_le_bytes());
    put_bytes(block, out);
}

/// The sequence number and the sections of a body; none if it is malformed.
pub(crate) fn decode_body(body: &[u8]) -> Option<(u64, Vec<Section<'_>>)> {
    let mut fields = Fields(body);
    let seq = fields.u64()?;
    let mut sections = Vec::new();
    while !fields.is_empty() {
        sections.push(decode_section(&mut fields)?);
    }
    Some((seq, sections))
}

fn decode_section<'a>(fields: &mut Fields<'a>) -> Option<Section<'a>> {
    Some(match fields.u8()? {
        1 => Section::Upsert { table: fields.u32()?, block: fields.bytes()? },
        2 => Section::Delete { table: fields.u32()?, block: fields.bytes()? },
        3 => Section::Span(fields.u32()?, SpanEnd::decode(fields)?),
        4 => Section::Note { name: fields.text()?, value: Some(fields.bytes()?) },
        5 => Section::Note { name: fields.text()?, value: None },
        6 => Section::Hold { span: fields.u32()?, holder: fields.text()?, after_tag: Some(fields.u64()?) },
        7 => Section::Hold { span: fields.u32()?, holder: fields.text()?, after_tag: None },
        8 => {
            fields.u32()?;
            fields.u64()?;
            Section::RowsAfter
        }
        9 => Section::Rows { table: fields.u32()?, rows: fields.u64()? },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_come_back_in_order() {
        let end = SpanEnd { segment: 4, length: 5, last_tag: 6 };
        let sections = [
            Section::Upsert { table: 1, block: b"rows" },
            Section::Delete { table: 2, block: b"" },
            Section::Span(3, end),
            Section::Note { name: "job", value: Some(b"cut") },
            Section::Note { name: "old", value: None },
            Section::Hold { span: 3, holder: "archive", after_tag: Some(9) },
            Section::Hold { span: 3, holder: "gone", after_tag: None },
            Section::Rows { table: 1, rows: 7 },
        ];
        let mut body = 77_u64.to_le_bytes().to_vec();
        sections.iter().for_each(|section| section.encode(&mut body));
        assert_eq!(decode_body(&body), Some((77, sections.to_vec())));
        for cut in 9..body.len() {
            if let Some((_, fewer)) = decode_body(&body[..cut]) {
                assert!(fewer.len() < sections.len());
            }
        }
    }
}
