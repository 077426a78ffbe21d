//! See `docs/fuzzing.md`.

#![no_main]

#[path = "../../crates/wire-kafka/tests/fuzzed/responses.rs"]
mod responses;

libfuzzer_sys::fuzz_target!(|input: &[u8]| responses::check(input));
