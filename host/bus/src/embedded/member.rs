//! A member of a group, and a reader outside groups.

use super::{
    fetch::fetch,
    frame,
    groups::Turn,
    index::Partition,
    queue::Request,
    shared::Shared,
    store::{FrameError, io_error},
};
use crate::{BusError, Event, FetchedBatch, Member, RECORD_BYTES_MAX, Reader, RecordBuf, Step, TopicPartition, crash_point, safeguard};
use bytes::Bytes;
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

/// A waiting member looks this often whether another one is to be expelled.
const LOOK_AROUND: Duration = Duration::from_millis(500);
/// The bytes of a step are one entry of the log.
const STEP_BYTES_MAX: usize = 512 << 20;
/// Names of groups and keys of checkpoints are written with 16 bits of length.
const NAME_BYTES_MAX: usize = u16::MAX as usize;

pub(super) struct EmbeddedMember {
    shared: Arc<Shared>,
    group: Arc<str>,
    id: u64,
    cursors: Vec<Cursor>,
    /// Where the search for records goes on, so that no partition starves.
    turn: usize,
}

/// Where a member is in a partition.
struct Cursor {
    partition: Arc<Partition>,
    position: i64,
    paused: bool,
    /// It was told that its position is out of range.
    stopped: bool,
}

impl EmbeddedMember {
    pub(super) fn join(shared: &Arc<Shared>, group: &str, topics: &[&str]) -> Result<Self, BusError> {
        if group.len() > NAME_BYTES_MAX {
            return Err(BusError::Unusable(format!("the name of a group is at most {NAME_BYTES_MAX} bytes, this one has {}", group.len())));
        }
        let group: Arc<str> = Arc::from(group);
        let catalog = shared.catalog.read();
        topics.iter().try_for_each(|topic| catalog.topic(topic).map(drop))?;
        let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
        let id = shared.groups.join(&group, topics, shared.clock.elapsed(), &catalog);
        shared.signal.bump();
        Ok(Self { shared: Arc::clone(shared), group, id, cursors: Vec::new(), turn: 0 })
    }

    fn assigned(&mut self, owned: Vec<TopicPartition>) -> Event {
        let catalog = self.shared.catalog.read();
        self.cursors.clear();
        for name in &owned {
            let Ok((_, partition)) = catalog.partition(name) else { continue };
            let position = catalog.position(&self.group, name).unwrap_or_else(|| partition.range().start);
            self.cursors.push(Cursor { partition: Arc::clone(partition), position, paused: false, stopped: false });
        }
        Event::Assigned(self.cursors.iter().map(|cursor| (cursor.partition.name.clone(), cursor.position)).collect())
    }

