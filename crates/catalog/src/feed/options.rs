//! `WITH (connector = …, …)` as the definition of a feed.
//!
//! Every option may be written with `_` or with `-` between its words. What no
//! connector knows is refused with a list of what there is.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::fields::PPM;
use super::{
    FeedDef, FeedOptionError, FieldDef, FileStart, FilesDef, GeneratorDef, LINE_BYTES_MAX, LinesDef,
};
use crate::{Column, FormatDef};

const ROWS_PER_SECOND: u64 = 1_000;
const CONNECTIONS: u32 = 256;
const CONNECTIONS_MAX: u32 = 10_000;
const IDLE_TIMEOUT_MS: u64 = 600_000;
const TEXT_LENGTH_MAX: u32 = 100_000;
const VALUES_MAX: usize = 10_000;
/// Endings of files that are packed.
const PACKED: [&str; 5] = ["gz", "bz2", "xz", "zst", "zip"];

impl FilesDef {
    /// Whether a file is packed by its name. Such a file has no lines to take.
    pub fn is_packed(path: &Path) -> bool {
        path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| PACKED.contains(&ending))
    }
}

impl FeedDef {
    /// The feed that options describe: `connector` is one of
    /// [`Self::CONNECTORS`], `options` are those of the statement that nobody else
    /// takes, with names in lower case. `columns` and `format` are the stream's.
    ///
    /// # Errors
    /// The option that is wrong, missing or unknown, and what it should be.
    pub fn from_options(
        connector: &str,
        options: &BTreeMap<String, String>,
        columns: &[Column],
        format: &FormatDef,
    ) -> Result<Self, FeedOptionError> {
        let known = Self::CONNECTORS.iter().find(|known| **known == connector);
        let connector =
            known.ok_or_else(|| FeedOptionError::Connector { connector: connector.to_owned() })?;
        let mut options = Options::new(connector, options)?;
        let def = match *connector {
            "files" => Self::Files(files(&mut options)?),
            "lines" => Self::Lines(lines(&mut options)?),
            _ => Self::Generator(generator(&mut options, columns, format)?),
        };
        options.finish()?;
        Ok(def)
    }
}

/// The options that are left, by name with `_` between words, each with how it
/// was written.
struct Options {
    connector: &'static str,
    left: BTreeMap<String, (String, String)>,
    asked: Vec<&'static str>,
}

impl Options {
    fn new(connector: &'static str, given: &BTreeMap<String, String>) -> Result<Self, FeedOptionError> {
        let mut left = BTreeMap::new();
        for (written, value) in given {
            let name = normal(written);
            if left.insert(name, (written.clone(), value.clone())).is_some() {
                return Err(FeedOptionError::value(written, "it is given twice"));
            }
        }
        Ok(Self { connector, left, asked: Vec::new() })
    }

    fn value<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, FeedOptionError> {
        self.asked.push(name);
        let Some((written, text)) = self.left.remove(name) else { return Ok(None) };
        parse(&text)
            .map(Some)
            .map_err(|reason| FeedOptionError::value(written, format!("'{text}': {reason}")))
    }

    fn required<T, E: Display>(
        &mut self,
        name: &'static str,
        reason: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, FeedOptionError> {
        let missing = FeedOptionError::Missing {
            connector: self.connector,
            option: name.to_owned(),
            reason: reason.to_owned(),
        };
        self.value(name, parse)?.ok_or(missing)
    }

    fn finish(self) -> Result<(), FeedOptionError> {
        let Some((option, _)) = self.left.into_values().next() else { return Ok(()) };
        let (connector, known) = (self.connector, self.asked.join(", "));
        Err(FeedOptionError::Unknown { connector, option, known })
    }
}

/// A name with `_` for `-`; a column's name within stays as it is.
fn normal(written: &str) -> String {
    let of_field = written.strip_prefix("fields.").and_then(|rest| rest.rsplit_once('.'));
    match of_field {
        Some((column, option)) => format!("fields.{column}.{}", option.replace('-', "_")),
        None => written.replace('-', "_"),
    }
}

fn number<T: std::str::FromStr + PartialOrd + Display>(
    range: std::ops::RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("it is a number from {} to {}", range.start(), range.end())),
    }
}

