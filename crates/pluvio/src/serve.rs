//! `pluvio serve`: the platform until Ctrl-C.

use pluvio_config::Role;

use crate::cli::ServeArgs;
use crate::error::CliError;
use crate::platform::Running;
use crate::{queue, terminal};

/// Serves until told to stop.
pub async fn run(args: ServeArgs) -> Result<(), CliError> {
    let settings = args.platform.load()?;
    terminal::start_logging(settings.config.log_level);
    if settings.config.role == Role::Queue {
        return queue::run(&settings.config).await;
    }
    let mut running = Running::start(&settings.config).await?;
    running.open();
    terminal::say_ready(&running.addresses.lines());
    until_stopped(running).await
}

/// Waits for Ctrl-C or SIGTERM, then closes everything.
pub async fn until_stopped(running: Running) -> Result<(), CliError> {
    terminal::stop_signal().await?;
    eprintln!("stopping …");
    running.stop().await;
    eprintln!("stopped");
    Ok(())
}
