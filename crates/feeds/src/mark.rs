//! The `feed` header, which says how far a feed has come. Written into the last
//! event of every batch of a feed, so it is in the topic exactly if the batch is.

use std::ops::Range;

/// The header's name.
pub(crate) const MARK: &str = "feed";

/// What a file is known by, whatever its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct FileId {
    pub device: u64,
    pub inode: u64,
}

/// The beginning of a file, by which it is told from another that got its inode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Head {
    /// How many bytes.
    pub length: u32,
    /// [`stable_hash`](pluvio_foundation::hash::stable_hash) of them.
    pub hash: u64,
}

/// How far a feed has come with this batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The event's own headers say in which file and up to where.
    File { generation: u64, id: FileId, head: Head },
    /// The numbers of the batch's events.
    Numbers(Range<u64>),
}

impl Mark {
    /// The header's value.
    pub fn encode(&self, stream: &str) -> String {
        match self {
            Self::File { generation, id, head } => format!(
                "files {generation} {} {} {} {:016x} {stream}",
                id.device, id.inode, head.length, head.hash
            ),
            Self::Numbers(range) => format!("generator {} {} {stream}", range.start, range.end),
        }
    }

    /// What a header of this stream's feed says; `None` if it is another's.
    pub fn decode(value: &[u8], stream: &str) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "files" => {
                let mut parts = rest.splitn(6, ' ');
                let mut number = || parts.next()?.parse::<u64>().ok();
                let (generation, device, inode) = (number()?, number()?, number()?);
                let length = u32::try_from(number()?).ok()?;
                let hash = u64::from_str_radix(parts.next()?, 16).ok()?;
                let (id, head) = (FileId { device, inode }, Head { length, hash });
                (parts.next()? == stream).then_some(Self::File { generation, id, head })
            }
            "generator" => {
                let mut parts = rest.splitn(3, ' ');
                let mut number = || parts.next()?.parse::<u64>().ok();
                let range = number()?..number()?;
                (parts.next()? == stream && range.start < range.end).then_some(Self::Numbers(range))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_written() {
        let (id, head) = (FileId { device: 1, inode: u64::MAX }, Head { length: 1024, hash: 15 });
        let marks = [Mark::File { generation: 7, id, head }, Mark::Numbers(5..9)];
        for mark in marks {
            for stream in ["s", "a name of words", ""] {
                let value = mark.encode(stream);
                assert_eq!(Mark::decode(value.as_bytes(), stream), Some(mark.clone()), "{value}");
                assert_eq!(Mark::decode(value.as_bytes(), "other"), None);
            }
        }
    }

    #[test]
    fn the_form_is_frozen() {
        let (id, head) = (FileId { device: 1, inode: 2 }, Head { length: 3, hash: 255 });
        assert_eq!(Mark::File { generation: 0, id, head }.encode("s"), "files 0 1 2 3 00000000000000ff s");
        assert_eq!(Mark::Numbers(0..10).encode("s"), "generator 0 10 s");
    }

    #[test]
    fn what_is_no_mark_says_nothing() {
        for bad in
            ["", "files", "files 1 2 3 s", "generator 5 5 s", "generator 6 5 s", "other 1 2 s", "files x"]
        {
            assert_eq!(Mark::decode(bad.as_bytes(), "s"), None, "{bad}");
        }
        assert_eq!(Mark::decode(b"\xff", "s"), None);
    }
}
