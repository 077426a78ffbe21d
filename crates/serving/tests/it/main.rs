//! Serving as its clients see it: a PostgreSQL driver, HTTP and a WebSocket
//! against ephemeral ports, over a real platform whose engine only remembers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod console;
mod http;
mod platform;
mod postgres;
mod websocket;
mod wire;
