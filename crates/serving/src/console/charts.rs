//! Which chart suits a view, and the query that feeds it.
//!
//! A view with windows is a line over time; a view that only grows is its rate,
//! which costs no query; any other view is its ten largest values. The measure
//! is the first column that means something when summed.

use datafusion::arrow::datatypes::DataType;
use pluvio_catalog::{Column, ViewDef, ViewKind};
use serde_json::{Value, json};

use super::json::kind;

/// Windows drawn.
const WINDOWS_MAX: usize = 60;
/// Bars drawn.
const BARS_MAX: usize = 10;

/// What to draw of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chart {
    /// Rows per second, from the job's counts.
    Rate,
    /// A sum (or a count, without a measure) per window.
    Line { time: String, measure: Option<String>, sums: bool, open: bool },
    /// The largest values by name.
    Bars { label: Vec<String>, measure: String },
    /// Nothing to measure.
    Rows,
}

impl Chart {
    /// The chart of a view.
    pub(super) fn of(view: &ViewDef) -> Self {
        let key: &[usize] = match &view.kind {
            ViewKind::Keyed { key } => key,
            ViewKind::Append { .. } => &[],
        };
        let is_key = |position: &usize| key.contains(position);
        let time = time_column(view);
        if time.is_none() && matches!(view.kind, ViewKind::Append { .. }) {
            return Self::Rate;
        }
        let positions = 0..view.columns.len();
        let measure = measure(positions.clone().filter(|at| !is_key(at)).map(|at| &view.columns[at]));
        match (time, measure) {
            (Some(time), measure) => {
                let groups = |column: &Column| column.name != time && !kind(&column.data_type).eq("time");
                let grouped = match &view.kind {
                    ViewKind::Keyed { key } => key.iter().any(|at| groups(&view.columns[*at])),
                    ViewKind::Append { .. } => {
                        view.columns.iter().any(|c| groups(c) && kind(&c.data_type) == "text")
                    }
                };
                Self::Line { time: time.to_owned(), measure, sums: grouped, open: !view.emit_on_window_close }
            }
            (None, Some(measure)) => {
                let names = label(view, key, &measure);
                if names.is_empty() { Self::Rows } else { Self::Bars { label: names, measure } }
            }
            (None, None) => Self::Rows,
        }
    }

    /// Its name in messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Line { .. } => "line",
            Self::Bars { .. } => "bars",
            Self::Rows => "rows",
        }
    }

    /// What the page writes above it.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Rate => "rows per second".to_owned(),
            Self::Line { time, measure: Some(measure), .. } => format!("{measure} by {time}"),
            Self::Line { time, measure: None, .. } => format!("rows by {time}"),
            Self::Bars { label, measure } => format!("largest {measure} by {}", label.join(", ")),
            Self::Rows => String::new(),
        }
    }

    /// The query whose rows [`Self::message`] takes; none if it needs none.
    pub(super) fn query(&self, view: &str) -> Option<String> {
        let view = quoted(view);
        match self {
            Self::Rate | Self::Rows => None,
            Self::Line { time, measure, sums, .. } => {
                let (time, from) = (quoted(time), format!("FROM {view} WHERE {} IS NOT NULL", quoted(time)));
                let tail = format!("ORDER BY 1 DESC LIMIT {WINDOWS_MAX}");
                Some(match measure {
                    None => format!("SELECT {time}, count(*) {from} GROUP BY 1 {tail}"),
                    Some(measure) if *sums => {
                        format!("SELECT {time}, sum({}) {from} GROUP BY 1 {tail}", quoted(measure))
                    }
                    Some(measure) => format!("SELECT {time}, {} {from} {tail}", quoted(measure)),
                })
            }
            Self::Bars { label, measure } => {
                let names: Vec<_> =
                    label.iter().map(|name| format!("CAST({} AS VARCHAR)", quoted(name))).collect();
                let measure = quoted(measure);
                Some(format!(
                    "SELECT concat_ws(' · ', {}), {measure} FROM {view} WHERE {measure} IS NOT NULL \
                     ORDER BY 2 DESC LIMIT {BARS_MAX}",
                    names.join(", ")
                ))
            }
        }
    }

    /// The message for the page, from the query's rows: pairs of cells. `now_ms`
    /// tells whether the newest window can still grow.
    pub(super) fn message(&self, view: &str, mut rows: Vec<(Value, Value)>, now_ms: i64) -> Value {
        let (kind, title) = (self.kind(), self.title());
        match self {
            Self::Line { measure, open, .. } => {
                if *open {
                    drop_open_window(&mut rows, now_ms);
                }
                let (x, values): (Vec<_>, Vec<_>) = rows.into_iter().rev().unzip();
                let name = measure.as_deref().unwrap_or("rows");
                let series =
                    json!([{ "name": name, "values": values.into_iter().map(number).collect::<Vec<_>>() }]);
                json!({ "type": "chart", "view": view, "kind": kind, "title": title, "x": x, "series": series })
            }
            Self::Bars { .. } => {
                let item = |(name, value): (Value, Value)| json!({ "name": name, "value": number(value) });
                let items: Vec<_> = rows.into_iter().map(item).collect();
                json!({ "type": "chart", "view": view, "kind": kind, "title": title, "items": items })
            }
            Self::Rate | Self::Rows => json!({ "type": "chart", "view": view, "kind": kind, "title": title }),
        }
    }
}

