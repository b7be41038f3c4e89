//! The Kafka bus on a real broker: what every bus promises, and what only a broker can do to it.

mod conformance;

use bytes::Bytes;
use conformance::{Consumer, Factory, PATIENCE, at, in_and_out, publish, publish_values, read_all, records, spec, step_to, values};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, BusError, Checkpoint, Compression, Event, Start, Step,
    kafka::{KafkaBus, KafkaOptions},
};
use tidemill_test_kafka::Broker;

/// One test's topics and groups on a broker.
struct Kafka {
    options: KafkaOptions,
}

impl Kafka {
    fn on(broker: &Broker, test: &str) -> Self {
        let topic_prefix = format!("{test}-{}-", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        Self { options: KafkaOptions { brokers: broker.address().to_owned(), topic_prefix, ..KafkaOptions::default() } }
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.options.options.insert(key.to_owned(), value.to_owned());
        self
    }

    fn connect(&self) -> Arc<dyn Bus> {
        Arc::new(KafkaBus::connect(self.options.clone()).expect("the options are right"))
    }

    fn full(&self, topic: &str) -> String {
        format!("{}{topic}", self.options.topic_prefix)
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.options.brokers).create().expect("an admin client")
    }
}

impl Factory for Kafka {
    fn make(test: &str) -> Option<Self> {
        Some(Self::on(tidemill_test_kafka::shared(test)?, test))
    }

    fn open(&self) -> Arc<dyn Bus> {
        self.connect()
    }
}

conformance!(Kafka);

/// Waits for an admin call of rdkafka, which its own threads perform, by looking again.
fn block_on<F: Future>(call: F) -> F::Output {
    let mut call = pin!(call);
    loop {
        if let Poll::Ready(output) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn state(bytes: &str) -> Checkpoint {
    Checkpoint { key: "state".into(), bytes: Some(Bytes::from(bytes.to_owned())) }
}

#[test]
fn a_topic_with_narrower_limits_is_refused_with_a_sentence() {
    let Some(kafka) = Kafka::make("a_topic_with_narrower_limits_is_refused_with_a_sentence") else { return };
    let name = kafka.full("in");
    let cases = [
        (
            "max.message.bytes",
            "1000000",
            "accepts record batches of 1000000 bytes, Tidemill needs 11534336: set max.message.bytes=11534336",
        ),
        ("cleanup.policy", "compact", "has cleanup.policy=compact, Tidemill needs delete: set cleanup.policy=delete"),
        ("message.timestamp.type", "LogAppendTime", "replaces timestamps: set message.timestamp.type=CreateTime"),
    ];
    for (n, (key, value, expected)) in cases.into_iter().enumerate() {
        let topic = format!("{name}-{n}");
        let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1)).set("max.message.bytes", "11534336").set(key, value);
        block_on(kafka.admin().create_topics(&[new], &AdminOptions::new())).expect("made")[0].as_ref().expect("made");
        let refused = kafka.connect().ensure_topics(&[spec(&format!("in-{n}"), 1, Compression::None)]).expect_err("too narrow");
        assert_eq!(refused.to_string(), format!("topic {topic} {expected}"));
    }
}

#[test]
fn options_are_checked() {
    let connect = |key: &str, value: &str| {
        let options = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        KafkaBus::connect(KafkaOptions { options, ..KafkaOptions::default() }).map(|_| ()).expect_err("refused").to_string()
    };
    assert!(connect("acks", "1").starts_with("the Kafka option `acks` is set by Tidemill"));
    let unknown = connect("no.such.option", "1");
    assert!(unknown.contains("no.such.option"), "{unknown}");
}

#[test]
fn a_position_that_is_gone_is_told_once_and_names_its_range() {
    let Some(kafka) = Kafka::make("a_position_that_is_gone_is_told_once_and_names_its_range") else { return };
    let bus = kafka.connect();
    in_and_out(&*bus, 1);
    publish_values(&*bus, "in", 0, &["a", "b", "c"]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&kafka.full("in"), 0, Offset::Offset(2)).expect("a list");
    block_on(kafka.admin().delete_records(&list, &AdminOptions::new())).expect("deleted");

    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    assert_eq!(member.owned, [(at("in", 0), 2)], "it begins with what is there");
    member.until_seen(1);
    for gone in [1, 100] {
        member.member.seek(&at("in", 0), gone).expect("owned");
        let deadline = Instant::now() + PATIENCE;
        let told = loop {
            assert!(Instant::now() < deadline, "it was not told");
            if let Err(told) = member.member.poll(Duration::from_millis(100)) {
                break told;
            }
        };
        assert_eq!(told.to_string(), format!("offset {gone} of in/0 is out of range: it holds 2..3"));
        assert!(matches!(member.member.poll(Duration::from_millis(300)), Ok(Event::Idle)), "it is told once");
    }
    member.member.seek(&at("in", 0), 2).expect("owned");
    member.until_seen(2);
    assert_eq!(values(&member.seen), ["c", "c"]);

    let mut reader = bus.reader(&at("in", 0), Start::Offset(0)).expect("a reader");
    let batch = reader.poll(PATIENCE).expect("a poll").expect("a batch");
    assert_eq!(batch.offsets, [2], "a reader goes on with the next that exists");
}

