//! How far a long run is, on standard error. Nothing is said where somebody is
//! typing the events, nor in the first two seconds.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::terminal::grouped;

const QUIET: Duration = Duration::from_secs(2);

/// Tells how far it is.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    /// None if nothing shall be said.
    next: Option<Instant>,
    /// On a terminal one line is written again and again.
    in_place: bool,
    told: bool,
}

impl Progress {
    /// Begins; `from_file` is whether the events come from a file.
    pub fn new(from_file: bool) -> Self {
        let started = Instant::now();
        let typed = !from_file && std::io::stdin().is_terminal();
        let next = (!typed).then(|| started + QUIET);
        Self { started, next, in_place: std::io::stderr().is_terminal(), told: false }
    }

    /// Says how many events there were, if it is time to.
    pub fn tell(&mut self, events: u64) {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        let line = line(events, now - self.started);
        match self.in_place {
            true => eprint!("\r{line}   "),
            false => eprintln!("{line}"),
        }
        self.told = true;
        self.next = Some(now + Duration::from_secs(if self.in_place { 1 } else { 10 }));
    }

    /// Leaves the line that was written again and again.
    pub fn end(&self) {
        if self.told && self.in_place {
            eprintln!();
        }
    }
}

fn line(events: u64, took: Duration) -> String {
    let per_second = u128::from(events) * 1000 / took.as_millis().max(1);
    let per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
    format!("{} events, {} a second", grouped(events), grouped(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second() {
        assert_eq!(line(3_000_000, Duration::from_millis(1500)), "3,000,000 events, 2,000,000 a second");
        assert_eq!(line(0, Duration::ZERO), "0 events, 0 a second");
    }
}
