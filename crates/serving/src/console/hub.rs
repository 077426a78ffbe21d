//! What all open pages share: the newest status, the newest catalog message and
//! the running feeds. Every message is made once, as text; a page that reads
//! slowly misses some and holds up nothing.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;
use pluvio_query::{Platform, QueryError, Session};
use serde_json::json;
use tokio::sync::{Semaphore, watch};

use super::ConsoleOptions;
use super::feeds::{self, Feed};
use super::history::History;

/// Most pages open at once.
const PAGES_MAX: usize = 64;
/// Most feeds running at once, over all pages.
const FEEDS_MAX: usize = 128;

/// The shared state.
pub(super) struct Hub {
    pub(super) platform: Arc<Platform>,
    /// The session that the console's own queries run in.
    pub(super) session: Session,
    pub(super) pages: Arc<Semaphore>,
    pub(super) history: Mutex<History>,
    /// Replaced four times a second while a page is open; pages send what is new
    /// each time it changes.
    pub(super) status: watch::Sender<Utf8Bytes>,
    /// Replaced once a second while a page is open.
    pub(super) catalog: watch::Sender<Utf8Bytes>,
    feeds: Mutex<HashMap<Feed, watch::Sender<Utf8Bytes>>>,
    options: ConsoleOptions,
}

impl Hub {
    pub(super) fn new(platform: Arc<Platform>, options: ConsoleOptions) -> Result<Arc<Self>, QueryError> {
        Ok(Arc::new(Self {
            session: platform.session()?,
            platform,
            pages: Arc::new(Semaphore::new(PAGES_MAX)),
            history: Mutex::default(),
            status: watch::Sender::default(),
            catalog: watch::Sender::default(),
            feeds: Mutex::default(),
            options,
        }))
    }

    /// Whether a page is open.
    pub(super) fn is_watched(&self) -> bool {
        self.pages.available_permits() < PAGES_MAX
    }

    /// The first message to a page.
    pub(super) fn hello(&self) -> Utf8Bytes {
        let hello = json!({
            "type": "hello",
            "version": env!("CARGO_PKG_VERSION"),
            "postgres": self.options.postgres,
            "kafka": self.options.kafka,
            "history": self.history.lock().json(),
        });
        hello.to_string().into()
    }

    /// Listens to a feed, which starts if it does not run; none if too many run.
    pub(super) fn subscribe(self: &Arc<Self>, feed: Feed) -> Option<watch::Receiver<Utf8Bytes>> {
        let mut feeds = self.feeds.lock();
        if let Some(sender) = feeds.get(&feed) {
            let mut receiver = sender.subscribe();
            receiver.mark_changed();
            return Some(receiver);
        }
        if feeds.len() == FEEDS_MAX {
            return None;
        }
        let sender = watch::Sender::<Utf8Bytes>::default();
        let receiver = sender.subscribe();
        feeds.insert(feed.clone(), sender.clone());
        tokio::spawn(feeds::run(Arc::clone(self), feed, sender));
        Some(receiver)
    }

    /// Forgets a feed that nobody listens to; says whether it did.
    pub(super) fn retire(&self, feed: &Feed, sender: &watch::Sender<Utf8Bytes>) -> bool {
        let mut feeds = self.feeds.lock();
        let unheard = sender.receiver_count() == 0;
        if unheard {
            feeds.remove(feed);
        }
        unheard
    }
}