#[test]
fn a_topic_made_anew_has_another_incarnation() {
    let Some(kafka) = Kafka::make("a_topic_made_anew_has_another_incarnation") else { return };
    let bus = kafka.connect();
    in_and_out(&*bus, 1);
    let before = bus.incarnation("in").expect("there");
    let name = kafka.full("in");
    block_on(kafka.admin().delete_topics(&[&name], &AdminOptions::new())).expect("deleted");
    let deadline = Instant::now() + PATIENCE;
    while !matches!(bus.incarnation("in"), Err(BusError::NotFound(_))) {
        assert!(Instant::now() < deadline, "the topic is still there");
        thread::sleep(Duration::from_millis(50));
    }
    in_and_out(&*bus, 1);
    assert_ne!(bus.incarnation("in").expect("there"), before);
}

#[test]
fn a_large_checkpoint_comes_back_among_many() {
    let Some(kafka) = Kafka::make("a_large_checkpoint_comes_back_among_many") else { return };
    let bus = kafka.connect();
    in_and_out(&*bus, 1);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    let large = Bytes::from((0..8_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>());
    let mut step = Step::default();
    step.checkpoints = (0..200).map(|n| Checkpoint { key: format!("small/{n}"), bytes: Some(Bytes::from(n.to_string())) }).collect();
    step.checkpoints.push(Checkpoint { key: "large".into(), bytes: Some(large.clone()) });
    member.member.commit(step).expect("committed");
    assert_eq!(member.checkpoint("large"), Some(large.clone()));
    assert_eq!(member.checkpoint("small/7"), Some(Bytes::from_static(b"7")));
    publish_values(&*bus, "in", 0, &["work begins"]);
    member.until_seen(1);
    assert_eq!(member.checkpoint("small/8"), Some(Bytes::from_static(b"8")), "what was given back is read again");
    assert_eq!(member.checkpoint("large"), Some(large));
}

/// Two hosts of one name: the one that came later wins, the other one's step is refused and it starts over.
#[test]
fn a_producer_whose_identity_was_taken_is_fenced() {
    let Some(mut kafka) = Kafka::make("a_producer_whose_identity_was_taken_is_fenced") else { return };
    kafka.options.host = Some("the-same".to_owned());
    let (first, second) = (kafka.connect(), kafka.connect());
    in_and_out(&*first, 1);
    publish_values(&*first, "in", 0, &["a"]);
    let mut a = Consumer::joined(&*first, "work", &["in"]);
    a.until_seen(1);
    let b = Consumer::join(&*second, "work", &["in"]);
    let mut step = step_to("out", 0, &["never"]);
    step.positions.push((at("in", 0), a.next(&at("in", 0))));
    step.checkpoints.push(state("never"));
    let refused = a.member.commit(step);
    assert!(matches!(refused, Err(BusError::Fenced(_))), "{refused:?}");
    drop(b);
    a.until("a restart", |a| a.revoked > 0 && a.assigned > 1 && !a.owned.is_empty());
    a.until_seen(2);
    assert_eq!(values(&a.seen), ["a", "a"], "it reads again what it could not commit");
    assert_eq!(a.checkpoint("state"), None);
    let mut step = step_to("out", 0, &["later"]);
    step.positions.push((at("in", 0), a.next(&at("in", 0))));
    a.member.commit(step).expect("with a new producer");
    assert_eq!(values(&read_all(&*first, "out", 0, 1)), ["later"]);
}

/// A member that did not poll for too long is put out of its group; its step is written, refused and aborted.
#[test]
fn an_aborted_step_is_invisible() {
    let Some(kafka) = Kafka::make("an_aborted_step_is_invisible") else { return };
    let kafka = kafka.with("max.poll.interval.ms", "2000").with("session.timeout.ms", "1500");
    let bus = kafka.connect();
    in_and_out(&*bus, 1);
    publish_values(&*bus, "in", 0, &["a"]);
    let mut late = Consumer::joined(&*bus, "work", &["in"]);
    late.until_seen(1);
    let next = late.next(&at("in", 0));
    let mut heir = Consumer::join(&*bus, "work", &["in"]);
    heir.until("the partition", |heir| !heir.owned.is_empty());

    for with_position in [true, false] {
        let mut step = step_to("out", 0, &["never"]);
        step.checkpoints.push(state("never"));
        step.positions.extend(with_position.then(|| (at("in", 0), next)));
        let refused = late.member.commit(step);
        assert!(matches!(refused, Err(BusError::Fenced(_))), "{refused:?}");
    }
    assert!(read_all(&*bus, "out", 0, 0).is_empty());
    assert_eq!(heir.checkpoint("state"), None);
    let topics = bus.topics().expect("listed");
    let out = topics.iter().find(|topic| &*topic.name == "out").expect("listed");
    assert!(out.partitions[0].end > 0, "the records were written, and are past: {out:?}");
    heir.until_seen(1);
    assert_eq!(values(&heir.seen), ["a"], "the position did not move");
}

#[test]
fn what_was_acknowledged_survives_a_killed_broker() {
    let Some(broker) = tidemill_test_kafka::own("what_was_acknowledged_survives_a_killed_broker") else { return };
    let mut kafka = Kafka::on(&broker, "killed");
    kafka.options.publish_timeout = Duration::from_secs(60);
    let bus = kafka.connect();
    in_and_out(&*bus, 1);
    let (acked, stop) = (Arc::new(Mutex::new(BTreeSet::new())), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let (value, acked) = (format!("{sent:06}"), Arc::clone(&acked));
                let name = value.clone();
                let ack = Box::new(move |result: Result<(), BusError>| drop(result.map(|()| acked.lock().expect("a lock").insert(name))));
                bus.publish("in", 0, records(&[value]), ack);
                sent += 1;
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(700));
            broker.kill().expect("killed");
            thread::sleep(Duration::from_millis(300));
            broker.restart().expect("restarted");
        }
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        publisher.join().expect("a publisher")
    });
    let deadline = Instant::now() + PATIENCE;
    while acked.lock().expect("a lock").len() < sent && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    let acked = acked.lock().expect("a lock").clone();
    let seen = values(&read_all(&*bus, "in", 0, acked.len()));
    assert!(acked.len() > 100, "only {} of {sent} were acknowledged", acked.len());
    let there: BTreeSet<_> = seen.iter().cloned().collect();
    assert!(acked.is_subset(&there), "lost: {:?}", acked.difference(&there).collect::<Vec<_>>());
    assert_eq!(there.len(), seen.len(), "some are there twice");
    assert!(seen.is_sorted(), "the order is kept");
}

