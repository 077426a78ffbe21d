//! Numbers as text: one scan that keeps them exact, then conversions that never
//! lose a digit in silence.

/// A decimal number as written: ± mantissa × 10^exponent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number<'a> {
    /// As it stands in the event; ASCII.
    pub(crate) text: &'a [u8],
    negative: bool,
    mantissa: u64,
    exponent: i32,
    /// Whether all digits fitted into `mantissa`.
    exact: bool,
}

/// A number scaled to an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scaled {
    /// The value × 10^scale, rounded half away from zero.
    pub(crate) value: i128,
    /// Whether rounding changed it.
    pub(crate) rounded: bool,
}

/// Any number of 19 digits fits into 64 bits.
const DIGITS_EXACT_MAX: usize = 19;
/// Any number of 38 digits fits into 127 bits.
const DIGITS_WIDE_MAX: u32 = 38;
/// Beyond any type's range, and far from overflowing an `i32`.
const EXPONENT_LIMIT: i32 = 1_000_000;

/// Powers of ten that a double holds exactly.
const POWERS_F64: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Powers of ten, up to that of a word's digits.
const POWERS_U64: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

impl<'a> Number<'a> {
    /// Reads the JSON number at `start`; gives it and the place behind it, or
    /// the place of the first byte that cannot be.
    #[inline(always)]
    pub(crate) fn scan(bytes: &'a [u8], start: usize) -> Result<(Self, usize), usize> {
        let negative = bytes.get(start) == Some(&b'-');
        let first = start + usize::from(negative);
        let mut mantissa = 0_u64;
        let mut at = digits(bytes, first, &mut mantissa);
        if at == first || (at > first + 1 && bytes[first] == b'0') {
            return Err(if at == first { at } else { first + 1 });
        }
        let mut count = at - first;
        let mut exponent = 0_i32;
        if bytes.get(at) == Some(&b'.') {
            let point = at + 1;
            at = digits(bytes, point, &mut mantissa);
            if at == point {
                return Err(at);
            }
            count += at - point;
            exponent = -i32::try_from(at - point).unwrap_or(EXPONENT_LIMIT);
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            let (power, end) = power(bytes, at + 1)?;
            exponent = exponent.saturating_add(power);
            at = end;
        }
        let exact = count <= DIGITS_EXACT_MAX;
        Ok((Self { text: &bytes[start..at], negative, mantissa, exponent, exact }, at))
    }

    /// The whole of `text` as a number, more leniently than JSON: surrounding
    /// spaces, a leading `+`, leading zeros, `.5` and `5.` are fine.
    pub(crate) fn lenient(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(' ').as_bytes();
        let negative = text.first() == Some(&b'-');
        let first = usize::from(matches!(text.first(), Some(b'-' | b'+')));
        let mut mantissa = 0_u64;
        let mut at = digits(text, first, &mut mantissa);
        let mut count = at - first;
        let mut exponent = 0_i32;
        if text.get(at) == Some(&b'.') {
            let point = at + 1;
            at = digits(text, point, &mut mantissa);
            count += at - point;
            exponent = -i32::try_from(at - point).unwrap_or(EXPONENT_LIMIT);
        }
        if count == 0 {
            return None;
        }
        if let Some(b'e' | b'E') = text.get(at) {
            let (power, end) = power(text, at + 1).ok()?;
            exponent = exponent.saturating_add(power);
            at = end;
        }
        let exact = count <= DIGITS_EXACT_MAX;
        (at == text.len()).then_some(Self { text, negative, mantissa, exponent, exact })
    }

    /// The nearest double; `None` if it is beyond the range.
    #[inline]
    pub(crate) fn to_f64(self) -> Option<f64> {
        let power = self.exponent.unsigned_abs() as usize;
        if self.exact && self.mantissa <= 1 << 53 && power < POWERS_F64.len() {
            // Both operands are exact, so the one rounding is the right one.
            let mantissa = self.mantissa as f64;
            let value = match self.exponent < 0 {
                true => mantissa / POWERS_F64[power],
                false => mantissa * POWERS_F64[power],
            };
            return Some(if self.negative { -value } else { value });
        }
        let value: f64 = std::str::from_utf8(self.text).ok()?.parse().ok()?;
        value.is_finite().then_some(value)
    }

    /// The nearest single; `None` if it is beyond the range.
    pub(crate) fn to_f32(self) -> Option<f32> {
        let value: f32 = std::str::from_utf8(self.text).ok()?.parse().ok()?;
        value.is_finite().then_some(value)
    }

