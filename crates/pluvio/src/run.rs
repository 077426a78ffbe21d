//! `pluvio run FILE.sql`: the statements of a file, then serve.

use pluvio_query::Session;

use crate::cli::RunArgs;
use crate::error::CliError;
use crate::platform::Running;
use crate::{serve, terminal};

/// Runs a pipeline file and serves it.
pub async fn run(args: RunArgs) -> Result<(), CliError> {
    let settings = args.platform.load()?;
    terminal::start_logging(settings.config.log_level);
    let file = args.file.display().to_string();
    let sql = tokio::fs::read_to_string(&args.file).await.map_err(|e| CliError::io(file.clone(), e))?;
    let folder = args.file.parent().map(ToOwned::to_owned).unwrap_or_default();
    let mut running = Running::start(&settings.config).await?;
    let mut progress = |statement: &str| eprintln!("  {}", terminal::first_line(statement));
    eprintln!("running {file}");
    match Session::run_script(running.pluvio.platform(), &sql, folder, &mut progress).await {
        Ok(_) => {}
        Err(error) => {
            running.stop().await;
            return Err(CliError::Script { file, error });
        }
    }
    running.open();
    terminal::say_ready(&running.addresses.lines());
    serve::until_stopped(running).await
}
