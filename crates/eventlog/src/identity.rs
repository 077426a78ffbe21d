//! The file `identity`: 16 random bytes that tell this log from all others,
//! made at the first open and the same from then on.
//!
//! Content, inside the frame of [`crate::sealed`], kind `PLIY`: the 16 bytes.
//! Their first bit is 0, so that neither as a number nor in base64 they begin
//! with a minus.

use crate::LogError;
use crate::error::IoContext;
use crate::sealed::{self, Sealer};
use bytes::BufMut;
use pluvio_foundation::{Disk, Random};
use std::path::Path;

const KIND: [u8; 4] = *b"PLIY";
const FILE_NAME: &str = "identity";
const FILE_BYTES_MAX: u64 = 1 << 10;

/// Reads the identity, or makes it. An unreadable file is reported, and the log
/// is another one from here on.
pub(crate) fn open(
    root: &Path,
    disk: &dyn Disk,
    random: &dyn Random,
    reports: &mut Vec<String>,
) -> Result<[u8; 16], LogError> {
    let path = root.join(FILE_NAME);
    if disk.exists(&path) {
        let file = disk.read(&path, FILE_BYTES_MAX).doing("read", &path)?;
        if let Some(id) = sealed::open(KIND, &file).and_then(|content| content.try_into().ok()) {
            return Ok(id);
        }
        reports.push(format!("{} is damaged; the log has another identity from now on", path.display()));
    }
    let mut id = random.uuid();
    id[0] &= 0x7f;
    let mut sealer = Sealer::new(KIND, id.len());
    sealer.content().put_slice(&id);
    disk.replace(&path, &sealer.finish()).doing("write", &path)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pluvio_foundation::random::SeededRandom;
    use pluvio_testkit::SimDisk;

    #[test]
    fn made_once_and_kept_over_crashes() {
        let (root, random) = (Path::new("/"), SeededRandom::new(7));
        let mut disk = SimDisk::new();
        let id = open(root, &disk, &random, &mut Vec::new()).unwrap();
        for seed in 0..10 {
            disk = disk.crash(&SeededRandom::new(seed));
            let mut reports = Vec::new();
            assert_eq!(open(root, &disk, &random, &mut reports).unwrap(), id);
            assert!(reports.is_empty());
        }
        assert_ne!(open(root, &SimDisk::new(), &random, &mut Vec::new()).unwrap(), id);
        disk.flip_bit(Path::new("/identity"), 12, 1).unwrap();
        let mut reports = Vec::new();
        let other = open(root, &disk, &random, &mut reports).unwrap();
        assert_eq!((reports.len(), other == id), (1, false));
        assert_eq!(open(root, &disk, &random, &mut Vec::new()).unwrap(), other);
    }
}
