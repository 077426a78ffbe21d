//! `pluvio log verify`: every batch, offset and sidecar of the log.

use std::io::Write;
use std::time::{Duration, Instant};

use pluvio_eventlog::inspect::{InspectedTopic, Inspection, PartitionCheck};

use super::named;
use crate::error::CliError;
use crate::sql::{print::failed, table};
use crate::terminal::grouped;

/// How long it is quiet, and then between two words on how far it is.
const QUIET: Duration = Duration::from_secs(2);

/// Checks all topics, or one. Says on `out` what each partition holds and what
/// is wrong with it, and on `progress` how far it is.
///
/// # Errors
/// Damage, files that cannot be read.
pub fn run(
    inspection: &Inspection,
    topic: Option<&str>,
    out: &mut dyn Write,
    progress: &mut dyn Write,
) -> Result<(), CliError> {
    let mut told: Vec<String> = inspection.findings.clone();
    let mut damaged = told.len();
    let mut topics = Vec::new();
    match topic {
        Some(name) => topics.push(named(inspection, name)?),
        None => {
            for topic in inspection.topics()? {
                match topic {
                    Ok(topic) => topics.push(topic),
                    Err(error) => {
                        damaged += 1;
                        told.push(format!("damage: {error}"));
                    }
                }
            }
        }
    }
    let mut meter = Meter::new(inspection, &topics, progress)?;
    let mut rows = Vec::new();
    for topic in &topics {
        for partition in 0..topic.partitions {
            let check = inspection.verify(topic, partition, |bytes| meter.add(bytes))?;
            damaged += usize::from(check.is_damaged());
            for finding in &check.findings {
                let kind = if finding.is_damage { "damage" } else { "note" };
                told.push(format!("{kind}: topic {:?} partition {partition}: {}", topic.name, finding.text));
            }
            if check.segments > 0 || !check.findings.is_empty() {
                rows.push(row(topic, partition, &check));
            }
        }
    }
    let head =
        ["topic", "partition", "segments", "bytes", "batches", "records", "first offset", "next offset", ""];
    table::print(out, &head, &rows).map_err(failed)?;
    for line in &told {
        writeln!(out, "{line}").map_err(failed)?;
    }
    match damaged {
        0 => writeln!(out, "{} bytes checked, no damage", grouped(meter.done)).map_err(failed),
        1 => Err(CliError::Other(
            "there is damage in one place; restore it from a backup if there is one".into(),
        )),
        _ => {
            let what =
                format!("there is damage in {damaged} places; restore them from a backup if there is one");
            Err(CliError::Other(what))
        }
    }
}

fn row(topic: &InspectedTopic, partition: u32, check: &PartitionCheck) -> Vec<String> {
    vec![
        topic.name.clone(),
        partition.to_string(),
        check.segments.to_string(),
        check.bytes.to_string(),
        check.batches.to_string(),
        check.records.to_string(),
        check.start_offset.to_string(),
        check.end_offset.to_string(),
        if check.is_damaged() { "damaged".into() } else { String::new() },
    ]
}

/// Says from time to time how far the reading is.
struct Meter<'a> {
    all: u64,
    done: u64,
    said: Instant,
    out: &'a mut dyn Write,
}

impl<'a> Meter<'a> {
    fn new(
        inspection: &Inspection,
        topics: &[InspectedTopic],
        out: &'a mut dyn Write,
    ) -> Result<Self, CliError> {
        let mut all = 0;
        for topic in topics {
            for partition in 0..topic.partitions {
                all += inspection.bytes(topic, partition)?;
            }
        }
        Ok(Self { all, done: 0, said: Instant::now(), out })
    }

    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.said.elapsed() < QUIET {
            return;
        }
        self.said = Instant::now();
        let percent = self.done.saturating_mul(100) / self.all.max(1);
        // Whoever does not listen misses nothing that counts.
        let _ = writeln!(self.out, "{percent:3} % of {} bytes checked", grouped(self.all));
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn verified(folder: &std::path::Path, topic: Option<&str>) -> (String, Result<(), CliError>) {
        let mut out = Vec::new();
        let done = run(&samples::inspection(folder), topic, &mut out, &mut std::io::sink());
        (String::from_utf8(out).unwrap(), done)
    }

    #[test]
    fn what_is_whole_is_counted() {
        let folder = samples::folder();
        let (out, done) = verified(folder.path(), None);
        done.unwrap();
        let row = out.lines().find(|line| line.contains("rain")).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert!(cells.contains(&"6") && out.contains("no damage"), "{out}");
        verified(folder.path(), Some("rain")).1.unwrap();
        assert!(verified(folder.path(), Some("snow")).1.is_err());
    }

    #[test]
    fn damage_is_named_and_an_error() {
        let folder = samples::folder();
        samples::damage(folder.path());
        let (out, done) = verified(folder.path(), None);
        assert!(done.unwrap_err().to_string().contains("one place"));
        let line = out.lines().find(|line| line.starts_with("damage")).unwrap();
        assert!(
            line.contains("topic \"rain\" partition 1") && line.contains("offset 0 to before 3"),
            "{line}"
        );
        std::fs::write(folder.path().join("topics/rain/meta.json"), "{").unwrap();
        let (out, done) = verified(folder.path(), None);
        assert!(done.is_err() && out.contains("meta.json"), "{out}");
    }

    #[test]
    fn it_says_how_far_it_is() {
        let folder = samples::folder();
        let inspection = samples::inspection(folder.path());
        let topics = [named(&inspection, "rain").unwrap()];
        let mut said = Vec::new();
        let mut meter = Meter::new(&inspection, &topics, &mut said).unwrap();
        meter.said = Instant::now() - QUIET;
        let half = meter.all / 2 + 1;
        meter.add(half);
        meter.add(1);
        let said = String::from_utf8(said).unwrap();
        assert!(said.starts_with(" 50 %") && said.lines().count() == 1, "{said}");
    }
}
