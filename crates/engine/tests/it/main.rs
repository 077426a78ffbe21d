//! The engine over real stores: SQL behaviour as data files, jobs against batch
//! queries over the same events, and power failures.

mod crash;
mod oracle;
mod platform;
mod slt;
mod workload;
