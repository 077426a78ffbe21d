//! See `docs/fuzzing.md`.

#![no_main]

#[path = "../../crates/eventlog/tests/fuzzed/stored_files.rs"]
mod stored_files;

libfuzzer_sys::fuzz_target!(|input: &[u8]| stored_files::check(input));
