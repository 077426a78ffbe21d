//! The rules that this repository keeps about itself, as tests: which crate may
//! depend on which (`tests/it/layers.rs`), and how files look
//! (`tests/it/files.rs`, `tests/it/code.rs`).
//!
//! A rule that fails says what to do. A rule that is wrong is changed here, with
//! the reason beside it; an exception is an entry in the rule's own list. There
//! is nothing to call in this crate.
