//! A worker of the stage: one thread, a member of the group, and the steps.

use super::{
    counters,
    decoder::{Aborted, Decoder},
    duplicates::{Duplicates, DuplicatesParts},
    failure::{ErrorType, Failure},
    fence::{Care, Fence, Note, SourceRange},
    stage::{GROUP, RAW},
};
use crate::lost::publish_lost_alert;
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_bus::{Bus, BusError, Clock, Event, FetchedBatch, Member, OnLost, Step, TopicPartition, lost, safeguard, stopped};

/// How often a waiting worker looks whether it is to stop.
const POLL_MAX: Duration = Duration::from_millis(100);
/// The first pause after a failed step; each further failure doubles it.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// How often a partition is tried again of which it cannot be read what was seen.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// When a step ends.
#[derive(Clone, Copy, Debug)]
pub struct StepLimits {
    /// It ends so long after its first message.
    pub step_ms: u64,
    /// It ends when it has so many bytes to publish.
    pub step_bytes_max: usize,
    /// So many bytes of raw records are decoded before the limits are looked at again.
    pub slice_bytes_max: usize,
    /// Where raw messages were removed before they were decoded.
    pub on_lost: OnLost,
}

impl Default for StepLimits {
    /// 100 ms and 16 MiB: 70 MiB/s of raw bodies become 210 MiB/s of documents, 21 MiB in 100 ms and 10 MiB for each of two workers;
    /// a core at full speed reaches 16 MiB after 60 to 80 ms. Looked at each 1 MiB of raw records, which are 3 MiB of documents.
    fn default() -> Self {
        Self { step_ms: 100, step_bytes_max: 16 << 20, slice_bytes_max: 1 << 20, on_lost: OnLost::Stop }
    }
}

/// A partition this worker owns.
struct Owned {
    /// The next offset to read, of the last step.
    committed: i64,
    /// The next offset to read, of the step being made.
    next: i64,
    /// Below this offset messages are decoded one by one, because a panic happened there.
    careful_until: i64,
}

/// What a worker is made of.
pub struct WorkerParts {
    /// Its place in the group.
    pub member: Box<dyn Member>,
    /// Its decoder.
    pub decoder: Decoder,
    /// When its steps end.
    pub limits: StepLimits,
    /// Tells when a step ends.
    pub clock: Arc<dyn Clock>,
    /// Keeps a message that kills the process from doing so for ever; the note is this worker's own.
    pub fence: Option<(Arc<Fence>, Note)>,
    /// Recognises copies; without it there are none.
    pub duplicates: Option<DuplicatesParts>,
}

/// A worker of the decode stage.
pub struct Worker {
    parts: WorkerParts,
    owned: BTreeMap<TopicPartition, Owned>,
    /// Those of which nobody knows what was seen, and when that is looked at again.
    refused: BTreeMap<TopicPartition, Duration>,
    step: Step,
    step_began: Option<Duration>,
    back_off: Duration,
    /// Asked which creation of its topic a new assignment is of.
    bus: Option<Arc<dyn Bus>>,
    must_look: bool,
}

impl Worker {
    /// A worker that owns nothing yet.
    pub fn new(mut parts: WorkerParts) -> Self {
        if let Some(duplicates) = parts.duplicates.take() {
            *parts.decoder.duplicates() = Duplicates::new(duplicates);
        }
        Self {
            parts,
            owned: BTreeMap::new(),
            refused: BTreeMap::new(),
            step: Step::default(),
            step_began: None,
            back_off: BACK_OFF_MIN,
            bus: None,
            must_look: false,
        }
    }

    /// With the bus of its topic, which may be deleted and made anew while the worker runs.
    pub fn on(mut self, bus: &Arc<dyn Bus>) -> Self {
        self.bus = Some(Arc::clone(bus));
        self
    }

