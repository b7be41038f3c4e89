//! The decode stage on the embedded log: every raw message once, through restarts and with several workers.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, Compression, RecordBuf, Start, SystemClock, SystemFiles, TopicPartition, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
    partition_of,
};
use tidemill_message::{MessageRef, MessageWriter};
use tidemill_pipeline::{
    decode::{DecodeLimits, DecodeSettings, DecodeStage, DecodeTopics, DedupeOptions, StageOptions, StepLimits, VersionPointers},
    source::Source,
};
use tidemill_schema::Registry;

const RAW_PARTITIONS: u32 = 4;
const WAIT_MAX: Duration = Duration::from_secs(60);

fn open(folder: &Path) -> Arc<dyn Bus> {
    let bus = EmbeddedBus::open(EmbeddedOptions::new(folder.join("log"))).expect("opened");
    let topic = |name: &str, partitions| TopicSpec { name: name.into(), partitions, compacted: false, compression: Compression::None };
    bus.ensure_topics(&[topic("raw", RAW_PARTITIONS), topic("validated", 3), topic("errors", 2)]).expect("topics");
    Arc::new(bus)
}

fn settings(bus: &dyn Bus, folder: &Path) -> DecodeSettings {
    let schemas = folder.join("schemas/web/page");
    std::fs::create_dir_all(&schemas).expect("a folder");
    let schema = r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}"#;
    std::fs::write(schemas.join("page.1.schema.json"), schema).expect("written");
    DecodeSettings {
        registry: Arc::new(Registry::load(&[folder.join("schemas")]).expect("loads").0),
        city: None,
        version_pointers: VersionPointers::default(),
        plugins: Vec::new(),
        limits: DecodeLimits::default(),
        topics: DecodeTopics {
            raw_incarnation: bus.incarnation("raw").expect("a topic"),
            validated_partitions: bus.partitions("validated").expect("a topic"),
            errors_partitions: bus.partitions("errors").expect("a topic"),
        },
        generation: 0,
        epoch: 1,
    }
}

/// Publishes messages of these numbers; every third is invalid.
fn publish(bus: &dyn Bus, numbers: std::ops::Range<u32>) {
    let (sender, receiver) = mpsc::channel();
    let count = numbers.len();
    for number in numbers {
        let key = format!("id-{number}");
        let body = if number % 3 == 0 { "{}".to_owned() } else { format!(r#"{{"a": {number}}}"#) };
        let mut records = RecordBuf::default();
        records.push_with(i64::from(number), key.as_bytes(), &[("tm-v", b"1")], |out| {
            let mut message = MessageWriter::new(out, b"0123456789abcdef", i64::from(number) * 1_000_000);
            message.field_string("uri", format!("/submit/web/page/1/{key}").as_bytes()).field_bytes("content", "", body.as_bytes());
        });
        let sender = sender.clone();
        let ack = Box::new(move |result: Result<(), _>| sender.send(result.is_ok()).expect("heard"));
        bus.publish("raw", partition_of(key.as_bytes(), RAW_PARTITIONS), records, ack);
    }
    assert!((0..count).all(|_| receiver.recv_timeout(WAIT_MAX) == Ok(true)), "all durable");
}

/// Runs workers until so many records are out.
fn run(bus: &Arc<dyn Bus>, settings: &DecodeSettings, folder: &Path, workers: u32, until: usize) {
    let options = StageOptions {
        bus: Arc::clone(bus),
        settings: settings.clone(),
        workers,
        pinned: true,
        limits: StepLimits { step_ms: 10, ..StepLimits::default() },
        clock: Arc::new(SystemClock::default()),
        scratch: Some((Arc::new(SystemFiles), folder.join("scratch"))),
        dedupe: Some(DedupeOptions::default()),
    };
    let stage = DecodeStage::start(options).expect("started");
    let began = Instant::now();
    while read(&**bus).values().map(Vec::len).sum::<usize>() < until && began.elapsed() < WAIT_MAX {
        std::thread::sleep(Duration::from_millis(20));
    }
    stage.stop();
}

/// The document ids of both topics, each partition's sources in order.
fn read(bus: &dyn Bus) -> BTreeMap<&'static str, Vec<String>> {
    let mut found = BTreeMap::new();
    for topic in ["validated", "errors"] {
        for partition in 0..bus.partitions(topic).expect("a topic") {
            let place = TopicPartition { topic: topic.into(), partition };
            let mut reader = bus.reader(&place, Start::Beginning).expect("a reader");
            let mut newest: BTreeMap<u32, i64> = BTreeMap::new();
            while let Some(batch) = reader.poll(Duration::ZERO).expect("readable") {
                for (_, record) in batch.iter() {
                    let source = Source::parse(record.header("tm-src").expect("a source")).expect("a source");
                    let before = newest.insert(source.partition, source.offset);
                    assert!(before.is_none_or(|before| before < source.offset), "sources ascend in {topic}/{partition}");
                    let message = MessageRef::parse(record.value).expect("a message");
                    let id = message.field("documentId").and_then(|field| field.bytes()).expect("an id");
                    found.entry(topic).or_insert_with(Vec::new).push(String::from_utf8_lossy(id).into_owned());
                }
            }
        }
    }
    found.values_mut().for_each(|ids| ids.sort());
    found
}

fn expected(numbers: std::ops::Range<u32>) -> BTreeMap<&'static str, Vec<String>> {
    let (errors, validated): (Vec<_>, Vec<_>) = numbers.partition(|number| number % 3 == 0);
    let ids = |numbers: Vec<u32>| {
        let mut ids: Vec<_> = numbers.iter().map(|number| format!("id-{number}")).collect();
        ids.sort();
        ids
    };
    BTreeMap::from([("validated", ids(validated)), ("errors", ids(errors))])
}

#[test]
fn every_message_is_in_one_place_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 1..=3 {
        let bus = open(folder.path());
        let settings = settings(&*bus, folder.path());
        publish(&*bus, (round - 1) * 300..round * 300);
        run(&bus, &settings, folder.path(), round, round as usize * 300);
        assert_eq!(read(&*bus), expected(0..round * 300), "round {round}");
        let behind = bus.group_positions().expect("positions").iter().map(|position| position.position).sum::<i64>();
        assert_eq!(behind, i64::from(round) * 300, "every position is behind the last message");
    }
}
