//! Helpers for expressions and patterns.

use datafusion::logical_expr::{Expr, col};

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