    /// The value × 10^`scale` as an integer; `None` if it is beyond 38 digits.
    #[inline]
    pub(crate) fn scaled(self, scale: i32) -> Option<Scaled> {
        let power = self.exponent.saturating_add(scale);
        if self.exact && power == 0 {
            return Some(self.whole(self.mantissa));
        }
        if self.exact
            && let Some(factor) = usize::try_from(power).ok().and_then(|power| POWERS_U64.get(power))
            && let Some(value) = self.mantissa.checked_mul(*factor)
        {
            return Some(self.whole(value));
        }
        self.scaled_slowly(scale)
    }

    #[inline]
    fn whole(self, value: u64) -> Scaled {
        let value = i128::from(value);
        Scaled { value: if self.negative { -value } else { value }, rounded: false }
    }

    fn scaled_slowly(self, scale: i32) -> Option<Scaled> {
        let (mantissa, dropped, inexact) = match self.exact {
            true => (i128::from(self.mantissa), 0, false),
            false => self.wide_mantissa(),
        };
        let power = self.exponent.saturating_add(scale).saturating_add(dropped);
        let (value, rounded) = if mantissa == 0 {
            (0, inexact)
        } else if power >= 0 {
            let factor = 10_i128.checked_pow(power.unsigned_abs())?;
            (mantissa.checked_mul(factor)?, inexact)
        } else if power.unsigned_abs() > DIGITS_WIDE_MAX {
            (0, true)
        } else {
            let divisor = 10_i128.pow(power.unsigned_abs());
            let (quotient, rest) = (mantissa / divisor, mantissa % divisor);
            (quotient + i128::from(rest >= divisor / 2), inexact || rest != 0)
        };
        Some(Scaled { value: if self.negative { -value } else { value }, rounded })
    }

    /// The first 38 significant digits, how many whole places were dropped
    /// behind them, and whether a dropped digit was other than zero.
    fn wide_mantissa(self) -> (i128, i32, bool) {
        let (mut mantissa, mut kept, mut dropped, mut inexact) = (0_i128, 0, 0_i32, false);
        let digits = self.text.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
        for digit in digits.filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0') {
            if kept == DIGITS_WIDE_MAX {
                dropped += 1;
                inexact |= digit != 0;
            } else if kept > 0 || digit > 0 {
                mantissa = mantissa * 10 + i128::from(digit);
                kept += 1;
            }
        }
        (mantissa, dropped, inexact)
    }
}

/// `unscaled` × 10^-`from` as an integer × 10^-`to`; `None` if it is beyond 128
/// bits.
pub(crate) fn rescaled(unscaled: i128, from: i32, to: i32) -> Option<Scaled> {
    let power = to.saturating_sub(from);
    if power >= 0 {
        let value = match unscaled {
            0 => 0,
            _ => unscaled.checked_mul(10_i128.checked_pow(power.unsigned_abs())?)?,
        };
        return Some(Scaled { value, rounded: false });
    }
    if power.unsigned_abs() > DIGITS_WIDE_MAX {
        return Some(Scaled { value: 0, rounded: unscaled != 0 });
    }
    let divisor = 10_i128.pow(power.unsigned_abs());
    let (quotient, rest) = (unscaled / divisor, unscaled % divisor);
    let away = i128::from(rest.unsigned_abs() >= divisor.unsigned_abs() / 2) * unscaled.signum();
    Some(Scaled { value: quotient + away, rounded: rest != 0 })
}

/// Adds the digits at `at` to `mantissa` (which wraps beyond 19 of them); gives
/// the place behind them.
#[inline]
fn digits(bytes: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let (count, value) = word_digits(u64::from_le_bytes(*word));
        *mantissa = mantissa.wrapping_mul(POWERS_U64[count]).wrapping_add(value);
        at += count;
        if count < 8 {
            return at;
        }
    }
    while let Some(byte) = bytes.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// How many digits a word of text begins with, its first byte lowest, and what
