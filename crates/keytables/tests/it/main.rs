//! The store as its users see it: against a model, through crashes and faults.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod ddl;
mod faults;
mod formats;
mod groups;
mod model;
mod rows;
mod spans;
mod starts;
mod together;
