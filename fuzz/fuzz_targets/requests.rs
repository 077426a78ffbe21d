//! See `docs/fuzzing.md`.

#![no_main]

#[path = "../../crates/wire-kafka/tests/fuzzed/requests.rs"]
mod requests;

libfuzzer_sys::fuzz_target!(|input: &[u8]| requests::check(input));
