//! Days and instants as a person writes them, in the calendar that Avro's logical types mean.

use arrow_schema::TimeUnit;

const SECONDS_OF_A_DAY: i64 = 86_400;

/// `2023-11-14`; none beyond year 9999, where nobody reads it.
pub(super) fn day(days: i64) -> Option<String> {
    let (year, month, day) = civil(days)?;
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// `22:13:20.123` of a day; none if there is no such time.
pub(super) fn time(value: i64, unit: TimeUnit) -> Option<String> {
    let (second, fraction) = split(value, unit);
    (0..SECONDS_OF_A_DAY).contains(&second).then(|| clock(second, &fraction))
}

/// `2023-11-14T22:13:20.123`
pub(super) fn instant(value: i64, unit: TimeUnit) -> Option<String> {
    let (second, fraction) = split(value, unit);
    let (days, of_day) = (second.div_euclid(SECONDS_OF_A_DAY), second.rem_euclid(SECONDS_OF_A_DAY));
    Some(format!("{}T{}", day(days)?, clock(of_day, &fraction)))
}

/// Seconds, rounded down, and the digits after the point.
fn split(value: i64, unit: TimeUnit) -> (i64, String) {
    let (per_second, digits) = match unit {
        TimeUnit::Second => return (value, String::new()),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    };
    (value.div_euclid(per_second), format!(".{:0digits$}", value.rem_euclid(per_second)))
}

fn clock(second: i64, fraction: &str) -> String {
    format!("{:02}:{:02}:{:02}{fraction}", second / 3_600, second / 60 % 60, second % 60)
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant's `civil_from_days`: years begin in March, so
/// that the leap day is the last of its year).
fn civil(days: i64) -> Option<(i64, i64, i64)> {
    const TO_MARCH_OF_YEAR_0: i64 = 719_468;
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let days = days.checked_add(TO_MARCH_OF_YEAR_0)?;
    let day = days.rem_euclid(DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + days.div_euclid(DAYS_OF_400_YEARS) * 400 + i64::from(month <= 2);
    (0..=9_999).contains(&year).then_some((year, month, day))
}
