//! The thread of a feed. It ends only when it is asked to or has nothing more to
//! do: what fails is told and tried again after a pause.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use pluvio_catalog::FeedDef;

use crate::context::Context;
use crate::status::FeedState;
use crate::{FeedError, files, generator, lines};

/// How a feed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was asked to.
    Stopped,
    /// It has nothing more to do.
    Finished,
}

/// Runs until the end.
pub(crate) fn run(context: &Arc<Context>) {
    let mut told = String::new();
    loop {
        let error = match catch_unwind(AssertUnwindSafe(|| attempt(context))) {
            Ok(Ok(Ended::Stopped)) => return,
            Ok(Ok(Ended::Finished)) => return context.board.turn(FeedState::Finished, None),
            Ok(Err(error)) => error,
            Err(panic) => FeedError::Fault(words(&*panic)),
        };
        let text = error.to_string();
        let is_waiting = matches!(error, FeedError::NoTopic { .. });
        if !is_waiting && text != told {
            tracing::warn!(stream = %context.spec.stream, %error, "a feed failed and is tried again");
            told.clone_from(&text);
        }
        let state = if is_waiting { FeedState::Waiting } else { FeedState::Failed };
        context.board.turn(state, Some(text));
        if context.stop.wait(Duration::from_millis(context.options.retry_ms)) {
            return;
        }
    }
}

fn attempt(context: &Arc<Context>) -> Result<Ended, FeedError> {
    match &context.spec.def {
        FeedDef::Files(def) => files::run(context, def),
        FeedDef::Lines(def) => lines::run(context, def),
        FeedDef::Generator(def) => generator::run(context, def),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given").to_owned()
}
