//! The bus: durable topics of partitions, and the *step*, the one atomic operation that everything Tidemill promises stands on.
//!
//! A step publishes to several topics, saves checkpoints and advances input positions, all or nothing. [`embedded`] does it with
//! one record of one commit log, [`kafka`] with a transaction; one conformance suite (`tests/conformance/`) runs on both.
//!
//! The API is synchronous: pinned workers call it; the edge gives [`Bus::publish`] a callback that may come from any thread.

mod crash;
mod crc;
mod error;
#[cfg(any(test, feature = "faults"))]
pub mod faults;
mod io;
pub mod lost;
mod memory;
mod record;
mod step;
pub mod stopped;

pub mod embedded;
pub mod kafka;

pub use crash::{CRASH_POINTS, CrashPoint, SAFEGUARDS, Where, crash_point, safeguard};
pub use error::BusError;
pub use io::{Clock, File, FileLock, Files, Metadata, SystemClock, SystemFiles, create_folder};
pub use lost::OnLost;
pub use record::{FetchedBatch, RecordBuf, RecordRef, Records};
pub use step::{Checkpoint, Step, TopicPartition};

use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// The largest record of any topic, key, headers and value together, as [`RecordBuf::largest`] counts it: 10 MiB.
pub const RECORD_BYTES_MAX: usize = 10 << 20;

/// Called once when published records are durable, or cannot be made so. It runs on a thread of the bus (on the caller's own where
/// they are refused at once) and must neither block nor panic.
pub type Ack = Box<dyn FnOnce(Result<(), BusError>) + Send>;

/// A topic as the host wants it; created where it is missing, checked where it exists.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// The name without the configured prefix; the bus adds the prefix.
    pub name: Arc<str>,
    /// How many partitions it is created with; an existing topic keeps its own number.
    pub partitions: u32,
    /// Keep only the newest record of each key.
    pub compacted: bool,
    /// Compression of its record batches.
    pub compression: Compression,
}

/// How record batches are compressed, on both buses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// LZ4 frames.
    Lz4,
    /// Zstandard at this level.
    Zstd(i32),
}

/// What a topic holds.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    /// The name without the prefix.
    pub name: Arc<str>,
    /// First and next offset of each partition, in the order of their numbers.
    pub partitions: Vec<OffsetRange>,
}

/// The offsets that a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first offset that can still be read.
    pub start: i64,
    /// The offset that the next record will get (on Kafka: the end of what is committed).
    pub end: i64,
}

/// How far a group has come in one partition.
#[derive(Clone, Debug)]
pub struct GroupPosition {
    /// The group.
    pub group: Arc<str>,
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset the group will read.
    pub position: i64,
}

/// Where a [`Reader`] begins.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// The first record that is still there.
    Beginning,
    /// What comes after now.
    End,
    /// This offset, or the next that exists.
    Offset(i64),
    /// The first record whose timestamp (milliseconds since 1970 UTC) is at or after this.
    TimeMs(i64),
}

