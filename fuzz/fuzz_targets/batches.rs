//! See `docs/fuzzing.md`.

#![no_main]

#[path = "../../crates/wire-kafka/tests/fuzzed/batches.rs"]
mod batches;

libfuzzer_sys::fuzz_target!(|input: &[u8]| batches::check(input));
