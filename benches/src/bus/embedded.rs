//! The embedded log against the disk that it writes to and the page cache that it reads from.

use super::{
    CORPUS, EMBEDDED_APPEND, EMBEDDED_READ, TOPIC, VALUE_BYTES, record,
    recording::{Groups, Recording},
    topic,
};
use crate::{
    harness::interleave,
    paths::target,
    table::{Row, Table},
};
use anyhow::{Context, bail, ensure};
use std::{
    cell::RefCell,
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tidemill_bus::{
    Bus, Files, RecordBuf, Start, SystemClock, SystemFiles, TopicPartition,
    embedded::{EmbeddedBus, EmbeddedOptions},
};

/// Threads that publish, each to a partition of its own.
const PUBLISHERS: usize = 4;
/// What a publisher sends before it waits for acknowledgements: with four, 256 requests under way.
const WINDOW: usize = 64;
const APPENDED: usize = 50_000;
const READ: usize = 200_000;
/// What is published at once where the rate does not matter.
const FILL: usize = 1_000;
/// What the baseline reads at once: what a fetch returns at most.
const READ_BYTES: usize = 1 << 20;

/// Records that are acknowledged, against `pwrite` and `fdatasync` of the same bytes in the same groups.
pub fn embedded_append(table: &mut Table) -> anyhow::Result<()> {
    let groups = RefCell::new(Vec::new());
    let mut append = || {
        let (time, sizes) = append()?;
        groups.replace(sizes);
        Ok(time)
    };
    let mut disk = || write(&groups.borrow());
    let [append, disk] = interleave([&mut append, &mut disk])?.map(|seconds| APPENDED as f64 / seconds);
    let sizes = groups.take();
    eprintln!("{} groups of {} bytes on average", sizes.len(), sizes.iter().sum::<usize>() / sizes.len().max(1));
    let baseline = Some(("disk", disk));
    table.add(&Row { name: EMBEDDED_APPEND, value: append, unit: "records/s", baseline, n: APPENDED, corpus: CORPUS })
}

/// Records that are read from the beginning of their partitions, against reading the log's files, both from the page cache.
pub fn embedded_read(table: &mut Table) -> anyhow::Result<()> {
    let folder = folder()?;
    fill(folder.path())?;
    let files = files(&folder.path().join("log"))?;
    let mut read = || read(folder.path());
    let mut memory = || read_files(&files);
    let [read, memory] = interleave([&mut read, &mut memory])?.map(|seconds| READ as f64 / seconds);
    let baseline = Some(("memory", memory));
    table.add(&Row { name: EMBEDDED_READ, value: read, unit: "records/s", baseline, n: READ, corpus: CORPUS })
}

/// On the disk of the build, where the system's folder for temporary files may be in memory.
fn folder() -> anyhow::Result<TempDir> {
    tempfile::Builder::new().prefix("bench-").tempdir_in(target()).context("a folder")
}

fn open(folder: &Path, files: Arc<dyn Files>) -> anyhow::Result<EmbeddedBus> {
    let options = EmbeddedOptions::new(folder.join("log"));
    let bus = EmbeddedBus::open_with(options, files, Arc::new(SystemClock::default()))?;
    bus.ensure_topics(&[topic(PUBLISHERS as u32)])?;
    Ok(bus)
}

/// The time from the first publish to the last acknowledgement, and what was written at once.
fn append() -> anyhow::Result<(Duration, Vec<usize>)> {
    let (folder, groups) = (folder()?, Groups::default());
    let bus = open(folder.path(), Arc::new(Recording::new(&groups)))?;
    groups.take();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let bus = &bus;
        let publishers: Vec<_> = (0..PUBLISHERS).map(|number| scope.spawn(move || publish(bus, number as u32))).collect();
        publishers.into_iter().try_for_each(|publisher| publisher.join().unwrap_or_else(|_| bail!("a publisher panicked")))
    })?;
    let time = began.elapsed();
    Ok((time, groups.take()))
}

fn publish(bus: &EmbeddedBus, partition: u32) -> anyhow::Result<()> {
    let value = vec![b'x'; VALUE_BYTES];
    let (acked, acks) = mpsc::channel();
    let wait = || acks.recv().is_ok_and(|durable| durable);
    for number in 0..APPENDED / PUBLISHERS {
        ensure!(number < WINDOW || wait(), "a record was refused");
        let acked = acked.clone();
        bus.publish(TOPIC, partition, record(number, &value), Box::new(move |result| acked.send(result.is_ok()).unwrap_or_default()));
    }
    ensure!((0..WINDOW).all(|_| wait()), "a record was refused");
    Ok(())
}

/// The same bytes in the same groups, without a log.
fn write(sizes: &[usize]) -> anyhow::Result<Duration> {
    let folder = folder()?;
    let file = File::create(folder.path().join("bytes")).context("a file")?;
    let bytes = vec![b'x'; sizes.iter().copied().max().unwrap_or(0)];
    let (began, mut offset) = (Instant::now(), 0);
    for &size in sizes {
        file.write_all_at(&bytes[..size], offset).context("pwrite")?;
        file.sync_data().context("fdatasync")?;
        offset += size as u64;
    }
    Ok(began.elapsed())
}

fn fill(folder: &Path) -> anyhow::Result<()> {
    let bus = open(folder, Arc::new(SystemFiles))?;
    let value = vec![b'x'; VALUE_BYTES];
    let (acked, acks) = mpsc::channel();
    for first in (0..READ).step_by(FILL) {
        let mut records = RecordBuf::default();
        (first..first + FILL).for_each(|number| records.push(super::timestamp_ms(number), super::KEY, &super::HEADERS, &value));
        let (acked, partition) = (acked.clone(), (first / FILL % PUBLISHERS) as u32);
        bus.publish(TOPIC, partition, records, Box::new(move |result| acked.send(result.is_ok()).unwrap_or_default()));
        ensure!(acks.recv()?, "records were refused");
    }
    Ok(())
}

/// Reads every partition to its end with a log opened anew.
fn read(folder: &Path) -> anyhow::Result<Duration> {
    let bus = open(folder, Arc::new(SystemFiles))?;
    let (began, mut count) = (Instant::now(), 0);
    for partition in 0..PUBLISHERS as u32 {
        let mut reader = bus.reader(&TopicPartition { topic: TOPIC.into(), partition }, Start::Beginning)?;
        while let Some(batch) = reader.poll(Duration::ZERO)? {
            count += batch.iter().filter(|(_, record)| record.value.len() == VALUE_BYTES).count();
        }
    }
    let time = began.elapsed();
    ensure!(count == READ, "{count} of {READ} records were read");
    Ok(time)
}

fn read_files(files: &[PathBuf]) -> anyhow::Result<Duration> {
    let mut bytes = vec![0; READ_BYTES];
    let (began, mut sum) = (Instant::now(), 0);
    for path in files {
        let mut file = File::open(path).with_context(|| path.display().to_string())?;
        loop {
            let length = file.read(&mut bytes).with_context(|| path.display().to_string())?;
            std::hint::black_box(&bytes);
            sum += length;
            if length == 0 {
                break;
            }
        }
    }
    let time = began.elapsed();
    ensure!(sum >= READ * VALUE_BYTES, "the log's files have {sum} bytes");
    Ok(time)
}

/// All files below a folder.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry.context("a folder of the log")?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}
