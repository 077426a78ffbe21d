//! Dates and times as ISO 8601 text, to and from microseconds since 1970 in UTC.

/// Seconds of a day.
const DAY_S: i64 = 86_400;
/// Microseconds of a day.
pub(crate) const DAY_US: i64 = DAY_S * 1_000_000;
/// 0001-01-01T00:00:00Z.
pub(crate) const TIMESTAMP_US_MIN: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
pub(crate) const TIMESTAMP_US_MAX: i64 = 253_402_300_799_999_999;

/// A point in time, as microseconds since 1970-01-01T00:00:00Z.
///
/// Takes `YYYY-MM-DD`, then optionally `T` or a space and `HH:MM`, `:SS`, a
/// fraction of 1 to 9 digits (cut to microseconds), then optionally `Z`, `UTC`
/// or an offset `±HH`, `±HHMM`, `±HH:MM`. Without an offset the time is UTC.
/// Years 0001 to 9999; `None` for anything else.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let day_us = i64::from(date(bytes)?) * DAY_S * 1_000_000;
    if bytes.len() == 10 {
        return Some(day_us);
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (time_us, end) = time(bytes, 11)?;
    let us = day_us + time_us - offset_s(&bytes[end..])? * 1_000_000;
    (TIMESTAMP_US_MIN..=TIMESTAMP_US_MAX).contains(&us).then_some(us)
}

/// A date `YYYY-MM-DD`, as days since 1970-01-01; `None` for anything else.
pub fn parse_date(text: &str) -> Option<i32> {
    if text.len() == 10 { date(text.as_bytes()) } else { None }
}

/// A time of day `HH:MM[:SS[.fraction]]`, optionally with a `Z`, as microseconds
/// since midnight; `None` for anything else.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let (us, end) = time(text.as_bytes(), 0)?;
    matches!(&text.as_bytes()[end..], b"" | b"Z").then_some(us)
}

/// The time of day at `at`, in microseconds, and the place behind it.
#[inline]
fn time(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    if bytes.get(at + 2) != Some(&b':') {
        return None;
    }
    let (hour, minute) = (two(bytes, at)?, two(bytes, at + 3)?);
    let (second, fraction_us, end) = match bytes.get(at + 5) {
        Some(b':') => {
            let (fraction_us, end) = fraction(bytes, at + 8)?;
            (two(bytes, at + 6)?, fraction_us, end)
        }
        _ => (0, 0, at + 5),
    };
    let time_s = i64::from(hour * 3600 + minute * 60 + second);
    (hour <= 23 && minute <= 59 && second <= 59).then_some((time_s * 1_000_000 + fraction_us, end))
}

/// Appends `YYYY-MM-DDTHH:MM:SS[.ffffff[fff]]Z` for a point in time given as
/// seconds since 1970 and nanoseconds of the second.
pub fn write_timestamp(second: i64, nanosecond: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(second.div_euclid(DAY_S));
    let time_s = second.rem_euclid(DAY_S);
    match year {
        0..=9999 => write_digits(year, 4, out),
        _ => {
            // ISO 8601's expanded years.
            out.push(if year < 0 { b'-' } else { b'+' });
            write_digits(year.abs(), 6, out);
        }
    }
    for (mark, value) in
        [(b'-', month), (b'-', day), (b'T', time_s / 3600), (b':', time_s / 60 % 60), (b':', time_s % 60)]
    {
        out.push(mark);
        write_digits(value, 2, out);
    }
    if nanosecond != 0 {
        out.push(b'.');
        match nanosecond % 1000 {
            0 => write_digits(nanosecond / 1000, 6, out),
            _ => write_digits(nanosecond, 9, out),
        }
    }
    out.push(b'Z');
}

