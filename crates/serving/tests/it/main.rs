//! Serving as its clients see it: a PostgreSQL driver, HTTP and a WebSocket
//! against ephemeral ports, over a real platform whose engine only remembers.

mod console;
mod http;
mod platform;
mod postgres;
mod websocket;
mod wire;