/// The bus. One value a process, shared.
pub trait Bus: Send + Sync + 'static {
    /// `embedded` or `kafka`.
    fn kind(&self) -> &'static str;

    /// Creates what is missing and checks sizes and partition counts of what is there.
    ///
    /// # Errors
    /// When the bus cannot be reached or a topic's own limits are below ours.
    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError>;

    /// The number of partitions of a topic.
    ///
    /// # Errors
    /// When there is no such topic or the bus cannot be reached.
    fn partitions(&self, topic: &str) -> Result<u32, BusError>;

    /// A name for this creation of the topic: a topic deleted and made anew has another one, so that old offsets are not
    /// mistaken for new ones.
    ///
    /// # Errors
    /// When there is no such topic or the bus cannot be reached.
    fn incarnation(&self, topic: &str) -> Result<Arc<str>, BusError>;

    /// Publishes records outside any step; the callback says when all of them are durable. Never blocks: where the queue is
    /// full the callback gets [`BusError::Full`] at once.
    fn publish(&self, topic: &str, partition: u32, records: RecordBuf, ack: Ack);

    /// Joins a consumer group on these topics.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Member>, BusError>;

    /// Reads one partition outside any group, committed records only.
    ///
    /// # Errors
    /// When there is no such partition or the bus cannot be reached.
    fn reader(&self, partition: &TopicPartition, start: Start) -> Result<Box<dyn Reader>, BusError>;

    /// All topics with their offsets.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    fn topics(&self) -> Result<Vec<TopicInfo>, BusError>;

    /// The positions of all groups that have ever committed one, for showing: Kafka tells those of a step a moment after it
    /// acknowledged it. Where a member goes on is exact ([`Event::Assigned`]).
    ///
    /// # Errors
    /// When the bus cannot be reached.
    fn group_positions(&self) -> Result<Vec<GroupPosition>, BusError>;

    /// Ok when a publish would be accepted now; else a sentence that says what is out of order.
    ///
    /// # Errors
    /// What is out of order.
    fn health(&self) -> Result<(), BusError>;
}

/// What happened to a member of a group.
#[derive(Debug)]
pub enum Event {
    /// It owns these partitions, all it has, from now on (a member without any may be told so). Where the group has a committed position it will read from there, else from the
    /// beginning; [`Member::seek`] before the next poll changes that.
    Assigned(Vec<(TopicPartition, i64)>),
    /// It is about to lose these partitions: the member may still commit what it has, and loses them at its next poll.
    Revoked(Vec<TopicPartition>),
    /// Records of one partition, in order.
    Batch(FetchedBatch),
    /// Nothing came within the time.
    Idle,
}

/// A member of a consumer group: owned by one thread.
pub trait Member: Send {
    /// Waits at most `wait` for the next event.
    ///
    /// # Errors
    /// [`BusError::OutOfRange`] names a partition whose position is gone: it is told once, then the partition is stopped until a
    /// [`Member::seek`]. Others mean that the bus is out of order and the call may be made again.
    fn poll(&mut self, wait: Duration) -> Result<Event, BusError>;

    /// Makes the step durable, all or nothing. Partitions must be owned by this member.
    ///
    /// # Errors
    /// After any error nothing of the step has happened; the caller restores the last checkpoints and seeks back.
    /// [`BusError::Fenced`] means that the member starts over: another one owns the partitions now, or a topic was made anew.
    fn commit(&mut self, step: Step) -> Result<(), BusError>;

    /// Whether all that was read is of the topics that were assigned; [`Member::commit`] asks this too. Where a topic was made anew
    /// meanwhile the member starts over at its next poll, and who wrote what was read to places of its own should not.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    fn is_current(&mut self) -> Result<bool, BusError> {
        Ok(true)
    }

    /// The newest checkpoint saved under this key by any member of this group.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    fn checkpoint(&mut self, key: &str) -> Result<Option<Bytes>, BusError>;

    /// Gives back the memory that keeps what [`Member::checkpoint`] has read: the caller has all it needs.
    fn release_checkpoints(&mut self) {}

    /// The next poll of this partition reads from here.
    ///
    /// # Errors
    /// When the member does not own the partition.
    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError>;

    /// Stops (`true`) or goes on with (`false`) the reading of a partition: back-pressure.
    ///
    /// # Errors
    /// When the member does not own the partition.
    fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<(), BusError>;
}

/// Reads one partition.
pub trait Reader: Send {
    /// Waits at most `wait` for the next records; `None` when there are none yet.
    ///
    /// # Errors
    /// When the position is gone or the bus cannot be reached.
    fn poll(&mut self, wait: Duration) -> Result<Option<FetchedBatch>, BusError>;
}

/// The partition that a key belongs to, the same on both buses.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (xxhash_rust::xxh64::xxh64(key, 0) % u64::from(partitions)) as u32
}
