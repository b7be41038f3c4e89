//! What `write` answered, checked.

use crate::bindings::tidemill::plugin::types as wit;
use crate::error::{Broken, broken};
use crate::limits::{Limits, within};
use crate::report::cut;

/// Longest URL in bytes.
const URL_BYTES_MAX: usize = 8_192;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Longest name or value of a header in bytes.
const HEADER_BYTES_MAX: usize = 8_192;
/// Longest path of an object or file in bytes.
const PATH_BYTES_MAX: usize = 1_024;
/// Longest name of a topic in bytes: Kafka's own bound.
const TOPIC_BYTES_MAX: usize = 249;
/// Longest key of a record in bytes.
const KEY_BYTES_MAX: usize = 1_024;
/// Methods a delivery may use.
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// One piece of output that the host performs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Where it goes.
    pub target: Target,
    /// The first row it settles.
    pub first_row: u32,
    /// The last row it settles.
    pub last_row: u32,
    /// What is sent.
    pub body: Vec<u8>,
}

/// Where a delivery goes. Nothing here was compared with an allow-list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A request: method one of POST, PUT, PATCH, DELETE; URL http or https; headers without control characters.
    Http {
        /// The method.
        method: String,
        /// The URL.
        url: String,
        /// The headers, in order.
        headers: Vec<(String, String)>,
    },
    /// An object to put: a relative path without `.`, `..` or empty segments.
    Object(String),
    /// A file to append to: a path as for objects.
    Append(String),
    /// A record of a topic.
    Bus {
        /// The topic, without prefix.
        topic: String,
        /// The record's key.
        key: Vec<u8>,
    },
}

pub(crate) fn check_deliveries(raw: Vec<wit::Delivery>, rows: u32, limits: &Limits) -> Result<Vec<Delivery>, Broken> {
    within("deliveries_max", limits.deliveries_max, 0, raw.len() as u64)?;
    raw.into_iter().enumerate().map(|(at, delivery)| check_delivery(at, delivery, rows)).collect()
}

fn check_delivery(at: usize, raw: wit::Delivery, rows: u32) -> Result<Delivery, Broken> {
    let wit::Delivery { target, first_row, last_row, body } = raw;
    if first_row > last_row || last_row >= rows {
        return Err(broken!("`deliveries[{at}]` settles rows {first_row} to {last_row}, but the batch has {rows} rows"));
    }
    let target = check_target(target).map_err(|why| broken!("`deliveries[{at}].target`: {why}"))?;
    Ok(Delivery { target, first_row, last_row, body })
}

fn check_target(raw: wit::Target) -> Result<Target, String> {
    match raw {
        wit::Target::Http(wit::Request { method, url, headers }) => {
            check_request(&method, &url)?;
            check_headers(&headers)?;
            Ok(Target::Http { method, url, headers })
        }
        wit::Target::Object(path) => check_path(&path).map(|()| Target::Object(path)),
        wit::Target::Append(path) => check_path(&path).map(|()| Target::Append(path)),
        wit::Target::Bus(wit::BusKey { topic, key }) => {
            check_topic(&topic, &key)?;
            Ok(Target::Bus { topic, key })
        }
    }
}

fn check_request(method: &str, url: &str) -> Result<(), String> {
    if !METHODS.contains(&method) {
        return Err(format!("method {:?} is none of {}", cut(method, 64), METHODS.join(", ")));
    }
    let is_http = url.starts_with("http://") || url.starts_with("https://");
    if !is_http || url.len() > URL_BYTES_MAX || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        let shown = cut(url, 256);
        return Err(format!("url {shown:?} is not http:// or https:// with at most {URL_BYTES_MAX} visible ASCII characters"));
    }
    Ok(())
}

fn check_headers(headers: &[(String, String)]) -> Result<(), String> {
    if headers.len() > HEADERS_MAX {
        return Err(format!("{} headers, more than {HEADERS_MAX}", headers.len()));
    }
    for (name, value) in headers {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.len() > HEADER_BYTES_MAX || !name.bytes().all(is_token) {
            return Err(format!("header name {:?} is not a token", cut(name, 64)));
        }
        if value.len() > HEADER_BYTES_MAX || !value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
            return Err(format!("the value of header {name:?} has control or non-ASCII characters, or over {HEADER_BYTES_MAX} bytes"));
        }
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), String> {
    let is_sound = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(['\\', ':']);
    if path.len() > PATH_BYTES_MAX || path.contains(char::is_control) || !path.split('/').all(is_sound) {
        let shown = cut(path, 256);
        return Err(format!(
            "path {shown:?} is not relative with at most {PATH_BYTES_MAX} bytes and no empty, `.` or `..` segment, backslash, colon or control character"
        ));
    }
    Ok(())
}

