//! Copies of documents, on the embedded log: through failed steps, restarts and hand-overs.

use super::{guest::plugin, support::*};
use crate::{
    decode::{DecodeSettings, Decoder, DecoderPlugin, DedupeOptions, DuplicatesParts, GROUP, StepLimits, Worker, WorkerParts},
    graphs::Alert,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};
use tidemill_bus::{
    Ack, Bus, BusError, Checkpoint, Clock, Compression, Event, GroupPosition, Member, Reader, RecordBuf, Start, Step, TopicInfo,
    TopicPartition, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
    partition_of,
};
use tidemill_message::{MessageRef, MessageWriter};

const PARTITIONS: u32 = 2;
const MINUTE_NS: i64 = 60_000_000_000;

/// A raw message: id, the byte its Uuid is made of, minutes after [`TIMESTAMP`], document.
#[derive(Clone, Copy)]
struct Sent(&'static str, u8, i64, &'static str);

const GOOD: &str = r#"{"a": 1}"#;
const BAD: &str = r#"{"a": "one"}"#;

impl Sent {
    fn value(&self) -> Vec<u8> {
        let Self(id, uuid, minutes, document) = self;
        let mut out = Vec::new();
        let mut message = MessageWriter::new(&mut out, &[*uuid; 16], TIMESTAMP + minutes * MINUTE_NS);
        message.type_(b"raw").logger(b"moz_ingest").field_string("remote_addr", PEER_ADDRESS.as_bytes());
        message.field_string("uri", format!("/submit/web/page/1/{id}").as_bytes()).field_string("DNT", b"1");
        message.field_bytes("content", "", document.as_bytes());
        out
    }
}

fn open(folder: &Path) -> Arc<dyn Bus> {
    let bus = EmbeddedBus::open(EmbeddedOptions::new(folder)).expect("opened");
    let topic = |name: &str, partitions| TopicSpec { name: name.into(), partitions, compacted: false, compression: Compression::None };
    bus.ensure_topics(&[topic("raw", PARTITIONS), topic("validated", 2), topic("errors", 2), topic("alerts", 1)]).expect("topics");
    Arc::new(bus)
}

fn publish(bus: &dyn Bus, messages: &[Sent]) {
    let (sender, receiver) = mpsc::channel();
    for sent in messages {
        let mut records = RecordBuf::default();
        let key = sent.0.to_ascii_lowercase();
        records.push(TIMESTAMP / 1_000_000, key.as_bytes(), &[("tm-v", b"1")], &sent.value());
        let sender = sender.clone();
        bus.publish("raw", partition_of(key.as_bytes(), PARTITIONS), records, Box::new(move |done| sender.send(done).expect("heard")));
    }
    drop(sender);
    receiver.iter().for_each(|done| done.expect("durable"));
}

/// Everything in a topic.
fn records(bus: &dyn Bus, topic: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    for partition in 0..bus.partitions(topic).expect("a topic") {
        let mut reader = bus.reader(&TopicPartition { topic: topic.into(), partition }, Start::Beginning).expect("a reader");
        while let Some(batch) = reader.poll(Duration::ZERO).expect("readable") {
            found.extend(batch.iter().map(|(_, record)| (record.key.to_vec(), record.value.to_vec())));
        }
    }
    found
}

/// What came out, a line each: where, id, the Uuid's byte, and how long after the first copy.
fn results(bus: &dyn Bus) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, value) in ["validated", "errors"].iter().flat_map(|topic| records(bus, topic)) {
        let message = MessageRef::parse(&value).expect("a message");
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let id = text(message.field("documentId").and_then(|field| field.bytes()));
        let delta = message.field("duplicateDelta").and_then(|field| field.integer()).map_or(String::new(), |delta| format!(" {delta}"));
        lines.push(format!("{} {id} {}{delta}", text(message.type_()), message.uuid()[0]));
    }
    lines.sort();
    lines
}

/// Fails as often as a test wants.
#[derive(Clone, Default)]
struct Failures(Arc<Mutex<(u32, u32)>>);

impl Failures {
    fn next(&self, of: impl FnOnce(&mut (u32, u32)) -> &mut u32) -> Result<(), BusError> {
        let mut failures = self.0.lock();
        let left = of(&mut failures);
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        Err(BusError::Unavailable("as the test wants".to_owned()))
    }
}

struct Flaky(Box<dyn Member>, Failures);