fn write_digits(mut value: i64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

fn date(bytes: &[u8]) -> Option<i32> {
    if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    let year = two(bytes, 0)? * 100 + two(bytes, 2)?;
    let (month, day) = (two(bytes, 5)?, two(bytes, 8)?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return None,
    };
    if year == 0 || day == 0 || day > days {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

/// Days since 1970-01-01 in the Gregorian calendar. Years are counted from
/// March, so that the leap day is a year's last and months follow one formula.
fn days_from_civil(year: u32, month: u32, day: u32) -> i32 {
    let year = year - u32::from(month < 3);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (month_from_march * 153 + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    i32::try_from(days).unwrap_or(i32::MAX) - 719_468
}

/// The inverse: year, month and day of a day since 1970-01-01.
fn civil(day: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    let shifted = day + 719_468;
    let (era, in_era) = (shifted.div_euclid(ERA_DAYS), shifted.rem_euclid(ERA_DAYS));
    let year_of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let day_of_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month < 3);
    (year, month, day_of_year - (153 * month_from_march + 2) / 5 + 1)
}

#[inline]
fn two(bytes: &[u8], at: usize) -> Option<u32> {
    let (tens, ones) = (bytes.get(at)?.wrapping_sub(b'0'), bytes.get(at + 1)?.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// The fraction of a second that may stand at `at`, in microseconds, and the
/// place behind it.
fn fraction(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    if !matches!(bytes.get(at), Some(b'.' | b',')) {
        return Some((0, at));
    }
    let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let mut us = 0;
    for place in 0..6 {
        us = us * 10 + if place < digits { i64::from(bytes[at + 1 + place] - b'0') } else { 0 };
    }
    Some((us, at + 1 + digits))
}

/// How far local time is ahead of UTC, in seconds.
fn offset_s(bytes: &[u8]) -> Option<i64> {
    let bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
    let sign = match bytes {
        b"" | b"Z" | b"z" | b"UTC" => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let minute = match bytes.len() {
        3 => 0,
        5 => two(bytes, 3)?,
        6 if bytes[3] == b':' => two(bytes, 4)?,
        _ => return None,
    };
    let hour = two(bytes, 1)?;
    (hour <= 23 && minute <= 59).then(|| sign * i64::from(hour * 3600 + minute * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, NaiveDate, NaiveDateTime};
    use proptest::prelude::*;

    fn iso(us: i64) -> String {
        let mut out = Vec::new();
        write_timestamp(us.div_euclid(1_000_000), us.rem_euclid(1_000_000) * 1000, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_form_means_the_same_instant() {
        let instant = 1_357_034_400_000_000;
        for text in [
            "2013-01-01T10:00:00Z",
            "2013-01-01t10:00:00z",
            "2013-01-01 10:00:00",
            "2013-01-01 10:00",
            "2013-01-01T10:00:00.000Z",
            "2013-01-01T10:00:00.000000000",
            "2013-01-01T12:30:00+02:30",
            "2013-01-01 12:00:00 +0200",
            "2013-01-01 12:00:00+02",
            "2013-01-01T05:00:00-05:00",
            "2013-01-01 10:00:00 UTC",
        ] {
            assert_eq!(parse_timestamp(text), Some(instant), "{text}");
        }
        assert_eq!(parse_timestamp("2013-01-01 10:00:00.123456"), Some(instant + 123_456));
        assert_eq!(parse_timestamp("2013-01-01T10:00:00.5Z"), Some(instant + 500_000));
        assert_eq!(parse_timestamp("2013-01-01T10:00:00.123456789Z"), Some(instant + 123_456));
        assert_eq!(parse_timestamp("2013-01-01"), Some(instant - 36_000_000_000));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "2013",
            "2013-1-1",
            "2013-13-01",
            "2013-02-29",
            "2013-00-10",
            "2013-01-00",
            "0000-01-01",
            "2013-01-01T",
            "2013-01-01T10",
            "2013-01-01T24:00:00",
            "2013-01-01T10:60:00",
            "2013-01-01T10:00:60",
            "2013-01-01T10:00:00.",
            "2013-01-01T10:00:00.1234567890",
            "2013-01-01T10:00:00+",
            "2013-01-01T10:00:00+2",
            "2013-01-01T10:00:00+24:00",
            "2013-01-01T10:00:00+02:60",
            "2013-01-01T10:00:00Zulu",
            "2013-01-01X10:00:00",
            "2013/01/01",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "２０１３-01-01",
            "2013-01-01\u{e9}",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert_eq!(parse_date("2013-01-01T00:00:00Z"), None);
    }

    #[test]
    fn times_of_day() {
        assert_eq!(parse_time("10:00"), Some(36_000_000_000));
        assert_eq!(parse_time("23:59:59.999999Z"), Some(DAY_US - 1));
        for text in ["", "1:00", "24:00", "10:60", "10:00:60", "10:00+01", "10", "10:0"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn the_range_is_four_digit_years() {
        assert_eq!(parse_timestamp("0001-01-01T00:00:00Z"), Some(TIMESTAMP_US_MIN));
        assert_eq!(parse_timestamp("9999-12-31T23:59:59.999999Z"), Some(TIMESTAMP_US_MAX));
        assert_eq!(iso(TIMESTAMP_US_MAX + 1), "+010000-01-01T00:00:00Z");
        assert_eq!(iso(-1), "1969-12-31T23:59:59.999999Z");
    }

    proptest! {
        #[test]
        fn text_and_instant_are_one(us in TIMESTAMP_US_MIN..=TIMESTAMP_US_MAX) {
            let text = iso(us);
            prop_assert_eq!(parse_timestamp(&text), Some(us));
            let oracle = DateTime::parse_from_rfc3339(&text).unwrap();
            prop_assert_eq!(oracle.timestamp_micros(), us);
        }

        #[test]
        fn verdicts_agree_with_chrono(text in r"[0-9]{3}[1-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-5][0-9](\.[0-9]{1,6})?") {
            let oracle = NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok();
            prop_assert_eq!(parse_timestamp(&text), oracle.map(|time| time.and_utc().timestamp_micros()));
        }

        #[test]
        fn dates_agree_with_chrono(day in -719_162_i32..2_932_897) {
            let oracle = NaiveDate::from_epoch_days(day).unwrap();
            prop_assert_eq!(parse_date(&oracle.to_string()), Some(day));
        }
    }
}
