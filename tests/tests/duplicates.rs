//! Copies: what a client sends twice and what a spool delivers twice after `kill -9` is one row. The same test on both buses.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};
use tidemill_bus::{
    Bus, RecordBuf, Start, TopicPartition,
    embedded::{EmbeddedBus, EmbeddedOptions},
    kafka::{KafkaBus, KafkaOptions},
};
use tidemill_tests::{BusSetup, Connection, Lake, Ping, Platform, Setup, field, kafka, new_id, tap};

const PARTITIONS: u32 = 4;
const DRAINED_MAX: Duration = Duration::from_secs(60);
const RECORD_MAX: Duration = Duration::from_secs(10);

#[test]
fn duplicates_embedded() {
    duplicates("duplicates_embedded", BusSetup::Embedded);
}

#[test]
fn duplicates_kafka() {
    let Some(bus) = kafka("duplicates_kafka") else { return };
    duplicates("duplicates_kafka", bus);
}

fn duplicates(test: &str, bus: BusSetup) {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = setup(bus, folder.path());
    let mut platform = Platform::start(&setup);
    let (twice, once, bad) = (new_id(), new_id(), new_id());
    for (id, n) in [(&twice, json!(1)), (&once, json!(2)), (&twice.to_uppercase(), json!(3)), (&bad, json!("one")), (&bad, json!("two"))] {
        post(&platform, id, &n);
    }
    platform.wait_drained(DRAINED_MAX);
    assert_eq!(counted(&platform, "duplicate"), 1.0, "the copy in other letters");
    platform.kill();
    // A spool that was drained and not yet emptied when its host died is drained again: the same records once more.
    assert_eq!(publish_again(&setup.bus, &platform), 5);
    platform.restart();
    post(&platform, &twice, &json!(4));
    post(&platform, &once, &json!(5));
    platform.wait_drained(DRAINED_MAX);

    let count = |messages: &[Value]| {
        let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
        for message in messages {
            let key = (message["type"].as_str().unwrap_or_default().to_owned(), field(message, "documentId").to_lowercase());
            *found.entry(key).or_default() += 1;
        }
        found
    };
    let of = |type_: &str, id: &str, copies: usize| ((type_.to_owned(), id.to_owned()), copies);
    let validated = tap(&platform, "validated");
    assert_eq!(count(&validated), BTreeMap::from([of("validated", &twice, 1), of("validated", &once, 1)]));
    // The client's copy and the failed pings were delivered twice as well: of each there is one record.
    let errors = tap(&platform, "errors");
    let expected = BTreeMap::from([of("duplicate", &twice, 2), of("duplicate", &once, 1), of("error", &bad, 2)]);
    assert_eq!(count(&errors), expected);
    errors.iter().filter(|message| message["type"] == "duplicate").for_each(check_duplicate);
    assert_eq!(counted(&platform, "redelivered"), 5.0, "all of them");
    assert_eq!(counted(&platform, "duplicate"), 2.0, "since the start: the copies of the client");

    assert_eq!(platform.terminate().code, Some(0));
    check_lake(test, &platform, &[&once, &twice], &bad);
}

fn setup(bus: BusSetup, schemas: &Path) -> Setup {
    let place = schemas.join("test/ping");
    fs::create_dir_all(&place).expect("made");
    let schema = r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}"#;
    fs::write(place.join("ping.1.schema.json"), schema).expect("written");
    Setup::new(bus, PARTITIONS, vec![schemas.to_owned()])
}

fn post(platform: &Platform, id: &str, n: &Value) {
    let ping = Ping {
        id: id.to_owned(),
        path: format!("/submit/test/ping/1/{id}"),
        headers: vec![],
        body: json!({"n": n}).to_string().into_bytes(),
    };
    let mut connection = Connection::open(platform.address()).expect("it listens");
    let answer = connection.send("POST", &ping.path, &ping.headers, &ping.body).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Publishes every record of raw again, as it is, to its own partition. The platform must not run.
fn publish_again(setup: &BusSetup, platform: &Platform) -> usize {
    let bus: Arc<dyn Bus> = match setup {
        BusSetup::Embedded => Arc::new(EmbeddedBus::open(EmbeddedOptions::new(platform.data().join("log"))).expect("opened")),
        BusSetup::Kafka(brokers, prefix) => {
            let options = KafkaOptions { brokers: brokers.clone(), topic_prefix: prefix.clone(), ..KafkaOptions::default() };
            Arc::new(KafkaBus::connect(options).expect("connected"))
        }
    };
    let (sender, receiver) = mpsc::channel();
    let mut published = 0;
    for partition in 0..PARTITIONS {
        let mut copies = RecordBuf::default();
        let mut reader = bus.reader(&TopicPartition { topic: "raw".into(), partition }, Start::Beginning).expect("a reader");
        while let Some(batch) = reader.poll(Duration::from_secs(2)).expect("readable") {
            for (_, record) in batch.iter() {
                let headers: Vec<_> = record.headers().map(|(name, value)| (std::str::from_utf8(name).expect("a name"), value)).collect();
                copies.push(record.timestamp_ms, record.key, &headers, record.value);
            }
        }
        published += copies.count() as usize;
        if !copies.is_empty() {
            let sender = sender.clone();
            bus.publish("raw", partition, copies, Box::new(move |done| sender.send(done.is_ok()).expect("heard")));
            assert_eq!(receiver.recv_timeout(RECORD_MAX), Ok(true), "durable");
        }
    }
    published
}

/// Metadata only.
fn check_duplicate(message: &Value) {
    assert_eq!((field(message, "docType"), message["logger"].as_str()), ("ping", Some("test")));
    assert!(message["fields"]["duplicateDelta"].is_u64(), "{message}");
    assert_eq!(field(message, "submissionDate").len(), 8, "{message}");
    assert!(field(message, "source").starts_with("raw/"), "{message}");
    for absent in ["submission", "content", "remote_addr", "DecodeErrorType"] {
        assert_eq!(message["fields"][absent], Value::Null, "{absent}");
    }
}

/// Messages with this result since the platform's start, as its metrics say.
fn counted(platform: &Platform, result: &str) -> f64 {
    let mut connection = Connection::open(platform.address()).expect("it listens");
    let metrics = connection.send("GET", "/metrics", &[], b"").expect("an answer").text();
    let name = format!("tidemill_decode_messages_total{{result=\"{result}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no such metric in {metrics}"))
}

/// One row each; no row of the errors table is a duplicate.
fn check_lake(test: &str, platform: &Platform, valid: &[&String], bad: &str) {
    let Some(lake) = Lake::read(test, &platform.lake(), &[]) else { return };
    let mut ids = lake.tables["test/ping_v1"].ids.iter().map(|id| id.to_lowercase()).collect::<Vec<_>>();
    let mut expected: Vec<String> = valid.iter().map(|id| (*id).clone()).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    let errors = &lake.tables["errors"];
    assert_eq!(errors.ids, vec![bad.to_owned(); 2]);
    assert_eq!(errors.error_types, vec!["schema".to_owned(); 2]);
}
