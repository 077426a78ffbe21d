//! The names of files and folders; the crate's head shows the tree.

use crate::LogError;
use crate::error::IoContext;
use pluvio_foundation::Disk;
use std::path::{Path, PathBuf};

pub(crate) const TOPICS: &str = "topics";
pub(crate) const DELETED: &str = "deleted";

/// `<base offset>.log`
pub(crate) fn segment(folder: &Path, base_offset: i64) -> PathBuf {
    folder.join(format!("{base_offset:020}.log"))
}

/// `<offset>.producers`
pub(crate) fn snapshot(folder: &Path, offset: i64) -> PathBuf {
    folder.join(format!("{offset:020}.producers"))
}

/// `<base offset>-<position>-<bytes>.quarantined`
pub(crate) fn quarantined(folder: &Path, base_offset: i64, position: u64, bytes: u64) -> PathBuf {
    folder.join(format!("{base_offset:020}-{position}-{bytes}.quarantined"))
}

/// `<offset>-<attempt>.cut`
pub(crate) fn cut(folder: &Path, offset: i64, attempt: u32) -> PathBuf {
    folder.join(format!("{offset:020}-{attempt}.cut"))
}

/// `<base offset>-<end offset>.compacting`: a compacted segment being written.
pub(crate) fn compacting(folder: &Path, base_offset: i64, end: i64) -> PathBuf {
    folder.join(format!("{base_offset:020}-{end:020}.compacting"))
}

/// `<base offset>-<end offset>.compacted`: a whole one, taking its place.
pub(crate) fn compacted(folder: &Path, base_offset: i64, end: i64) -> PathBuf {
    folder.join(format!("{base_offset:020}-{end:020}.compacted"))
}

/// Makes a folder and those above it that are missing, all durably.
pub(crate) fn make_folder(disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|path| !disk.exists(path)).collect();
    disk.create_dir_all(folder).doing("create", folder)?;
    for above in missing.iter().rev().filter_map(|path| path.parent()) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        disk.sync_dir(above).doing("sync", above)?;
    }
    Ok(())
}

/// What a partition's folder holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Base offsets of segments, ascending.
    pub(crate) segments: Vec<i64>,
    /// Offsets of producer snapshots, ascending.
    pub(crate) snapshots: Vec<i64>,
    /// Damaged ranges: base offset of the segment, position, bytes.
    pub(crate) quarantined: Vec<(i64, u64, u64)>,
    /// Compacted segments that were being written: base and end offset.
    pub(crate) compacting: Vec<(i64, i64)>,
    /// Compacted segments that are to take their place: base and end offset.
    pub(crate) compacted: Vec<(i64, i64)>,
    /// What was cut off: its first offset and the file's name.
    pub(crate) cut: Vec<(i64, String)>,
}

impl Listing {
    /// Sorts names; what is none of ours is left alone.
    pub(crate) fn of(names: &[String]) -> Self {
        let mut listing = Self::default();
        for name in names {
            let Some((stem, kind)) = name.rsplit_once('.') else { continue };
            let mut numbers = stem.split('-');
            let Some(first) = numbers.next().and_then(|text| text.parse::<i64>().ok()) else { continue };
            let mut next = || numbers.next().and_then(|text| text.parse::<u64>().ok());
            match kind {
                "log" => listing.segments.push(first),
                "producers" => listing.snapshots.push(first),
                "cut" => listing.cut.push((first, name.clone())),
                "compacting" | "compacted" => {
                    let Some(end) = next().and_then(|end| i64::try_from(end).ok()) else { continue };
                    let list = match kind {
                        "compacted" => &mut listing.compacted,
                        _ => &mut listing.compacting,
                    };
                    list.push((first, end));
                }
                "quarantined" => {
                    if let (Some(position), Some(bytes)) = (next(), next()) {
                        listing.quarantined.push((first, position, bytes));
                    }
                }
                _ => {}
            }
        }
        listing.segments.sort_unstable();
        listing.snapshots.sort_unstable();
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let folder = Path::new("/p");
        let paths = [
            segment(folder, 70),
            segment(folder, 5),
            snapshot(folder, 70),
            quarantined(folder, 5, 10, 20),
            cut(folder, 90, 2),
            folder.join("00000000000000000005.index"),
            folder.join("notes.txt"),
        ];
        let names: Vec<String> =
            paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        let listing = Listing::of(&names);
        assert_eq!(listing.segments, [5, 70]);
        assert_eq!(listing.snapshots, [70]);
        assert_eq!(listing.quarantined, [(5, 10, 20)]);
        assert_eq!(listing.cut, [(90, "00000000000000000090-2.cut".to_owned())]);
    }
}
