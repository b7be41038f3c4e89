//! What was seen of the raw partitions that a worker owns.
//!
//! An id is put in when its message is written to `validated`, and counts when the step is durable: it is saved in the step,
//! and taken out again where the step fails. So a copy that a client sends of a message that ended in `errors` is no duplicate. Such
//! a message, and a duplicate, is put in with all its bytes: delivered once more by ourselves it leaves nothing.

use crate::{
    analysis::{Envelope, Outlet},
    graphs::Alert,
    source::Source,
};
use metrics::Gauge;
use std::{collections::BTreeMap, io, sync::Arc};
use tidemill_bus::{Bus, BusError, Checkpoint, Member, Step};
use tidemill_dedupe::{Forgotten, Mark, Options, Origin, Restored, Seen, Verdict, hash_of, hash_of_message};

/// A step ends when it has put in so many ids, so that an increment stays far below the largest checkpoint: 2 MB.
pub const STEP_IDS_MAX: usize = 200_000;
/// Alerts of a partition are so far apart, in its time.
const ALERT_NS: i64 = 3_600_000_000_000;

/// What the stage is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupeOptions {
    /// A document is remembered for so many hours of its partition's time.
    pub window_h: u32,
    /// Documents, refused messages and copies remembered at most, in all partitions of `raw` together; each has an equal part.
    pub ids_max: u64,
}

impl Default for DedupeOptions {
    /// A day, 32 million: 280 MB where one host owns all partitions and all are there.
    fn default() -> Self {
        Self { window_h: 24, ids_max: 32_000_000 }
    }
}

/// What a worker's duplicates are made with.
pub struct DuplicatesParts {
    options: Options,
    alerts: Option<Outlet>,
    incarnation: Arc<str>,
    generation: u64,
    epoch: u64,
}

impl DuplicatesParts {
    /// Looks the topics up; without a topic of alerts there are none.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    pub fn new(options: &DedupeOptions, bus: &dyn Bus, (generation, epoch): (u64, u64)) -> Result<Self, BusError> {
        let partitions = u64::from(bus.partitions("raw")?).max(1);
        let alerts = match Outlet::new(bus, crate::graphs::ALERTS) {
            Err(BusError::NotFound(_)) => None,
            found => Some(found?),
        };
        let options = Options { window_h: options.window_h, ids_max: options.ids_max.div_ceil(partitions) };
        Ok(Self { options, alerts, incarnation: bus.incarnation("raw")?, generation, epoch })
    }
}

/// What was seen of the partitions; without [`DuplicatesParts`] nothing is a duplicate.
#[derive(Default)]
pub struct Duplicates {
    parts: Option<DuplicatesParts>,
    partitions: BTreeMap<u32, Partition>,
    scratch: Vec<u8>,
}

struct Partition {
    seen: Seen,
    /// When its last alert was raised, in its time; and that of the step being made.
    alerted_ns: Option<i64>,
    alerting_ns: Option<i64>,
    ids: Gauge,
    bytes: Gauge,
}

/// A place within a step.
pub struct Place(u32, Mark);

impl Duplicates {
    /// Begins to remember.
    pub fn new(parts: DuplicatesParts) -> Self {
        Self { parts: Some(parts), ..Self::default() }
    }

    /// The topic was made anew: positions that are asked for from now on are of another one, and what was seen in the old is known.
    pub fn set_incarnation(&mut self, incarnation: &Arc<str>) {
        if let Some(parts) = &mut self.parts {
            parts.incarnation = Arc::clone(incarnation);
        }
    }

    /// A message of this time came by in a partition.
    pub fn observe(&mut self, partition: u32, timestamp_ns: i64) {
        if let Some(found) = self.partitions.get_mut(&partition) {
            found.seen.observe(timestamp_ns);
        }
    }

    /// Says what a valid document is, and the unit of how long ago the first copy came, in seconds.
    pub fn check(&mut self, partition: u32, (namespace, doc_type, id): (&str, &str, &[u8]), uuid: &[u8; 16]) -> (Verdict, i64) {
        let Some(found) = self.partitions.get_mut(&partition) else { return (Verdict::New, 0) };
        let hash = hash_of(namespace, doc_type, id, &mut self.scratch);
        (found.seen.check(hash, uuid), found.seen.interval_s())
    }

    /// Whether a message that leaves an error record, or that of a duplicate, left it before.
    pub fn is_redelivered(&mut self, partition: u32, message: &[u8], uuid: &[u8; 16]) -> bool {
        let Some(found) = self.partitions.get_mut(&partition) else { return false };
        found.seen.check(hash_of_message(message), uuid) == Verdict::Redelivered
    }

    /// A place in what the step does to a partition.
    pub fn mark(&self, partition: u32) -> Option<Place> {
        self.partitions.get(&partition).map(|found| Place(partition, found.seen.mark()))
    }

    /// Goes back to a place of the same step.
    pub fn roll_back(&mut self, place: Option<Place>) {
        let Some(Place(partition, mark)) = place else { return };
        if let Some(found) = self.partitions.get_mut(&partition) {
            found.seen.roll_back(mark);
        }
    }

    /// Whether messages of a partition may be decoded: what was seen of it is known.
    pub fn is_ready(&self, partition: u32) -> bool {
        self.parts.is_none() || self.partitions.contains_key(&partition)
    }