fn files(options: &mut Options) -> Result<FilesDef, FeedOptionError> {
    let path =
        options.required("path", "a file, a folder or a pattern such as '/var/log/app/*.log'", path)?;
    let start = options.value("start", |text| match text {
        "beginning" => Ok(FileStart::Beginning),
        "end" => Ok(FileStart::End),
        _ => Err("it is 'beginning' or 'end'"),
    })?;
    Ok(FilesDef { path, start: start.unwrap_or_default() })
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("it is the path of a file or folder, or a pattern".into());
    }
    if text.split('/').any(|part| part.contains("**")) {
        return Err("** is not supported: name the folders, * stands for any one of them".into());
    }
    let path = std::path::absolute(text).map_err(|error| format!("it has no absolute path: {error}"))?;
    if FilesDef::is_packed(&path) {
        return Err("packed files have no lines: unpack them first, or name others".into());
    }
    Ok(path)
}

fn lines(options: &mut Options) -> Result<LinesDef, FeedOptionError> {
    let listen = options.required("listen", "an address and a port such as '127.0.0.1:9999'", listen)?;
    let allow = options.value("allow", |text| {
        text.split(',').map(|network| network.trim().parse()).collect::<Result<Vec<_>, String>>()
    })?;
    let allow = allow.unwrap_or_default();
    if !listen.ip().is_loopback() && allow.is_empty() {
        let reason = format!(
            "{listen} can be reached from other machines: say with \"allow\" which may send lines \
             ('10.0.0.0/8,192.0.2.7'), or listen at 127.0.0.1"
        );
        return Err(FeedOptionError::value("listen", reason));
    }
    let connections_max = options.value("max_connections", number(1..=CONNECTIONS_MAX))?;
    let line_bytes_max = options.value("max_line_bytes", |text| match pluvio_config::parse_bytes(text) {
        Ok(bytes @ 1..=LINE_BYTES_MAX) => Ok(bytes),
        _ => Err("it is a size from 1 B to 1 MiB"),
    })?;
    let idle_timeout_ms = options.value("idle_timeout", pluvio_config::parse_duration_ms)?;
    Ok(LinesDef {
        listen,
        allow,
        connections_max: connections_max.unwrap_or(CONNECTIONS),
        line_bytes_max: line_bytes_max.unwrap_or(LINE_BYTES_MAX),
        idle_timeout_ms: idle_timeout_ms.unwrap_or(IDLE_TIMEOUT_MS),
    })
}

/// An address; a port alone is one of this machine.
fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    let own = |port: &str| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?));
    let local = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    let address = own(local).or_else(|| text.parse().ok());
    address.ok_or("it is an address and a port such as '127.0.0.1:9999'")
}

fn generator(
    options: &mut Options,
    columns: &[Column],
    format: &FormatDef,
) -> Result<GeneratorDef, FeedOptionError> {
    if *format != FormatDef::Json {
        let message = "connector = 'generator' makes JSON: leave out the option \"format\"";
        return Err(FeedOptionError::Stream(message.into()));
    }
    let rows_per_second = options.value("rows_per_second", number(0..=1_000_000_000))?;
    let number_of_rows = options.value("number_of_rows", number(0..=i64::MAX.unsigned_abs()))?;
    let seed = options.value("seed", number(0..=u64::MAX))?;
    let mut def = GeneratorDef {
        rows_per_second: rows_per_second.unwrap_or(ROWS_PER_SECOND),
        number_of_rows,
        seed: seed.unwrap_or(0),
        fields: BTreeMap::new(),
    };
    options.asked.push("fields.COLUMN.kind (min, max, start, end, length, values, max_past, null_rate)");
    let of_fields: Vec<String> =
        options.left.keys().filter(|name| name.starts_with("fields.")).cloned().collect();
    for name in of_fields {
        let Some((written, text)) = options.left.remove(&name) else { continue };
        let (column, option) =
            field_of(&name, columns).map_err(|reason| FeedOptionError::value(written.clone(), reason))?;
        let field = def.fields.entry(column).or_default();
        field_option(field, option, &text)
            .map_err(|reason| FeedOptionError::value(written, format!("'{text}': {reason}")))?;
    }
    def.fields(columns)?;
    Ok(def)
}