impl Member for Flaky {
    fn poll(&mut self, wait: Duration) -> Result<Event, BusError> {
        self.0.poll(wait)
    }

    fn commit(&mut self, step: Step) -> Result<(), BusError> {
        self.1.next(|(commits, _)| commits)?;
        self.0.commit(step)
    }

    fn checkpoint(&mut self, key: &str) -> Result<Option<Bytes>, BusError> {
        self.1.next(|(_, reads)| reads)?;
        self.0.checkpoint(key)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        self.0.seek(partition, offset)
    }

    fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<(), BusError> {
        self.0.pause(partition, paused)
    }
}

/// A clock of which a second passes with every look.
#[derive(Debug, Default)]
struct Fast(Mutex<u64>);

impl Clock for Fast {
    fn now_ns(&self) -> i64 {
        TIMESTAMP
    }

    fn elapsed(&self) -> Duration {
        let mut looks = self.0.lock();
        *looks += 1;
        Duration::from_secs(*looks)
    }
}

/// How a host works.
#[derive(Clone)]
struct Host {
    limits: StepLimits,
    dedupe: DedupeOptions,
    plugins: Vec<DecoderPlugin>,
    failures: Failures,
    panic_on: Option<&'static [u8]>,
}

impl Host {
    fn new() -> Self {
        let (dedupe, failures) = (DedupeOptions::default(), Failures::default());
        // Steps end when they have everything that is there.
        let limits = StepLimits { step_ms: 1_000_000, ..StepLimits::default() };
        Self { limits, dedupe, plugins: Vec::new(), failures, panic_on: None }
    }

    fn worker(&self, bus: &Arc<dyn Bus>) -> Worker {
        let mut settings: DecodeSettings = settings(own_registry());
        settings.plugins = self.plugins.clone();
        settings.topics.raw_incarnation = bus.incarnation("raw").expect("a topic");
        settings.topics.validated_partitions = 2;
        let mut decoder = Decoder::new(&settings).expect("a decoder");
        decoder.panic_on = self.panic_on;
        let member = Box::new(Flaky(bus.join(GROUP, &["raw"]).expect("a member"), self.failures.clone()));
        let duplicates = Some(DuplicatesParts::new(&self.dedupe, &**bus, (0, 7)).expect("the topics are there"));
        Worker::new(WorkerParts { member, decoder, limits: self.limits, clock: Arc::new(Fast::default()), fence: None, duplicates })
    }
}

/// Lets workers work in turn until all of raw is decoded.
fn drain(bus: &Arc<dyn Bus>, workers: &mut [&mut Worker]) {
    for _ in 0..500 {
        for _ in 0..8 {
            workers.iter_mut().for_each(|worker| {
                let _ = worker.turn();
            });
        }
        workers.iter_mut().for_each(|worker| worker.end_step());
        let topics = bus.topics().expect("topics");
        let end: i64 = topics.iter().filter(|topic| &*topic.name == "raw").flat_map(|topic| &topic.partitions).map(|range| range.end).sum();
        let positions = bus.group_positions().expect("positions");
        if positions.iter().map(|found| found.position).sum::<i64>() == end {
            return;
        }
    }
    panic!("not all messages were decoded");
}

/// Publishes messages and decodes them.
fn decode_on(bus: &Arc<dyn Bus>, host: &Host, messages: &[Sent]) {
    publish(&**bus, messages);
    drain(bus, &mut [&mut host.worker(bus)]);
}

fn check(host: &Host, messages: &[Sent], expected: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let bus = open(folder.path());
    decode_on(&bus, host, messages);
    assert_eq!(results(&*bus), expected);
}

const MIXED: [Sent; 12] = [
    Sent("AB", 1, 0, GOOD),
    Sent("ab", 2, 7, GOOD),
    Sent("AB", 1, 0, GOOD),
    Sent("cd", 3, 8, BAD),
    Sent("cd", 3, 8, BAD),
    Sent("cd", 4, 8, GOOD),
    Sent("cd", 3, 9, BAD),
    Sent("cd", 4, 8, GOOD),
    Sent("cd", 5, 61, GOOD),
    Sent("cd", 6, 61, BAD),
    Sent("cd", 5, 61, GOOD),
    Sent("cd", 6, 61, BAD),
];
/// Only what became validated counts: a client's copy of a failed message is an error again, also where its id was seen. Of what we
/// deliver twice ourselves there is one record, of whatever kind; a message that differs in one byte is another one, Uuid or not.
const MIXED_RESULTS: [&str; 7] =
    ["duplicate ab 2 1", "duplicate cd 5 9", "error cd 3", "error cd 3", "error cd 6", "validated AB 1", "validated cd 4"];

