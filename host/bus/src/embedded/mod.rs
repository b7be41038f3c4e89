//! The embedded bus: one commit log in a folder.
//!
//! Everything is an entry of the log: records of any number of partitions, checkpoints and positions, written by one thread with
//! one write and one `fdatasync` for all that waits (0.23 ms for one file, 5.2 ms for 20: one file whatever the number of
//! partitions). A step is one entry, so it is there or not. `format` has the bytes, `recover` what happens at opening, `retention`
//! what is deleted.
//!
//! `reclaim` gives the room of replaced checkpoints back. Not done here: compaction of topics. A compacted topic keeps all its records
//! until retention takes them, which is allowed but not small.

mod acks;
mod buffers;
mod catalog;
mod fetch;
mod format;
mod frame;
mod gather;
mod groups;
mod index;
mod member;
mod options;
mod queue;
mod reclaim;
mod recover;
mod retention;
mod scan;
mod shared;
mod side;
mod store;
mod writer;

pub use options::{DeclaredGroup, EmbeddedOptions};
pub use recover::Damage;

use crate::{
    Ack, Bus, BusError, Clock, FileLock, Files, GroupPosition, Member, Reader, RecordBuf, Start, SystemClock, SystemFiles, TopicInfo,
    TopicPartition, TopicSpec, create_folder,
};
use catalog::PARTITIONS_MAX;
use member::{EmbeddedMember, EmbeddedReader, check_sizes};
use queue::Request;
use shared::Shared;
use std::{io, sync::Arc, thread::JoinHandle, time::Duration};
use store::{Store, io_error};
use writer::Writer;

/// Longer names of topics are refused, as on Kafka.
const TOPIC_NAME_BYTES_MAX: usize = 249;

/// The bus in a folder. Dropping it writes what waits and lets another process open the folder.
pub struct EmbeddedBus {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    damage: Vec<Damage>,
    _lock: Box<dyn FileLock>,
}

impl EmbeddedBus {
    /// Opens the log with the operating system's files and clock; makes it where it is missing.
    ///
    /// # Errors
    /// [`BusError::Unusable`] where another process has the folder, a newer program wrote it, or what it holds is beyond repair;
    /// [`BusError::Io`] where the disk fails.
    pub fn open(options: EmbeddedOptions) -> Result<Self, BusError> {
        Self::open_with(options, Arc::new(SystemFiles), Arc::new(SystemClock::default()))
    }

    /// As [`Self::open`], with these files and this clock.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(options: EmbeddedOptions, files: Arc<dyn Files>, clock: Arc<dyn Clock>) -> Result<Self, BusError> {
        options.check()?;
        let folder = options.folder.clone();
        create_folder(&*files, &folder).map_err(|error| io_error("cannot make", &folder, error))?;
        let lock = lock(&*files, &options)?;
        // What one poll returns, with some room for headers.
        let buffer_bytes_max = 2 * options.fetch_bytes_max;
        let store = Store::new(files, folder, options.open_files_max, options.cache_bytes_max, buffer_bytes_max);
        let mut recovered = recover::recover(&store)?;
        let damage = std::mem::take(&mut recovered.damage);
        let shared = Arc::new(Shared::new(options, store, clock, std::mem::take(&mut recovered.catalog)));
        let writer = Writer::new(Arc::clone(&shared), recovered)?;
        let writer = std::thread::Builder::new()
            .name("bus-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| BusError::Io { what: "cannot start the log's writer".to_owned(), source })?;
        Ok(Self { shared, writer: Some(writer), damage, _lock: lock })
    }

