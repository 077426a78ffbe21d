//! Everything with a name as a DataFusion table: streams (a scan of the topic),
//! real-time tables, views, lake tables united with their hot rows, and the
//! system's own tables.

mod append;
mod changes;
mod keyed;
mod lake;
mod resolve;
mod schemas;
mod stream;
pub(crate) mod system;
mod table_scan;
mod windowed;

pub use append::AppendProvider;
pub(crate) use keyed::check_key_type;
pub use keyed::{COPIES, KeyedProvider, ROW, WEIGHT};
pub use resolve::{Resolver, state_table_name};
pub(crate) use schemas::register;
pub use stream::StreamProvider;
pub(crate) use windowed::{WindowKind, WindowTable};