/// they say.
#[inline]
fn word_digits(word: u64) -> (usize, u64) {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let values = word ^ (EACH * b'0' as u64);
    let others = (((values & (EACH * 0x7f)) + EACH * (0x80 - 10)) | values) & (EACH * 0x80);
    let bits = others.trailing_zeros() & !7;
    // Eight digits, of which those missing are leading zeros; then two, four and
    // eight places at a time.
    let eight = values.checked_shl(64 - bits).unwrap_or(0);
    let twos = (eight.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    let all = fours.wrapping_mul(10_000 << 32 | 1) >> 32;
    (bits as usize / 8, all)
}

/// The signed power behind an `e`, and the place behind it.
fn power(bytes: &[u8], start: usize) -> Result<(i32, usize), usize> {
    let negative = bytes.get(start) == Some(&b'-');
    let first = start + usize::from(matches!(bytes.get(start), Some(b'-' | b'+')));
    let mut at = first;
    let mut power = 0_i32;
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        power = (power * 10 + i32::from(digit - b'0')).min(EXPONENT_LIMIT);
        at += 1;
    }
    match at == first {
        true => Err(at),
        false => Ok((if negative { -power } else { power }, at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number<'_> {
        let (number, end) = Number::scan(text.as_bytes(), 0).unwrap();
        assert_eq!(end, text.len(), "{text}");
        number
    }

    #[test]
    fn the_grammar_is_json() {
        for good in ["0", "-0", "10", "0.5", "1e5", "1E+5", "1.25e-7", "-12.0"] {
            number(good);
        }
        for (bad, place) in [("-", 1), ("01", 1), ("-01", 2), (".5", 0), ("1.", 2), ("1e", 2), ("1e+", 3)] {
            assert_eq!(Number::scan(bad.as_bytes(), 0).unwrap_err(), place, "{bad}");
        }
        assert_eq!(Number::scan(b"12,", 0).unwrap().1, 2);
    }

    #[test]
    fn lenient_takes_what_spreadsheets_write() {
        for (text, value) in
            [(" 5 ", 5.0), ("+5", 5.0), ("007", 7.0), (".5", 0.5), ("5.", 5.0), ("-1e2", -100.0)]
        {
            assert_eq!(Number::lenient(text).unwrap().to_f64(), Some(value), "{text}");
        }
        for bad in ["", " ", "+", ".", "1 2", "1e", "abc", "0x10", "--1", "NaN"] {
            assert!(Number::lenient(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn scaling_rounds_half_away_from_zero_and_says_so() {
        let scaled = |text: &str, scale| number(text).scaled(scale).map(|it| (it.value, it.rounded));
        assert_eq!(scaled("5.0", 0), Some((5, false)));
        assert_eq!(scaled("1e3", 0), Some((1000, false)));
        assert_eq!(scaled("12.345", 2), Some((1235, true)));
        assert_eq!(scaled("-12.345", 2), Some((-1235, true)));
        assert_eq!(scaled("12.344", 2), Some((1234, true)));
        assert_eq!(scaled("1e-60", 2), Some((0, true)));
        assert_eq!(scaled("0e99", 2), Some((0, false)));
        assert_eq!(scaled("1e38", 0), Some((10_i128.pow(38), false)));
        assert_eq!(scaled("1e39", 0), None);
        assert_eq!(scaled("1e999999999999", 0), None);
        assert_eq!(scaled("18446744073709551615", 0), Some((u64::MAX.into(), false)));
        let nines = "9".repeat(38);
        assert_eq!(scaled(&nines, 0), Some((nines.parse().unwrap(), false)));
        assert_eq!(scaled(&format!("0.{}", "0".repeat(40)), 2), Some((0, false)));
        assert_eq!(scaled(&format!("{nines}.1"), 0), Some((nines.parse().unwrap(), true)));
    }

    #[test]
    fn singles_and_doubles_stay_finite() {
        assert_eq!(number("1e999").to_f64(), None);
        assert_eq!(number("1e39").to_f32(), None);
        assert!(number("-0").to_f64().unwrap().is_sign_negative());
    }

    proptest! {
        #[test]
        fn doubles_are_the_nearest(text in r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(number(&text).to_f64(), Some(expected).filter(|value| value.is_finite()));
        }

        #[test]
        fn a_number_ends_where_its_digits_do(value: u64, behind in r"([^0-9.eE]\PC{0,20})?") {
            let text = format!("{value}{behind}");
            let (number, end) = Number::scan(text.as_bytes(), 0).unwrap();
            prop_assert_eq!(end, text.len() - behind.len());
            prop_assert_eq!(number.scaled(0), Some(Scaled { value: value.into(), rounded: false }));
        }

        #[test]
        fn integers_are_exact(value: i128) {
            let text = value.to_string();
            let scaled = number(&text).scaled(0);
            match text.trim_start_matches('-').len() {
                0..=38 => prop_assert_eq!(scaled, Some(Scaled { value, rounded: false })),
                _ => prop_assert!(scaled.is_none_or(|it| it.rounded || it.value == value)),
            }
        }
    }
}
