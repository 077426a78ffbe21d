//! `pluvio log`: looks at the event log in the data folder, without a server
//! and without changing anything.

mod dump;
mod verify;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pluvio_config::Inputs;
use pluvio_eventlog::LogError;
use pluvio_eventlog::inspect::{InspectedTopic, Inspection};
use pluvio_foundation::RealDisk;

use crate::cli::{LogArgs, LogCommand};
use crate::error::CliError;
use crate::sql::print;
use crate::topic::missing;
use pluvio_embedded::LOCK_FILE;

/// Does what is asked with the log.
///
/// # Errors
/// There is no log, it is in use, or it is damaged.
pub fn run(args: &LogArgs) -> Result<(), CliError> {
    let folder = data_dir(args.data_dir.as_deref())?;
    let _lock = if args.force { None } else { hold(&folder)? };
    let inspection =
        Inspection::open(&folder.join("log"), Arc::new(RealDisk)).map_err(|error| match error {
            LogError::Corrupt { .. } => CliError::Other(format!(
                "there is no event log in {}; name the data folder with --data-dir",
                folder.display()
            )),
            other => other.into(),
        })?;
    let mut out = std::io::stdout().lock();
    print::unless_closed(match &args.command {
        LogCommand::Verify { topic } => {
            verify::run(&inspection, topic.as_deref(), &mut out, &mut std::io::stderr())
        }
        LogCommand::Dump(args) => dump::run(&inspection, args, &mut out),
    })
}

/// The folder that is named, or that the platform would use here.
fn data_dir(named: Option<&Path>) -> Result<PathBuf, CliError> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let inputs = Inputs { environment: std::env::vars().collect(), ..Inputs::default() };
    Ok(pluvio_config::load(&RealDisk, &inputs)?.config.data_dir)
}

/// Keeps a platform from starting on the folder meanwhile.
fn hold(folder: &Path) -> Result<Option<File>, CliError> {
    let Ok(file) = File::open(folder.join(LOCK_FILE)) else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(CliError::Other(format!(
            "{} is in use by a running platform: stop it first, or look with --force, \
             which changes nothing but may find half of what is being written",
            folder.display()
        ))),
        Err(TryLockError::Error(error)) => {
            Err(CliError::io(format!("cannot lock {}", folder.display()), error))
        }
    }
}

/// A topic by name.
fn named(inspection: &Inspection, name: &str) -> Result<InspectedTopic, CliError> {
    inspection.topic(name).map_err(|error| match error {
        LogError::TopicNotFound { .. } => missing(name),
        other => other.into(),
    })
}

#[cfg(test)]
pub(super) mod samples {
    //! A folder with a log in it.

    use std::path::Path;
    use std::sync::Arc;

    use pluvio_eventlog::inspect::Inspection;
    use pluvio_eventlog::{EventLog, LogOptions, TopicConfig};
    use pluvio_foundation::{Metrics, RealDisk, SystemClock, SystemRandom};
    use pluvio_wire_kafka::Compression;
    use pluvio_wire_kafka::records::BatchBuilder;

    /// A folder whose log has topic `rain` with events in partition 1.
    pub fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let (disk, clock) = (Arc::new(RealDisk), Arc::new(SystemClock));
        let random = Arc::new(SystemRandom::default());
        let options = LogOptions { disk_reserve_bytes: 0, ..LogOptions::default() };
        let log = EventLog::open(folder.path(), disk, clock, random, Metrics::default(), options).unwrap();
        let topic = log.create_topic("rain", 2, TopicConfig::default()).unwrap();
        for (number, codec) in [Compression::None, Compression::Lz4].into_iter().enumerate() {
            let mut builder = BatchBuilder::new(1_700_000_000_000);
            let value = format!("value {number}");
            builder.push(Some(b"key"), Some(value.as_bytes()), 1_700_000_000_001, &[("from", Some(b"x"))]);
            builder.push(None, None, 1_700_000_000_002, &[]);
            builder.push(Some(&[0xff]), Some(b"\x1b[2J"), 1_700_000_000_003, &[]);
            let sequence = i32::try_from(number).unwrap() * 3;
            let batch = builder.finish(codec, Some((7, 0, sequence))).unwrap();
            topic.partition(1).unwrap().append(batch).unwrap();
        }
        log.close();
        folder
    }

    pub fn inspection(folder: &Path) -> Inspection {
        Inspection::open(folder, Arc::new(RealDisk)).unwrap()
    }

    /// Damages a byte in the middle of the first batch.
    pub fn damage(folder: &Path) {
        let path = folder.join("topics/rain/1/00000000000000000000.log");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[80] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(hold(folder.path()).unwrap().is_none());
        let running = File::create(folder.path().join(LOCK_FILE)).unwrap();
        drop(hold(folder.path()).unwrap().unwrap());
        running.try_lock().unwrap();
        let refused = hold(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("stop it first") && refused.contains("--force"), "{refused}");
    }

    #[test]
    fn topics_are_named_as_elsewhere() {
        let folder = samples::folder();
        let inspection = samples::inspection(folder.path());
        assert_eq!(named(&inspection, "rain").unwrap().partitions, 2);
        assert!(named(&inspection, "snow").unwrap_err().to_string().contains("no topic \"snow\""));
    }
}
