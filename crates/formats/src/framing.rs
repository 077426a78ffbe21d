//! What may stand in front of a record: the header of a schema registry.
//!
//! Layout (Confluent wire format): byte 0 is 0, bytes 1 to 4 the schema's id, big
//! endian; then, for Protobuf, which message of the schema it is; then the record.

/// What stands in front of each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Nothing.
    #[default]
    Plain,
    /// A schema's id, as producers that use a schema registry write it.
    Confluent,
}

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 5;

/// The schema's id and the record behind it; `None` if there is no such header.
pub fn split_schema_id(value: &[u8]) -> Option<(u32, &[u8])> {
    let (header, record) = value.split_first_chunk::<HEADER_BYTES>()?;
    let [0, id @ ..] = *header else { return None };
    Some((u32::from_be_bytes(id), record))
}

/// Why a value has no such header.
#[cold]
pub(crate) fn no_schema_id(value: &[u8]) -> String {
    match value.first() {
        Some(0) | None => {
            format!("a value of {} bytes has no room for a schema id (0 and 4 bytes)", value.len())
        }
        Some(byte) => format!(
            "the value starts with 0x{byte:02x}, not with 0 and a schema id: its producer uses no schema registry, or another format"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        assert_eq!(split_schema_id(b"\0\0\0\x01\x02rest"), Some((258, &b"rest"[..])));
        assert_eq!(split_schema_id(b"\0\0\0\x01"), None);
        assert_eq!(split_schema_id(b"\x01\0\0\x01\x02rest"), None);
        assert!(no_schema_id(b"{}").contains("0x7b"));
        assert!(no_schema_id(b"").contains("0 bytes"));
    }
}
