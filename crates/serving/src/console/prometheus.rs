//! The numbers in Prometheus' text format.

use std::fmt::Write;

use pluvio_foundation::metrics::Reading;
use pluvio_query::JobStatus;

/// The type of the answer.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All readings and the jobs' state. Readings count up or go both ways and do
/// not say which, so they are `untyped`; an instance is the label `name`.
pub(super) fn text(readings: &[Reading], jobs: &[JobStatus]) -> String {
    let mut text = String::with_capacity(64 * (readings.len() + 4 * jobs.len()));
    let mut last = "";
    for reading in readings {
        if reading.name != last {
            last = reading.name;
            // Writing into a string cannot fail.
            let _ = writeln!(text, "# TYPE pluvio_{last} untyped");
        }
        line(&mut text, reading.name, &reading.label, reading.value as f64);
    }
    job_lines(&mut text, jobs, "job_running", |job| Some(if job.state == "running" { 1.0 } else { 0.0 }));
    job_lines(&mut text, jobs, "job_epoch", |job| Some(job.epoch as f64));
    job_lines(&mut text, jobs, "job_lag", |job| Some(job.lag as f64));
    job_lines(&mut text, jobs, "job_latency_ms_p50", |job| job.latency_ms_p50);
    job_lines(&mut text, jobs, "job_latency_ms_p99", |job| job.latency_ms_p99);
    text
}

fn job_lines(text: &mut String, jobs: &[JobStatus], name: &str, value: fn(&JobStatus) -> Option<f64>) {
    if jobs.iter().any(|job| value(job).is_some()) {
        let _ = writeln!(text, "# TYPE pluvio_{name} gauge");
    }
    for job in jobs {
        if let Some(value) = value(job) {
            line(text, name, &job.name, value);
        }
    }
}

fn line(text: &mut String, name: &str, label: &str, value: f64) {
    let _ = match label {
        "" => writeln!(text, "pluvio_{name} {value}"),
        label => writeln!(text, "pluvio_{name}{{name=\"{}\"}} {value}", escaped(label)),
    };
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_type_line_per_name_and_escaped_labels() {
        let reading = |name, label: &str, value| Reading { name, label: label.to_owned(), value };
        let readings = [
            reading("log_fsyncs", "", 3),
            reading("tables_rows", "a", 1),
            reading("tables_rows", "b\"\\\n", 12_000_000),
        ];
        assert_eq!(
            text(&readings, &[]),
            "# TYPE pluvio_log_fsyncs untyped\npluvio_log_fsyncs 3\n\
             # TYPE pluvio_tables_rows untyped\npluvio_tables_rows{name=\"a\"} 1\n\
             pluvio_tables_rows{name=\"b\\\"\\\\\\n\"} 12000000\n"
        );
    }
}
