//! What the commands say on the terminal, and how they are told to stop.

use std::io::IsTerminal as _;
use std::time::Duration;

use pluvio_config::LogLevel;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::error::CliError;

/// How long a door may take to close.
const FAREWELL: Duration = Duration::from_secs(3);

/// Logs to standard error at this level; `RUST_LOG` goes before it.
pub fn start_logging(level: LogLevel) {
    // The libraries below speak up from warnings on; ours at the chosen level.
    let fallback = format!("warn,pluvio={}", level.as_str());
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(fallback));
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let logging = logging.with_ansi(std::io::stderr().is_terminal());
    if logging.with_target(false).try_init().is_err() {
        eprintln!("warning: logging was set up twice");
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn stop_signal() -> Result<(), CliError> {
    let failed = |e| CliError::io("cannot wait for signals", e);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    Ok(())
}

/// Tells where the doors are, and that they are open.
pub fn say_ready(lines: &[(&str, String)]) {
    eprintln!();
    for (what, place) in lines {
        eprintln!("  {what:<9} {place}");
    }
    eprintln!();
    eprintln!("ready");
}

/// Waits for the doors to close, a while.
pub async fn wait_for(doors: Vec<JoinHandle<()>>) {
    for door in doors {
        if tokio::time::timeout(FAREWELL, door).await.is_err() {
            tracing::warn!("a door did not close in time");
        }
    }
}

/// The first line of a statement, shortened for a progress line.
pub fn first_line(statement: &str) -> String {
    let line = statement.lines().next().unwrap_or_default().trim_end();
    let more = statement.lines().count() > 1 || line.chars().count() > 96;
    let short: String = line.chars().take(96).collect();
    if more { format!("{short} …") } else { short }
}

/// A number with thousands separated.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Resident memory of this process, in bytes.
pub fn resident_bytes() -> u64 {
    status_bytes("VmRSS:")
}

/// The most that it was, since the process began.
pub fn resident_bytes_max() -> u64 {
    status_bytes("VmHWM:")
}

fn status_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(field));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Waits this long.
pub async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands() {
        assert_eq!(super::grouped(1_234_567), "1,234,567");
        assert_eq!(super::grouped(999), "999");
    }
}
