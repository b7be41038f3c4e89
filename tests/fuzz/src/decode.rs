//! The decode stage: gunzip, parse, validate, and all that is written of it.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use tidemill_bus::{FetchedBatch, RecordBuf, Step, TopicPartition};
use tidemill_message::{MessageRef, MessageWriter};
use tidemill_pipeline::decode::{DecodeLimits, DecodeSettings, DecodeTopics, Decoder, VersionPointers};

use crate::json::SCHEMAS;

thread_local! {
    /// Made once: a decoder reuses its memory from message to message, which is a part of what is tested.
    static DECODER: RefCell<Decoder> = RefCell::new(decoder());
}

fn decoder() -> Decoder {
    let settings = DecodeSettings {
        registry: Arc::clone(&SCHEMAS),
        city: None,
        version_pointers: VersionPointers::default(),
        plugins: Vec::new(),
        // Small enough that an input of some KB can be too large when unpacked.
        limits: DecodeLimits { document_bytes_max: 1 << 20, ..DecodeLimits::default() },
        topics: DecodeTopics { raw_incarnation: "fuzz".into(), validated_partitions: 2, errors_partitions: 1 },
        generation: 0,
        epoch: 0,
    };
    Decoder::new(&settings).unwrap_or_else(|error| panic!("{error}"))
}

const URIS: [&str; 4] = [
    "/submit/telemetry/0b9d1ab0-4b2a-4b2e-9a4e-000000000001/usage/Firefox/61.0/nightly/20180328030202",
    "/submit/web/page-load/1/id",
    "/submit/shop/order/2/id",
    "/submit/device/heartbeat/1/id",
];

/// A body: the first byte says whether the rest is compressed here or taken as it is, and which path it is posted to.
pub fn body(bytes: &[u8]) {
    let (&how, rest) = bytes.split_first().unwrap_or((&0, bytes));
    let compressed = if how & 1 == 1 { gzip(rest) } else { rest.to_vec() };
    let uri = URIS[usize::from(how >> 1) % URIS.len()];
    let mut raw = Vec::new();
    let mut message = MessageWriter::new(&mut raw, b"0123456789abcdef", 1_522_238_400_123_456_789);
    message.type_(b"raw").field_string("uri", uri.as_bytes()).field_bytes("content", "", &compressed);
    record(&raw);
}

/// A raw record: it becomes one record of `validated` or `errors`, which is a message.
pub fn record(bytes: &[u8]) {
    let mut records = RecordBuf::default();
    records.push(1_522_238_400_123, b"key", &[("tm-v", b"1")], bytes);
    let partition = TopicPartition { topic: "raw".into(), partition: 0 };
    let batch = FetchedBatch { partition, offsets: vec![7], bytes: Bytes::copy_from_slice(records.bytes()) };
    let mut step = Step::default();
    let decoded = DECODER.with_borrow_mut(|decoder| decoder.decode_batch(&batch, &mut step));
    assert!(decoded.is_ok(), "{decoded:?}");
    let count: u32 = step.publish.values().map(RecordBuf::count).sum();
    assert_eq!(count, 1, "a record becomes one record");
    for records in step.publish.values() {
        records.iter().for_each(|record| check_message(record.value));
    }
}

fn check_message(value: &[u8]) {
    let message = MessageRef::parse(value).unwrap_or_else(|error| panic!("what was written is no message: {error}"));
    match message.type_() {
        Some(b"validated") => {
            let document = message.field("submission").and_then(|field| field.bytes()).unwrap_or_default();
            assert!(serde_json::from_slice::<serde_json::Value>(document).is_ok(), "a valid document is JSON");
        }
        Some(b"error") => assert!(message.field("DecodeErrorType").is_some(), "an error has a type"),
        other => panic!("of type {other:?}"),
    }
}

fn gzip(document: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut out = vec![0; compressor.gzip_compress_bound(document.len())];
    let length = compressor.gzip_compress(document, &mut out).unwrap_or(0);
    out.truncate(length);
    out
}
