//! Lake tables: rows kept for good, in open formats (Delta Lake over Parquet),
//! written exactly once and read by any Delta reader.
//!
//! - [`LakeTable`]: one table, its only committer; [`LakeTable::maintain`] keeps
//!   it small and quick.
//! - [`LakeWriter`]: a job's rows by epoch; [`LakeWriter::commit`] makes them
//!   true together with the epoch, in one entry of the Delta log.
//! - [`LakeSnapshot`]: the table at one version, for queries, with the epochs it
//!   includes.
//!
//! Promises: a commit that was reported survives a power loss; a commit is made
//! once however often it is tried; what a killed process left is found at the
//! next open. Does not update or delete single rows, and does not partition.
//!
//! On disk: `TABLE/pluvio-*.parquet` (the rows), `TABLE/_delta_log/` (the log,
//! in Delta's format: reader version 1, writer version 2, no table features),
//! `TABLE/_pluvio.lock`.

mod columns;
mod commit;
mod compaction;
mod durable_store;
mod encoder;
mod encoding;
mod error;
mod files;
mod log;
mod maintain;
mod open;
mod options;
mod pins;
mod provider;
mod snapshot;
mod stats;
mod table;
mod writer;

pub use columns::COLUMNS_MAX;
pub use error::LakeError;
pub use maintain::MaintenanceReport;
pub use open::read_only;
pub use options::{LakeCompression, LakeOptions};
pub use snapshot::LakeSnapshot;
pub use table::LakeTable;
pub use writer::{Committed, LakeWriter};
