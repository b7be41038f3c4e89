//! The one thread that writes: it gathers what waits, writes it with one write and one sync, then says so.

use super::{
    acks::Acknowledger,
    format::{ENTRY_HEADER_BYTES, EntryHeader, FRAME_HEADER_BYTES, Item, Place, SEQUENCE_MAX, segment_header},
    frame::{self, Codec, Prepared},
    queue::Request,
    reclaim,
    recover::{Active, Recovered},
    retention::Sealed,
    shared::Shared,
    side::{Side, SideSlot},
    store::io_error,
};
use crate::{BusError, TopicSpec, crash_point, crc::crc32c, safeguard};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

/// How often the disk's free space and the retention are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// And after so many bytes, whatever the time.
const HOUSEKEEPING_BYTES: u64 = 16 << 20;
/// The buffer is given back beyond this.
const BUFFER_BYTES_KEPT: usize = 32 << 20;

/// Said where the last entry has the greatest number.
const NO_NUMBERS: &str = "the log has no more numbers for entries: move its folder away to begin anew";

/// Why a group of requests was not written.
#[derive(Clone)]
pub(super) enum Failure {
    /// Nothing happened; there is no room.
    Full(String),
    /// It is unknown what the disk holds.
    Broken(String),
}

impl Failure {
    fn error(&self) -> BusError {
        match self {
            Self::Full(why) => BusError::Full(why.clone()),
            Self::Broken(why) => BusError::Unavailable(why.clone()),
        }
    }
}

/// The bytes of one frame before they are laid out.
pub(super) struct Frame {
    pieces: Vec<Bytes>,
    codec: Codec,
    raw_bytes: u32,
}

impl Frame {
    fn of(batch: &Prepared) -> Self {
        Self { pieces: vec![batch.bytes.clone()], codec: batch.codec, raw_bytes: batch.raw_bytes }
    }

    /// A frame of these bytes as they are.
    pub(super) fn plain(bytes: Bytes) -> Self {
        Self { raw_bytes: bytes.len() as u32, pieces: vec![bytes], codec: Codec::Plain }
    }

    /// Its length with its header.
    pub(super) fn length(&self) -> u32 {
        (FRAME_HEADER_BYTES + self.pieces.iter().map(Bytes::len).sum::<usize>()) as u32
    }
}

/// An entry that is being put together.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) items: Vec<Item>,
    pub(super) frames: Vec<Frame>,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) active: Active,
    /// The oldest first.
    pub(super) sealed: VecDeque<Sealed>,
    /// Checkpoints that were replaced and still take room.
    pub(super) replaced: Vec<Place>,
    sequence: u64,
    next_segment: u32,
    buffer: Vec<u8>,
    unchecked_bytes: u64,
    checked: Duration,
}

/// Ends the queue whatever way the thread ends, so that nobody waits for ever.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.queue.close();
        while let Some(left) = self.0.queue.take(usize::MAX, Duration::ZERO) {
            left.into_iter().for_each(|request| (request.ack)(Err(BusError::Unavailable("the log is closed".to_owned()))));
        }
        self.0.signal.bump();
    }
}

impl Writer {
    /// Goes on where recovery ended, in a new segment where there is none to go on in.
    pub(super) fn new(shared: Arc<Shared>, recovered: Recovered) -> Result<Self, BusError> {
        let Recovered { catalog: _, sealed, active, replaced, next_sequence, next_segment, damage: _ } = recovered;
        let (mut sequence, mut buffer) = (next_sequence, Vec::new());
        let (active, next_segment) = match active {
            Some(active) => (active, next_segment),
            None => (create_segment(&shared, next_segment, &mut sequence, &mut buffer)?, next_segment + 1),
        };
        let (unchecked_bytes, checked) = (0, shared.clock.elapsed());
        shared.check_disk();
        let writer = Self { shared, active, sealed: sealed.into(), replaced, sequence, next_segment, buffer, unchecked_bytes, checked };
        writer.shared.set_log_bytes(writer.log_bytes());
        Ok(writer)
    }

