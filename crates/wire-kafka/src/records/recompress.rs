//! Making a batch again with another compression: all but the attributes, the
//! length and the checksum stays, and so do the records' bytes.

use super::header::{HEADER_BYTES, parse_whole};
use crate::{Compression, WireError};

/// The batch with its records compressed by `codec`; `None` if they are already.
///
/// Fails on records that cannot be inflated to `inflated_bytes_max` bytes.
pub fn recompress(
    batch: &[u8],
    codec: Compression,
    inflated_bytes_max: usize,
) -> Result<Option<Vec<u8>>, WireError> {
    let (mut header, whole) = parse_whole(batch)?;
    let present = header.compression()?;
    if present == codec {
        return Ok(None);
    }
    let mut inflated = Vec::new();
    let records = match present {
        Compression::None => &whole[HEADER_BYTES..],
        present => {
            present.inflate(&whole[HEADER_BYTES..], inflated_bytes_max, &mut inflated)?;
            inflated.as_slice()
        }
    };
    let mut made = vec![0; HEADER_BYTES];
    codec.deflate(records, &mut made)?;
    made.shrink_to_fit();
    header.attributes = header.attributes & !Compression::BITS | codec.bits();
    header.seal(&mut made)?;
    Ok(Some(made))
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, for_each_record, parse_header, verify_crc};
    use super::*;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn batch(codec: Compression) -> Vec<u8> {
        let mut builder = BatchBuilder::new(1_000);
        for number in 0..20_u8 {
            let value = (number % 3 > 0).then_some(&b"rain rain rain"[..]);
            builder.push(
                Some(&[number]),
                value,
                1_000 + i64::from(number),
                &[("h", Some(b"x")), ("h", None)],
            );
        }
        builder.finish_transactional(codec, (7, 2, 30)).unwrap().to_vec()
    }

    fn shown(batch: &[u8]) -> Vec<String> {
        verify_crc(batch).unwrap();
        let mut shown = Vec::new();
        for_each_record(batch, 1 << 20, &mut Vec::new(), |record| {
            let headers: Vec<_> = record.headers().collect();
            shown.push(format!("{record:?} {headers:?}"));
            Ok(())
        })
        .unwrap();
        shown
    }

    #[test]
    fn only_the_compression_changes() {
        for from in ALL {
            for to in ALL {
                let sent = batch(from);
                let made = recompress(&sent, to, 1 << 20).unwrap();
                assert_eq!(made.is_none(), from == to);
                let made = made.unwrap_or_else(|| sent.clone());
                assert_eq!(shown(&made), shown(&sent));
                let (mut is, was) = (parse_header(&made).unwrap(), parse_header(&sent).unwrap());
                assert_eq!((is.compression().unwrap(), is.total_bytes()), (to, made.len()));
                (is.attributes, is.batch_length, is.crc) =
                    (is.attributes & !7 | from.bits(), was.batch_length, was.crc);
                assert_eq!(is, was);
            }
        }
    }

    #[test]
    fn what_cannot_be_inflated_is_refused() {
        let refused = |batch: &[u8]| recompress(batch, Compression::None, 100).unwrap_err();
        assert!(matches!(refused(&batch(Compression::Zstd)), WireError::TooLarge { .. }));
        let mut noise = batch(Compression::Lz4);
        noise[HEADER_BYTES..].fill(0xee);
        assert!(matches!(refused(&noise), WireError::Inflate { .. }));
    }
}
