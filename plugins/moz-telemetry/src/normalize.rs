//! The few values that dimensions may have; everything else is `Other`, which bounds what is made of them: columns, partitions, alerts.

const OTHER: &str = "Other";

/// Desktop applications by exact name, mobile ones by prefix, in this order.
const DESKTOP: [&str; 2] = ["Firefox", "Thunderbird"];
const MOBILE: [&str; 15] = [
    "Fennec", "Focus-TV", "Focus", "Klar", "FirefoxForFireTV", "Zerda_cn", "Zerda", "Scryer", "WebXR", "FirefoxReality_oculusvr",
    "FirefoxReality_googlevr", "FirefoxReality_wavevr", "Lockbox", "FirefoxConnect", "FirefoxOS",
];

/// The countries of ISO 3166-1.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG \
CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS \
GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC \
MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY \
QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY \
UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// An update channel, case-sensitive.
pub fn channel(text: &str) -> &str {
    match text {
        "release" | "esr" | "aurora" | "nightly" => text,
        _ if text.starts_with("beta") => "beta",
        _ if text.starts_with("nightly-cck-") => "nightly",
        _ => OTHER,
    }
}

/// A desktop operating system.
pub fn os(text: &str) -> &'static str {
    if text.starts_with("Windows") || text.starts_with("WINNT") {
        "Windows"
    } else if text.starts_with("Darwin") {
        "Mac"
    } else if ["Linux", "BSD", "SunOS"].iter().any(|name| text.contains(name)) {
        "Linux"
    } else {
        OTHER
    }
}

/// A mobile operating system.
pub fn mobile_os(text: &str) -> &'static str {
    if text.starts_with("iOS") || text.contains("iPhone") {
        "iOS"
    } else if text.starts_with("Android") {
        "Android"
    } else {
        OTHER
    }
}

/// The leading one to three numbers of a version.
pub fn os_version(text: &str) -> Option<&str> {
    let mut end = digits(text);
    if end == 0 {
        return None;
    }
    for _ in 0..2 {
        match text[end..].strip_prefix('.').map(digits) {
            Some(more) if more > 0 => end += 1 + more,
            _ => break,
        }
    }
    Some(&text[..end])
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// An application.
pub fn app_name(text: &str) -> &'static str {
    let desktop = DESKTOP.iter().find(|name| **name == text);
    desktop.or_else(|| MOBILE.iter().find(|name| text.starts_with(**name))).copied().unwrap_or(OTHER)
}

/// A country's code, in upper case.
pub fn country(text: &str) -> &'static str {
    let code = text.as_bytes();
    let same = |at: &usize| COUNTRIES.as_bytes()[*at..*at + 2].eq_ignore_ascii_case(code);
    (0..COUNTRIES.len() - 1).step_by(3).find(same).map_or(OTHER, |at| &COUNTRIES[at..at + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(normalize: impl Fn(&'static str) -> &'static str, cases: &[(&'static str, &str)]) {
        for (text, expected) in cases {
            assert_eq!(normalize(text), *expected, "{text}");
        }
    }

    #[test]
    fn values_are_few() {
        check(channel, &[("release", "release"), ("beta-cck-x", "beta"), ("nightly-cck-a", "nightly"), ("nightly-x", "Other"), ("Release", "Other"), ("", "Other")]);
        check(os, &[("Windows_NT", "Windows"), ("WINNT", "Windows"), ("Darwin", "Mac"), ("GNU/Linux", "Linux"), ("FreeBSD", "Linux"), ("Haiku", "Other")]);
        check(mobile_os, &[("iOS", "iOS"), ("My iPhone", "iOS"), ("Android 9", "Android"), ("Linux", "Other")]);
        check(app_name, &[("Firefox", "Firefox"), ("Fennec", "Fennec"), ("Focus-TV", "Focus-TV"), ("Focus", "Focus"), ("Zerda_cn", "Zerda_cn"), ("Firefoxy", "Other")]);
        check(country, &[("de", "DE"), ("US", "US"), ("ZW", "ZW"), ("??", "Other"), ("", "Other"), ("D ", "Other"), ("E A", "Other")]);
    }

    #[test]
    fn versions_are_their_leading_numbers() {
        for (text, expected) in [("10.0", Some("10.0")), ("4.15.0-20-generic", Some("4.15.0")), ("17", Some("17")), ("1.2.3.4", Some("1.2.3")), ("10.", Some("10")), ("x", None)] {
            assert_eq!(os_version(text), expected, "{text}");
        }
    }
}