#[test]
fn the_first_valid_message_of_a_document_is_the_one_that_counts() {
    check(&Host::new(), &MIXED, &MIXED_RESULTS);
}

#[test]
fn batches_and_steps_change_nothing() {
    let bytes = MIXED[0].value().len();
    for (slice_bytes_max, step_bytes_max) in [(1, 1), (1, 32 << 20), (7 * bytes, 1), (2 * bytes, 600)] {
        let limits = StepLimits { step_ms: 1_000_000, step_bytes_max, slice_bytes_max, ..StepLimits::default() };
        check(&Host { limits, ..Host::new() }, &MIXED, &MIXED_RESULTS);
    }
}

#[test]
fn a_failed_step_puts_nothing_in() {
    for failed in [1, 2, 5] {
        let host = Host::new();
        let limits = StepLimits { step_bytes_max: 1, slice_bytes_max: 1, ..host.limits };
        for host in [Host { limits, ..host.clone() }, host] {
            host.failures.0.lock().0 = failed;
            check(&host, &MIXED, &MIXED_RESULTS);
        }
    }
}

#[test]
fn what_was_seen_survives_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    for round in &MIXED {
        // Each message by a process of its own.
        decode_on(&open(folder.path()), &Host::new(), std::slice::from_ref(round));
    }
    assert_eq!(results(&*open(folder.path())), MIXED_RESULTS);
}

#[test]
fn what_was_seen_moves_with_the_partition() {
    let folder = tempfile::tempdir().expect("a folder");
    let bus = open(folder.path());
    let host = Host::new();
    let ids = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let sent = |uuid: u8| ids.map(|id| Sent(id, uuid, i64::from(uuid), GOOD));
    let mut first = host.worker(&bus);
    publish(&*bus, &sent(1));
    drain(&bus, &mut [&mut first]);
    let mut second = host.worker(&bus);
    publish(&*bus, &sent(2));
    drain(&bus, &mut [&mut first, &mut second]);
    publish(&*bus, &sent(1));
    drain(&bus, &mut [&mut first, &mut second]);
    drop(first);
    publish(&*bus, &sent(3));
    drain(&bus, &mut [&mut second]);
    let lines = |type_: &str, uuid: u8, delta: &str| ids.map(|id| format!("{type_} {id} {uuid}{delta}"));
    let mut expected = [lines("validated", 1, ""), lines("duplicate", 2, " 0"), lines("duplicate", 3, " 0")].concat();
    expected.sort();
    assert_eq!(results(&*bus), expected);
}

#[test]
fn a_document_is_forgotten_after_a_day() {
    let day = 24 * 60;
    let sent = [Sent("a", 1, 0, GOOD), Sent("a", 2, day, GOOD), Sent("a", 3, day + 6, GOOD), Sent("a", 4, 0, GOOD)];
    let expected = ["duplicate a 2 240", "duplicate a 4 0", "validated a 1", "validated a 3"];
    check(&Host::new(), &sent, &expected);
    // A gap of days within a step that fails.
    let host = Host::new();
    host.failures.0.lock().0 = 2;
    check(
        &host,
        &[Sent("a", 1, 0, GOOD), Sent("a", 2, 9 * day, GOOD), Sent("a", 3, 9 * day, GOOD)],
        &["duplicate a 3 0", "validated a 1", "validated a 2"],
    );
}

#[test]
fn a_panic_makes_no_duplicates() {
    let evil = r#"{"a": 666}"#;
    let host = Host { panic_on: Some(evil.as_bytes()), ..Host::new() };
    let sent = [Sent("a", 1, 0, GOOD), Sent("b", 2, 0, evil), Sent("a", 3, 0, GOOD), Sent("b", 4, 0, GOOD)];
    check(&host, &sent, &["duplicate a 3 0", "error b 2", "validated a 1", "validated b 4"]);
}

/// A bus on which topics were made anew, with the same records, while its members were away.
struct Anew(Arc<dyn Bus>);

