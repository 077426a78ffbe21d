//! Which versions are being read, so that no file of theirs is deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The pinned versions of one table and how often each is pinned.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<BTreeMap<i64, usize>>);

impl Pins {
    /// Pins a version until the returned value is dropped.
    pub(crate) fn pin(self: &Arc<Self>, version: i64) -> Pin {
        *self.0.lock().entry(version).or_default() += 1;
        Pin { pins: Arc::clone(self), version }
    }

    /// Whether some reader may look at a file that left the table at `version`.
    pub(crate) fn hold_before(&self, version: i64) -> bool {
        self.0.lock().first_key_value().is_some_and(|(oldest, _)| *oldest < version)
    }
}

/// One reader's hold on a version.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    version: i64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.lock();
        if let Some(count) = pins.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_held_until_its_last_reader_ends() {
        let pins = Arc::new(Pins::default());
        let (first, second, newer) = (pins.pin(3), pins.pin(3), pins.pin(5));
        assert!(pins.hold_before(4) && !pins.hold_before(3));
        drop(first);
        assert!(pins.hold_before(4));
        drop(second);
        assert!(!pins.hold_before(4) && pins.hold_before(6));
        drop(newer);
        assert!(!pins.hold_before(6));
    }
}
