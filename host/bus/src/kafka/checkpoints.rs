//! Finding checkpoints in their compacted topic.
//!
//! A key lies in one partition; the partition is read up to its *stable* end: all that was written when the look-up began, after
//! the transactions that were open then have ended. (Positions become stable before the records of the same transaction do, so
//! the committed end alone could hide the newest checkpoint of a member that has just handed its partitions over.)

use super::{
    admin::{Isolation, Wanted},
    chunks::{self, Piece, Saved},
    cluster::{CHECKPOINTS, Cluster},
    errors::{Plain, meaning, unavailable},
    options::TRANSACTION_TIMEOUT,
    reader,
};
use crate::{BusError, Checkpoint, Step, partition_of};
use bytes::Bytes;
use rdkafka::{
    consumer::BaseConsumer,
    error::KafkaError,
    message::{BorrowedMessage, Message},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How long an abandoned transaction may hold the end of a partition up, with what the broker takes to notice.
const STABLE_MAX: Duration = TRANSACTION_TIMEOUT.saturating_mul(2);
const STABLE_INTERVAL: Duration = Duration::from_millis(5);

/// The checkpoints of one group, as one member knows them.
pub(super) struct Checkpoints {
    cluster: Arc<Cluster>,
    topic: String,
    /// In front of the keys.
    group: String,
    partitions: u32,
    /// The stable ends; unknown after every poll and step.
    ends: Option<Vec<i64>>,
    scans: HashMap<u32, Scan>,
    asked: HashSet<String>,
    /// In how many pieces large states were saved, by key.
    pieces: HashMap<String, u32>,
    consumer: Option<BaseConsumer<Plain>>,
}

/// What was found in a partition so far.
#[derive(Default)]
struct Scan {
    next: i64,
    values: HashMap<String, Saved>,
    /// Only what was asked for was kept.
    is_trimmed: bool,
}

impl Checkpoints {
    /// # Errors
    /// When the topic is not there or no broker answers.
    pub(super) fn new(cluster: &Arc<Cluster>, group: &str) -> Result<Self, BusError> {
        let topic = cluster.full(CHECKPOINTS);
        let partitions = cluster.partitions(&topic)?;
        let (scans, asked, pieces) = (HashMap::new(), HashSet::new(), HashMap::new());
        let group = format!("{group}/");
        Ok(Self { cluster: Arc::clone(cluster), topic, group, partitions, ends: None, scans, asked, pieces, consumer: None })
    }

    /// The topic's name on the cluster.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The record key of a checkpoint and its partition.
    fn place(&self, key: &str) -> (String, u32) {
        let key = format!("{}{key}", self.group);
        let partition = partition_of(key.as_bytes(), self.partitions);
        (key, partition)
    }

    /// The records that save a checkpoint.
    pub(super) fn records(&self, checkpoint: &Checkpoint) -> Vec<Piece> {
        let (key, partition) = self.place(&checkpoint.key);
        let before = self.pieces.get(&key).copied().unwrap_or(0);
        chunks::pieces(checkpoint, &key, partition, before)
    }

    /// The step is durable.
    pub(super) fn saved(&mut self, step: &Step) {
        for checkpoint in &step.checkpoints {
            let (key, _) = self.place(&checkpoint.key);
            match chunks::count(checkpoint) {
                0 => self.pieces.remove(&key),
                count => self.pieces.insert(key, count),
            };
        }
    }

    /// Others may have written: the next look-up asks for the ends again.
    pub(super) fn expire(&mut self) {
        self.ends = None;
    }

    /// Gives back the memory of what was not asked for; called when work begins.
    pub(super) fn trim(&mut self) {
        self.consumer = None;
        for scan in self.scans.values_mut().filter(|scan| !scan.is_trimmed) {
            scan.values.retain(|key, _| self.asked.contains(chunks::owner(key)));
            scan.is_trimmed = true;
        }
    }

    /// Forgets everything: the partitions are others'.
    pub(super) fn clear(&mut self) {
        self.expire();
        self.scans.clear();
        self.asked.clear();
        self.pieces.clear();
    }

    /// The newest value of a key.
    ///
    /// # Errors
    /// When no broker answers, or an abandoned transaction holds the topic up for longer than it may.
    pub(super) fn get(&mut self, key: &str) -> Result<Option<Bytes>, BusError> {
        let (key, partition) = self.place(key);
        let end = self.end(partition)?;
        let is_new = self.asked.insert(key.clone());
        if is_new && self.scans.get(&partition).is_some_and(|scan| scan.is_trimmed) {
            self.scans.remove(&partition);
        }
        let mut scan = self.scans.remove(&partition).unwrap_or_default();
        let read = self.advance(&mut scan, partition, end);
        let value = read.and_then(|()| self.value(&key, &mut scan));
        self.scans.insert(partition, scan);
        value
    }

    fn value(&mut self, key: &str, scan: &mut Scan) -> Result<Option<Bytes>, BusError> {
        let head = match scan.values.get(key) {
            None => return Ok(None),
            Some(Saved::Whole(state)) => return Ok(Some(state.clone())),
            Some(Saved::InPieces(head)) => *head,
        };
        let replaced = || unavailable(&self.topic, format!("the pieces of {key} do not belong together: it is being replaced"));
        let state = head.assemble(key, &scan.values).ok_or_else(replaced)?;
        scan.values.insert(key.to_owned(), Saved::Whole(state.clone()));
        scan.values.retain(|piece, _| piece == key || chunks::owner(piece) != key);
        self.pieces.insert(key.to_owned(), head.count);
        Ok(Some(state))
    }

    fn end(&mut self, partition: u32) -> Result<i64, BusError> {
        if self.ends.is_none() {
            self.ends = Some(self.stable_ends()?);
        }
        Ok(self.ends.as_ref().and_then(|ends| ends.get(partition as usize)).copied().unwrap_or(0))
    }

    fn stable_ends(&self) -> Result<Vec<i64>, BusError> {
        let written = self.latest(Isolation::Uncommitted)?;
        let started = Instant::now();
        loop {
            let stable = self.latest(Isolation::Committed)?;
            if stable.iter().zip(&written).all(|(stable, written)| stable >= written) {
                return Ok(written);
            }
            if started.elapsed() > STABLE_MAX {
                return Err(unavailable(&self.topic, "an open transaction holds it up"));
            }
            thread::sleep(STABLE_INTERVAL);
        }
    }

    fn latest(&self, isolation: Isolation) -> Result<Vec<i64>, BusError> {
        let partitions: Vec<_> = (0..self.partitions).map(|partition| (&*self.topic, partition)).collect();
        self.cluster.all_offsets(&partitions, Wanted::Latest, isolation)
    }

    fn advance(&mut self, scan: &mut Scan, partition: u32, end: i64) -> Result<(), BusError> {
        if scan.next >= end {
            return Ok(());
        }
        if self.consumer.is_none() {
            self.consumer = Some(reader::consumer(&self.cluster, &[("enable.partition.eof", "true")])?);
        }
        let Some(consumer) = &self.consumer else { return Ok(()) };
        let start = self.cluster.offset(&self.topic, partition, Wanted::Earliest, Isolation::Committed)?;
        reader::assign(consumer, &self.topic, partition, scan.next.max(start))?;
        let mut heard = Instant::now();
        while scan.next < end {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => self.keep(scan, &message),
                // All of the rest are marks of transactions: the end was stable before this was asked for.
                Some(Err(KafkaError::PartitionEOF(at))) if at == partition as i32 => scan.next = end,
                Some(Err(error)) if heard.elapsed() > self.cluster.timeout() => return Err(meaning(&self.topic, &error)),
                None if heard.elapsed() > self.cluster.timeout() => return Err(unavailable(&self.topic, "no broker answers")),
                Some(Err(_)) | None => continue,
            }
            heard = Instant::now();
        }
        Ok(())
    }

    fn keep(&self, scan: &mut Scan, message: &BorrowedMessage<'_>) {
        scan.next = message.offset() + 1;
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
        let Some(key) = key.filter(|key| key.starts_with(&self.group)) else { return };
        if scan.is_trimmed && !self.asked.contains(chunks::owner(key)) {
            return;
        }
        match chunks::read(message) {
            Some(value) => drop(scan.values.insert(key.to_owned(), value)),
            None => drop(scan.values.remove(key)),
        }
    }
}
