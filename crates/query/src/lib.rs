//! Questions and answers: SQL text in, rows or effects out. Owns the sessions,
//! the tables as DataFusion sees them, definitions by DDL, changes by DML, and
//! the planning of continuous queries (the engine runs them).
//!
//! Promises: a statement is refused with its line and column before it has any
//! effect; a pipeline file is refused whole; readers see committed epochs only.
//! Does not: run jobs, speak a wire protocol, write derived rows.

mod context;
mod copy;
pub mod dead_letters;
mod define;
mod dml;
mod error;
mod explain;
mod flush;
pub mod functions;
mod instant;
mod isolate;
mod lakes;
mod plan;
mod platform;
mod ports;
mod produce;
pub mod rows;
mod script;
mod session;
pub mod sessions;
pub mod source;
pub mod sources;
pub mod sql;
mod system_rows;
pub mod tables;
mod text_functions;
mod threads;
pub mod windows;

pub use datafusion;
pub use error::{Position, QueryError};
pub use isolate::isolate;
pub use lakes::Lakes;
pub use plan::plan_continuous;
pub use platform::{Platform, PlatformOptions};
pub use pluvio_eventlog::internal::is_internal as is_internal_topic;
pub use ports::{
    EpochStatus, FeedRow, Feeding, JobStatus, Jobs, NoJobs, OperatorStatus, Progress, ViewShape, ViewTerms,
};
pub use produce::values as event_values;
pub use script::check;
pub use session::{Outcome, Session};
