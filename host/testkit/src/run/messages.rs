//! Raw messages of recorded pings, as the edge makes them: the same at every run.

use crate::{Fixture, compress, path_of};
use std::collections::BTreeMap;
use tidemill_bus::{FetchedBatch, RecordBuf, TopicPartition};
use tidemill_message::MessageWriter;
use xxhash_rust::xxh3::xxh3_128;

/// When the first ping arrives: 2026-01-01T00:00:00Z, in seconds. Each further one arrives a second later.
pub(super) const START_S: i64 = 1_767_225_600;

/// When a ping arrives, in nanoseconds.
pub(super) fn time_ns(ping: usize) -> i64 {
    (START_S + ping as i64) * 1_000_000_000
}

/// Which ping arrived then.
pub(super) fn ping_at(time_ns: i64) -> Option<usize> {
    usize::try_from(time_ns.div_euclid(1_000_000_000) - START_S).ok()
}

/// `NAMESPACE/FILE` of a ping.
pub(super) fn label(fixture: &Fixture) -> String {
    let file = fixture.path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}/{file}", fixture.namespace)
}

/// The pings as records of `raw/0`, the offset of each its number.
pub(super) fn raw(fixtures: &[Fixture]) -> FetchedBatch {
    let (mut records, mut seen) = (RecordBuf::default(), BTreeMap::<String, u32>::new());
    for (number, fixture) in fixtures.iter().enumerate() {
        let label = label(fixture);
        let count = seen.entry(label.clone()).or_default();
        let id = id_of(&format!("document {count} {label}"));
        *count += 1;
        let time_ns = time_ns(number);
        let headers: [(&str, &[u8]); 1] = [("tm-v", b"1")];
        records.push_with(time_ns / 1_000_000, id.as_bytes(), &headers, |out| write(fixture, &id, time_ns, out));
    }
    let partition = TopicPartition { topic: "raw".into(), partition: 0 };
    FetchedBatch { partition, offsets: (0..fixtures.len() as i64).collect(), bytes: records.into_bytes() }
}

fn write(fixture: &Fixture, id: &str, time_ns: i64, out: &mut Vec<u8>) {
    let path = path_of(fixture, id);
    let (path, args) = path.split_once('?').unwrap_or((&path, ""));
    let body = compress(&fixture.body);
    let uuid = xxh3_128(format!("message {id}").as_bytes()).to_be_bytes();
    let mut message = MessageWriter::new(out, &uuid, time_ns);
    message.type_(b"raw").logger(b"moz_ingest").hostname(b"tidemill");
    message.field_string("remote_addr", b"127.0.0.1").field_string("uri", path.as_bytes());
    if !args.is_empty() {
        message.field_string("args", args.as_bytes());
    }
    message.field_string("protocol", b"HTTP/1.1").field_string("Content-Length", body.len().to_string().as_bytes());
    if let Ok(time) = jiff::Timestamp::from_nanosecond(i128::from(time_ns)) {
        message.field_string("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string().as_bytes());
    }
    message.field_string("Host", b"localhost").field_bytes("content", "", &body);
}

/// A document id, made of a text.
fn id_of(text: &str) -> String {
    uuid::Builder::from_custom_bytes(xxh3_128(text.as_bytes()).to_be_bytes()).into_uuid().to_string()
}