/// The column that an option is about, and what it says of it.
fn field_of<'a>(name: &'a str, columns: &[Column]) -> Result<(String, &'a str), String> {
    let parts = name.strip_prefix("fields.").and_then(|rest| rest.rsplit_once('.'));
    let (column, option) = parts.ok_or("it is written \"fields.COLUMN.kind\"")?;
    // Names of options come in lower case.
    let found = columns.iter().find(|it| it.name == column);
    let found = found.or_else(|| columns.iter().find(|it| it.name.to_lowercase() == column));
    let found = found.ok_or_else(|| format!("the stream has no column \"{column}\""))?;
    Ok((found.name.clone(), option))
}

fn field_option(field: &mut FieldDef, option: &str, text: &str) -> Result<(), String> {
    match option {
        "kind" => {
            field.sequence = match text {
                "random" => false,
                "sequence" => true,
                _ => return Err("it is 'random' or 'sequence'".into()),
            }
        }
        "min" => field.min = Some(text.to_owned()),
        "max" => field.max = Some(text.to_owned()),
        "start" => field.start = Some(number(i64::MIN..=i64::MAX)(text)?),
        "end" => field.end = Some(number(i64::MIN..=i64::MAX)(text)?),
        "length" => field.length = Some(number(0..=TEXT_LENGTH_MAX)(text)?),
        "values" => {
            field.values = text.split(',').map(|value| value.trim().to_owned()).collect();
            if field.values.len() > VALUES_MAX {
                return Err(format!("at most {VALUES_MAX} values"));
            }
        }
        "max_past" => {
            let past_ms = pluvio_config::parse_duration_ms(text).map_err(|error| error.to_string())?;
            field.max_past_ms = Some(past_ms);
        }
        "null_rate" => field.null_rate_ppm = rate_ppm(text).ok_or("it is a number from 0 to 1")?,
        _ => {
            return Err(
                "of a column there are kind, min, max, start, end, length, values, max_past and null_rate"
                    .into(),
            );
        }
    }
    Ok(())
}

