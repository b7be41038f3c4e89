//! Dates as clients write them.

/// Nanoseconds since 1970 UTC of an RFC 3339 date; `None` for anything else.
pub fn parse_ns(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let is_shaped = bytes.len() >= 20 && bytes[4] == b'-' && bytes[7] == b'-' && matches!(bytes[10], b'T' | b't' | b' ') && bytes[13] == b':' && bytes[16] == b':';
    if !is_shaped {
        return None;
    }
    let (year, month, day) = (number(text.get(..4)?)?, number(text.get(5..7)?)?, number(text.get(8..10)?)?);
    let (hour, minute, second) = (number(text.get(11..13)?)?, number(text.get(14..16)?)?, number(text.get(17..19)?)?);
    let is_possible = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !is_possible {
        return None;
    }
    let (fraction_ns, zone) = fraction(text.get(19..)?)?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_s(zone)?;
    seconds.checked_mul(1_000_000_000)?.checked_add(fraction_ns)
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The nanoseconds of an optional fraction, and what follows it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(digits) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    if end == 0 {
        return None;
    }
    let kept = &digits[..end.min(9)];
    let value: i64 = kept.parse().ok()?;
    Some((value * 10_i64.pow(9 - kept.len() as u32), &digits[end..]))
}

/// Seconds east of UTC.
fn offset_s(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    if digits.len() != 4 {
        return None;
    }
    let (hours, minutes) = (number(&digits[..2])?, number(&digits[2..])?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Days since 1970 of a date in the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_nanoseconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2017-06-08T18:55:02.123Z", Some(1_496_948_102_123_000_000)),
            ("2017-06-08T18:55:02+02:00", Some(1_496_940_902_000_000_000)),
            ("2017-06-08T18:55:02-0030", Some(1_496_949_902_000_000_000)),
            ("2016-02-29T00:00:00.000000001Z", Some(1_456_704_000_000_000_001)),
            ("2017-13-08T18:55:02Z", None),
            ("2017-06-08", None),
            ("2017-06-08T18:55:02", None),
            ("2017-06-08T18:55:02.Z", None),
            ("yesterday, at about noon", None),
            ("20é7-06-08T18:55:02Z", None),
            ("", None),
        ] {
            assert_eq!(parse_ns(text), expected, "{text}");
        }
    }
}
