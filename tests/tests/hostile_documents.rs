//! What is hostile is answered with the right code at the edge, or ends in `errors` with the right reason.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};
use tidemill_tests::{BusSetup, Connection, Ping, Platform, Setup, field, new_id, raw_exchange, root, tap};

fn platform() -> Platform {
    Platform::start(&Setup::new(BusSetup::Embedded, 2, vec![root().join("schemas")]))
}

fn page(id: &str) -> String {
    format!("/submit/web/page-load/1/{id}")
}

/// Documents that end in `errors`: name, body, type, detail (a part of it).
fn hostile() -> Vec<(String, Vec<u8>, &'static str, &'static str)> {
    let large = |bytes: usize| tidemill_testkit::compress(&[&b"{\"at\": \""[..], &vec![b'x'; bytes - 10], b"\"}"].concat());
    let good = tidemill_testkit::compress(br#"{"at": "2026-05-04T10:20:30Z", "loadMs": 1, "page": "/"}"#);
    let mut flipped = good.clone();
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    let bomb = tidemill_testkit::compress(&vec![b' '; 300 << 20]);
    let mut documents: Vec<(String, Vec<u8>, &'static str, &'static str)> = [
        ("arrays nested 100,000 deep", b"[".repeat(100_000), "json", "depth"),
        ("objects nested 100,000 deep", br#"{"a":"#.repeat(100_000), "json", "depth"),
        ("nested and closed", [b"[".repeat(100_000), b"]".repeat(100_000)].concat(), "json", "depth"),
        ("nested in gzip", tidemill_testkit::compress(&b"[".repeat(100_000)), "json", "depth"),
        ("8 MiB + 1 after gunzip", large((8 << 20) + 1), "too_large", ""),
        ("8 MiB after gunzip is read, and breaks its schema", large(8 << 20), "schema", ""),
        ("300 MiB of blanks", bomb, "too_large", ""),
        ("gzip magic and nothing", vec![0x1f, 0x8b], "gunzip", ""),
        ("gzip cut off", good[..good.len() / 2].to_vec(), "gunzip", ""),
        ("gzip without trailer", good[..good.len() - 8].to_vec(), "gunzip", ""),
        ("gzip with another sum", flipped, "gunzip", ""),
        ("gzip with more behind it", [&good[..], b"{}"].concat(), "gunzip", ""),
        ("two gzip members", [&good[..], &good[..]].concat(), "gunzip", ""),
        ("an empty body", vec![], "json", ""),
        ("gzip of nothing", tidemill_testkit::compress(b""), "json", ""),
        ("blanks", b" \n\t ".to_vec(), "json", ""),
        ("not JSON", b"<html>".to_vec(), "json", ""),
        ("two documents", b"{} {}".to_vec(), "json", ""),
        ("a NUL behind it", b"{}\0".to_vec(), "json", ""),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec(), "json", ""),
        ("a lone surrogate", br#"{"at": "\ud800"}"#.to_vec(), "json", ""),
        ("a number beyond f64", br#"{"loadMs": 1e999}"#.to_vec(), "json", "number"),
        ("a control character", b"{\"at\": \"\x01\"}".to_vec(), "json", ""),
    ]
    .into_iter()
    .map(|(name, body, kind, detail)| (name.to_owned(), body, kind, detail))
    .collect();
    documents.extend(broken_utf8());
    documents
}

/// Every kind of broken UTF-8, in a value, in a key, at the end, and behind 70 good bytes (where vectors end).
fn broken_utf8() -> Vec<(String, Vec<u8>, &'static str, &'static str)> {
    let sequences: [&[u8]; 20] = [
        b"\x80",
        b"\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xc3",
        b"\xc3(",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xe2\x82",
        b"\xe2(\xa1",
        b"\xe2\x82(",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x9f\x98",
        b"\xf0(\x8c\xbc",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xfe",
        b"\xff",
    ];
    let mut documents = vec![];
    for bytes in sequences {
        let name = bytes.iter().fold(String::from("broken UTF-8"), |mut name, byte| {
            let _ = write!(name, " {byte:02x}");
            name
        });
        let padding = [b'a'; 70];
        let places: [(&str, Vec<u8>); 4] = [
            ("in a value", [b"{\"at\": \"", bytes, b"\"}"].concat()),
            ("in a key", [b"{\"", bytes, b"\": 1}"].concat()),
            ("behind 70 bytes", [b"{\"at\": \"", &padding[..], bytes, &padding[..], b"\"}"].concat()),
            ("at the end", [b"{\"at\": \"", bytes].concat()),
        ];
        documents.extend(places.map(|(place, body)| (format!("{name} {place}"), body, "json", "")));
    }
    documents
}

#[test]
fn hostile_documents_end_in_errors() {
    let mut platform = platform();
    let documents = hostile();
    let mut connection = Connection::open(platform.address()).expect("connected");
    let mut expected = BTreeMap::new();
    for (name, body, kind, detail) in &documents {
        let id = new_id();
        let answer = connection.send("POST", &page(&id), &[], body).expect("an answer");
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        expected.insert(id, (name, kind, detail, body));
    }
    platform.wait_drained(Duration::from_secs(30));
    let errors = tap(&platform, "errors");
    assert_eq!(tap(&platform, "validated").len(), 0);
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    let mut wrong = vec![];
    for error in &errors {
        let (name, kind, detail, _) = expected.remove(field(error, "documentId")).unwrap_or_else(|| panic!("twice or unknown: {error}"));
        let (found, found_detail) = (field(error, "DecodeErrorType"), field(error, "DecodeErrorDetail"));
        *kinds.entry(kind).or_default() += 1;
        if found != *kind
            || !found_detail.contains(detail)
            || field(error, "DecodeError").is_empty()
            || !field(error, "source").starts_with("raw/")
        {
            wrong.push(format!("{name}: expected {kind} {detail:?}, found {found} {found_detail:?} {:?}", field(error, "DecodeError")));
        }
    }
    assert!(expected.is_empty(), "not in errors: {:?}", expected.values().map(|(name, ..)| name).collect::<Vec<_>>());
    assert!(wrong.is_empty(), "{wrong:#?}");
    eprintln!("{} hostile documents in errors: {kinds:?}", errors.len());
    assert_eq!(platform.terminate().code, Some(0));
}

/// A request of bytes as they are, with the document id.
fn raw(request: &str, id: &str) -> Vec<u8> {
    request.replace("ID", id).into_bytes()
}

#[test]
fn the_edge_answers_with_the_codes_of_the_contract() {
    let platform = platform();
    let long_header =
        |bytes: usize| format!("POST {} HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\nDNT: {}\r\n\r\n{{}}", page("ID"), "1".repeat(bytes));
    let long_path = |bytes: usize| {
        let path = page("");
        format!("POST {path}{} HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\n{{}}", "x".repeat(bytes - path.len()))
    };
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\n{{}}");
    let of_length = |length: &str| format!("POST {} HTTP/1.1\r\nHost: e\r\nContent-Length: {length}\r\n\r\n", page("ID"));
    let full = format!("{}{}", of_length("1048576"), " ".repeat(1 << 20));
    let telemetry = "/submit/telemetry/ID/main/Firefox/61.0/nightly/20180328030202?v=4";
    let method = |method: &str| format!("{method} {} HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\n\r\n{{}}", page("ID"));
    let cases: Vec<(&str, String, u16)> = vec![
        ("a ping", post(&page("ID")), 200),
        ("PUT", method("PUT"), 200),
        ("a telemetry ping", post(telemetry), 200),
        ("any namespace", post("/submit/what/ever/x/ID"), 200),
        ("HTTP/1.0", format!("POST {} HTTP/1.0\r\nContent-Length: 2\r\n\r\n{{}}", page("ID")), 200),
        ("1 MiB", full, 200),
        ("1,024 bytes of a header", long_header(1_024), 200),
        ("10,240 bytes of path", long_path(10_240), 200),
        ("an unknown path", post("/submit"), 404),
        ("too few elements", post("/submit/web/page-load/1"), 404),
        ("too many elements", post("/submit/web/page-load/1/ID/x"), 404),
        ("too few elements of telemetry", post("/submit/telemetry/ID/main/Firefox"), 404),
        ("GET", format!("GET {} HTTP/1.1\r\nHost: e\r\n\r\n", page("ID")), 405),
        ("HEAD", format!("HEAD {} HTTP/1.1\r\nHost: e\r\n\r\n", page("ID")), 405),
        ("DELETE", method("DELETE"), 405),
        ("no length", format!("POST {} HTTP/1.1\r\nHost: e\r\n\r\n", page("ID")), 411),
        ("chunks", format!("POST {} HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n", page("ID")), 411),
        ("1 MiB + 1", of_length("1048577"), 413),
        ("a length of 2^60", of_length("1152921504606846976"), 413),
        ("10,241 bytes of path", long_path(10_241), 414),
        ("10,241 bytes of path and query", post(&format!("{}?{}", page("ID"), "q".repeat(10_300))), 414),
        ("1,025 bytes of a header", long_header(1_025), 431),
        ("a length that is none", of_length("two"), 400),
        ("a negative length", of_length("-1"), 400),
        ("two lengths", format!("POST {} HTTP/1.1\r\nHost: e\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}", page("ID")), 400),
        ("no HTTP", "HELLO\r\n\r\n".into(), 400),
        ("a version that is none", format!("POST {} HTTP/9.9\r\nHost: e\r\n\r\n", page("ID")), 400),
        ("a header without a colon", format!("POST {} HTTP/1.1\r\nHost: e\r\nContent-Length 2\r\n\r\n{{}}", page("ID")), 400),
        ("a blank in a header's name", format!("POST {} HTTP/1.1\r\nHost: e\r\nContent Length: 2\r\n\r\n{{}}", page("ID")), 400),
    ];
    let mut wrong = vec![];
    for (name, request, status) in &cases {
        match raw_exchange_of(&platform, name, request) {
            Ok((found, body)) if found == *status && (*status != 200 || body == "OK") => {}
            found => wrong.push(format!("{name}: expected {status}, found {found:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    eprintln!("{} requests answered as the contract says", cases.len());
}

fn raw_exchange_of(platform: &Platform, name: &str, request: &str) -> Result<(u16, String), String> {
    let request = raw(request, &new_id());
    if name == "HEAD" {
        // Its answer has a length and no body.
        return head(platform, &request);
    }
    raw_exchange(platform.address(), &request).map(|answer| (answer.status, answer.text())).map_err(|error| error.to_string())
}

fn head(platform: &Platform, request: &[u8]) -> Result<(u16, String), String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(platform.address()).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
    stream.write_all(request).map_err(|error| error.to_string())?;
    let mut first = [0; 12];
    stream.read_exact(&mut first).map_err(|error| error.to_string())?;
    let status = String::from_utf8_lossy(&first[9..]).parse().map_err(|_| format!("{first:?}"))?;
    Ok((status, String::new()))
}

#[test]
fn paths_that_mean_nothing_end_in_errors() {
    let platform = platform();
    let cases = [
        ("/submit/web/page-load/x/ID", "uri"),
        ("/submit/web/page-load/9/ID", "schema_not_found"),
        ("/submit/nobody/knows/1/ID", "schema_not_found"),
        ("/submit/telemetry/ID/nothing/Firefox/61.0/nightly/2018?v=4", "schema_not_found"),
    ];
    let mut expected = BTreeMap::new();
    let mut connection = Connection::open(platform.address()).expect("connected");
    for (path, kind) in cases {
        let ping = Ping::new(|id| path.replace("ID", id), b"{}");
        assert_eq!(connection.send("POST", &ping.path, &[], &ping.body).expect("an answer").status, 200, "{path}");
        expected.insert(ping.path, kind);
    }
    platform.wait_drained(Duration::from_secs(20));
    let errors = tap(&platform, "errors");
    assert_eq!(errors.len(), cases.len());
    for error in &errors {
        let uri = field(error, "uri");
        let expected = expected.iter().find(|(path, _)| path.split('?').next() == Some(uri));
        assert_eq!(expected.map(|(_, kind)| *kind), Some(field(error, "DecodeErrorType")), "{error}");
    }
}
