//! Raw messages, decoders and what comes out of them.

use super::super::{DecodeLimits, DecodeSettings, DecodeTopics, Decoder, DecoderPlugin, VersionPointers};
use crate::geo::CityDatabase;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};
use tidemill_bus::{FetchedBatch, RecordBuf, Step, TopicPartition};
use tidemill_message::{FieldRef, MessageRef, MessageWriter, Value};
use tidemill_schema::Registry;

/// 2018-03-28 12:00:00.123456789 UTC.
pub const TIMESTAMP: i64 = 1_522_238_400_123_456_789;
/// Milton, in the test database.
pub const CLIENT_ADDRESS: &str = "216.160.83.56";
pub const PROXY_ADDRESS: &str = "198.51.100.7";
pub const PEER_ADDRESS: &str = "203.0.113.9";

/// The folder `data` beside the project, where it is.
pub fn shared_data(test: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED {test}: no {}", path.display());
    None
}

/// A raw message as the edge makes it.
pub fn raw(uri: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut message = MessageWriter::new(&mut out, b"0123456789abcdef", TIMESTAMP);
    message.type_(b"raw").logger(b"moz_ingest").hostname(b"edge-1");
    message.field_string("remote_addr", PEER_ADDRESS.as_bytes());
    message.field_string("uri", uri.as_bytes());
    message.field_string("args", b"v=4").field_string("protocol", b"HTTP/1.1");
    message.field_string("Content-Length", body.len().to_string().as_bytes());
    message.field_string("Date", b"Wed, 28 Mar 2018 11:59:58 GMT").field_string("DNT", b"1");
    message.field_string("Host", b"incoming.example").field_string("User-Agent", b"pingsender/1.0");
    message.field_string("X-Forwarded-For", format!("{PROXY_ADDRESS}, {CLIENT_ADDRESS}").as_bytes());
    message.field_string("X-PingSender-Version", b"1.0");
    message.field_bytes("content", "", body);
    out
}

pub fn gzip(document: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut out = vec![0; compressor.gzip_compress_bound(document.len())];
    let length = compressor.gzip_compress(document, &mut out).expect("fits");
    out.truncate(length);
    out
}

/// A few schemas of its own: `web/page/1`, `web/row/1` and `telemetry/thing/4` and `/5`.
pub fn own_registry() -> Arc<Registry> {
    let folder = tempfile::tempdir().expect("a folder");
    let page = r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}"#;
    let thing = r#"{"type": "object", "properties": {"version": {"type": "integer", "enum": [4]}, "only4": {"type": "string"}}}"#;
    let row = r#"{"type": "object"}"#;
    let newer = r#"{"type": "object", "properties": {"only4": {"type": "integer"}}}"#;
    for (path, text) in
        [("web/page/page.1", page), ("telemetry/thing/thing.4", thing), ("telemetry/thing/thing.5", newer), ("web/row/row.1", row)]
    {
        let path = folder.path().join(format!("{path}.schema.json"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    load(folder.path())
}

pub fn load(path: &Path) -> Arc<Registry> {
    Arc::new(Registry::load(&[path.to_owned()]).expect("loads").0)
}

pub fn settings(registry: Arc<Registry>) -> DecodeSettings {
    DecodeSettings {
        registry,
        city: None,
        version_pointers: VersionPointers::default(),
        plugins: Vec::<DecoderPlugin>::new(),
        limits: DecodeLimits::default(),
        topics: DecodeTopics { raw_incarnation: "inc".into(), validated_partitions: 4, errors_partitions: 2 },
        generation: 0,
        epoch: 7,
    }
}

pub fn city(data: &Path) -> Arc<CityDatabase> {
    Arc::new(CityDatabase::open(&data.join("geoip/GeoIP2-City-Test.mmdb")).expect("opens"))
}

/// A record that came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Out {
    pub topic: String,
    pub partition: u32,
    pub timestamp_ms: i64,
    pub key: Vec<u8>,
    pub headers: BTreeMap<String, Vec<u8>>,
    pub value: Vec<u8>,
}

impl Out {
    pub fn message(&self) -> MessageRef<'_> {
        MessageRef::parse(&self.value).expect("a message")
    }

    /// A field as text.
    pub fn field(&self, name: &str) -> Option<String> {
        self.message().field(name).map(|field| text_of(&field))
    }

    pub fn header(&self, name: &str) -> String {
        String::from_utf8_lossy(self.headers.get(name).map_or(&b"-"[..], |value| value)).into_owned()
    }

    /// Where it stands among the records of its source partition.
    pub fn offset(&self) -> i64 {
        crate::source::Source::parse(&self.headers["tm-src"]).expect("a source").offset
    }

    pub fn names(&self) -> Vec<String> {
        self.message().fields().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
    }
}

fn text_of(field: &FieldRef<'_>) -> String {
    match field.values().next() {
        Some(Value::String(text) | Value::Bytes(text)) => String::from_utf8_lossy(text).into_owned(),
        Some(Value::Integer(value)) => value.to_string(),
        Some(Value::Double(value)) => value.to_string(),
        Some(Value::Bool(value)) => value.to_string(),
        None => String::new(),
    }
}

pub fn raw_partition(partition: u32) -> TopicPartition {
    TopicPartition { topic: "raw".into(), partition }
}

/// A batch of `raw/3` from offset 100 on.
pub fn batch(values: &[Vec<u8>]) -> FetchedBatch {
    let mut records = RecordBuf::default();
    for value in values {
        records.push(TIMESTAMP / 1_000_000, b"raw key", &[("tm-v", b"1")], value);
    }
    let offsets = (100..).take(values.len()).collect();
    FetchedBatch { partition: raw_partition(3), offsets, bytes: Bytes::copy_from_slice(records.bytes()) }
}

/// The records of a step, in the order of their sources.
pub fn outs(step: &Step) -> Vec<Out> {
    let mut outs = Vec::new();
    for (to, records) in &step.publish {
        let first = outs.len();
        for record in records.iter() {
            outs.push(Out {
                topic: to.topic.to_string(),
                partition: to.partition,
                timestamp_ms: record.timestamp_ms,
                key: record.key.to_vec(),
                headers: record.headers().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec())).collect(),
                value: record.value.to_vec(),
            });
        }
        assert!(outs[first..].is_sorted_by_key(Out::offset), "a partition keeps the order of its sources");
    }
    outs.sort_by_key(Out::offset);
    outs
}

/// Decodes messages; each must come out exactly once.
pub fn decode(decoder: &mut Decoder, values: &[Vec<u8>]) -> Vec<Out> {
    let mut step = Step::default();
    decoder.decode_batch(&batch(values), &mut step).expect("decodes");
    let outs = outs(&step);
    let offsets: Vec<_> = outs.iter().map(Out::offset).collect();
    assert_eq!(offsets, (100..).take(values.len()).collect::<Vec<_>>(), "each message once");
    outs
}

pub fn decode_one(decoder: &mut Decoder, value: Vec<u8>) -> Out {
    decode(decoder, &[value]).remove(0)
}

/// No record may hold an address.
pub fn assert_no_address(outs: &[Out]) {
    for out in outs {
        for address in [CLIENT_ADDRESS, PROXY_ADDRESS, PEER_ADDRESS] {
            let found = memchr::memmem::find(&out.value, address.as_bytes());
            assert_eq!(found, None, "{address} in {} at {}", out.topic, out.offset());
        }
    }
}