    /// Works until `stop` is set; then commits what it has.
    pub fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if let Some(pause) = self.turn() {
                pause_unless(stop, pause);
            }
        }
        self.commit();
    }

    /// Handles one event, and ends the step when it is due. Returns how long to wait before the next turn after a failure.
    pub fn turn(&mut self) -> Option<Duration> {
        self.try_refused();
        let went_well = self.look_at_topic()
            && match self.parts.member.poll(self.poll_wait()) {
                Ok(event) => self.handle(event),
                Err(error) => self.poll_failed(&error),
            };
        let went_well = went_well && (!self.is_due() || self.commit());
        if went_well {
            return None;
        }
        let pause = self.back_off;
        self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
        Some(pause)
    }

    /// Ends the step now.
    #[cfg(test)]
    pub(super) fn end_step(&mut self) {
        self.commit();
    }

    /// Before anything is read under a new assignment: offsets of another creation of the topic mean other messages.
    fn look_at_topic(&mut self) -> bool {
        let Some(bus) = self.bus.as_ref().filter(|_| self.must_look) else { return true };
        match bus.incarnation(RAW) {
            Ok(incarnation) => {
                self.parts.decoder.set_incarnation(&incarnation);
                self.must_look = false;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the topic of raw messages cannot be looked up; trying again");
                false
            }
        }
    }

    fn poll_wait(&self) -> Duration {
        self.step_began.map_or(POLL_MAX, |began| {
            let end = began + Duration::from_millis(self.parts.limits.step_ms);
            end.saturating_sub(self.parts.clock.elapsed()).min(POLL_MAX)
        })
    }

    fn is_due(&mut self) -> bool {
        let Some(began) = self.step_began else { return false };
        let age = self.parts.clock.elapsed().saturating_sub(began);
        let is_full = self.step.bytes() >= self.parts.limits.step_bytes_max || self.parts.decoder.duplicates().is_full();
        is_full || age >= Duration::from_millis(self.parts.limits.step_ms)
    }

    fn handle(&mut self, event: Event) -> bool {
        match event {
            Event::Assigned(partitions) => {
                stopped::moved(GROUP, partitions.iter().map(|(partition, _)| partition));
                self.must_look = !partitions.is_empty();
                // Others may have had them since: what was seen is read again.
                self.parts.decoder.duplicates().retain(|_| false);
                // Else what was seen is read when it is known of which topic the position is.
                let is_known = self.look_at_topic();
                for (partition, position) in partitions {
                    self.refused.remove(&partition);
                    if is_known && let Err(error) = self.recall(partition.partition, position) {
                        self.not_known(&partition, &error);
                    }
                    self.owned.insert(partition, Owned { committed: position, next: position, careful_until: i64::MIN });
                }
                self.parts.member.release_checkpoints();
                true
            }
            Event::Revoked(partitions) => {
                let went_well = self.commit();
                stopped::moved(GROUP, &partitions);
                self.owned.retain(|partition, _| !partitions.contains(partition));
                self.refused.retain(|partition, _| !partitions.contains(partition));
                let Self { owned, parts, .. } = self;
                parts.decoder.duplicates().retain(|number| owned.keys().any(|partition| partition.partition == number));
                went_well
            }
            Event::Batch(batch) => self.decode(&batch),
            Event::Idle => true,
        }
    }

    /// Reads what was seen of a partition.
    fn recall(&mut self, partition: u32, position: i64) -> Result<(), BusError> {
        let WorkerParts { member, decoder, .. } = &mut self.parts;
        decoder.duplicates().restore(&mut **member, partition, position)
    }

    /// What was seen of the partition cannot be read. Where that will not change by itself it stands still, and the others go on;
    /// whether that is so.
    fn not_known(&mut self, partition: &TopicPartition, error: &BusError) -> bool {
        let (topic, number) = (&*partition.topic, partition.partition);
        if !matches!(error, BusError::Unusable(_)) {
            tracing::warn!(%error, partition = number, "what was seen of the partition cannot be read; trying again");
            return false;
        }
        if stopped::stop(GROUP, partition, format!("what was seen of {topic}/{number}: {error}")) {
            tracing::error!(%error, partition = number, "what was seen of the partition cannot be read; it stands still");
        }
        self.refused.insert(partition.clone(), self.parts.clock.elapsed() + REFUSED_FOR);
        true
    }

    /// Partitions that stood still for a while: what was wrong with them may be mended.
    fn try_refused(&mut self) {
        let now = self.parts.clock.elapsed();
        let due: Vec<_> = self.refused.extract_if(.., |_, again| *again <= now).map(|(partition, _)| partition).collect();
        for partition in due {
            let Some(position) = self.owned.get(&partition).map(|owned| owned.next) else { continue };
            let known = self.recall(partition.partition, position);
            self.parts.member.release_checkpoints();
            // Its messages were passed over meanwhile.
            match known.and_then(|()| self.parts.member.seek(&partition, position)) {
                Ok(()) => stopped::moved(GROUP, [&partition]),
                Err(error) => {
                    if !self.not_known(&partition, &error) {
                        self.refused.insert(partition, now + REFUSED_FOR);
                    }
                }
            }
        }
    }

    /// Whether a partition may be decoded. Where what was seen of it is not known, its messages wait.
    fn is_ready(&mut self, partition: &TopicPartition, position: i64) -> bool {
        if self.parts.decoder.duplicates().is_ready(partition.partition) {
            return true;
        }
        let known = self.recall(partition.partition, position);
        self.parts.member.release_checkpoints();
        let Err(error) = known else { return true };
        if !self.not_known(partition, &error) {
            self.start_again();
        }
        false
    }

    fn poll_failed(&mut self, error: &BusError) -> bool {
        let WorkerParts { member, decoder, limits, clock, .. } = &mut self.parts;
        let Some(lost) = lost::handle(GROUP, &mut **member, error, limits.on_lost) else {
            tracing::warn!(%error, "the bus could not be read; trying again");
            return false;
        };
        if let (Some(owned), Some(next)) = (self.owned.get_mut(&lost.partition), lost.resumed) {
            owned.next = next;
        }
        publish_lost_alert(GROUP, &lost, &decoder.incarnation(), &**clock, &mut self.step);
        self.step_began.get_or_insert_with(|| clock.elapsed());
        true
    }

    /// Decodes a batch slice by slice, so that a step does not grow far beyond its limits.
    fn decode(&mut self, batch: &FetchedBatch) -> bool {
        let Some(position) = self.owned.get(&batch.partition).map(|owned| owned.next) else { return true };
        if self.refused.contains_key(&batch.partition) {
            return true;
        }
        if !self.is_ready(&batch.partition, position) {
            return self.refused.contains_key(&batch.partition);
        }
        let mut rows = 0..0;
        while rows.end < batch.offsets.len() {
            rows = next_slice(batch, rows.end, self.parts.limits.slice_bytes_max);
            self.step_began.get_or_insert_with(|| self.parts.clock.elapsed());
            if !self.decode_slice(batch, rows.clone()) || (self.is_due() && !self.commit()) {
                return false;
            }
        }
        true
    }

    fn decode_slice(&mut self, batch: &FetchedBatch, rows: Range<usize>) -> bool {
        let next = batch.offsets[rows.end - 1] + 1;
        let range = self.source_range(batch, &rows);
        let care = match self.owned.get(&batch.partition) {
            Some(owned) if batch.offsets[rows.start] < owned.careful_until => Care::OneByOne,
            _ => self.care(&range),
        };
        let decoded = match care {
            Care::None => self.decode_noted(batch, rows, &range),
            Care::OneByOne | Care::Refuse => {
                self.decode_one_by_one(batch, rows);
                Ok(())
            }
        };
        if let Err(Aborted(text)) = decoded {
            tracing::error!(?range, panic = text, "decoding panicked; the step starts again and these messages are decoded one by one");
            self.start_again();
            self.owned.entry(batch.partition.clone()).and_modify(|owned| owned.careful_until = next);
            return false;
        }
        self.owned.entry(batch.partition.clone()).and_modify(|owned| owned.next = next);
        true
    }

    fn decode_noted(&mut self, batch: &FetchedBatch, rows: Range<usize>, range: &SourceRange) -> Result<(), Aborted> {
        self.note(|note| note.set(range));
        let decoded = self.parts.decoder.decode_rows(batch, rows, &mut self.step);
        self.note(Note::clear);
        decoded
    }

    fn decode_one_by_one(&mut self, batch: &FetchedBatch, rows: Range<usize>) {
        for row in rows {
            let range = self.source_range(batch, &(row..row + 1));
            // A panic leaves a step half written, so each message has one of its own.
            let mut alone = Step::default();
            std::mem::swap(&mut alone, &mut self.step);
            let decoded = match self.care(&range) {
                Care::Refuse => Err(Aborted("the process died while it decoded this message".to_owned())),
                Care::None | Care::OneByOne => self.decode_noted(batch, row..row + 1, &range),
            };
            std::mem::swap(&mut alone, &mut self.step);
            match decoded {
                Ok(()) => append(&mut self.step, &alone),
                Err(Aborted(text)) => {
                    let failure =
                        Failure::new(ErrorType::Internal, "the message could not be decoded: the decoder failed").with_detail(text);
                    self.parts.decoder.refuse_row(batch, row, &failure, &mut self.step);
                }
            }
        }
    }

    fn source_range(&self, batch: &FetchedBatch, rows: &Range<usize>) -> SourceRange {
        SourceRange {
            incarnation: self.parts.decoder.incarnation(),
            partition: batch.partition.partition,
            first: batch.offsets[rows.start],
            last: batch.offsets[rows.end - 1],
        }
    }

    fn care(&self, range: &SourceRange) -> Care {
        self.parts.fence.as_ref().map_or(Care::None, |(fence, _)| fence.care(range))
    }

    /// The fence is a help, not a promise: where its files fail, decoding goes on.
    fn note(&self, act: impl FnOnce(&Note) -> std::io::Result<()>) {
        if let Some((_, note)) = &self.parts.fence
            && let Err(error) = act(note)
        {
            tracing::warn!(%error, "the crash-loop fence could not be written");
        }
    }

    /// Ends the step; whether it is durable. After a failure nothing of it happened, and everything starts again behind the last one.
    fn commit(&mut self) -> bool {
        let mut step = std::mem::take(&mut self.step);
        for (partition, owned) in self.owned.iter().filter(|(_, owned)| owned.next != owned.committed) {
            step.positions.push((partition.clone(), owned.next));
            self.parts.decoder.duplicates().save(partition.partition, owned.next, &mut step);
        }
        self.step_began = None;
        if step.is_empty() {
            return true;
        }
        if let Err(error) = self.parts.member.commit(step) {
            tracing::warn!(%error, "the step failed; decoding starts again behind the last one");
            counters::step_failed();
            if safeguard("step-undo") {
                self.start_again();
            }
            return false;
        }
        self.committed();
        true
    }

    fn committed(&mut self) {
        self.back_off = BACK_OFF_MIN;
        self.parts.decoder.duplicates().confirm();
        let incarnation = self.parts.decoder.incarnation();
        for (partition, owned) in &mut self.owned {
            if owned.next == owned.committed {
                continue;
            }
            owned.committed = owned.next;
            if let Some((fence, _)) = &self.parts.fence
                && let Err(error) = fence.committed(&incarnation, partition.partition, owned.committed)
            {
                tracing::warn!(%error, "the crash-loop fence could not be written");
            }
        }
    }

    fn start_again(&mut self) {
        if safeguard("dedupe-undo") {
            self.parts.decoder.duplicates().undo();
        }
        self.step = Step::default();
        self.step_began = None;
        for (partition, owned) in &mut self.owned {
            owned.next = owned.committed;
            // A partition that is not ours any more is revoked by the next poll.
            if let Err(error) = self.parts.member.seek(partition, owned.committed) {
                tracing::warn!(%error, topic = &*partition.topic, partition = partition.partition, "seek failed");
            }
        }
    }
}

/// The rows from `start` on that have about `bytes_max` bytes, at least one.
fn next_slice(batch: &FetchedBatch, start: usize, bytes_max: usize) -> Range<usize> {
    if batch.bytes.len() <= bytes_max && start == 0 {
        return 0..batch.offsets.len();
    }
    let mut bytes = 0;
    let mut end = start;
    for (_, record) in batch.iter().skip(start) {
        bytes += record.value.len();
        if end > start && bytes > bytes_max {
            break;
        }
        end += 1;
    }
    // Where records are damaged the walk ends early; their offsets are passed over as the bus counts them.
    start..if end == start { batch.offsets.len() } else { end }
}

/// Appends the records of one step to another.
fn append(to: &mut Step, from: &Step) {
    for (partition, records) in &from.publish {
        let buffer = to.records(partition);
        for record in records.iter() {
            let headers: Vec<_> = record.headers().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value))).collect();
            buffer.push(record.timestamp_ms, record.key, &headers, record.value);
        }
    }
}

fn pause_unless(stop: &AtomicBool, pause: Duration) {
    let mut left = pause;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        let nap = left.min(POLL_MAX);
        std::thread::sleep(nap);
        left -= nap;
    }
}