/// Copies `in` to `out` in steps of 20 records as a stage does, through the deaths of the broker; returns how many calls failed.
fn copy(bus: &dyn Bus, count: usize, progress: &AtomicUsize) -> usize {
    let (mut committed, mut failed, mut copied) = (BTreeMap::new(), 0, 0);
    let deadline = Instant::now() + PATIENCE * 3;
    let mut member = bus.join("copy", &["in"]).expect("joined");
    while copied < count {
        assert!(Instant::now() < deadline, "{copied} of {count} copied after {failed} failures");
        match member.poll(Duration::from_millis(100)) {
            Ok(Event::Assigned(owned)) => {
                committed = owned.into_iter().collect();
                let state = member.checkpoint("copied").map(|state| state.unwrap_or_default());
                copied = state.map_or(copied, |state| String::from_utf8_lossy(&state).parse().unwrap_or(0));
            }
            Ok(Event::Batch(batch)) => {
                let next = batch.offsets[batch.offsets.len().min(20) - 1] + 1;
                let taken: Vec<_> = batch.iter().take(20).map(|(_, record)| record.value.to_vec()).collect();
                let mut step = Step::default();
                *step.records(&at("out", 0)) = records(&taken);
                let state = Bytes::from((copied + taken.len()).to_string());
                step.checkpoints.push(Checkpoint { key: "copied".into(), bytes: Some(state) });
                step.positions.push((batch.partition.clone(), next));
                match member.commit(step) {
                    Ok(()) => {
                        committed.insert(batch.partition.clone(), next);
                        copied += taken.len();
                    }
                    Err(_) => failed += 1,
                }
                // Where it is owned no more, the next assignment says where to go on.
                let _ = member.seek(&batch.partition, committed[&batch.partition]);
            }
            Ok(Event::Revoked(_) | Event::Idle) => {}
            Err(_) => failed += 1,
        }
        progress.store(copied, Ordering::Relaxed);
    }
    failed
}