impl Bus for Anew {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        self.0.ensure_topics(topics)
    }

    fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        self.0.partitions(topic)
    }

    fn incarnation(&self, topic: &str) -> Result<Arc<str>, BusError> {
        Ok(format!("{}, made anew", self.0.incarnation(topic)?).into())
    }

    fn publish(&self, topic: &str, partition: u32, records: RecordBuf, ack: Ack) {
        self.0.publish(topic, partition, records, ack);
    }

    fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Member>, BusError> {
        self.0.join(group, topics)
    }

    fn reader(&self, partition: &TopicPartition, start: Start) -> Result<Box<dyn Reader>, BusError> {
        self.0.reader(partition, start)
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        self.0.topics()
    }

    fn group_positions(&self) -> Result<Vec<GroupPosition>, BusError> {
        self.0.group_positions()
    }

    fn health(&self) -> Result<(), BusError> {
        self.0.health()
    }
}

#[test]
fn what_was_seen_is_known_in_a_topic_that_was_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let bus = open(folder.path());
    let host = Host::new();
    decode_on(&bus, &host, &[Sent("a", 1, 0, GOOD), Sent("b", 1, 0, GOOD)]);
    // The host has not heard of it when it starts to read.
    let mut worker = host.worker(&bus).on(&(Arc::new(Anew(Arc::clone(&bus))) as Arc<dyn Bus>));
    let mut member = bus.join(GROUP, &["raw"]).expect("a member");
    let mut set_back = Step::default();
    while set_back.positions.is_empty() {
        if let Event::Assigned(partitions) = member.poll(Duration::ZERO).expect("a poll") {
            set_back.positions = partitions.into_iter().map(|(partition, _)| (partition, 0)).collect();
        }
        let _ = worker.turn();
    }
    member.commit(set_back).expect("durable");
    drop(member);
    publish(&*bus, &[Sent("a", 2, 0, GOOD)]);
    drain(&bus, &mut [&mut worker]);
    assert_eq!(results(&*bus), ["duplicate a 2 0", "validated a 1", "validated b 1"]);
}

#[test]
fn a_partition_waits_until_what_was_seen_of_it_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let bus = open(folder.path());
    let host = Host::new();
    decode_on(&bus, &host, &[Sent("a", 1, 0, GOOD), Sent("b", 1, 0, GOOD)]);
    host.failures.0.lock().1 = 7;
    decode_on(&bus, &host, &[Sent("a", 1, 0, GOOD), Sent("a", 2, 0, GOOD), Sent("b", 1, 0, GOOD)]);
    assert_eq!(results(&*bus), ["duplicate a 2 0", "validated a 1", "validated b 1"]);
    assert_eq!(host.failures.0.lock().1, 0, "it was asked for");
}

#[test]
fn a_partition_waits_for_the_newer_program_that_saved_what_was_seen_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let bus = open(folder.path());
    let host = Host::new();
    decode_on(&bus, &host, &[Sent("a", 1, 0, GOOD)]);
    let before = save_root(&*bus, Bytes::from_static(&[9]));
    let is_elsewhere = |id: &&str| partition_of(id.as_bytes(), PARTITIONS) != partition_of(b"a", PARTITIONS);
    let other = ["b", "c", "d", "e", "f"].into_iter().find(is_elsewhere).expect("an id in the other partition");
    publish(&*bus, &[Sent("a", 2, 0, GOOD), Sent(other, 1, 0, GOOD)]);
    let mut worker = host.worker(&bus);
    let mut turn = |expected: &[String]| {
        for _ in 0..40 {
            assert_eq!(worker.turn(), None, "nobody waits for the partition that stands still");
            worker.end_step();
        }
        assert_eq!(results(&*bus), expected);
    };
    let [first, copy] = ["validated", "duplicate"].map(|kind| move |id: &str, uuid: u8| format!("{kind} {id} {uuid}"));
    turn(&[first("a", 1), first(other, 1)]);
    publish(&*bus, &[Sent(other, 2, 0, GOOD), Sent("a", 3, 0, GOOD)]);
    turn(&[copy(other, 2) + " 0", first("a", 1), first(other, 1)]);
    assert_eq!(save_root(&*bus, before), [9].as_slice(), "it was not saved over");
    turn(&[copy("a", 2) + " 0", copy("a", 3) + " 0", copy(other, 2) + " 0", first("a", 1), first(other, 1)]);
}

