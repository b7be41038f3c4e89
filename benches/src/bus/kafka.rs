//! The Kafka bus against a plain loop of librdkafka with the same bytes and settings, on a real broker.

use super::{CORPUS, HEADERS, KAFKA_CONSUME, KAFKA_PRODUCE, KEY, TOPIC, VALUE_BYTES, record, timestamp_ms, topic};
use crate::{
    harness::{interleave, skip},
    table::{Row, Table},
};
use anyhow::{Context, ensure};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use std::{
    sync::mpsc,
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, Event,
    kafka::{KafkaBus, KafkaOptions},
};
use tidemill_test_kafka::{Broker, Failure};

const RECORDS: usize = 100_000;
/// Records that are consumed: reading begins with a request or two whose time is not that of records.
const CONSUMED: usize = 4 * RECORDS;
/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that may be under way at once, of the bus as of the plain loop: all records of a run.
const QUEUE_BYTES: usize = 128 << 20;

/// Records that the broker has acknowledged, published one by one.
pub fn kafka_produce(table: &mut Table) -> anyhow::Result<()> {
    let broker = broker()?;
    let (bus, plain) = (bus(&broker)?, producer(&broker)?);
    let mut ours = || produce(&bus);
    let mut theirs = || produce_plainly(&plain);
    let [ours, theirs] = interleave([&mut ours, &mut theirs])?.map(|seconds| RECORDS as f64 / seconds);
    let baseline = Some(("librdkafka", theirs));
    table.add(&Row { name: KAFKA_PRODUCE, value: ours, unit: "records/s", baseline, n: RECORDS, corpus: CORPUS })
}

/// One partition from its beginning to its end.
pub fn kafka_consume(table: &mut Table) -> anyhow::Result<()> {
    let broker = broker()?;
    let bus = bus(&broker)?;
    (0..CONSUMED / RECORDS).try_for_each(|_| produce(&bus).map(drop))?;
    let mut ours = || consume(&bus).context("the bus");
    let mut theirs = || consume_plainly(&broker).context("the plain loop");
    let [ours, theirs] = interleave([&mut ours, &mut theirs])?.map(|seconds| CONSUMED as f64 / seconds);
    let baseline = Some(("librdkafka", theirs));
    table.add(&Row { name: KAFKA_CONSUME, value: ours, unit: "records/s", baseline, n: CONSUMED, corpus: CORPUS })
}

fn broker() -> anyhow::Result<Broker> {
    match Broker::start() {
        Ok(broker) => Ok(broker),
        Err(missing @ Failure::Missing(_)) => skip(missing.to_string()),
        Err(failure) => Err(failure).context("Kafka"),
    }
}

fn bus(broker: &Broker) -> anyhow::Result<KafkaBus> {
    let options = KafkaOptions { brokers: broker.address().to_owned(), publish_bytes_max: QUEUE_BYTES, ..KafkaOptions::default() };
    let bus = KafkaBus::connect(options)?;
    bus.ensure_topics(&[topic(1)])?;
    Ok(bus)
}

fn produce(bus: &KafkaBus) -> anyhow::Result<Duration> {
    let value = vec![b'x'; VALUE_BYTES];
    let (acked, acks) = mpsc::channel();
    let wait = || acks.recv_timeout(PATIENCE).is_ok_and(|durable| durable);
    let began = Instant::now();
    for number in 0..RECORDS {
        let acked = acked.clone();
        bus.publish(TOPIC, 0, record(number, &value), Box::new(move |result| acked.send(result.is_ok()).unwrap_or_default()));
    }
    ensure!((0..RECORDS).all(|_| wait()), "a record was refused");
    Ok(began.elapsed())
}

/// The settings of the bus' own producer.
fn producer(broker: &Broker) -> anyhow::Result<BaseProducer> {
    let queue_kbytes = (QUEUE_BYTES >> 10).to_string();
    let settings = [
        ("bootstrap.servers", broker.address()),
        ("enable.idempotence", "true"),
        ("acks", "all"),
        ("linger.ms", "5"),
        ("message.max.bytes", "11534336"),
        ("queue.buffering.max.messages", "10000000"),
        ("queue.buffering.max.kbytes", &queue_kbytes),
        ("compression.type", "none"),
    ];
    config(&settings).create().context("a producer")
}

fn config(settings: &[(&str, &str)]) -> ClientConfig {
    settings.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn produce_plainly(producer: &BaseProducer) -> anyhow::Result<Duration> {
    let value = vec![b'x'; VALUE_BYTES];
    let began = Instant::now();
    for number in 0..RECORDS {
        let headers = HEADERS.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let mut record = BaseRecord::to(TOPIC).partition(0).timestamp(timestamp_ms(number)).key(KEY).payload(&value[..]).headers(headers);
        while let Err((error, refused)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            producer.poll(Duration::from_millis(1));
            record = refused;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).context("flush")?;
    Ok(began.elapsed())
}

/// As a stage reads: a member of a group. The time begins when the partition is its own.
fn consume(bus: &KafkaBus) -> anyhow::Result<Duration> {
    let mut member = bus.join(&uuid::Uuid::new_v4().to_string(), &[TOPIC])?;
    let (mut began, mut count) = (Instant::now(), 0);
    while count < CONSUMED {
        ensure!(began.elapsed() < PATIENCE, "{count} of {CONSUMED} records came");
        match member.poll(Duration::from_secs(1))? {
            Event::Assigned(_) => began = Instant::now(),
            Event::Batch(batch) => count += batch.iter().filter(|(_, record)| record.value.len() == VALUE_BYTES).count(),
            Event::Revoked(_) | Event::Idle => {}
        }
    }
    Ok(began.elapsed())
}

/// The settings of the bus' own consumers.
fn consume_plainly(broker: &Broker) -> anyhow::Result<Duration> {
    let settings = [
        ("bootstrap.servers", broker.address()),
        ("group.id", "plain"),
        ("fetch.wait.max.ms", "100"),
        ("queued.max.messages.kbytes", "32768"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("isolation.level", "read_committed"),
    ];
    let consumer: BaseConsumer = config(&settings).create().context("a consumer")?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, Offset::Beginning).context("a partition")?;
    consumer.fetch_metadata(Some(TOPIC), PATIENCE).context("connecting")?;
    let (began, mut count) = (Instant::now(), 0);
    consumer.assign(&list).context("assign")?;
    while count < CONSUMED {
        ensure!(began.elapsed() < PATIENCE, "{count} of {CONSUMED} records came");
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        count += usize::from(message.context("a message")?.payload_len() == VALUE_BYTES);
    }
    Ok(began.elapsed())
}
