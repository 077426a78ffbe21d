//! The user's own functions; helpers for expressions and patterns.

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF, col};

/// Functions of the user's own. They are known to every query, to every view and
/// to computed columns, by their name.
///
/// A function in a view must give the same value for the same arguments, and be
/// declared immutable: rows are taken back by computing them again.
#[derive(Debug, Clone, Default)]
pub struct Functions {
    /// From a row's values to a value.
    pub scalar: Vec<Arc<ScalarUDF>>,
    /// From a group's values to a value.
    pub aggregate: Vec<Arc<AggregateUDF>>,
}

/// Largest compiled regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 10 << 20;

/// A column reference by its exact name.
pub fn column(name: &str) -> Expr {
    col(datafusion::common::Column::from_name(name))
}

/// Fails if the pattern is not a regular expression of bounded size.
pub fn check_regex(pattern: &str) -> std::result::Result<(), String> {
    compile_regex(pattern).map(|_| ())
}

/// Compiles a pattern under a size limit.
pub fn compile_regex(pattern: &str) -> std::result::Result<regex::bytes::Regex, String> {
    regex::bytes::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build().map_err(|e| e.to_string())
}

/// The same for texts.
pub fn compile_text_regex(pattern: &str) -> std::result::Result<regex::Regex, String> {
    regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build().map_err(|e| e.to_string())
}
