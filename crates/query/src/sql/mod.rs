//! SQL text → commands. Standard SQL is parsed by sqlparser and planned by
//! DataFusion; what they lack (streams, sinks, windows as table functions, COPY
//! from files) is parsed here from the same tokens, so that every error has a
//! line and a column.

mod as_of;
mod columns;
mod command;
mod create;
mod kafka;
mod named_arguments;
mod old_windows;
mod options;
mod other;
mod refused;
mod rewrite;
mod stream;
mod types;

pub(crate) use as_of::MARKER;
pub use command::{
    AlterJob, Command, Copy, CreateStream, CreateView, JobChange, Parsed, ViewOptions, parse,
    parse_expression, parse_query,
};
pub(crate) use old_windows::GROUP_WINDOW;
pub use options::Options;
pub(crate) use types::sql_name;