    /// What could not be read when the log was opened; each was logged too.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// What all segments take on the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.shared.log_bytes()
    }

    /// What a group has not read of a partition: the encoded bytes of its records. Walks the index of what is left.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn unread_bytes(&self, group: &str, partition: &TopicPartition) -> Result<u64, BusError> {
        let catalog = self.shared.catalog.read();
        let (_, found) = catalog.partition(partition)?;
        Ok(found.bytes_from(catalog.position(group, partition).unwrap_or(0)))
    }

    fn check_spec(spec: &TopicSpec) -> Result<(), BusError> {
        if spec.partitions == 0 || spec.partitions > PARTITIONS_MAX {
            let TopicSpec { name, partitions, .. } = spec;
            return Err(BusError::Unusable(format!("topic {name}: {partitions} partitions, there must be 1 to {PARTITIONS_MAX}")));
        }
        if spec.name.is_empty() || spec.name.len() > TOPIC_NAME_BYTES_MAX {
            let length = spec.name.len();
            return Err(BusError::Unusable(format!("the name of a topic has {length} bytes, it must have 1 to {TOPIC_NAME_BYTES_MAX}")));
        }
        Ok(())
    }

    fn publish_request(&self, topic: &str, partition: u32, records: RecordBuf) -> Result<Request, BusError> {
        self.shared.accepts_records()?;
        let (id, compression) = {
            let catalog = self.shared.catalog.read();
            let (id, found) = catalog.topic(topic)?;
            found.partition(partition)?;
            (id, found.compression)
        };
        check_sizes(topic, &records)?;
        let mut request = Request::new(Box::new(drop));
        let batches = frame::prepare(&records.into_bytes(), compression);
        request.batches.extend(batches.into_iter().map(|batch| (id, partition, batch)));
        Ok(request)
    }
}

/// Keeps other processes out of the folder.
fn lock(files: &dyn Files, options: &EmbeddedOptions) -> Result<Box<dyn FileLock>, BusError> {
    let path = options.folder.join("LOCK");
    files.lock(&path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            BusError::Unusable(format!("{} is in use by another process: stop it or choose another folder", options.folder.display()))
        }
        _ => io_error("cannot lock", &path, error),
    })
}

impl Bus for EmbeddedBus {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), BusError> {
        topics.iter().try_for_each(Self::check_spec)?;
        let mut request = Request::new(Box::new(drop));
        {
            let mut catalog = self.shared.catalog.write();
            for spec in topics {
                match catalog.topic_mut(&spec.name) {
                    Some(topic) => topic.compression = spec.compression,
                    None => request.topics.push(spec.clone()),
                }
            }
        }
        if request.topics.is_empty() { Ok(()) } else { self.shared.write(request) }
    }

    fn partitions(&self, topic: &str) -> Result<u32, BusError> {
        Ok(self.shared.catalog.read().topic(topic)?.1.partitions.len() as u32)
    }

    fn incarnation(&self, topic: &str) -> Result<Arc<str>, BusError> {
        Ok(Arc::clone(&self.shared.catalog.read().topic(topic)?.1.incarnation))
    }

    fn publish(&self, topic: &str, partition: u32, records: RecordBuf, ack: Ack) {
        match self.publish_request(topic, partition, records) {
            Err(error) => ack(Err(error)),
            Ok(request) if request.batches.is_empty() => ack(Ok(())),
            Ok(mut request) => {
                request.ack = ack;
                self.shared.queue.offer(request, Duration::ZERO);
            }
        }
    }

    fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn Member>, BusError> {
        Ok(Box::new(EmbeddedMember::join(&self.shared, group, topics)?))
    }

    fn reader(&self, partition: &TopicPartition, start: Start) -> Result<Box<dyn Reader>, BusError> {
        let partition = Arc::clone(self.shared.catalog.read().partition(partition)?.1);
        let range = partition.range();
        let position = match start {
            Start::Beginning => range.start,
            Start::End => range.end,
            Start::Offset(offset) => offset.max(range.start),
            Start::TimeMs(time_ms) => fetch::offset_at_time(&self.shared, &partition, time_ms)?,
        };
        Ok(Box::new(EmbeddedReader { shared: Arc::clone(&self.shared), partition, position }))
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, BusError> {
        Ok(self.shared.catalog.read().infos())
    }

    fn group_positions(&self) -> Result<Vec<GroupPosition>, BusError> {
        Ok(self.shared.catalog.read().group_positions())
    }

    fn health(&self) -> Result<(), BusError> {
        self.shared.accepts_records()?;
        if self.shared.queue.is_full() {
            return Err(BusError::Full(format!("the queue of {} bytes is full", self.shared.options.queue_bytes_max)));
        }
        Ok(())
    }
}

impl Drop for EmbeddedBus {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
    }
}