    /// Records of the next partition that has some.
    fn read(&mut self) -> Result<Option<FetchedBatch>, BusError> {
        for n in 0..self.cursors.len() {
            let at = (self.turn + n) % self.cursors.len();
            let cursor = &mut self.cursors[at];
            if cursor.paused || cursor.stopped || cursor.position == cursor.partition.end() {
                continue;
            }
            self.turn = at + 1;
            match fetch(&self.shared, &cursor.partition, &mut cursor.position) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    cursor.stopped = matches!(error, BusError::OutOfRange { .. });
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    fn cursor(&mut self, partition: &TopicPartition) -> Result<&mut Cursor, BusError> {
        let fenced =
            || BusError::Fenced(format!("partition {} of topic {} is not owned by the member", partition.partition, partition.topic));
        self.cursors.iter_mut().find(|cursor| cursor.partition.name == *partition).ok_or_else(fenced)
    }

    fn request(&self, step: Step) -> Result<Request, BusError> {
        let bytes = step.bytes() + step.checkpoints.iter().filter_map(|saved| saved.bytes.as_ref()).map(Bytes::len).sum::<usize>();
        if bytes > STEP_BYTES_MAX {
            return Err(BusError::TooLarge { topic: "(a whole step)".to_owned(), size: bytes, limit: STEP_BYTES_MAX });
        }
        let catalog = self.shared.catalog.read();
        let mut request = Request::new(Box::new(drop));
        for (partition, position) in step.positions {
            let (topic, _) = catalog.partition(&partition)?;
            request.positions.push((Arc::clone(&self.group), topic, partition.partition, position));
        }
        for saved in step.checkpoints {
            if saved.key.len() > NAME_BYTES_MAX {
                return Err(BusError::TooLarge { topic: "(checkpoint keys)".to_owned(), size: saved.key.len(), limit: NAME_BYTES_MAX });
            }
            request.checkpoints.push((Arc::clone(&self.group), Arc::from(saved.key), saved.bytes));
        }
        let mut to_compress = Vec::new();
        for (to, records) in step.publish {
            let (topic, _) = catalog.partition(&to)?;
            check_sizes(&to.topic, &records)?;
            to_compress.push((topic, to.partition, records, catalog.topic(&to.topic)?.1.compression));
        }
        drop(catalog);
        for (topic, partition, records, compression) in to_compress {
            let batches = frame::prepare(&records.into_bytes(), compression);
            request.batches.extend(batches.into_iter().map(|batch| (topic, partition, batch)));
        }
        Ok(request)
    }
}

impl EmbeddedMember {
    /// Makes a step durable: one entry of the log.
    fn write(&self, mut request: Request) -> Result<(), BusError> {
        if !safeguard("step-whole") {
            let mut records = Request::new(Box::new(drop));
            std::mem::swap(&mut records.batches, &mut request.batches);
            self.shared.write(records)?;
        }
        crash_point("step-before-commit");
        let written = self.shared.write(request);
        crash_point("step-after-commit");
        written
    }
}

/// Refuses records that are larger than any topic takes.
pub(super) fn check_sizes(topic: &str, records: &RecordBuf) -> Result<(), BusError> {
    match records.largest() {
        size if size > RECORD_BYTES_MAX => Err(BusError::TooLarge { topic: topic.to_owned(), size, limit: RECORD_BYTES_MAX }),
        _ => Ok(()),
    }
}

impl Member for EmbeddedMember {
    fn poll(&mut self, wait: Duration) -> Result<Event, BusError> {
        let deadline = Instant::now() + wait;
        let mut again = false;
        loop {
            let seen = self.shared.signal.version();
            let (turn, changed) = {
                let catalog = self.shared.catalog.read();
                self.shared.groups.turn(&self.group, self.id, again, self.shared.clock.elapsed(), &catalog)
            };
            if changed {
                self.shared.signal.bump();
            }
            match turn {
                Turn::Assigned(owned) => return Ok(self.assigned(owned)),
                Turn::Revoked(lost) => return Ok(Event::Revoked(lost)),
                Turn::Read => {
                    if let Some(batch) = self.read()? {
                        return Ok(Event::Batch(batch));
                    }
                }
                Turn::Wait => self.cursors.clear(),
            }
            if Instant::now() >= deadline {
                return Ok(Event::Idle);
            }
            again = true;
            self.shared.signal.wait(seen, deadline.min(Instant::now() + LOOK_AROUND));
        }
    }

    fn commit(&mut self, step: Step) -> Result<(), BusError> {
        self.shared.groups.begin_commit(&self.group, self.id, step.positions.iter().map(|(partition, _)| partition))?;
        let written = if step.is_empty() {
            Ok(())
        } else {
            self.shared
                .accepts(self.shared.options.reserve_bytes / 4)
                .and_then(|()| self.request(step))
                .and_then(|request| self.write(request))
        };
        self.shared.groups.committed(&self.group, self.id, self.shared.clock.elapsed());
        written
    }

    fn checkpoint(&mut self, key: &str) -> Result<Option<Bytes>, BusError> {
        loop {
            let Some(place) = self.shared.catalog.read().checkpoint(&self.group, key) else { return Ok(None) };
            match self.shared.store.read_frame(place) {
                Ok(bytes) => return Ok(Some(bytes)),
                // Retention carried it forward in the meantime, or another member replaced it.
                Err(FrameError::Gone | FrameError::Damaged) if self.shared.catalog.read().checkpoint(&self.group, key) != Some(place) => {}
                Err(FrameError::Gone | FrameError::Damaged) => {
                    let what = format!("checkpoint {key} of group {} at position {} of", self.group, place.position);
                    return Err(io_error(&what, &self.shared.store.log_path(place.segment), io::ErrorKind::InvalidData.into()));
                }
                Err(FrameError::Io(error)) => return Err(error),
            }
        }
    }

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), BusError> {
        let cursor = self.cursor(partition)?;
        (cursor.position, cursor.stopped) = (offset, false);
        Ok(())
    }

    fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<(), BusError> {
        self.cursor(partition)?.paused = paused;
        Ok(())
    }
}

impl Drop for EmbeddedMember {
    fn drop(&mut self) {
        let catalog = self.shared.catalog.read();
        self.shared.groups.leave(&self.group, self.id, &catalog);
        self.shared.signal.bump();
    }
}

/// Reads one partition.
pub(super) struct EmbeddedReader {
    pub(super) shared: Arc<Shared>,
    pub(super) partition: Arc<Partition>,
    pub(super) position: i64,
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, wait: Duration) -> Result<Option<FetchedBatch>, BusError> {
        let deadline = Instant::now() + wait;
        loop {
            let seen = self.shared.signal.version();
            // A position ahead of the end waits there until the records come.
            if self.position < self.partition.end()
                && let Some(batch) = fetch(&self.shared, &self.partition, &mut self.position)?
            {
                return Ok(Some(batch));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            self.shared.signal.wait(seen, deadline);
        }
    }
}
