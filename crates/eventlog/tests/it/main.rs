//! The event log from outside: on a simulated disk under a seed, and on a real
//! one for what is frozen.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod appending;
mod compacting;
mod damage;
mod disk_faults;
mod frozen;
mod frozen_compacted;
mod frozen_settings;
mod frozen_transactions;
mod fuzz_corpus;
mod inspecting;
mod recovering;
mod retaining;
mod rig;
mod simulation;
mod threads;
mod topics;
mod transactions;