fn rate_ppm(text: &str) -> Option<u32> {
    let rate: f64 = text.parse().ok()?;
    // Within range, so nothing is cut off.
    (0.0..=1.0).contains(&rate).then(|| (rate * f64::from(PPM)).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, TimeUnit};

    fn columns() -> Vec<Column> {
        let column = |name: &str, data_type| Column { name: name.into(), data_type, nullable: true };
        vec![
            column("id", DataType::Int64),
            column("Name", DataType::Utf8),
            column("at", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ]
    }

    fn parsed(connector: &str, options: &[(&str, &str)]) -> Result<FeedDef, String> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        FeedDef::from_options(connector, &options, &columns(), &FormatDef::Json).map_err(|it| it.to_string())
    }

    #[test]
    fn files_are_named_absolutely() {
        let def = parsed("files", &[("path", "/var/log/*.log"), ("start", "end")]).unwrap();
        assert_eq!(def, FeedDef::Files(FilesDef { path: "/var/log/*.log".into(), start: FileStart::End }));
        let FeedDef::Files(relative) = parsed("files", &[("path", "logs/a")]).unwrap() else { panic!() };
        assert!(relative.path.is_absolute() && relative.path.ends_with("logs/a"));
        assert!(parsed("files", &[]).unwrap_err().contains("needs the option \"path\""));
        assert!(parsed("files", &[("path", "/a.log.gz")]).unwrap_err().contains("unpack"));
        assert!(parsed("files", &[("path", "/a/**/b")]).unwrap_err().contains("**"));
        assert!(parsed("files", &[("path", "/a"), ("start", "middle")]).unwrap_err().contains("'beginning'"));
        let unknown = parsed("files", &[("path", "/a"), ("from", "x")]).unwrap_err();
        assert!(unknown.contains("\"from\"") && unknown.contains("path, start"), "{unknown}");
    }

    #[test]
    fn a_port_open_to_others_needs_a_list() {
        let of = |options: &[(&str, &str)]| match parsed("lines", options)? {
            FeedDef::Lines(def) => Ok::<_, String>(def),
            other => panic!("{other:?}"),
        };
        let def = of(&[("listen", "9999")]).unwrap();
        assert_eq!(def.listen, "127.0.0.1:9999".parse().unwrap());
        assert_eq!((def.connections_max, def.line_bytes_max, def.idle_timeout_ms), (256, 1 << 20, 600_000));
        assert_eq!(of(&[("listen", "localhost:1")]).unwrap().listen, "127.0.0.1:1".parse().unwrap());
        assert!(of(&[("listen", "0.0.0.0:9999")]).unwrap_err().contains("\"allow\""));
        let def = of(&[("listen", "0.0.0.0:9999"), ("allow", "10.0.0.0/8, ::1")]).unwrap();
        assert_eq!(def.allow.len(), 2);
        assert!(of(&[("listen", "[::]:9999"), ("allow", "x")]).unwrap_err().contains("no network"));
        let def = of(&[("listen", "1"), ("max-connections", "5"), ("max-line-bytes", "2 KiB")]).unwrap();
        assert_eq!((def.connections_max, def.line_bytes_max), (5, 2048));
        assert!(of(&[("listen", "1"), ("max_connections", "0")]).unwrap_err().contains("1 to 10000"));
        assert!(of(&[("listen", "1"), ("max_line_bytes", "2 MiB")]).unwrap_err().contains("1 MiB"));
    }

    #[test]
    fn a_generator_takes_both_spellings() {
        let options = [
            ("rows-per-second", "5"),
            ("number_of_rows", "9"),
            ("fields.id.kind", "sequence"),
            ("fields.id.start", "1"),
            ("fields.id.end", "100"),
            ("fields.name.values", "a, b"),
            ("fields.name.null-rate", "0.25"),
            ("fields.at.max-past", "5 min"),
        ];
        let FeedDef::Generator(def) = parsed("generator", &options).unwrap() else { panic!() };
        assert_eq!((def.rows_per_second, def.number_of_rows, def.seed), (5, Some(9), 0));
        let id = FieldDef { sequence: true, start: Some(1), end: Some(100), ..FieldDef::default() };
        assert_eq!(def.fields["id"], id);
        let values = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(def.fields["Name"], FieldDef { values, null_rate_ppm: 250_000, ..FieldDef::default() });
        assert_eq!(def.fields["at"].max_past_ms, Some(300_000));
        let text = serde_json::to_string(&FeedDef::Generator(def.clone())).unwrap();
        assert_eq!(serde_json::from_str::<FeedDef>(&text).unwrap(), FeedDef::Generator(def));
    }

    #[test]
    fn a_generator_tells_what_is_wrong() {
        for (options, says) in [
            (("fields.nobody.min", "1"), "no column \"nobody\""),
            (("fields.id.min", "x"), "fields.id.min"),
            (("fields.id.size", "x"), "null_rate"),
            (("fields.id", "x"), "fields.COLUMN.kind"),
            (("fields.id.null_rate", "2"), "0 to 1"),
            (("rows_per_second", "-1"), "0 to"),
            (("rows", "1"), "rows_per_second"),
        ] {
            let error = parsed("generator", &[options]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let twice = parsed("generator", &[("rows-per-second", "1"), ("rows_per_second", "2")]).unwrap_err();
        assert!(twice.contains("twice"), "{twice}");
        let raw = FeedDef::from_options("generator", &BTreeMap::new(), &columns(), &FormatDef::Raw);
        assert!(raw.unwrap_err().to_string().contains("JSON"));
        assert!(parsed("mqtt", &[]).unwrap_err().contains("files, lines and generator"));
    }
}
