//! The doors that answers leave by: SQL over the PostgreSQL wire, and the live
//! console over HTTP and one WebSocket.
//!
//! Promises: every answer is read through `pluvio-query`, never from a store;
//! every size that comes from outside is limited before memory is taken; a slow
//! or vanished client costs nobody else anything; errors carry the SQLSTATE of
//! their kind and, where known, the place in the text.
//!
//! Not here: authentication (a door on another address than loopback is refused
//! where configuration is read), the meaning of SQL (`pluvio-query`), and
//! writing of any kind.

pub mod console;
pub mod postgres;
