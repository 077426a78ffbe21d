//! Feeds over a real event log, real files and real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod files;
mod generating;
mod killing;
mod lines;
mod pressing;
mod reconciling;
mod restarting;
mod rig;
mod speed;