/// The newest window is left out while it can still grow: half a window would
/// look like a fall. Rows come newest first.
fn drop_open_window(rows: &mut Vec<(Value, Value)>, now_ms: i64) {
    let time = |at: usize| rows.get(at).and_then(|(time, _)| time.as_f64());
    if let (Some(newest), Some(before)) = (time(0), time(1))
        && newest + (newest - before) > now_ms as f64
        && rows.len() > 2
    {
        rows.remove(0);
    }
}

/// Numbers that a double cannot hold come as text.
fn number(value: Value) -> Value {
    match value {
        Value::String(text) => text.parse::<f64>().map_or(Value::Null, |number| json!(number)),
        other => other,
    }
}

fn time_column(view: &ViewDef) -> Option<&str> {
    let is_time = |column: &&Column| matches!(column.data_type, DataType::Timestamp(..));
    let window = view.columns.iter().filter(is_time).find(|column| column.name == "window_start");
    let in_key = || match &view.kind {
        ViewKind::Keyed { key } => key.iter().filter_map(|at| view.columns.get(*at)).find(is_time),
        ViewKind::Append { .. } => None,
    };
    window.or_else(in_key).map(|column| column.name.as_str())
}

/// A float if there is one, else a whole number; never an identity, and nothing
/// whose sum means nothing.
fn measure<'a>(columns: impl Iterator<Item = &'a Column> + Clone) -> Option<String> {
    let sensible = |column: &&Column| {
        let name = column.name.to_lowercase();
        let parts: Vec<_> = name.split('_').collect();
        let barred =
            ["id", "avg", "mean", "min", "max", "median", "p50", "p99", "lat", "lon", "stddev", "ratio"];
        !barred.iter().any(|part| parts.contains(part)) && !name.ends_with("_share")
    };
    let of = |wanted: &'static str| {
        let mut columns = columns.clone().filter(move |column| kind(&column.data_type) == wanted);
        columns.find(sensible).map(|column| column.name.clone())
    };
    of("float").or_else(|| of("int"))
}

/// The columns that name a bar: the key's texts, else its numbers.
fn label(view: &ViewDef, key: &[usize], measure: &str) -> Vec<String> {
    let columns: Vec<_> = match key {
        [] => view.columns.iter().filter(|column| column.name != measure).collect(),
        key => key.iter().filter_map(|at| view.columns.get(*at)).collect(),
    };
    let texts: Vec<_> = columns.iter().filter(|column| kind(&column.data_type) == "text").collect();
    let chosen: Vec<_> = if texts.is_empty() { columns.iter().take(2).collect() } else { texts };
    chosen.into_iter().take(2).map(|column| column.name.clone()).collect()
}

