//! FLUSH: waits until readers see what arrived before it, so that a client can
//! read its own events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pluvio_foundation::ErrorKind;

use crate::define::blocking;
use crate::session::{Outcome, Session};
use crate::{Progress, QueryError};

/// How often the jobs' progress is looked at.
const LOOK_MS: u64 = 5;

/// Waits until every event that is in a topic now is visible in all views made
/// from it, and the windows that are due by then are closed. Ends early if the
/// client cancels.
///
/// # Errors
/// A job that has failed: it will not get there.
pub(crate) async fn run(session: &Session) -> Result<Outcome, QueryError> {
    let platform = session.platform();
    let jobs = platform.jobs()?;
    let mut goals: HashMap<(String, String), Vec<i64>> = HashMap::new();
    for progress in jobs.progress() {
        let sources = Arc::clone(platform.sources());
        let goal = (progress.graph, progress.stream.name.clone());
        goals.insert(goal, blocking(move || sources.ends(&progress.stream)).await?);
    }
    let mut reached: HashMap<String, u64> = HashMap::new();
    loop {
        jobs.hurry();
        let mut waiting = false;
        for progress in jobs.progress() {
            let of = (progress.graph.clone(), progress.stream.name.clone());
            let Some(goal) = goals.get(&of) else { continue };
            waiting |= !is_visible(&progress, goal, &mut reached)?;
        }
        if !waiting {
            return Ok(Outcome::done("FLUSH"));
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// Whether a group of jobs has come to its goal. Windows are closed at the start
/// of the epoch after the one that made them due.
fn is_visible(
    progress: &Progress,
    goal: &[i64],
    reached: &mut HashMap<String, u64>,
) -> Result<bool, QueryError> {
    if let Some(reason) = &progress.failed {
        let message = format!("the job \"{}\" has failed: {reason}", progress.graph);
        return Err(QueryError::new(ErrorKind::Unavailable, message));
    }
    let there = |(i, end): (usize, &i64)| *end == 0 || progress.cut.get(i).is_some_and(|cut| cut >= end);
    if !goal.iter().enumerate().all(there) {
        return Ok(false);
    }
    let epoch = *reached.entry(progress.graph.clone()).or_insert(progress.epoch);
    Ok(progress.settled || progress.epoch > epoch)
}
