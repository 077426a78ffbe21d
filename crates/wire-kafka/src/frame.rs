//! Frames: a four-byte length, a header, a body.
//!
//! A request's header is the API key, its version, a correlation id and the
//! client's name; flexible versions add tagged fields. A response's header is
//! the correlation id; flexible versions add tagged fields, except for
//! ApiVersions, whose answer must be readable by whoever does not know the
//! version yet.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Encodable;

use crate::WireError;
use crate::api::Api;
use crate::reader::Reader;
use crate::writer::{put_string, put_tags};

/// Bytes of the length before a frame.
pub const LENGTH_BYTES: usize = 4;
/// The least that any frame holds.
const CORRELATION_BYTES: usize = 4;

/// The length of the frame whose first bytes are `bytes`; `None` if there are
/// not four yet.
pub fn frame_bytes(bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, WireError> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(bytes) if bytes > bytes_max => Err(WireError::TooLarge { what: "Kafka frame", bytes, bytes_max }),
        Ok(bytes) if bytes >= CORRELATION_BYTES => Ok(Some(bytes)),
        _ => Err(WireError::malformed("Kafka frame", format!("its length is {length}"))),
    }
}

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Which request.
    pub api_key: i16,
    /// Which version of it.
    pub api_version: i16,
    /// What the response must repeat.
    pub correlation_id: i32,
    /// The client's name for itself, empty if it gave none.
    pub client_id: String,
}

/// Splits a request (without its length) into header and body.
///
/// A version that is not served is no error here: the header says which it is,
/// and the body is then not to be trusted.
pub fn split_request(frame: &Bytes) -> Result<(RequestHead, Bytes), WireError> {
    let mut reader = Reader::new(frame, "request header");
    let (api_key, api_version) = (reader.int16()?, reader.int16()?);
    let correlation_id = reader.int32()?;
    let client_id = reader.string(false)?.unwrap_or_default().to_owned();
    let head = RequestHead { api_key, api_version, correlation_id, client_id };
    if let Ok(api) = Api::served(api_key, api_version) {
        reader.tags(api.is_flexible(api_version))?;
    }
    Ok((head, frame.slice(reader.position()..)))
}

/// Writes a request's header, with room for the length before it.
pub fn begin_request(key: ApiKey, version: i16, correlation_id: i32, client_id: &str) -> BytesMut {
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    out.put_i16(key as i16);
    out.put_i16(version);
    out.put_i32(correlation_id);
    put_string(&mut out, Some(client_id), false);
    put_tags(&mut out, key.request_header_version(version) >= 2);
    out
}

/// Writes a response's header, with room for the length before it.
pub fn begin_response(key: ApiKey, version: i16, correlation_id: i32) -> BytesMut {
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    out.put_i32(correlation_id);
    put_tags(&mut out, response_is_flexible(key, version));
    out
}

/// Whether the response's header has tagged fields.
pub fn response_is_flexible(key: ApiKey, version: i16) -> bool {
    key.response_header_version(version) >= 1
}

/// Fills in the length of a frame in one piece.
pub fn seal(mut frame: BytesMut) -> Result<Bytes, WireError> {
    let length = frame.len().saturating_sub(LENGTH_BYTES);
    set_length(&mut frame, length)?;
    Ok(frame.freeze())
}

/// Fills in the length of a frame whose first piece is `head`; `bytes` counts
/// all pieces without the length itself.
pub fn set_length(head: &mut BytesMut, bytes: usize) -> Result<(), WireError> {
    let too_large = |_| WireError::TooLarge { what: "Kafka frame", bytes, bytes_max: i32::MAX as usize };
    let length = i32::try_from(bytes).map_err(too_large)?;
    if let Some(field) = head.first_chunk_mut::<LENGTH_BYTES>() {
        *field = length.to_be_bytes();
    }
    Ok(())
}

/// A whole response frame.
pub fn response(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &impl Encodable,
) -> Result<Bytes, WireError> {
    let mut out = begin_response(key, version, correlation_id);
    encode_body(&mut out, version, body)?;
    seal(out)
}

/// A whole request frame.
pub fn request(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: &str,
    body: &impl Encodable,
) -> Result<Bytes, WireError> {
    let mut out = begin_request(key, version, correlation_id, client_id);
    encode_body(&mut out, version, body)?;
    seal(out)
}

fn encode_body(out: &mut BytesMut, version: i16, body: &impl Encodable) -> Result<(), WireError> {
    body.encode(out, version).map_err(|error| WireError::malformed("message to send", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_limited() {
        assert_eq!(frame_bytes(&[0, 0, 0], 100).unwrap(), None);
        assert_eq!(frame_bytes(&[0, 0, 0, 20, 9], 100).unwrap(), Some(20));
        assert!(frame_bytes(&[0, 0, 0, 101], 100).is_err());
        assert!(frame_bytes(&[0xff, 0, 0, 0], 100).is_err());
        assert!(frame_bytes(&[0, 0, 0, 0], 100).is_err());
    }

    #[test]
    fn headers_round_trip() {
        for (key, version) in [(ApiKey::Metadata, 1), (ApiKey::Metadata, 12), (ApiKey::Produce, 2)] {
            let mut out = begin_request(key, version, 77, "tester");
            out.put_slice(b"body");
            let frame = seal(out).unwrap();
            assert_eq!(frame_bytes(&frame, 1000).unwrap(), Some(frame.len() - LENGTH_BYTES));
            let (head, body) = split_request(&frame.slice(LENGTH_BYTES..)).unwrap();
            assert_eq!((head.api_key, head.api_version), (key as i16, version));
            assert_eq!((head.correlation_id, head.client_id.as_str()), (77, "tester"));
            assert_eq!(&body[..], b"body");
        }
    }

    #[test]
    fn api_versions_answers_in_the_oldest_header() {
        assert!(!response_is_flexible(ApiKey::ApiVersions, 3));
        assert!(response_is_flexible(ApiKey::Metadata, 9));
        assert!(!response_is_flexible(ApiKey::Metadata, 8));
    }
}
