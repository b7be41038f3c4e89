//! The Kafka bus on a real broker: what every bus promises, and what only a broker can do to it.

mod changes;
mod faults;

use crate::conformance::{self, Consumer, Factory, PATIENCE, at, in_and_out, publish_values, read_all, spec, step_to, values};
use bytes::Bytes;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use std::{
    collections::BTreeMap,
    pin::pin,
    sync::Arc,
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

    /// Deletes a topic and waits until the cluster knows it no more.
    fn delete(&self, topic: &str) {
        let name = self.full(topic);
        block_on(self.admin().delete_topics(&[&name], &AdminOptions::new())).expect("deleted");
        let (bus, deadline) = (self.connect(), Instant::now() + PATIENCE);
        while !matches!(bus.incarnation(topic), Err(BusError::NotFound(_))) {
            assert!(Instant::now() < deadline, "the topic is still there");
            thread::sleep(Duration::from_millis(50));
        }
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

    fn open_narrow(&self) -> Arc<dyn Bus> {
        let mut options = self.options.clone();
        options.publish_bytes_max = 100_000;
        options
            .options
            .extend([("max.poll.interval.ms", "2000"), ("session.timeout.ms", "2000")].map(|(key, value)| (key.into(), value.into())));
        Arc::new(KafkaBus::connect(options).expect("the options are right"))
    }

    fn delete_topics(&self) {
        self.delete("in");
        self.delete("out");
    }

    const PARTITIONS: u32 = 500;
}

crate::conformance!(Kafka);

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

    // What is refused at once was perhaps never sent: it is tried until records of such a step are in the topic.
    let (deadline, mut written) = (Instant::now() + PATIENCE, 0);
    for (attempt, with_position) in [true, false].into_iter().cycle().enumerate() {
        let mut step = step_to("out", 0, &["never"]);
        step.checkpoints.push(state("never"));
        step.positions.extend(with_position.then(|| (at("in", 0), next)));
        let refused = late.member.commit(step);
        assert!(matches!(refused, Err(BusError::Fenced(_))), "{refused:?}");
        let topics = bus.topics().expect("listed");
        written = topics.iter().find(|topic| &*topic.name == "out").expect("listed").partitions[0].end;
        if attempt > 0 && (written > 0 || Instant::now() > deadline) {
            break;
        }
    }
    assert!(written > 0, "nothing of any of these steps was written");
    assert!(read_all(&*bus, "out", 0, 0).is_empty());
    assert_eq!(heir.checkpoint("state"), None);
    heir.until_seen(1);
    assert_eq!(values(&heir.seen), ["a"], "the position did not move");
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