    /// Reads what was seen of a partition whose next offset is `position`.
    ///
    /// # Errors
    /// When the bus cannot be reached, and where a newer program saved it: to forget it would be to let copies through for ever.
    pub fn restore(&mut self, member: &mut dyn Member, partition: u32, position: i64) -> Result<(), BusError> {
        let Some(parts) = &self.parts else { return Ok(()) };
        let origin = Origin { incarnation: &parts.incarnation, partition, position };
        let (seen, restored) = Seen::restore(&parts.options, &origin, |key| read(member, key))?;
        log(partition, &restored);
        if let Restored::Newer { found, newest } = restored {
            let error = format!("it has format version {found}; this program reads up to {newest}: start the newer program again");
            return Err(BusError::Unusable(error));
        }
        let gauge = |name: &'static str| metrics::gauge!(name, "partition" => partition.to_string());
        let (ids, bytes) = (gauge("tidemill_dedupe_ids"), gauge("tidemill_dedupe_memory_bytes"));
        let restored = Partition { seen, alerted_ns: None, alerting_ns: None, ids, bytes };
        restored.show();
        self.partitions.insert(partition, restored);
        Ok(())
    }

    /// Forgets the partitions that are others' now.
    pub fn retain(&mut self, is_owned: impl Fn(u32) -> bool) {
        self.partitions.retain(|partition, found| {
            let keeps = is_owned(*partition);
            if !keeps {
                found.ids.set(0.0);
                found.bytes.set(0.0);
            }
            keeps
        });
    }

    /// Adds to a step what it did to a partition, whose next offset is `position`.
    pub fn save(&mut self, partition: u32, position: i64, step: &mut Step) {
        let (Some(parts), Some(found)) = (&self.parts, self.partitions.get_mut(&partition)) else { return };
        let saved = found.seen.save(position).into_iter();
        step.checkpoints.extend(saved.map(|saved| Checkpoint { key: saved.key, bytes: saved.bytes.map(Into::into) }));
        let forgotten = found.seen.step_forgotten();
        let now_ns = found.seen.time_ns();
        let is_due = found.alerted_ns.is_none_or(|before| now_ns.saturating_sub(before) >= ALERT_NS);
        if !forgotten.is_empty() && is_due {
            found.alerting_ns = Some(now_ns);
            parts.alert(partition, position, now_ns, forgotten, step);
        }
    }

    /// The step is durable.
    pub fn confirm(&mut self) {
        for found in self.partitions.values_mut() {
            let Forgotten { early, at_once } = found.seen.step_forgotten();
            if early + at_once > 0 {
                metrics::counter!("tidemill_dedupe_forgotten_total", "when" => "early").increment(early);
                metrics::counter!("tidemill_dedupe_forgotten_total", "when" => "at_once").increment(at_once);
            }
            found.alerted_ns = found.alerting_ns.take().or(found.alerted_ns);
            found.seen.confirm();
            found.show();
        }
    }

    /// The step failed. What cannot be undone is restored before the partition is decoded again.
    pub fn undo(&mut self) {
        self.partitions.retain(|_, found| {
            found.alerting_ns = None;
            found.seen.undo()
        });
    }

    /// Whether the step has put in as much as it may.
    pub fn is_full(&self) -> bool {
        self.partitions.values().map(|found| found.seen.step_ids()).sum::<usize>() >= STEP_IDS_MAX
    }
}

impl Partition {
    fn show(&self) {
        self.ids.set(self.seen.ids() as f64);
        self.bytes.set(self.seen.memory_bytes() as f64);
    }
}

impl DuplicatesParts {
    fn alert(&self, partition: u32, position: i64, time_ns: i64, forgotten: Forgotten, step: &mut Step) {
        let Options { window_h, ids_max } = self.options;
        let Forgotten { early, at_once } = forgotten;
        tracing::error!(partition, early, at_once, ids_max, "more documents than dedupe.ids_max allows: their copies are let through");
        let Some(outlet) = &self.alerts else { return };
        let summary =
            format!("raw/{partition} has more documents within {window_h} h than may be remembered: their copies are let through");
        let detail = format!(
            "{early} were forgotten early and {at_once} at once in one step; the partition may have {ids_max}: raise dedupe.ids_max, or \
             see whether an edge's clock is ahead"
        );
        let id = format!("dedupe/{partition}");
        let alert = Alert { time_ns, plugin: "tidemill".into(), id, kind: "host".into(), summary, detail, measured: None };
        let mut value = Vec::new();
        alert.write(&mut value);
        let source = Source {
            producer: super::write::PRODUCER,
            generation: self.generation,
            incarnation: &self.incarnation,
            partition,
            offset: position - 1,
            n: 0,
        };
        outlet.publish(step, Envelope { key: &alert.uuid(), source, epoch: self.epoch, timestamp_ns: time_ns }, &value);
    }
}

/// A checkpoint; one that is damaged for good counts as gone.
fn read(member: &mut dyn Member, key: &str) -> Result<Option<bytes::Bytes>, BusError> {
    match member.checkpoint(key) {
        Err(BusError::Io { what, source }) if source.kind() == io::ErrorKind::InvalidData => {
            tracing::error!(key, what, "a checkpoint is damaged: copies of the documents in it are let through");
            Ok(None)
        }
        found => found,
    }
}

fn log(partition: u32, restored: &Restored) {
    match restored {
        Restored::Nothing => tracing::debug!(partition, "no document was seen yet"),
        Restored::Ids { ids, missing: 0 } => tracing::debug!(partition, ids, "documents that were seen are known again"),
        Restored::Ids { ids, missing } => {
            tracing::error!(partition, ids, missing, "checkpoints are missing: copies of the documents in them are let through");
        }
        Restored::SetBack { position } => {
            tracing::warn!(partition, position, "the position was set back: what was seen is forgotten, so that it is decoded again");
        }
        // The caller says it.
        Restored::Newer { .. } => {}
        Restored::Unreadable(error) => {
            tracing::error!(partition, error, "what was seen cannot be read: copies of documents before now are let through");
        }
    }
}
