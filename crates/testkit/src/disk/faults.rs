//! Which write or sync fails next, and how many bytes there are.

use std::io;

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) writes_until_failure: Option<(u64, io::ErrorKind)>,
    pub(super) syncs_until_failure: Option<(u64, io::ErrorKind)>,
    pub(super) changes_until_stop: Option<u64>,
    pub(super) lying_syncs: bool,
    pub(super) quota_bytes: Option<u64>,
    pub(super) syncs_paused: bool,
    pub(super) writes: u64,
    pub(super) syncs: u64,
    pub(super) syncs_waiting: u64,
    pub(super) write_backs: u64,
}

impl Faults {
    /// Whether a change of any sort is still carried out.
    pub(super) fn admit_change(&mut self) -> io::Result<()> {
        match &mut self.changes_until_stop {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the machine is about to lose its power")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// How many of `length` bytes get written at `position` of a file of
    /// `file_bytes`, and the failure to return after them.
    pub(super) fn admit_write(
        &mut self,
        length: usize,
        position: u64,
        file_bytes: u64,
        used_bytes: u64,
    ) -> (usize, Option<io::ErrorKind>) {
        self.writes += 1;
        if let Some(kind) = count_down(&mut self.writes_until_failure) {
            return (length / 2, Some(kind));
        }
        let Some(quota) = self.quota_bytes else { return (length, None) };
        // Bytes that overwrite are free; the ones past the end need room.
        let end_max = file_bytes.saturating_add(quota.saturating_sub(used_bytes));
        if position + length as u64 <= end_max.max(file_bytes) {
            return (length, None);
        }
        let fits = end_max.saturating_sub(position).min(length as u64);
        (usize::try_from(fits).unwrap_or(length), Some(io::ErrorKind::StorageFull))
    }

    /// The failure this sync is to return, if any.
    pub(super) fn admit_sync(&mut self) -> Option<io::ErrorKind> {
        self.syncs += 1;
        count_down(&mut self.syncs_until_failure)
    }
}

fn count_down(pending: &mut Option<(u64, io::ErrorKind)>) -> Option<io::ErrorKind> {
    let (left, kind) = (*pending)?;
    if left > 1 {
        *pending = Some((left - 1, kind));
        return None;
    }
    *pending = None;
    Some(kind)
}
