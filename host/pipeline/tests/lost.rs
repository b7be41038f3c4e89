//! Records that retention took before a stage read them: the partition stands still and it is said, or it goes on, as configured.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool, mpsc},
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, Compression, Event, OnLost, RecordBuf, Start, Step, SystemClock, TopicPartition, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
    stopped,
};
use tidemill_message::{MessageRef, MessageWriter};
use tidemill_pipeline::{
    analysis::{StageHandle, StepOptions},
    decode::{DecodeLimits, DecodeSettings, DecodeStage, DecodeTopics, StageOptions, StepLimits, VersionPointers},
    graphs::{Alert, GraphsOptions, graphs_worker},
    status::LiveState,
};
use tidemill_schema::Registry;

const WAIT_MAX: Duration = Duration::from_secs(60);

fn at(topic: &str) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition: 0 }
}

/// A log that keeps 60 KB, or as much as the default.
fn open(folder: &Path, is_small: bool) -> Arc<dyn Bus> {
    let mut options = EmbeddedOptions::new(folder.join("log"));
    if is_small {
        (options.segment_bytes, options.retention_bytes) = (20_000, 60_000);
    }
    let bus = EmbeddedBus::open(options).expect("opened");
    let topic = |name: &str| TopicSpec { name: name.into(), partitions: 1, compacted: false, compression: Compression::None };
    bus.ensure_topics(&["raw", "validated", "errors", "graphs", "alerts"].map(topic)).expect("topics");
    Arc::new(bus)
}

/// The group has read nothing and says so; then more is published than the log keeps.
fn cut_loose(bus: &dyn Bus, group: &str, topic: &str) {
    let mut member = bus.join(group, &[topic]).expect("joined");
    while !matches!(member.poll(Duration::from_millis(100)).expect("a poll"), Event::Assigned(_)) {}
    member.commit(Step { positions: vec![(at(topic), 0)], ..Step::default() }).expect("committed");
    drop(member);
    let (sender, receiver) = mpsc::channel();
    for number in 0..150 {
        let (mut records, sender) = (RecordBuf::default(), sender.clone());
        records.push_with(number, b"key", &[], |out| {
            // To the graphs a damaged change, not one of a newer format.
            if topic == "graphs" {
                return out.extend([[1; 8].as_slice(), &[0xff; 1000]].concat());
            }
            let mut message = MessageWriter::new(out, b"0123456789abcdef", number * 1_000_000);
            message.field_string("uri", b"/submit/web/page/1/id").field_bytes("content", "", &[b'x'; 1000]);
        });
        bus.publish(topic, 0, records, Box::new(move |result| sender.send(result.is_ok()).expect("heard")));
        assert_eq!(receiver.recv_timeout(WAIT_MAX), Ok(true));
    }
    until("retention", || range(bus, topic).0 > 0);
}

fn range(bus: &dyn Bus, topic: &str) -> (i64, i64) {
    let topics = bus.topics().expect("topics");
    let found = topics.iter().find(|found| &*found.name == topic).expect("there").partitions[0];
    (found.start, found.end)
}

fn position(bus: &dyn Bus, group: &str) -> i64 {
    bus.group_positions().expect("positions").iter().find(|found| &*found.group == group).expect("a position").position
}

fn alerts(bus: &dyn Bus) -> Vec<String> {
    let mut reader = bus.reader(&at("alerts"), Start::Beginning).expect("a reader");
    let batches = std::iter::from_fn(|| reader.poll(Duration::ZERO).expect("a poll"));
    let alert = |value: &[u8]| Alert::read(&MessageRef::parse(value).expect("a message")).expect("an alert").summary;
    batches.flat_map(|batch| batch.iter().map(|(_, record)| alert(record.value)).collect::<Vec<_>>()).collect()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_stopped(stage: &str) -> bool {
    stopped::all().iter().any(|stopped| stopped.stage == stage)
}

fn decode(bus: &Arc<dyn Bus>, on_lost: OnLost) -> impl FnOnce() + use<> {
    let settings = DecodeSettings {
        registry: Arc::new(Registry::default()),
        city: None,
        version_pointers: VersionPointers::default(),
        plugins: Vec::new(),
        limits: DecodeLimits::default(),
        topics: DecodeTopics { raw_incarnation: bus.incarnation("raw").expect("a topic"), validated_partitions: 1, errors_partitions: 1 },
        generation: 0,
        epoch: 1,
    };
    let options = StageOptions {
        bus: Arc::clone(bus),
        settings,
        workers: 1,
        pinned: false,
        limits: StepLimits { step_ms: 10, on_lost, ..StepLimits::default() },
        clock: Arc::new(SystemClock::default()),
        scratch: None,
        dedupe: None,
    };
    let stage = DecodeStage::start(options).expect("started");
    move || stage.stop()
}

/// Stands for analysis and output too: they run in the same driver.
fn graphs(bus: &Arc<dyn Bus>, on_lost: OnLost) -> impl FnOnce() + use<> {
    let step = StepOptions { step_ms: 10, on_lost, ..StepOptions::default() };
    let options = GraphsOptions { step, ..GraphsOptions::default() };
    let worker = graphs_worker(&**bus, Arc::new(LiveState::default()), Arc::new(SystemClock::default()), options).expect("a worker");
    let handle = StageHandle::start("graphs", vec![move |stop: &AtomicBool| worker.run(stop)]).expect("started");
    move || assert!(handle.join())
}

fn check<S: FnOnce()>(group: &'static str, topic: &str, start: impl Fn(&Arc<dyn Bus>, OnLost) -> S) {
    let folder = tempfile::tempdir().expect("a folder");
    cut_loose(&*open(folder.path(), true), group, topic);
    let bus = open(folder.path(), false);
    let (first, end) = range(&*bus, topic);

    let stop = start(&bus, OnLost::Stop);
    until("the stop", || is_stopped(group));
    let stopped = stopped::all().into_iter().find(|stopped| stopped.stage == group).expect("it is listed");
    assert_eq!(stopped.why, format!("offset 0 of {topic}/0 is out of range: it holds {first}..{end}"));
    std::thread::sleep(Duration::from_millis(200));
    stop();
    assert_eq!(position(&*bus, group), 0, "nothing was passed over");

    let stop = start(&bus, OnLost::Continue);
    until("the end", || position(&*bus, group) >= range(&*bus, topic).1);
    assert!(!is_stopped(group), "it goes on");
    stop();
    let summary = format!("{group}: {first} offsets of {topic}/0 were removed before they were read");
    assert_eq!(alerts(&*bus), [summary.clone(), summary], "an alert each time");
}

#[test]
fn the_decode_stage_stops_or_goes_on() {
    check("decode", "raw", decode);
}

#[test]
fn stages_in_steps_stop_or_go_on() {
    check("graphs", "graphs", graphs);
}
