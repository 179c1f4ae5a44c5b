//! Numbers and times as text, read exactly: no floating point, no rounding, no wrapping.
//!
//! A number is ASCII `-?[0-9]+(\.[0-9]+)?` with nothing around it (contract): no exponent, no `+`, no blanks, no `.5` or `5.`.
//! Leading zeros are allowed. Every function here is total: any bytes give an answer.

use crate::contract::{PRECISION, SCALE};

/// What a text is as a decimal(18,8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decimal {
    /// No number.
    Not,
    /// A number that decimal(18,8) cannot hold exactly: more than 10 integer digits, or a digit other than 0 beyond the 8th decimal.
    OutOfRange,
    /// Its value × 10⁸.
    Unscaled(i64),
}

/// The digits of a number, its sign taken off.
struct Digits<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
}

fn digits(text: &[u8]) -> Option<Digits<'_>> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let point = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(point);
    let fraction = match rest {
        [] => rest,
        [b'.', fraction @ ..] if !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit) => fraction,
        _ => return None,
    };
    (!whole.is_empty()).then_some(Digits { negative, whole, fraction })
}

/// Whether a text is a number.
pub(crate) fn is_number(text: &[u8]) -> bool {
    digits(text).is_some()
}

const DECIMALS: usize = SCALE.unsigned_abs() as usize;
const WHOLE_DIGITS: usize = PRECISION as usize - DECIMALS;

/// Reads a decimal(18,8).
pub(crate) fn decimal(text: &[u8]) -> Decimal {
    let Some(Digits { negative, mut whole, fraction }) = digits(text) else { return Decimal::Not };
    if whole.len() > WHOLE_DIGITS {
        let zeros = whole.iter().take_while(|b| **b == b'0').count();
        whole = &whole[zeros..];
    }
    let (kept, beyond) = fraction.split_at(fraction.len().min(DECIMALS));
    if whole.len() > WHOLE_DIGITS || beyond.iter().any(|b| *b != b'0') {
        return Decimal::OutOfRange;
    }
    // 18 digits at most: below 10^18, so that nothing here can overflow
    let mut value = 0i64;
    for digit in whole.iter().chain(kept) {
        value = value * 10 + i64::from(digit - b'0');
    }
    for _ in kept.len()..DECIMALS {
        value *= 10;
    }
    Decimal::Unscaled(if negative { -value } else { value })
}

/// Microseconds of a text `seconds.fraction`. What is beyond the microseconds is cut off, not rounded; what is beyond
/// 64 bits becomes the end of them, by its sign. None: no number.
pub(crate) fn seconds(text: &[u8]) -> Option<i64> {
    let Digits { negative, whole, fraction } = digits(text)?;
    let micros = (0..6).map(|place| fraction.get(place).copied().unwrap_or(b'0'));
    let mut value = 0i64;
    for digit in whole.iter().copied().chain(micros) {
        let digit = i64::from(digit - b'0');
        // counted on the side of its sign: the negative side is one longer
        value = value.saturating_mul(10);
        value = if negative { value.saturating_sub(digit) } else { value.saturating_add(digit) };
    }
    Some(value)
}

const SECOND: i64 = 1_000_000;

/// Microseconds of an RFC 3339 time such as `2023-11-14T22:13:20.123456Z` or with an offset `+01:00`. What is beyond the
/// microseconds is cut off (towards the past). None: no such text, or no such day.
pub(crate) fn rfc3339(text: &[u8]) -> Option<i64> {
    let (
        &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b't' | b' ', h0, h1, b':', i0, i1, b':', s0, s1],
        mut rest,
    ) = text.split_at_checked(19).and_then(|(clock, rest)| Some((<&[u8; 19]>::try_from(clock).ok()?, rest)))?
    else {
        return None;
    };
    let two = |tens: u8, ones: u8| {
        (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    };
    let (year, month, day) = (two(y0, y1)? * 100 + two(y2, y3)?, two(m0, m1)?, two(d0, d1)?);
    let (hour, minute, second) = (two(h0, h1)?, two(i0, i1)?, two(s0, s1)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = 0;
    if let [b'.', after @ ..] = rest {
        let length = after.iter().take_while(|b| b.is_ascii_digit()).count();
        let (fraction, behind) = after.split_at(length);
        if fraction.is_empty() {
            return None;
        }
        micros = (0..6).fold(0, |value, place| value * 10 + i64::from(fraction.get(place).map_or(0, |b| b - b'0')));
        rest = behind;
    }
    let ahead = match rest {
        b"Z" | b"z" => 0,
        &[sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (two(h0, h1)?, two(m0, m1)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60) * if sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second - ahead;
    Some(seconds * SECOND + micros)
}

/// Days since 1970-01-01 of a day of the Gregorian calendar (Howard Hinnant's days_from_civil). None: no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let longest = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > longest {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// An instant as people read it: `2023-11-14T22:13:20.5Z`; in microseconds alone where the year has not four digits.
pub(crate) fn shown_instant(micros: i64) -> String {
    let (day, clock) = (micros.div_euclid(86_400 * SECOND), micros.rem_euclid(86_400 * SECOND));
    // civil_from_days, the inverse of the above
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (month, day) = (if shifted < 10 { shifted + 3 } else { shifted - 9 }, of_year - (153 * shifted + 2) / 5 + 1);
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if !(1..=9999).contains(&year) {
        return format!("{micros} µs");
    }
    let (second, fraction) = (clock / SECOND, clock % SECOND);
    let mut text =
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    if fraction != 0 {
        text.push('.');
        text.push_str(format!("{fraction:06}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// A span of microseconds as the configuration writes it: `5m`, `365d`, `1500ms`.
pub(crate) fn shown_span(micros: i64) -> String {
    const UNITS: [(i64, &str); 6] =
        [(86_400 * SECOND, "d"), (3_600 * SECOND, "h"), (60 * SECOND, "m"), (SECOND, "s"), (1_000, "ms"), (1, "µs")];
    match UNITS.iter().find(|(unit, _)| micros != 0 && micros % unit == 0) {
        Some((unit, name)) => format!("{}{name}", micros / unit),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
#[path = "number/tests.rs"]
mod tests;
