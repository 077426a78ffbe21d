//! The WebSocket of one page.
//!
//! The page says what it watches, `{"watch": [views' charts], "rows": [views'
//! rows]}`; the server sends `hello` once, then whatever is new each time the
//! status is. A message that was replaced before a slow page could take it is
//! never sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::watch;

use super::feeds::Feed;
use super::hub::Hub;
use super::{Shared, stopped};

/// Most bytes of a message from the page.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Most feeds of one page.
const FEEDS_MAX: usize = 40;
/// A page that takes nothing for this long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// What a page asks for.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    watch: Vec<String>,
    #[serde(default)]
    rows: Vec<String>,
}

/// Opens the socket, if there is room for one more page.
pub(super) async fn upgrade(State(shared): State<Shared>, upgrade: WebSocketUpgrade) -> Response {
    let Ok(slot) = Arc::clone(&shared.hub.pages).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "Too many consoles are open; close one.\n").into_response();
    };
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    upgrade.on_upgrade(move |mut socket| async move {
        tokio::select! {
            () = converse(&mut socket, &shared.hub) => {}
            () = stopped(shared.shutdown.clone()) => {
                let _ = tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::Close(None))).await;
            }
        }
        drop(slot);
    })
}

async fn converse(socket: &mut WebSocket, hub: &Arc<Hub>) {
    let mut status = hub.status.subscribe();
    let mut catalog = hub.catalog.subscribe();
    let mut feeds = HashMap::new();
    if !send(socket, hub.hello()).await {
        return;
    }
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => match serde_json::from_str::<Wanted>(&text) {
                    Ok(wanted) => follow(hub, &mut feeds, wanted),
                    Err(_) => return,
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return,
            },
            changed = status.changed() => {
                if changed.is_err() {
                    return;
                }
                // Waiting for it counts as having seen it.
                status.mark_changed();
                let receivers = [&mut status, &mut catalog].into_iter().chain(feeds.values_mut());
                for message in receivers.filter_map(news).collect::<Vec<_>>() {
                    if !send(socket, message).await {
                        return;
                    }
                }
            }
        }
    }
}

/// The newest message of a channel, if it was not sent before.
fn news(receiver: &mut watch::Receiver<Utf8Bytes>) -> Option<Utf8Bytes> {
    let current = receiver.borrow_and_update();
    (current.has_changed() && !current.is_empty()).then(|| current.clone())
}

/// Makes the feeds those that are wanted.
fn follow(hub: &Arc<Hub>, feeds: &mut HashMap<Feed, watch::Receiver<Utf8Bytes>>, wanted: Wanted) {
    let charts = wanted.watch.into_iter().map(Feed::Chart);
    let wanted: Vec<_> = charts.chain(wanted.rows.into_iter().map(Feed::Rows)).take(FEEDS_MAX).collect();
    feeds.retain(|feed, _| wanted.contains(feed));
    for feed in wanted {
        if !feeds.contains_key(&feed)
            && let Some(receiver) = hub.subscribe(feed.clone())
        {
            feeds.insert(feed, receiver);
        }
    }
}

/// Sends one message; says whether the page took it.
async fn send(socket: &mut WebSocket, message: Utf8Bytes) -> bool {
    matches!(tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::Text(message))).await, Ok(Ok(())))
}
