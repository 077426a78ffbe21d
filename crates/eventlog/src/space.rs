//! Whether the disk has room, asked of the system rarely.

use crate::LogError;
use pluvio_foundation::{Clock, Disk};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

const BYTES_BETWEEN_LOOKS: i64 = 16 << 20;
const TIME_BETWEEN_LOOKS_US: u64 = 200_000;

/// Refuses appends that would leave less than the reserve free. Looks again
/// after every 16 MiB and every 200 ms, and at every append while full, so that
/// freed space is noticed at once.
#[derive(Debug)]
pub(crate) struct SpaceGuard {
    root: PathBuf,
    reserve_bytes: u64,
    left_bytes: AtomicI64,
    looked_us: AtomicU64,
}

impl SpaceGuard {
    pub(crate) fn new(root: PathBuf, reserve_bytes: u64) -> Self {
        Self { root, reserve_bytes, left_bytes: AtomicI64::new(0), looked_us: AtomicU64::new(0) }
    }

    /// Whether `bytes` may be written.
    pub(crate) fn admit(&self, bytes: usize, disk: &dyn Disk, clock: &dyn Clock) -> Result<(), LogError> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let now_us = clock.monotonic_us();
        let fresh = now_us.saturating_sub(self.looked_us.load(Ordering::Relaxed)) < TIME_BETWEEN_LOOKS_US;
        if fresh && self.left_bytes.fetch_sub(bytes, Ordering::Relaxed) >= bytes {
            return Ok(());
        }
        // A system that cannot tell is not a full one: the write will say.
        let Ok(available_bytes) = disk.available_bytes(&self.root) else { return Ok(()) };
        let free = i64::try_from(available_bytes.saturating_sub(self.reserve_bytes)).unwrap_or(i64::MAX);
        self.looked_us.store(now_us, Ordering::Relaxed);
        if free < bytes {
            self.left_bytes.store(0, Ordering::Relaxed);
            return Err(self.full(available_bytes));
        }
        self.left_bytes.store((free - bytes).min(BYTES_BETWEEN_LOOKS), Ordering::Relaxed);
        Ok(())
    }

    /// The error for a write that the system refused for want of space.
    pub(crate) fn refused(&self, disk: &dyn Disk) -> LogError {
        self.left_bytes.store(0, Ordering::Relaxed);
        self.full(disk.available_bytes(&self.root).unwrap_or(0))
    }

    fn full(&self, available_bytes: u64) -> LogError {
        LogError::DiskFull { path: self.root.clone(), available_bytes, reserve_bytes: self.reserve_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pluvio_foundation::ErrorKind;
    use pluvio_testkit::{ManualClock, SimDisk};
    use std::path::Path;

    #[test]
    fn keeps_the_reserve_and_recovers() {
        let (disk, clock) = (SimDisk::new(), ManualClock::default());
        let guard = SpaceGuard::new(Path::new("/").into(), 100);
        disk.set_quota_bytes(Some(150));
        guard.admit(50, &disk, &clock).unwrap();
        assert_eq!(guard.admit(51, &disk, &clock).unwrap_err().kind(), ErrorKind::DiskFull);
        disk.set_quota_bytes(Some(1000));
        guard.admit(51, &disk, &clock).unwrap();
        // Within 200 ms the last look counts; after it the disk is asked again.
        disk.set_quota_bytes(Some(100));
        guard.admit(51, &disk, &clock).unwrap();
        clock.advance_ms(200);
        assert!(guard.admit(51, &disk, &clock).is_err());
    }
}
