//! The end of a feed, asked for from outside: waited for by threads and by tasks.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// Whether a feed should end.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
    notify: Notify,
}

impl Stop {
    /// Asks for the end.
    pub fn ask(&self) {
        *self.asked.lock() = true;
        self.changed.notify_all();
        self.notify.notify_waiters();
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        *self.asked.lock()
    }

    /// Waits so long, or until the end is asked for: then `true`.
    pub fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut asked = self.asked.lock();
        while !*asked {
            if self.changed.wait_until(&mut asked, until).timed_out() {
                break;
            }
        }
        *asked
    }

    /// Waits until the end is asked for.
    pub async fn asked(&self) {
        let notified = self.notify.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.is_asked() {
            notified.await;
        }
    }
}
