//! `pluvio check FILE.sql`: plans every statement against an empty platform.

use std::sync::Arc;

use pluvio_config::Config;
use pluvio_embedded::open_platform;
use pluvio_engine::{Engine, EngineOptions};
use pluvio_foundation::Metrics;
use pluvio_query::Jobs;
use pluvio_query::functions::Functions;

use crate::cli::CheckArgs;
use crate::error::CliError;

/// Checks a pipeline file.
pub async fn run(args: CheckArgs) -> Result<(), CliError> {
    let file = args.file.display().to_string();
    let sql = tokio::fs::read_to_string(&args.file).await.map_err(|e| CliError::io(file.clone(), e))?;
    let folder = args.file.parent().map(ToOwned::to_owned).unwrap_or_default();
    let scratch = std::env::temp_dir().join(format!("pluvio-check-{}", std::process::id()));
    let result = check(&scratch, &sql, &folder).await;
    let _ = std::fs::remove_dir_all(&scratch);
    match result? {
        Ok(count) => {
            println!("{file}: {count} statements, all good");
            Ok(())
        }
        Err(error) => Err(CliError::Script { file, error }),
    }
}

async fn check(
    scratch: &std::path::Path,
    sql: &str,
    folder: &std::path::Path,
) -> Result<Result<usize, pluvio_query::QueryError>, CliError> {
    let config = Config { data_dir: scratch.to_owned(), ..Config::default() };
    std::fs::create_dir_all(scratch).map_err(|e| CliError::io(scratch.display().to_string(), e))?;
    let (platform, log) = open_platform(&config, &Metrics::default(), Functions::default())?;
    let options = EngineOptions { trigger_ms: 1, trigger_rows: 1, workers: 1, epoch_bytes: 1 << 20 };
    let engine: Arc<dyn Jobs> =
        Engine::new(Arc::clone(&platform), options, tokio::runtime::Handle::current());
    platform.attach(&engine);
    let result = pluvio_query::check(&platform, sql, folder).await;
    platform.store().close();
    log.close();
    Ok(result)
}