    /// What all segments take.
    pub(super) fn log_bytes(&self) -> u64 {
        self.active.end + self.sealed.iter().map(|sealed| sealed.bytes).sum::<u64>()
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let _closing = Closing(Arc::clone(&self.shared));
        // Dropped first: what was written is acknowledged before what is refused.
        let acknowledger = match Acknowledger::start() {
            Ok(acknowledger) => acknowledger,
            Err(error) => return self.shared.break_down(&error.to_string()),
        };
        while let Some(requests) = self.shared.queue.take(self.shared.options.group_bytes_max, HOUSEKEEPING) {
            if !requests.is_empty() {
                self.write_group(requests, &acknowledger);
                std::thread::sleep(self.shared.options.group_interval);
            }
            let now = self.shared.clock.elapsed();
            if self.unchecked_bytes >= HOUSEKEEPING_BYTES || now.saturating_sub(self.checked) >= HOUSEKEEPING {
                (self.checked, self.unchecked_bytes) = (now, 0);
                self.shared.check_disk();
                self.reclaim();
                self.retain();
                self.shared.set_log_bytes(self.log_bytes());
            }
        }
    }

    fn write_group(&mut self, requests: Vec<Request>, acknowledger: &Acknowledger) {
        let written = self.shared.accepts(0).map_err(|error| Failure::Broken(error.to_string())).and_then(|()| {
            let draft = self.draft(&requests);
            if draft.items.is_empty() { Ok(()) } else { self.append(&draft) }
        });
        if let Err(Failure::Broken(why)) = &written {
            self.shared.break_down(why);
        }
        self.shared.set_log_bytes(self.log_bytes());
        self.shared.signal.bump();
        let acks = requests.into_iter().map(|request| request.ack).collect();
        let outcome = move || written.as_ref().map_err(Failure::error).copied();
        acknowledger.acknowledge(acks, Box::new(outcome), self.shared.queue.has_waiting());
    }

    /// Lays out what the requests ask for, in their order, small uncompressed batches of a partition put together.
    fn draft(&self, requests: &[Request]) -> Draft {
        let mut layout = Layout { shared: &self.shared, draft: Draft::default(), ends: HashMap::new(), open: HashMap::new() };
        layout.topics(requests.iter().flat_map(|request| &request.topics));
        for request in requests {
            request.batches.iter().for_each(|(topic, partition, batch)| layout.batch(*topic, *partition, batch));
            for (group, topic, partition, position) in &request.positions {
                let (group, topic, partition, position) = (Arc::clone(group), *topic, *partition, *position);
                layout.draft.items.push(Item::Position { group, topic, partition, position });
            }
            for (group, key, bytes) in &request.checkpoints {
                layout.draft.checkpoint(group, key, bytes.clone());
            }
        }
        layout.draft
    }

