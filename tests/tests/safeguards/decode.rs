//! Of the decode stage.

use crate::*;
use std::sync::Arc;
use tidemill_message::{MessageRef, MessageWriter};
use tidemill_pipeline::decode::{
    DecodeLimits, DecodeSettings, DecodeTopics, Decoder, DedupeOptions, DuplicatesParts, GROUP, StepLimits, VersionPointers, Worker,
    WorkerParts,
};
use tidemill_schema::Registry;

const SEGMENT: u64 = 128 << 20;
const SCHEMA: &str = r#"{"type": "object"}"#;

fn registry() -> Arc<Registry> {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("test/ping");
    std::fs::create_dir_all(&place).expect("made");
    std::fs::write(place.join("ping.1.schema.json"), SCHEMA).expect("written");
    Arc::new(Registry::load(&[folder.path().to_owned()]).expect("loads").0)
}

fn worker(bus: &EmbeddedBus) -> Worker {
    let raw_incarnation = bus.incarnation("raw").expect("a topic");
    let settings = DecodeSettings {
        registry: registry(),
        city: None,
        version_pointers: VersionPointers::default(),
        plugins: vec![],
        limits: DecodeLimits::default(),
        topics: DecodeTopics { raw_incarnation, validated_partitions: 1, errors_partitions: 1 },
        generation: 0,
        epoch: 1,
    };
    Worker::new(WorkerParts {
        member: bus.join(GROUP, &["raw"]).expect("joined"),
        decoder: Decoder::new(&settings).expect("a decoder"),
        limits: StepLimits { step_ms: 1, ..StepLimits::default() },
        clock: Arc::new(SystemClock::default()),
        fence: None,
        duplicates: Some(DuplicatesParts::new(&DedupeOptions::default(), bus, (0, 1)).expect("the topics are there")),
    })
}

fn post(bus: &dyn Bus, id: u8) {
    let mut records = RecordBuf::default();
    records.push_with(0, &[id], &[("tm-v", b"1")], |out| {
        let mut message = MessageWriter::new(out, &[id; 16], 1_541_030_400_000_000_000);
        message.type_(b"raw").logger(b"moz_ingest");
        message.field_string("uri", format!("/submit/test/ping/1/{}", char::from(id)).as_bytes()).field_bytes("content", "", b"{}");
    });
    publish(bus, "raw", records);
}

/// The document ids of `validated`.
fn validated(bus: &dyn Bus) -> Vec<String> {
    let mut reader = bus.reader(&place("validated"), Start::Beginning).expect("a reader");
    let mut found = vec![];
    while let Some(batch) = reader.poll(Duration::ZERO).expect("read") {
        for (_, record) in batch.iter() {
            let message = MessageRef::parse(record.value).expect("a message");
            let id = message.field("documentId").and_then(|field| field.bytes());
            found.push(String::from_utf8_lossy(id.unwrap_or_default()).into_owned());
        }
    }
    found
}

/// A step fails on a full disk; its messages were read, their ids were put in, and none of it happened.
pub fn a_failed_step_is_decoded_again() -> Verdict {
    let files = FaultFiles::default();
    let bus = open(&files, SEGMENT);
    topics(&bus, &["raw", "validated", "errors"]);
    post(&bus, b'a');
    post(&bus, b'b');
    let mut worker = worker(&bus);
    files.set_free_bytes(10);
    if !becomes(PATIENCE, || worker.turn().is_some()) {
        return Err("no step failed on a full disk".to_owned());
    }
    files.set_free_bytes(u64::MAX);
    post(&bus, b'c');
    becomes(Duration::from_secs(2), || worker.turn().is_some() || position(&bus, GROUP, "raw") == 3);
    let made = validated(&bus);
    if made == ["a", "b", "c"] { Ok(()) } else { Err(format!("{made:?} were validated")) }
}