/// A name as SQL reads it back.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::TimeUnit;

    fn view(kind: ViewKind, columns: &[(&str, DataType)]) -> ViewDef {
        let column = |(name, data_type): &(&str, DataType)| Column {
            name: (*name).to_owned(),
            data_type: data_type.clone(),
            nullable: true,
        };
        ViewDef {
            name: "v".into(),
            query: String::new(),
            emit_on_window_close: false,
            columns: columns.iter().map(column).collect(),
            kind,
            reads: Vec::new(),
            retention_ms: None,
            retention_bytes: 0,
            trigger_ms: None,
            start: None,
            paused: false,
            parallelism: None,
            max_drift_ms: None,
            allowed_lateness_ms: None,
            unknown_key: pluvio_catalog::UnknownKey::Drop,
            ttl_ms: None,
            sql: String::new(),
        }
    }

    const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

    #[test]
    fn a_windowed_view_is_a_line() {
        let columns = [
            ("window_start", TIME),
            ("company_id", DataType::Int64),
            ("company", DataType::Utf8),
            ("payments", DataType::Int64),
            ("total", DataType::Float64),
        ];
        let chart = Chart::of(&view(ViewKind::Keyed { key: vec![0, 1, 2] }, &columns));
        assert_eq!(chart.title(), "total by window_start");
        assert_eq!(
            chart.query("a\"b").unwrap(),
            "SELECT \"window_start\", sum(\"total\") FROM \"a\"\"b\" WHERE \"window_start\" IS NOT NULL \
             GROUP BY 1 ORDER BY 1 DESC LIMIT 60"
        );
    }

    #[test]
    fn a_growing_view_is_its_rate() {
        let columns = [("person_id", DataType::Int64), ("amount", DataType::Float64), ("paid_at", TIME)];
        let chart = Chart::of(&view(ViewKind::Append { time_column: Some("paid_at".into()) }, &columns));
        assert_eq!(chart, Chart::Rate);
        assert_eq!(chart.query("v"), None);
    }

    #[test]
    fn groups_are_bars_named_by_their_texts() {
        let columns = [
            ("origin", DataType::Utf8),
            ("dest", DataType::Utf8),
            ("distance", DataType::Int32),
            ("flights", DataType::Int64),
            ("arr_delay_avg", DataType::Float64),
        ];
        let chart = Chart::of(&view(ViewKind::Keyed { key: vec![0, 1, 2] }, &columns));
        assert_eq!(
            chart,
            Chart::Bars { label: vec!["origin".into(), "dest".into()], measure: "flights".into() }
        );
        let columns = [("status", DataType::Int32), ("requests", DataType::Int64)];
        let chart = Chart::of(&view(ViewKind::Keyed { key: vec![0] }, &columns));
        assert_eq!(chart, Chart::Bars { label: vec!["status".into()], measure: "requests".into() });
    }

    #[test]
    fn an_open_window_is_left_out_and_an_old_one_stays() {
        let columns = [("window_start", TIME), ("payments", DataType::Int64)];
        let chart = Chart::of(&view(ViewKind::Keyed { key: vec![0] }, &columns));
        let rows =
            || vec![(json!(30_000), json!(1)), (json!(20_000), json!(5)), (json!(10_000), json!("9e3"))];
        assert_eq!(chart.message("v", rows(), 35_000)["x"], json!([10_000, 20_000]));
        assert_eq!(chart.message("v", rows(), 40_000)["x"], json!([10_000, 20_000, 30_000]));
        assert_eq!(chart.message("v", rows(), 40_000)["series"][0]["values"], json!([9e3, 5, 1]));
    }
}