fn check_topic(topic: &str, key: &[u8]) -> Result<(), String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX || !topic.bytes().all(is_name) {
        return Err(format!("topic {:?} is not 1 to {TOPIC_BYTES_MAX} of a-z, A-Z, 0-9, `.`, `_`, `-`", cut(topic, 64)));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(format!("the key has {} bytes, more than {KEY_BYTES_MAX}", key.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: wit::Target) -> String {
        let raw = vec![wit::Delivery { target, first_row: 0, last_row: 2, body: vec![] }];
        check_deliveries(raw, 3, &Limits::default()).map_or_else(|error| error.to_string(), |_| "ok".into())
    }

    fn http(method: &str, url: &str, header: (&str, &str)) -> wit::Target {
        let headers = vec![(header.0.to_string(), header.1.to_string())];
        wit::Target::Http(wit::Request { method: method.into(), url: url.into(), headers })
    }

    #[test]
    fn requests() {
        let header = ("content-type", "application/json; charset=utf-8");
        assert_eq!(check(http("POST", "https://example.com/x?y=1", header)), "ok");
        assert_eq!(
            check(http("GET /\r\n", "http://a", header)),
            "`deliveries[0].target`: method \"GET /\\r\\n\" is none of POST, PUT, PATCH, DELETE"
        );
        assert_eq!(
            check(http("PUT", "file:///etc/passwd", header)),
            "`deliveries[0].target`: url \"file:///etc/passwd\" is not http:// or https:// with at most 8192 visible ASCII characters"
        );
        assert_eq!(check(http("PUT", "http://a", ("a b", "c"))), "`deliveries[0].target`: header name \"a b\" is not a token");
        assert_eq!(
            check(http("PUT", "http://a", ("a", "c\r\nhost: b"))),
            "`deliveries[0].target`: the value of header \"a\" has control or non-ASCII characters, or over 8192 bytes"
        );
    }

    #[test]
    fn paths_and_topics() {
        assert_eq!(check(wit::Target::Append("a/b.jsonl".into())), "ok");
        for path in ["", "/a", "a//b", "a/../b", ".", "a\\b", "c:/a", "a\0"] {
            let text = check(wit::Target::Object(path.into()));
            assert!(text.starts_with(&format!("`deliveries[0].target`: path {path:?} is not relative")), "{text}");
        }
        let bus = |topic: &str, key: usize| wit::Target::Bus(wit::BusKey { topic: topic.into(), key: vec![0; key] });
        assert_eq!(check(bus("out-1", 1)), "ok");
        assert_eq!(check(bus("a b", 0)), "`deliveries[0].target`: topic \"a b\" is not 1 to 249 of a-z, A-Z, 0-9, `.`, `_`, `-`");
        assert_eq!(check(bus("a", 1_025)), "`deliveries[0].target`: the key has 1025 bytes, more than 1024");
    }

    #[test]
    fn rows_and_count() {
        let delivery = |first_row, last_row| wit::Delivery { target: wit::Target::Append("a".into()), first_row, last_row, body: vec![] };
        let check = |raw, limits: &Limits| check_deliveries(raw, 3, limits).expect_err("broken").to_string();
        let limits = Limits { deliveries_max: 1, ..Limits::default() };
        assert_eq!(check(vec![delivery(0, 3)], &limits), "`deliveries[0]` settles rows 0 to 3, but the batch has 3 rows");
        assert_eq!(check(vec![delivery(2, 1)], &limits), "`deliveries[0]` settles rows 2 to 1, but the batch has 3 rows");
        let two = vec![delivery(0, 0), delivery(1, 1)];
        assert_eq!(check(two, &limits), "limit `deliveries_max` exceeded: limit 1, current 0, requested 2");
    }
}
