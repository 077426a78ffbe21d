//! `pluvio demo`: the embedded platform, the card payment pipeline, and a storm
//! of payments through a socket.

mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pluvio_query::Session;

use crate::cli::DemoArgs;
use crate::error::CliError;
use crate::load::{Progress, Storm, load_tables, rain};
use crate::platform::Running;
use crate::terminal;
use report::{Report, Watch};

const PIPELINE: &str = include_str!("../../../../examples/card-payments/pipeline.sql");
const TOPIC: &str = "payments";
const PARTITIONS: u32 = 4;
/// How long the end waits for the last events to become visible.
const DRAIN_SECONDS: u64 = 30;

/// The demo's data folder: the one named, or a temporary one that goes with it.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("warning: {} could not be removed: {error}", self.path.display());
        }
    }
}

/// Runs the demo until its duration is over, or Ctrl-C.
pub async fn run(args: DemoArgs) -> Result<(), CliError> {
    let begun = Instant::now();
    let duration = args.duration.as_deref().map(pluvio_config::parse_duration_ms).transpose()?;
    let temporary = std::env::temp_dir().join(format!("pluvio-demo-{}", std::process::id()));
    let chosen = args.data.as_ref().map(|p| p.display().to_string());
    let defaults = [
        ("data_dir", chosen.clone().unwrap_or_else(|| temporary.display().to_string())),
        ("log_level", "warn".into()),
    ];
    let mut settings = args.platform.load_with(&defaults)?;
    if let Some(data) = &args.data {
        settings.config.data_dir.clone_from(data);
    }
    let config = settings.config;
    terminal::start_logging(config.log_level);
    let _folder = Folder { temporary: config.data_dir == temporary, path: config.data_dir.clone() };
    let mut running = Running::start(&config).await?;
    let script = Session::run_script(running.pluvio.platform(), PIPELINE, PathBuf::new(), &mut |_| {}).await;
    if let Err(error) = script {
        running.stop().await;
        return Err(CliError::Script { file: "examples/card-payments/pipeline.sql".into(), error });
    }
    load(&running, &args).await?;
    running.open();
    terminal::say_ready(&running.addresses.lines());
    let storm = Storm {
        address: running.addresses.queue()?.to_string(),
        topic: TOPIC.into(),
        partitions: PARTITIONS,
        rate: args.rate,
        persons: args.persons,
        companies: args.companies,
    };
    let progress = Arc::new(Progress::default());
    let mut raining = tokio::spawn(rain(storm, Arc::clone(&progress)));
    let mut watch = Watch::new(&running, begun);
    let end = duration.map(|ms| Instant::now() + Duration::from_millis(ms));
    let mut failed = None;
    let mut stop = Box::pin(terminal::stop_signal());
    while end.is_none_or(|end| Instant::now() < end) {
        tokio::select! {
            stopped = &mut stop => { stopped?; break }
            ended = &mut raining => {
                failed = Some(ended);
                break;
            }
            () = terminal::pause(100) => watch.look(&progress),
        }
    }
    let rained = watch.rained();
    progress.stop.store(true, Ordering::Relaxed);
    let ended = match failed {
        Some(ended) => ended,
        None => raining.await,
    };
    ended.map_err(|e| CliError::Other(e.to_string()))??;
    drain(&running, &mut watch, &progress).await;
    let report = watch.report(&progress, rained)?;
    finish(running, report, args.json).await
}

async fn load(running: &Running, args: &DemoArgs) -> Result<(), CliError> {
    let (platform, persons, companies) =
        (Arc::clone(running.pluvio.platform()), args.persons, args.companies);
    let start = Instant::now();
    let loading = tokio::task::spawn_blocking(move || {
        let total = persons.saturating_add(companies);
        load_tables(platform.store(), persons, companies, &|done| {
            eprint!(
                "\r  loading persons and companies  {:>3} %",
                u64::from(done) * 100 / u64::from(total.max(1))
            );
        })
    });
    loading.await.map_err(|e| CliError::Other(e.to_string()))??;
    eprintln!(
        "\r  {} persons and {} companies loaded in {:.1} s",
        terminal::grouped(persons.into()),
        terminal::grouped(companies.into()),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Waits until every acknowledged event is visible.
async fn drain(running: &Running, watch: &mut Watch, progress: &Progress) {
    let end = Instant::now() + Duration::from_secs(DRAIN_SECONDS);
    while Instant::now() < end {
        let lag = running
            .pluvio
            .platform()
            .jobs()
            .map(|j| j.jobs().iter().filter(|s| s.kind == "view").map(|s| s.lag).max());
        if matches!(lag, Ok(Some(0) | None))
            && watch.events() >= progress.acknowledged.load(Ordering::Relaxed)
        {
            return;
        }
        terminal::pause(50).await;
        watch.look(progress);
    }
}

async fn finish(running: Running, mut report: Report, json: bool) -> Result<(), CliError> {
    let platform = Arc::clone(running.pluvio.platform());
    running.stop().await;
    report.lake_rows = platform.lakes().get(TOPIC).map_or(0, |lake| lake.rows());
    eprintln!();
    match json {
        true => println!("{}", report.json()),
        false => eprintln!("{}", report.text()),
    }
    Ok(())
}
