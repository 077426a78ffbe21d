//! The rules of `pluvio-tidy`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod code;
mod files;
mod layers;
mod source;

/// Fails with every finding and what to do about them.
#[track_caller]
fn none(findings: &[String], advice: &str) {
    assert!(findings.is_empty(), "\n  {}\n{advice}", findings.join("\n  "));
}
