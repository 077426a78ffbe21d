//! The feeds as the query layer sees them.

use pluvio_catalog::Catalog;
use pluvio_feeds::{FeedStatus, Feeds};
use pluvio_foundation::ErrorKind;
use pluvio_query::{FeedRow, Feeding, QueryError};

/// See the module.
pub struct FeedsPort(pub Feeds);

impl Feeding for FeedsPort {
    fn reconcile(&self, catalog: &Catalog) -> Result<(), QueryError> {
        self.0.reconcile(catalog).map_err(|error| QueryError::new(ErrorKind::Io, error.to_string()))
    }

    fn feeds(&self) -> Vec<FeedRow> {
        let row = |feed: FeedStatus| FeedRow {
            stream: feed.stream,
            kind: feed.kind,
            state: feed.state.name(),
            events: feed.events,
            bytes: feed.bytes,
            skipped: feed.skipped,
            source: feed.source,
            error: feed.error,
        };
        self.0.status().into_iter().map(row).collect()
    }
}
