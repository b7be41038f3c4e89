//! The stage with the embedded log on both sides: raw records read from it, validated ones compressed, written and synced.

use super::{
    TO_DURABLE,
    baseline::{Naive, ZSTD_LEVEL},
    stage::{Digest, PARTITIONS, number_of, settings},
    verify,
};
use crate::{
    corpus::Corpus,
    harness::interleave,
    paths::target,
    table::{Row, Table},
};
use anyhow::{Context, ensure};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, BusError, Compression, Event, FetchedBatch, Member, RecordBuf, Start, Step, SystemClock, SystemFiles, TopicPartition, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
};
use tidemill_pipeline::decode::{DecodeSettings, Decoder, DedupeOptions, DuplicatesParts, Fence, GROUP, StepLimits, Worker, WorkerParts};

/// A worker from the first raw record to the last durable step, with the crash-loop fence and the dedupe filter as a host has them by
/// default, against the usual crates and the same compression without a log and without memory. Each run has a new log, and so a
/// filter that knows no id: nothing is a duplicate.
pub fn to_durable(table: &mut Table) -> anyhow::Result<()> {
    let corpus = Corpus::pings()?;
    let checked = verify::against_slow_path(&corpus, &verify::all_valid(corpus.len()))?;
    let settings = settings(&corpus.registry)?;
    let mut naive = Naive::new(&corpus.schema);
    let mut decode = || {
        let (time, digest) = decode(&corpus, &settings)?;
        ensure!(digest == checked.digest, "the log has other records than those that were compared with the slow path");
        Ok(time)
    };
    let [decode, naive] = interleave([&mut decode, &mut || naive.run_compressing(&corpus.bodies)])?;
    let each_us = |seconds: f64| seconds / corpus.len() as f64 * 1e6;
    let baseline = Some(("naive", each_us(naive)));
    table.add(&Row { name: TO_DURABLE, value: each_us(decode), unit: "us", baseline, n: corpus.len(), corpus: corpus.name })
}

/// Time from the first poll to the last commit, and what the log has then.
fn decode(corpus: &Corpus, settings: &DecodeSettings) -> anyhow::Result<(Duration, u64)> {
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(target()).context("a folder")?;
    let bus = open(folder.path(), 1)?;
    publish(&bus, 1, &corpus.batches)?;
    let stop = Arc::new(AtomicBool::new(false));
    let member = Box::new(Ending { member: bus.join(GROUP, &["raw"])?, left: corpus.len(), stop: Arc::clone(&stop) });
    let fence = Fence::open(Arc::new(SystemFiles), &folder.path().join("fence")).context("the fence")?;
    let note = fence.note(0).context("the fence's note")?;
    let worker = Worker::new(WorkerParts {
        member,
        decoder: Decoder::new(settings)?,
        limits: StepLimits::default(),
        clock: Arc::new(SystemClock::default()),
        fence: Some((Arc::new(fence), note)),
        duplicates: Some(DuplicatesParts::new(&DedupeOptions::default(), &bus, (settings.generation, settings.epoch))?),
    });
    let began = Instant::now();
    worker.run(&stop);
    let time = began.elapsed();
    Ok((time, digest(&bus)?))
}

/// Stops the worker behind the last record, as a host does that is told to end.
struct Ending {
    member: Box<dyn Member>,
    left: usize,
    stop: Arc<AtomicBool>,
}

impl Member for Ending {
    fn poll(&mut self, wait: Duration) -> Result<Event, BusError> {
        let event = self.member.poll(wait)?;
        if let Event::Batch(batch) = &event {
            self.left = self.left.saturating_sub(batch.offsets.len());
            self.stop.store(self.left == 0, Ordering::Relaxed);
        }
        Ok(event)
    }

    fn commit(&mut self, step: Step) -> Result<(), BusError> {
        self.member.commit(step)
    }

    fn checkpoint(&mut self, key: &str) -> Result<Option<bytes::Bytes>, BusError> {
        self.member.checkpoint(key)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        self.member.seek(partition, offset)
    }

    fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<(), BusError> {
        self.member.pause(partition, paused)
    }
}

/// The log of a data folder with `times` the corpus in four partitions of `raw`, as the edge leaves it.
///
/// # Errors
/// The log cannot be written.
pub fn fill_raw(data: &Path, corpus: &Corpus, times: usize) -> anyhow::Result<()> {
    let bus = open(data, PARTITIONS)?;
    (0..times).try_for_each(|_| publish(&bus, PARTITIONS, &corpus.batches))
}

fn open(data: &Path, raw_partitions: u32) -> anyhow::Result<EmbeddedBus> {
    let bus = EmbeddedBus::open(EmbeddedOptions::new(data.join("log")))?;
    let topic = |name: &str, partitions, compression| TopicSpec { name: name.into(), partitions, compacted: false, compression };
    let zstd = Compression::Zstd(ZSTD_LEVEL);
    bus.ensure_topics(&[
        topic("raw", raw_partitions, Compression::None),
        topic("validated", PARTITIONS, zstd),
        topic("errors", PARTITIONS, zstd),
    ])?;
    Ok(bus)
}

/// Publishes the batches to the partitions in turn.
fn publish(bus: &EmbeddedBus, partitions: u32, batches: &[FetchedBatch]) -> anyhow::Result<()> {
    let (acked, acks) = mpsc::channel();
    for (number, batch) in (0..).zip(batches) {
        let mut records = RecordBuf::default();
        for (_, record) in batch.iter() {
            records.push(record.timestamp_ms, record.key, &[("tm-v", b"1")], record.value);
        }
        let acked = acked.clone();
        bus.publish("raw", number % partitions, records, Box::new(move |result| acked.send(result.is_ok()).unwrap_or_default()));
        ensure!(acks.recv()?, "raw records were refused");
    }
    Ok(())
}

/// The sum of the [numbers](number_of) of all records that the log of a data folder has behind the stage.
///
/// # Errors
/// The log cannot be read.
pub fn records_of(data: &Path) -> anyhow::Result<u64> {
    let mut sum = 0_u64;
    each_batch(&open(data, PARTITIONS)?, |from, batch| {
        sum = batch.iter().fold(sum, |sum, (_, record)| sum.wrapping_add(number_of(from, &record)));
    })?;
    Ok(sum)
}

fn digest(bus: &EmbeddedBus) -> anyhow::Result<u64> {
    let mut digest = Digest::default();
    each_batch(bus, |from, batch| digest.add(from, &batch.bytes))?;
    Ok(digest.finish())
}

/// Each batch of what the stage wrote, by partition.
fn each_batch(bus: &EmbeddedBus, mut act: impl FnMut(&TopicPartition, &FetchedBatch)) -> anyhow::Result<()> {
    for topic in ["validated", "errors"] {
        for partition in 0..PARTITIONS {
            let from = TopicPartition { topic: topic.into(), partition };
            let mut reader = bus.reader(&from, Start::Beginning)?;
            while let Some(batch) = reader.poll(Duration::ZERO)? {
                act(&from, &batch);
            }
        }
    }
    Ok(())
}
