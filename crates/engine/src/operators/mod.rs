//! The operators at work on batches.

mod aggregate;
mod lookup;
mod steps;

pub use aggregate::{AggregateState, Touched};
pub use steps::{StepRunner, Tracked, concat};
