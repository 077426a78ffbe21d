//! `pluvio serve`: the platform until Ctrl-C.

use crate::cli::ServeArgs;
use crate::error::CliError;
use crate::platform::Running;
use crate::terminal;

/// Serves until told to stop.
pub async fn run(args: ServeArgs) -> Result<(), CliError> {
    let settings = args.platform.load()?;
    terminal::start_logging(settings.config.log_level);
    let mut running = Running::start(&settings.config).await?;
    running.open();
    terminal::say_ready(&running.addresses);
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