/// Replaces what says which documents of the partition of "a" were seen.
fn save_root(bus: &dyn Bus, bytes: Bytes) -> Bytes {
    let key = format!("dedupe/raw/{}", partition_of(b"a", PARTITIONS));
    let mut member = bus.join(GROUP, &["raw"]).expect("a member");
    let before = member.checkpoint(&key).expect("readable").expect("saved");
    let checkpoints = vec![Checkpoint { key, bytes: Some(bytes) }];
    member.commit(Step { checkpoints, ..Step::default() }).expect("durable");
    before
}

#[test]
fn a_duplicate_is_metadata_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let bus = open(folder.path());
    let publish_row = |uuid: u8| {
        let mut value = Vec::new();
        let mut message = MessageWriter::new(&mut value, &[uuid; 16], TIMESTAMP);
        message.field_string("uri", b"/submit/web/row/1/ROW").field_string("X-Forwarded-For", CLIENT_ADDRESS.as_bytes());
        message.field_string("Date", b"now").field_bytes("content", "", br#"{"id": 21, "do": 6, "inner": {"big": {"x": 1}}}"#);
        let mut records = RecordBuf::default();
        records.push(0, b"row", &[], &value);
        let (sender, receiver) = mpsc::channel();
        bus.publish("raw", partition_of(b"row", PARTITIONS), records, Box::new(move |done| sender.send(done).expect("heard")));
        receiver.recv().expect("told").expect("durable");
    };
    (1..=2).for_each(publish_row);
    let host = Host { plugins: vec![plugin()], ..Host::new() };
    drain(&bus, &mut [&mut host.worker(&bus)]);
    let found = records(&*bus, "errors");
    assert_eq!(found.len(), 1);
    let (key, value) = &found[0];
    let message = MessageRef::parse(value).expect("a message");
    assert_eq!((message.type_(), message.logger(), &key[..]), (Some(&b"duplicate"[..]), Some(&b"web"[..]), &b"row"[..]));
    let names: Vec<_> = message.fields().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect();
    let expected =
        ["documentId", "docType", "docVersion", "submissionDate", "geoCountry", "geoCity", "Date", "score", "duplicateDelta", "source"];
    assert_eq!(names, expected);
    let delta = message.field("duplicateDelta").expect("a field");
    assert_eq!((delta.integer(), delta.representation), (Some(0), &b"6m"[..]));
    let source = format!("raw/{}/1", partition_of(b"row", PARTITIONS));
    assert_eq!(message.field("source").and_then(|field| field.bytes()), Some(source.as_bytes()));
    assert_eq!(memchr::memmem::find(value, CLIENT_ADDRESS.as_bytes()), None);
}

#[test]
fn more_documents_than_may_be_remembered_are_let_through_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let bus = open(folder.path());
    let host = Host { dedupe: DedupeOptions { window_h: 24, ids_max: 4 }, ..Host::new() };
    // All in one partition.
    let ids: Vec<&'static str> =
        ["a", "b", "c", "d", "e", "f", "g", "h"].into_iter().filter(|id| partition_of(id.as_bytes(), PARTITIONS) == 0).take(3).collect();
    let [one, two, three] = ids[..] else { panic!("three of eight are in the same partition") };
    let sent = [Sent(one, 1, 0, GOOD), Sent(two, 1, 10, GOOD), Sent(three, 1, 20, GOOD), Sent(one, 2, 20, GOOD), Sent(three, 2, 30, GOOD)];
    decode_on(&bus, &host, &sent);
    let mut expected = [(one, 1), (two, 1), (three, 1), (one, 2)].map(|(id, uuid)| format!("validated {id} {uuid}")).to_vec();
    expected.push(format!("duplicate {three} 2 2"));
    expected.sort();
    assert_eq!(results(&*bus), expected);
    let alerts = records(&*bus, "alerts");
    assert_eq!(alerts.len(), 1);
    let alert = Alert::read(&MessageRef::parse(&alerts[0].1).expect("a message")).expect("an alert");
    assert_eq!((&alert.kind[..], &alert.id[..]), ("host", "dedupe/0"));
    assert_eq!(alert.summary, "raw/0 has more documents within 24 h than may be remembered: their copies are let through");
    let detail = "4 were forgotten early and 0 at once in one step; the partition may have 2: raise dedupe.ids_max, or see whether an \
                  edge's clock is ahead";
    assert_eq!(alert.detail, detail);
}