#[test]
fn steps_happen_once_through_a_killed_and_a_frozen_broker() {
    const COUNT: usize = 3000;
    let Some(broker) = tidemill_test_kafka::own("steps_happen_once_through_a_killed_and_a_frozen_broker") else { return };
    let bus = Kafka::on(&broker, "copy").connect();
    in_and_out(&*bus, 1);
    let input: Vec<String> = (0..COUNT).map(|n| format!("{n:06}")).collect();
    publish(&*bus, "in", 0, records(&input)).expect("published");
    let progress = AtomicUsize::new(0);
    let failed = thread::scope(|scope| {
        let copier = scope.spawn(|| copy(&*bus, COUNT, &progress));
        for (n, begin) in [400, 1000, 1600, 2200].into_iter().enumerate() {
            while progress.load(Ordering::Relaxed) < begin && !copier.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
            if n == 1 {
                broker.freeze().expect("frozen");
                thread::sleep(Duration::from_secs(11));
                broker.thaw().expect("thawed");
            } else {
                broker.kill().expect("killed");
                broker.restart().expect("restarted");
            }
        }
        copier.join().expect("a copier")
    });
    let seen = values(&read_all(&*bus, "out", 0, COUNT));
    println!("{failed} calls failed");
    assert_eq!(seen.len(), COUNT, "{failed} calls failed");
    assert_eq!(seen, input, "each once and in order");
    assert!(failed > 0, "the faults were felt");
}

#[test]
fn nothing_hangs_when_the_broker_is_gone() {
    let Some(broker) = tidemill_test_kafka::own("nothing_hangs_when_the_broker_is_gone") else { return };
    let mut kafka = Kafka::on(&broker, "gone");
    kafka.options.publish_timeout = Duration::from_secs(2);
    kafka.options.publish_bytes_max = 100_000;
    kafka.options.call_timeout = Duration::from_secs(2);
    let bus = kafka.connect();
    in_and_out(&*bus, 1);
    publish_values(&*bus, "in", 0, &["a"]);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    member.until_seen(1);
    let reader = bus.reader(&at("in", 0), Start::Beginning).expect("a reader");
    bus.health().expect("healthy");
    broker.kill().expect("killed");

    let (tell, told) = mpsc::channel();
    for _ in 0..20 {
        let tell = tell.clone();
        bus.publish("in", 0, records(&[vec![b'x'; 9000]]), Box::new(move |result| drop(tell.send((Instant::now(), result)))));
    }
    let full = told.try_recv().expect("a refusal at once").1.expect_err("full").to_string();
    assert!(full.starts_with("the bus has no room:"), "{full}");
    let begin = Instant::now();
    assert!(matches!(bus.health(), Err(BusError::Full(_))));
    let late: Vec<_> = told.iter().take(19).filter(|(_, result)| matches!(result, Err(BusError::Unavailable(_)))).collect();
    assert!(!late.is_empty() && begin.elapsed() < Duration::from_secs(10), "{} after {:?}", late.len(), begin.elapsed());
    let refused = bus.health();
    assert!(matches!(refused, Err(BusError::Unavailable(_))), "{refused:?}");
    let refused = bus.partitions("in");
    assert!(matches!(refused, Err(BusError::Unavailable(_))), "{refused:?}");

    let begin = Instant::now();
    let mut step = step_to("out", 0, &["never"]);
    step.positions.push((at("in", 0), member.next(&at("in", 0))));
    let refused = member.member.commit(step);
    assert!(matches!(refused, Err(BusError::Unavailable(_))), "{refused:?}");
    assert!(begin.elapsed() < Duration::from_secs(25), "a step took {:?}", begin.elapsed());
    let begin = Instant::now();
    drop((member, reader, bus));
    assert!(begin.elapsed() < Duration::from_secs(15), "the end took {:?}", begin.elapsed());
}

/// Prints what a commit costs; `cargo test -p tidemill-bus --test kafka -- --ignored --nocapture commits_are_timed`.
#[test]
#[ignore = "a measurement"]
fn commits_are_timed() {
    let Some(kafka) = Kafka::make("commits_are_timed") else { return };
    let bus = kafka.connect();
    in_and_out(&*bus, 8);
    publish_values(&*bus, "in", 0, &["a"]);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    member.until_seen(1);
    let value = vec![b'x'; 1000];
    for (interval_ms, records_a_step) in [(50, 100), (200, 100), (50, 3000), (200, 12_000)] {
        let mut took: Vec<_> = (0..30).map(|round| timed_step(&mut member, round, interval_ms, records_a_step, &value)).collect();
        took.sort();
        println!("{records_a_step} records of 1 KB, a step every {interval_ms} ms: median {:?}, p90 {:?}", took[15], took[27]);
    }
}

fn timed_step(member: &mut Consumer, round: i64, interval_ms: u64, count: usize, value: &[u8]) -> Duration {
    member.during(Duration::from_millis(interval_ms));
    let mut step = Step::default();
    for n in 0..count {
        step.records(&at("out", (n % 8) as u32)).push(1_700_000_000_000, b"key", &[("tm-v", b"1")], value);
    }
    step.checkpoints.push(state(&round.to_string()));
    step.positions.push((at("in", 0), 1));
    let begin = Instant::now();
    member.member.commit(step).expect("committed");
    begin.elapsed()
}
