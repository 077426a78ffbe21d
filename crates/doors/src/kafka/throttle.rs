//! Keeps producers and consumers within their quotas (KIP-219): what goes
//! beyond is answered at once and says how long to wait, and the connection is
//! not listened to for that long.
//!
//! A share of a quota is one moment: until when what was used is paid for. Who
//! used nothing for a while may use [`BURST`]'s worth at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use pluvio_access::QuotaKey;

use super::dispatch::Call;

/// What may be used at once after a rest, in microseconds of the quota.
const BURST_US: u64 = 1_000_000;
/// Longest time to wait in one go, in milliseconds; the rest is waited for with
/// the next request.
const WAIT_MS_MAX: u64 = 10_000;
/// Most shares that are kept; beyond it, those who have none use one together.
const SHARES_MAX: usize = 10_000;

/// Whose share of which quota.
type Share = (QuotaKey, Option<String>, Option<String>);

/// Until when a connection is not listened to.
#[derive(Debug, Default)]
pub(crate) struct Muted {
    until_ms: AtomicU64,
}

impl Muted {
    /// Adds a time to wait.
    fn mute(&self, until_ms: u64) {
        self.until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    /// How long it is from now on, in milliseconds.
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        self.until_ms.load(Ordering::Relaxed).saturating_sub(now_ms)
    }
}

/// All shares that are in use.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    paid_until_us: Mutex<HashMap<Share, u64>>,
}

impl Throttle {
    /// Counts bytes, and mutes the connection for as long as they are not paid
    /// for: that time in milliseconds. Without bytes it only asks.
    pub fn used(&self, call: &Call, key: QuotaKey, bytes: usize) -> i32 {
        let Some(security) = &call.broker.options.security else { return 0 };
        let (user, client_id) = (call.rights.user(), call.head.client_id.as_str());
        let Some(quota) = security.access.quota(key, user, client_id) else { return 0 };
        let of = |by: bool, name: &str| by.then(|| name.to_owned());
        let share = (key, of(quota.by_user, user), of(quota.by_client, client_id));
        let wait_ms = self.charge(share, call.broker.clock.monotonic_us(), bytes, quota.value);
        if wait_ms > 0 {
            call.muted.mute(call.broker.monotonic_ms() + wait_ms);
        }
        i32::try_from(wait_ms).unwrap_or(i32::MAX)
    }

    fn charge(&self, share: Share, now_us: u64, bytes: usize, bytes_per_s: f64) -> u64 {
        let mut shares = self.paid_until_us.lock();
        if shares.len() >= SHARES_MAX && !shares.contains_key(&share) {
            shares.retain(|_, until_us| *until_us + BURST_US > now_us);
        }
        let share = match shares.len() >= SHARES_MAX && !shares.contains_key(&share) {
            true => (share.0, None, None),
            false => share,
        };
        let rested_us = now_us.saturating_sub(BURST_US);
        let until_us = shares.get(&share).copied().unwrap_or(rested_us).max(rested_us);
        let until_us = until_us.saturating_add((bytes as f64 / bytes_per_s * 1e6) as u64);
        shares.insert(share, until_us);
        until_us.saturating_sub(now_us).div_ceil(1000).min(WAIT_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(name: &str) -> Share {
        (QuotaKey::ProducerByteRate, Some(name.to_owned()), None)
    }

    #[test]
    fn a_second_is_free_and_the_rest_is_waited_for() {
        let throttle = Throttle::default();
        let use_up = |now_ms: u64, bytes| throttle.charge(share("kim"), now_ms * 1000, bytes, 1000.0);
        assert_eq!(use_up(10_000, 1000), 0);
        assert_eq!(use_up(10_000, 500), 500);
        assert_eq!(use_up(10_500, 0), 0);
        assert_eq!(use_up(10_500, 100), 100);
        assert_eq!(use_up(60_000, 1000), 0);
        assert_eq!(use_up(60_000, 100_000), 10_000);
        assert_eq!(use_up(70_000, 0), 10_000);
        assert_eq!(throttle.charge(share("tim"), 70_000_000, 1000, 1000.0), 0);
    }

    #[test]
    fn shares_are_bounded_and_those_at_rest_are_forgotten() {
        let throttle = Throttle::default();
        for number in 0..SHARES_MAX * 2 {
            throttle.charge(share(&number.to_string()), 5_000_000, 10, 1000.0);
        }
        assert_eq!(throttle.paid_until_us.lock().len(), SHARES_MAX + 1);
        throttle.charge(share("late"), 600_000_000, 10, 1000.0);
        assert_eq!(throttle.paid_until_us.lock().len(), 1);
    }
}
