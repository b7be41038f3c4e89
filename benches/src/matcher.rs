//! What a matcher costs that does not match.

use crate::{
    harness::{Watch, best},
    table::{Row, Table},
};
use anyhow::ensure;
use tidemill_message::{Matcher, MatcherSet, Matches, MessageRef, MessageWriter};

pub const MISS: &str = "matcher/miss";

/// Sixteen plugins' matchers on one stream, of the shapes that plugins have; none wants an access log's messages.
const MATCHERS: [&str; 16] = [
    "Type == 'validated'",
    "Type == 'validated' && Fields[docType] == 'main'",
    "Type == 'validated' && Fields[docType] == 'crash'",
    "Type == 'validated' && Fields[normalizedChannel] == 'nightly'",
    "Type == 'error'",
    "Type == 'error' && Logger == 'telemetry'",
    "Type == 'duplicate'",
    "Type == 'validated' || Type == 'error'",
    "Logger == 'telemetry' && Fields[sampleId] < 10",
    "Logger == 'pioneer-study'",
    "Type =~ '^fxa%.account'",
    "Type =~ '^app%.' && Severity < 4",
    "Fields[status] >= 500",
    "Fields[request] =~ 'recovery_key'",
    "Hostname == 'edge-1' && Severity <= 3",
    "Fields[geoCountry] == 'DE' || Fields[geoCountry] == 'FR'",
];
/// Different messages, which take turns.
const MESSAGES: usize = 1_000;
/// Messages of a run.
const RUNS: usize = 500;

/// Time a matcher and message; the message is parsed before, once for all.
pub fn miss(table: &mut Table) -> anyhow::Result<()> {
    let set = MatcherSet::new(MATCHERS.iter().map(|text| Matcher::parse(text)).collect::<Result<Vec<_>, _>>()?);
    let bytes: Vec<_> = (0..MESSAGES).map(message).collect();
    let messages = bytes.iter().map(|bytes| MessageRef::parse(bytes)).collect::<Result<Vec<_>, _>>()?;
    let mut matches = Matches::new();
    let mut run = || {
        let (began, mut matched) = (Watch::start(), 0);
        for message in std::iter::repeat_n(&messages, RUNS).flatten() {
            set.matches(message, &mut matches);
            matched += usize::from(matches.any());
        }
        ensure!(matched == 0, "{matched} messages matched");
        Ok(began.elapsed())
    };
    let n = MESSAGES * RUNS;
    let value = best(&mut run)? / (n * MATCHERS.len()) as f64 * 1e9;
    table.add(&Row { name: MISS, value, unit: "ns", baseline: None, n, corpus: "access-log-16-matchers" })
}

/// A line of an access log, about 300 bytes.
fn message(number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = MessageWriter::new(&mut out, &(number as u128).to_be_bytes(), 1_522_238_400_000_000_000 + number as i64);
    writer.type_(b"nginx.access").logger(b"fxa-auth").severity(6).pid(4_242).hostname(b"web-3.example.net");
    writer.field_string("remote_addr", format!("198.51.100.{}", number % 256).as_bytes());
    writer.field_string("request", b"GET /v1/session/status HTTP/1.1");
    writer.field_integer("status", "", [200, 204, 301, 404][number % 4]);
    writer.field_integer("body_bytes_sent", "B", 50 + number as i64 * 91 % 90_000);
    writer.field_double("request_time", "s", number as f64 / 1e4);
    writer.field_string("http_user_agent", b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:57.0) Gecko/20100101 Firefox/57.0");
    out
}