    /// Writes an entry, syncs it, then makes it visible.
    pub(super) fn append(&mut self, draft: &Draft) -> Result<(), Failure> {
        self.make_room(draft)?;
        if self.sequence > SEQUENCE_MAX {
            return Err(Failure::Broken(NO_NUMBERS.to_owned()));
        }
        self.buffer.clear();
        let time_ms = self.shared.now_ms();
        let places = encode_entry(&mut self.buffer, &self.active, self.sequence, time_ms, draft);
        self.active.file.write_all_at(&self.buffer, self.active.end).map_err(|error| self.take_back(&error))?;
        crash_point("log-before-sync");
        let begin = self.shared.clock.elapsed();
        self.sync()?;
        crash_point("log-after-sync");
        metrics::histogram!("tidemill_bus_sync_seconds").record(self.shared.clock.elapsed().saturating_sub(begin));
        self.active.end += self.buffer.len() as u64;
        self.unchecked_bytes += self.buffer.len() as u64;
        self.active.newest_ms = self.active.newest_ms.max(time_ms);
        self.sequence += 1;
        metrics::counter!("tidemill_bus_appended_bytes_total").increment(self.buffer.len() as u64);
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        let mut catalog = self.shared.catalog.write();
        for (item, place) in draft.items.iter().zip(places) {
            self.replaced.extend(reclaim::replaced(&catalog, item));
            catalog.apply(item, place);
            self.active.slots.extend(SideSlot::of(item, place));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Failure> {
        if !safeguard("log-sync") {
            return Ok(());
        }
        let path = || self.shared.store.log_path(self.active.segment);
        self.active.file.sync().map_err(|error| Failure::Broken(io_error("cannot sync", &path(), error).to_string()))
    }

    /// After a failed write: a full disk gives its bytes back and the log goes on, anything else ends it.
    fn take_back(&self, error: &io::Error) -> Failure {
        let path = self.shared.store.log_path(self.active.segment);
        let why = format!("cannot write {}: {error}", path.display());
        if error.kind() == io::ErrorKind::StorageFull && self.active.file.set_len(self.active.end).is_ok() {
            Failure::Full(why)
        } else {
            Failure::Broken(why)
        }
    }

    /// Begins a new segment where the entry would not fit into this one.
    fn make_room(&mut self, draft: &Draft) -> Result<(), Failure> {
        let body: u64 = draft.frames.iter().map(|frame| u64::from(frame.length())).sum();
        let beyond_positions = self.active.end + body + (64 << 20) > u64::from(u32::MAX);
        if self.active.end < self.shared.options.segment_bytes && !beyond_positions {
            return Ok(());
        }
        self.roll().map_err(|error| match error {
            BusError::Io { source, what } if source.kind() == io::ErrorKind::StorageFull => Failure::Full(format!("{what}: {source}")),
            other => Failure::Broken(other.to_string()),
        })
    }

    fn roll(&mut self) -> Result<(), BusError> {
        let slots = std::mem::take(&mut self.active.slots);
        let side = Side { segment_bytes: self.active.end, newest_ms: self.active.newest_ms, slots };
        let made = side
            .write(&self.shared.store, self.active.segment)
            .map(|()| crash_point("log-roll-index"))
            .and_then(|()| create_segment(&self.shared, self.next_segment, &mut self.sequence, &mut self.buffer));
        match made {
            Ok(active) => {
                let Active { segment, end: bytes, newest_ms, .. } = std::mem::replace(&mut self.active, active);
                self.sealed.push_back(Sealed { segment, bytes, newest_ms });
                self.next_segment += 1;
                self.unchecked_bytes = HOUSEKEEPING_BYTES;
                Ok(())
            }
            Err(error) => {
                self.active.slots = side.slots;
                Err(error)
            }
        }
    }
}

/// A new segment with its snapshot, durable with its name. The snapshot is there twice: without it nobody knows what the topics are.
fn create_segment(shared: &Shared, segment: u32, sequence: &mut u64, buffer: &mut Vec<u8>) -> Result<Active, BusError> {
    if *sequence >= SEQUENCE_MAX {
        return Err(BusError::Unusable(NO_NUMBERS.to_owned()));
    }
    let store = &shared.store;
    let path = store.log_path(segment);
    let failed = |error| io_error("cannot make", &path, error);
    let file = store.open(segment, true).map_err(failed)?;
    let salt = uuid::Uuid::new_v4().as_u64_pair().0;
    let newest_ms = shared.now_ms();
    let mut active = Active { segment, file, salt, end: 0, newest_ms, slots: Vec::new() };
    buffer.clear();
    buffer.extend_from_slice(&segment_header(segment, salt));
    let draft = Draft { items: shared.catalog.read().snapshot(), frames: Vec::new() };
    encode_entry(buffer, &active, *sequence, newest_ms, &draft);
    encode_entry(buffer, &active, *sequence + 1, newest_ms, &draft);
    let written = active.file.set_len(0).and_then(|()| active.file.write_all_at(buffer, 0)).and_then(|()| active.file.sync());
    written.map_err(failed)?;
    crash_point("log-roll-segment");
    if safeguard("log-folder-sync") {
        store.files().sync_dir(store.folder()).map_err(failed)?;
    }
    *sequence += 2;
    active.end = buffer.len() as u64;
    Ok(active)
}

/// Appends an entry to the buffer; returns the place of each item's frame. The buffer's start is written at the segment's end.
fn encode_entry(buffer: &mut Vec<u8>, active: &Active, sequence: u64, time_ms: i64, draft: &Draft) -> Vec<Place> {
    let start = buffer.len();
    buffer.resize(start + ENTRY_HEADER_BYTES, 0);
    draft.items.iter().for_each(|item| item.encode(buffer));
    let body = buffer.len();
    for frame in &draft.frames {
        frame::put_frame(buffer, &frame.pieces, frame.codec, frame.raw_bytes);
    }
    let (items_bytes, body_bytes) = ((body - start - ENTRY_HEADER_BYTES) as u32, (buffer.len() - body) as u32);
    let items_crc = crc32c(&buffer[start + ENTRY_HEADER_BYTES..body]);
    let header = EntryHeader { items_bytes, body_bytes, items_crc, sequence, time_ms };
    buffer[start..start + ENTRY_HEADER_BYTES].copy_from_slice(&header.encode(active.salt));
    let mut position = (active.end + body as u64) as u32;
    let place = |item: &Item| {
        let place = Place { segment: active.segment, position, length: item.frame_bytes() };
        position += place.length;
        place
    };
    draft.items.iter().map(place).collect()
}

impl Draft {
    /// Saves or forgets a checkpoint.
    pub(super) fn checkpoint(&mut self, group: &Arc<str>, key: &Arc<str>, bytes: Option<Bytes>) {
        let (group, key) = (Arc::clone(group), Arc::clone(key));
        let Some(bytes) = bytes else { return self.items.push(Item::Forget { group, key }) };
        let frame = Frame::plain(bytes);
        self.items.push(Item::Checkpoint { group, key, frame_bytes: frame.length() });
        self.frames.push(frame);
    }
}

/// Gives offsets and puts batches together.
struct Layout<'a> {
    shared: &'a Shared,
    draft: Draft,
    ends: HashMap<(u32, u32), i64>,
    /// The item and frame that more plain batches of a partition may be added to.
    open: HashMap<(u32, u32), (usize, usize)>,
}

impl Layout<'_> {
    fn topics<'a>(&mut self, specs: impl Iterator<Item = &'a TopicSpec>) {
        let catalog = self.shared.catalog.read();
        let mut id = catalog.next_id();
        let mut made: Vec<&str> = Vec::new();
        for spec in specs {
            if catalog.topic(&spec.name).is_ok() || made.contains(&&*spec.name) {
                continue;
            }
            made.push(&spec.name);
            let TopicSpec { name, partitions, compacted, compression } = spec.clone();
            let incarnation = Arc::from(uuid::Uuid::new_v4().simple().to_string());
            self.draft.items.push(Item::Topic { id, name, partitions, compacted, compression, incarnation });
            id += 1;
        }
    }

    fn batch(&mut self, topic: u32, partition: u32, batch: &Prepared) {
        let at = (topic, partition);
        let end = self.ends.entry(at).or_insert_with(|| self.shared.catalog.read().by_id(topic, partition).map_or(0, |found| found.end()));
        let base = *end;
        *end += i64::from(batch.count);
        if batch.codec == Codec::Plain && self.join(at, batch) {
            return;
        }
        let frame = Frame::of(batch);
        let Prepared { count, time_min_ms, time_max_ms, .. } = *batch;
        let frame_bytes = frame.length();
        self.draft.items.push(Item::Batch { topic, partition, base, count, time_min_ms, time_max_ms, frame_bytes });
        self.draft.frames.push(frame);
        match batch.codec {
            Codec::Plain => self.open.insert(at, (self.draft.items.len() - 1, self.draft.frames.len() - 1)),
            _ => self.open.remove(&at),
        };
    }

    /// Adds the batch to the one before it in the same partition, if both are plain and small.
    fn join(&mut self, at: (u32, u32), batch: &Prepared) -> bool {
        let Some(&(item, frame)) = self.open.get(&at) else { return false };
        let frame = &mut self.draft.frames[frame];
        let Item::Batch { count, time_min_ms, time_max_ms, frame_bytes, .. } = &mut self.draft.items[item] else { return false };
        if frame.raw_bytes as usize + batch.bytes.len() > frame::BATCH_BYTES {
            return false;
        }
        frame.pieces.push(batch.bytes.clone());
        frame.raw_bytes += batch.raw_bytes;
        *count += batch.count;
        *time_min_ms = batch.time_min_ms.min(*time_min_ms);
        *time_max_ms = batch.time_max_ms.max(*time_max_ms);
        *frame_bytes += batch.bytes.len() as u32;
        true
    }
}
