//! The five ways a record batch's records may be compressed.
//!
//! Inflating is bounded: a caller names the most bytes it will take, and a
//! batch that would give more is refused as soon as that is known. Snappy is
//! read both raw and in the framing of the Java library, and written in that
//! framing, which every Kafka client reads.

use std::cell::RefCell;
use std::io::Read;

use crate::WireError;

/// The head of snappy data in the Java library's framing: magic, version 1,
/// compatible version 1.
const XERIAL_HEAD: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// Largest zstd window accepted, as a power of two: 64 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 26;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// Deflate in a gzip member.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// The bits of a batch's attributes that name it.
    pub(crate) const BITS: i16 = 7;

    /// From the lowest three bits of a batch's attributes.
    pub fn from_attributes(attributes: i16) -> Result<Self, WireError> {
        match attributes & Self::BITS {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            unknown => Err(WireError::Compression(unknown)),
        }
    }

    /// The bits in a batch's attributes.
    pub fn bits(self) -> i16 {
        self as i16
    }

    /// The name clients use in their configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// From the name clients use in their configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd].into_iter().find(|it| it.name() == name)
    }

    /// Replaces `out` by what `data` inflates to, at most `bytes_max` bytes.
    pub fn inflate(self, data: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        out.clear();
        match self {
            Self::None => {
                check_size(data.len(), bytes_max)?;
                out.extend_from_slice(data);
                Ok(())
            }
            Self::Gzip => self.drain(flate2::bufread::MultiGzDecoder::new(data), bytes_max, out),
            Self::Snappy => inflate_snappy(data, bytes_max, out),
            Self::Lz4 => self.drain(lz4_flex::frame::FrameDecoder::new(data), bytes_max, out),
            Self::Zstd => self.inflate_zstd(data, bytes_max, out),
        }
    }

    /// Appends the compressed form of `data` to `out`.
    pub fn deflate(self, data: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Self::None => {
                out.extend_from_slice(data);
                Ok(())
            }
            Self::Gzip => {
                let mut encoder = flate2::bufread::GzEncoder::new(data, flate2::Compression::default());
                encoder.read_to_end(out).map(|_| ()).map_err(|error| self.failed(&error))
            }
            Self::Snappy => deflate_snappy(data, out),
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(&mut *out);
                std::io::Write::write_all(&mut encoder, data).map_err(|error| self.failed(&error))?;
                encoder.finish().map(|_| ()).map_err(|error| self.failed(&error))
            }
            Self::Zstd => {
                let packed = zstd::bulk::compress(data, 3).map_err(|error| self.failed(&error))?;
                out.extend_from_slice(&packed);
                Ok(())
            }
        }
    }

    fn drain(self, reader: impl Read, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        let limit = bytes_max as u64 + 1;
        reader.take(limit).read_to_end(out).map_err(|error| self.failed(&error))?;
        check_size(out.len(), bytes_max)
    }

    /// Contexts are dear to make, so each thread keeps one.
    fn inflate_zstd(self, data: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        use zstd::zstd_safe::{DCtx, DParameter, ResetDirective, get_error_name};
        thread_local! {
            static CONTEXT: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
        }
        let fail = |code| WireError::Inflate { codec: "zstd", reason: get_error_name(code).to_owned() };
        CONTEXT.with_borrow_mut(|kept| {
            let context = kept.get_or_insert_with(DCtx::create);
            context.reset(ResetDirective::SessionAndParameters).map_err(fail)?;
            context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).map_err(fail)?;
            let decoder = zstd::stream::read::Decoder::with_context(data, context);
            self.drain(decoder, bytes_max, out)
        })
    }

    fn failed(self, error: &dyn std::fmt::Display) -> WireError {
        WireError::Inflate { codec: self.name(), reason: error.to_string() }
    }
}

fn check_size(bytes: usize, bytes_max: usize) -> Result<(), WireError> {
    if bytes > bytes_max {
        return Err(WireError::TooLarge { what: "decompressed record batch", bytes, bytes_max });
    }
    Ok(())
}

fn inflate_snappy(data: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
    if !data.starts_with(&XERIAL_HEAD[..8]) {
        return inflate_snappy_block(data, bytes_max, out);
    }
    let mut rest = data.get(XERIAL_HEAD.len()..).unwrap_or_default();
    while !rest.is_empty() {
        let cut = || WireError::Truncated { what: "snappy block", needed: 4, have: rest.len() };
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > after.len() {
            return Err(WireError::Truncated { what: "snappy block", needed: length, have: after.len() });
        }
        let (block, next) = after.split_at(length);
        inflate_snappy_block(block, bytes_max, out)?;
        rest = next;
    }
    Ok(())
}

/// Appends one raw snappy block.
fn inflate_snappy_block(block: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
    let length = snap::raw::decompress_len(block).map_err(|error| Compression::Snappy.failed(&error))?;
    let start = out.len();
    check_size(start.saturating_add(length), bytes_max)?;
    out.resize(start + length, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| Compression::Snappy.failed(&error))?;
    out.truncate(start + written);
    Ok(())
}

fn deflate_snappy(data: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
    out.extend_from_slice(&XERIAL_HEAD);
    let mut encoder = snap::raw::Encoder::new();
    for chunk in data.chunks(XERIAL_BLOCK_BYTES) {
        let packed = encoder.compress_vec(chunk).map_err(|error| Compression::Snappy.failed(&error))?;
        out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn round_trip(data in proptest::collection::vec(0_u8..8, 0..100_000)) {
            for codec in ALL {
                let (mut packed, mut back) = (Vec::new(), vec![1, 2, 3]);
                codec.deflate(&data, &mut packed).unwrap();
                codec.inflate(&packed, data.len(), &mut back).unwrap();
                prop_assert_eq!(&back, &data);
                if !data.is_empty() {
                    let refused = codec.inflate(&packed, data.len() - 1, &mut back);
                    prop_assert!(matches!(refused, Err(WireError::TooLarge { .. })), "{:?}", refused);
                }
            }
        }

        #[test]
        fn noise_never_panics(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            for codec in ALL {
                let mut out = Vec::new();
                let _ = codec.inflate(&data, 1000, &mut out);
                prop_assert!(out.len() <= 1001);
            }
        }
    }

    #[test]
    fn raw_snappy_is_read() {
        let packed = snap::raw::Encoder::new().compress_vec(b"rain rain rain").unwrap();
        let mut out = Vec::new();
        Compression::Snappy.inflate(&packed, 100, &mut out).unwrap();
        assert_eq!(out, b"rain rain rain");
    }

    #[test]
    fn a_bomb_takes_no_memory() {
        let mut packed = Vec::new();
        Compression::Zstd.deflate(&vec![0; 64 << 20], &mut packed).unwrap();
        let mut out = Vec::new();
        assert!(Compression::Zstd.inflate(&packed, 1 << 20, &mut out).is_err());
        assert!(out.capacity() < 8 << 20);
    }
}
