//! Amounts with units: durations and sizes.

use crate::error::ConfigError;

const DURATION: &str =
    "a duration: write a number and a unit, such as `500 ms`, `10 s`, `5 min`, `2 h` or `7 days`";
const BYTES: &str =
    "a size: write a number and a unit, such as `512 B`, `64 MiB` (2^20 bytes) or `1 GB` (10^9 bytes)";

const MS_PER: [(&[&str], u64); 6] = [
    (&["ms", "millisecond", "milliseconds"], 1),
    (&["s", "sec", "second", "seconds"], 1_000),
    (&["m", "min", "minute", "minutes"], 60_000),
    (&["h", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
];

const BYTES_PER: [(&[&str], u64); 9] = [
    (&["", "b", "byte", "bytes"], 1),
    (&["kb"], 1_000),
    (&["mb"], 1_000_000),
    (&["gb"], 1_000_000_000),
    (&["tb"], 1_000_000_000_000),
    (&["kib"], 1 << 10),
    (&["mib"], 1 << 20),
    (&["gib"], 1 << 30),
    (&["tib"], 1 << 40),
];

/// A duration such as `500 ms`, `1.5 s` or `7 days`, in milliseconds. The unit
/// is required; the space before it is not.
///
/// # Errors
/// [`ConfigError::Value`] if it is no duration, is not a whole number of
/// milliseconds, or is beyond 64 bits.
pub fn parse_duration_ms(text: &str) -> Result<u64, ConfigError> {
    amount(text, &MS_PER).ok_or_else(|| ConfigError::value(text, DURATION))
}

/// A size such as `64 MiB`, `1GB` or `4096`, in bytes. Without a unit it is bytes;
/// `KB`, `MB`, … are powers of 1000 and `KiB`, `MiB`, … powers of 1024, in upper or
/// lower case.
///
/// # Errors
/// [`ConfigError::Value`] if it is no size, is not a whole number of bytes, or is
/// beyond 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, ConfigError> {
    amount(text, &BYTES_PER).ok_or_else(|| ConfigError::value(text, BYTES))
}

/// A decimal number times a named unit, exactly.
fn amount(text: &str, units: &[(&[&str], u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let unit = text[end..].trim_start().to_ascii_lowercase();
    let (_, factor) = units.iter().find(|(names, _)| names.contains(&unit.as_str()))?;
    let number = text[..end].replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts = whole.parse::<u64>().ok()? as u128 * scale + u128::from(fraction.parse::<u64>().ok()?);
    let scaled = parts * u128::from(*factor);
    if !scaled.is_multiple_of(scale) {
        return None;
    }
    u64::try_from(scaled / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("500 ms", 500),
            ("10s", 10_000),
            ("1.5 s", 1_500),
            ("5 min", 300_000),
            ("2 H", 7_200_000),
            (" 7 days ", 604_800_000),
            ("1 week", 604_800_000),
            ("0 s", 0),
        ] {
            assert_eq!(parse_duration_ms(text).unwrap(), ms, "{text}");
        }
        for text in [
            "",
            "10",
            "ms",
            "-1 s",
            "1 parsec",
            "1.5 ms",
            "1..5 s",
            ".5 s",
            "5. s",
            "1 s 5",
            "99999999999999999 w",
        ] {
            let message = parse_duration_ms(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{text}` is not a duration: write")), "{message}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("131_072 bytes", 131_072),
            ("64 MiB", 64 << 20),
            ("1GB", 1_000_000_000),
            ("1.5 gib", 3 << 29),
            ("16 tib", 16 << 40),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "MiB", "-1", "1 M", "0.5", "1.0000000001 GB", "99999999999 TB", "1 MiB!", "１ MB"] {
            let message = parse_bytes(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{text}` is not a size: write")), "{message}");
        }
    }
}
