//! The frame of the small binary files beside the segments.
//!
//! ```text
//! offset  bytes  field
//!      0      4  kind, four letters
//!      4      1  version of this kind, 1 if not said otherwise
//!      5      3  zero
//!      8      …  content, numbers big-endian
//!    end      4  CRC-32C of everything before it
//! ```
//! A file that does not fit its frame counts as absent: all of them can be
//! made again from the segments.

use bytes::{Buf, BufMut};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 8;
const CRC_BYTES: usize = 4;

/// A file in the making.
pub(crate) struct Sealer(Vec<u8>);

impl Sealer {
    pub(crate) fn new(kind: [u8; 4], content_bytes: usize) -> Self {
        Self::of_version(kind, VERSION, content_bytes)
    }

    /// The same for a kind whose content is not of version 1.
    pub(crate) fn of_version(kind: [u8; 4], version: u8, content_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + content_bytes + CRC_BYTES);
        bytes.put_slice(&kind);
        bytes.put_slice(&[version, 0, 0, 0]);
        Self(bytes)
    }

    pub(crate) fn content(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let crc = crc32c::crc32c(&self.0);
        self.0.put_u32(crc);
        self.0
    }
}

/// The content, if the frame is whole and of version 1.
pub(crate) fn open(kind: [u8; 4], file: &[u8]) -> Option<&[u8]> {
    open_any(kind, file).filter(|(version, _)| *version == VERSION).map(|(_, content)| content)
}

/// The version and the content, if the frame is whole.
pub(crate) fn open_any(kind: [u8; 4], file: &[u8]) -> Option<(u8, &[u8])> {
    let (framed, mut crc) = file.split_at_checked(file.len().checked_sub(CRC_BYTES)?)?;
    let whole = framed.len() >= HEAD_BYTES && framed[..4] == kind && crc.get_u32() == crc32c::crc32c(framed);
    whole.then(|| (framed[4], &framed[HEAD_BYTES..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_damage_is_noticed() {
        let mut sealer = Sealer::new(*b"TEST", 3);
        sealer.content().put_slice(b"abc");
        let file = sealer.finish();
        assert_eq!(open(*b"TEST", &file), Some(&b"abc"[..]));
        assert_eq!(open(*b"ELSE", &file), None);
        for position in 0..file.len() {
            let mut damaged = file.clone();
            damaged[position] ^= 4;
            assert_eq!(open(*b"TEST", &damaged), None);
            assert_eq!(open(*b"TEST", &file[..position]), None);
        }
    }
}
