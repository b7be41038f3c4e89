//! RFC 3339 dates as nanoseconds.

/// Nanoseconds since 1970 UTC of `YYYY-MM-DDThh:mm:ss[.fraction](Z|[+-]hh[:]mm)`, as the nearest double. Second 60 is the
/// beginning of the next minute. `None` for anything else, impossible days included.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    let month = separated(&mut rest, b'-', 1..=12)?;
    let day = separated(&mut rest, b'-', 1..=days_in_month(year, month))?;
    let hour = separated(&mut rest, b'T', 0..=23)?;
    let minute = separated(&mut rest, b':', 0..=59)?;
    let second = separated(&mut rest, b':', 0..=60)?;
    let fraction_ns = fraction_ns(&mut rest)?;
    let offset_minutes = offset_minutes(rest)?;
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    // Beyond 2262 this does not fit 64 bits.
    Some((i128::from(minutes * 60 + second) * 1_000_000_000 + i128::from(fraction_ns)) as f64)
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (digits, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    digits.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

/// The separator and a number of two digits.
fn separated(rest: &mut &[u8], separator: u8, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    *rest = rest.strip_prefix(&[separator])?;
    digits(rest, 2).filter(|number| range.contains(number))
}

/// Digits beyond the ninth are cut off.
fn fraction_ns(rest: &mut &[u8]) -> Option<i64> {
    let Some(tail) = rest.strip_prefix(b".") else { return Some(0) };
    let count = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = tail.split_at(count);
    *rest = after;
    let digit = |place: usize| i64::from(digits.get(place).map_or(0, |byte| byte - b'0'));
    (count > 0).then(|| (0..9).fold(0, |number, place| number * 10 + digit(place)))
}

/// The whole rest as an offset, with or without colon.
fn offset_minutes(rest: &[u8]) -> Option<i64> {
    let (sign, mut rest) = match rest.split_first()? {
        (b'Z', []) => return Some(0),
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let hour = digits(&mut rest, 2).filter(|hour| *hour <= 23)?;
    rest = rest.strip_prefix(b":").unwrap_or(rest);
    let minute = digits(&mut rest, 2).filter(|minute| *minute <= 59)?;
    rest.is_empty().then_some(sign * (hour * 60 + minute))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// In the proleptic Gregorian calendar. Years begin in March here, so that the leap day is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_nanoseconds() {
        let check = |text: &str, seconds: f64| assert_eq!(parse(text), Some(seconds * 1e9), "{text}");
        check("1970-01-01T00:00:00Z", 0.0);
        check("1969-12-31T23:59:59Z", -1.0);
        check("2023-11-14T22:13:20Z", 1_700_000_000.0);
        check("2023-11-14T22:13:20.5Z", 1_700_000_000.5);
        check("2023-11-15T00:13:20+0200", 1_700_000_000.0);
        check("2023-11-15T00:13:20+02:00", 1_700_000_000.0);
        check("2023-11-14T14:43:20-07:30", 1_700_000_000.0);
        check("2000-02-29T00:00:00Z", 951_782_400.0);
        check("2016-12-31T23:59:60Z", 1_483_228_800.0);
        check("0000-03-01T00:00:00Z", -719_468.0 * 86_400.0);
        check("9999-12-31T23:59:59Z", 253_402_300_799.0);
    }

    #[test]
    fn other_texts_are_not_dates() {
        for text in [
            "",
            "Z",
            "2023-11-14",
            "20231114T221320",
            "2023-11-14T22:13:20",
            "2023-11-14 17:30:26Z",
            "2023-13-11T17:30:26Z",
            "2023-02-29T17:30:26Z",
            "2023-04-31T17:30:26Z",
            "2023-04-00T17:30:26Z",
            "2023-11-14T24:30:26Z",
            "2023-11-14T17:60:26Z",
            "2023-11-14T17:30:61Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20ZZ",
            "2023-11-14T22:13:20+2:00",
            "2023-11-14T22:13:20+02:0",
            "2023-11-14T22:13:20+24:00",
            "2023-11-14T22:13:20+02:000",
            "+015-04-11T17:30:26Z",
            "2023-11-14T17:30:2\u{e9}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
