//! What a worker of the analysis or output stage does with the records of its partitions: it reads each message once for all
//! plugins, feeds the slots, makes their calls in turns, and saves each slot together with what it staged.

use super::{
    block::BLOCK_ROWS_MAX,
    call::Context,
    document::{Located, Places},
    driver::{Refused, Work},
    feeding::{Feeding, Reading},
    progress::publish,
    rows::Fed,
    saved::Saved,
    slot::{Running, Slot},
    spec::PluginSet,
    staged::Outlets,
    turns::{Chosen, Grant, Turns},
};
use crate::{columns::FillScratch, graphs::Alert, status::LiveState};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};
use tidemill_bus::{Bus, BusError, Clock, FetchedBatch, Member, RecordRef, Start, Step, TopicPartition};
use tidemill_message::{Matches, MessageRef};
use tidemill_runtime::{CallError, Kind};

/// How long calls are made, of all slots, before the bus is looked at again.
const ROUNDS_MAX: Duration = Duration::from_millis(50);
/// How long the end of a step waits for calls.
const FINISH_MAX: Duration = Duration::from_millis(200);
/// Rows of the batches that are collected at a time for all plugins of a partition: what stays near at hand, and makes calls few.
const COLLECTED_ROWS: u32 = 65_536;
/// The least rows that a batch is cut at for that.
const BATCH_ROWS_MIN: u32 = 256;
/// A partition is idle when nothing came for so long, ...
const IDLE_AFTER: Duration = Duration::from_secs(2);
/// ... and the bus was asked so often.
const IDLE_POLLS_MIN: u32 = 8;
/// How long a detached slot waits after its reader failed.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A partition the worker owns.
struct Partition {
    /// The next offset that joined slots will see.
    next: i64,
    /// When records came last, and how often the bus was asked since.
    fed_at: Duration,
    polls: u32,
    is_idle: bool,
    watermark_ms: i64,
    slots: Vec<Slot>,
}

/// What a worker is made of.
pub struct PluginsParts {
    /// The bus, for the readers of detached slots.
    pub bus: Arc<dyn Bus>,
    /// The plugins.
    pub set: Arc<PluginSet>,
    /// Where records go.
    pub outlets: Outlets,
    /// Shared with the API.
    pub live: Arc<LiveState>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// See the module.
pub struct PluginsWork {
    parts: PluginsParts,
    partitions: BTreeMap<TopicPartition, Partition>,
    pool: BTreeMap<String, Running>,
    matches: Matches,
    places: Places,
    scratch: FillScratch,
    feeding: Feeding,
    /// Records came since the last tick.
    has_fed: bool,
    turns: Turns,
    /// How long the last batch took to be fed, with the calls that were made meanwhile: that much less is left for calls after it.
    fed_for: Duration,
    rows_max: u32,
}

impl PluginsWork {
    /// A worker that owns nothing yet.
    pub fn new(parts: PluginsParts) -> Self {
        let (partitions, pool) = (BTreeMap::new(), BTreeMap::new());
        let (matches, places, scratch, feeding) = (Matches::new(), Places::default(), FillScratch::default(), Feeding::default());
        let plugins = u32::try_from(parts.set.plugins.len()).unwrap_or(u32::MAX).max(1);
        // A delivery a batch costs more than what the cache saves.
        let is_output = parts.set.plugins.iter().any(|spec| spec.component.kind() == Kind::Output);
        let rows_max = if is_output { u32::MAX } else { (COLLECTED_ROWS / plugins).max(BATCH_ROWS_MIN) };
        Self {
            parts,
            partitions,
            pool,
            matches,
            places,
            scratch,
            feeding,
            has_fed: false,
            turns: Turns::default(),
            fed_for: Duration::ZERO,
            rows_max,
        }
    }

    /// Batches of partitions that are assigned from now on have at most so many rows: what plugins find does not depend on it.
    pub fn limit_rows(&mut self, rows_max: u32) {
        self.rows_max = rows_max.max(1);
    }

    fn now(&self) -> Duration {
        self.parts.clock.elapsed()
    }

    /// Makes calls of the slots in turns, for as long as the budget.
    fn make_calls(&mut self, budget: Duration, chosen: Chosen, grant: Grant) {
        let Self { parts, partitions, pool, scratch, turns, .. } = self;
        let mut slots: Vec<_> = partitions.values_mut().flat_map(|partition| &mut partition.slots).collect();
        let mut context = Context { set: &parts.set, pool, outlets: &parts.outlets, clock: &*parts.clock, scratch };
        turns.make_calls(&mut slots, &mut context, budget, chosen, grant);
    }

    /// Gives records of the batch to the slots that `wanted` names.
    fn feed<'b>(
        &mut self,
        batch: &'b FetchedBatch,
        records: impl Iterator<Item = (i64, RecordRef<'b>)>,
        reading: &mut Reading<'b>,
        wanted: impl Fn(usize, &Slot) -> bool,
    ) {
        let now = self.now();
        let Self { parts, partitions, matches, places, scratch, feeding, .. } = self;
        let Some(partition) = partitions.get_mut(&batch.partition) else { return };
        let PluginSet { fields, matchers, pointers, .. } = &*parts.set;
        feeding.begin(&partition.slots, wanted);
        let Reading { found, block, matched, watermark_ms } = reading;
        let is_by_block = feeding.is_by_block();
        if !is_by_block {
            feeding.count_anew();
        }
        for (offset, record) in records {
            let Ok(message) = MessageRef::parse_with(record.value, fields, found) else {
                tracing::error!(
                    topic = &*batch.partition.topic,
                    partition = batch.partition.partition,
                    offset,
                    "not a message; passed over"
                );
                continue;
            };
            *watermark_ms = (*watermark_ms).max(message.timestamp().div_euclid(1_000_000));
            let timestamp_ns = message.timestamp();
            let row = Fed { offset, timestamp_ns, watermark_ms: *watermark_ms, chunk: &batch.bytes, key: record.key, value: record.value };
            if is_by_block {
                matchers.push(matched, &message, found);
                block.push_untested(&row, &message, found);
                if matched.is_full() {
                    feeding.select_block(matchers, matched, block);
                    feeding.feed(&mut partition.slots, block, now);
                }
                continue;
            }
            matchers.matches_found(&message, found, matches);
            if feeding.selects(matches) {
                feeding.select(matches, block.push(&row, &message, found));
                if block.is_full() {
                    feeding.feed(&mut partition.slots, block, now);
                }
            }
            if feeding.by_row.is_empty() {
                continue;
            }
            // Where no plugin asks for a part of the document, nobody looks for its index.
            let index = if pointers.is_empty() { None } else { record.header("tm-idx") };
            let document = Located::new(pointers, &message, found.json(), index, places);
            for number in feeding.by_row.iter().copied() {
                let slot = &mut partition.slots[number];
                if matches.contains(number) || slot.wants_time() {
                    slot.feed(&row, now, |spec, builder| {
                        let field = |column: usize, _: &str| found.get(spec.fields[column]).copied();
                        let document = &document.of_plugin(&spec.pointers);
                        matches.contains(number) && spec.columns.fill_row_with(&message, field, document, builder, scratch).is_ok()
                    });
                }
            }
        }
        // A block that is full was fed already; an empty one says nothing about how many are wanted.
        if is_by_block && !matched.is_empty() {
            feeding.select_block(matchers, matched, block);
        }
        feeding.feed(&mut partition.slots, block, now);
    }

    /// The slots that `wanted` names have seen the batch, also its records that are no messages, or that no matcher selects.
    fn pass(&mut self, batch: &FetchedBatch, watermark_ms: i64, wanted: impl Fn(usize, &Slot) -> bool) {
        let Some(partition) = self.partitions.get_mut(&batch.partition) else { return };
        let next = batch.next_offset().unwrap_or(0);
        let fed = partition.slots.iter_mut().enumerate().filter(|(number, slot)| wanted(*number, slot));
        fed.for_each(|(_, slot)| slot.pass(next, watermark_ms));
        partition.watermark_ms = partition.watermark_ms.max(watermark_ms);
    }

    /// Gives a batch to all slots that keep up, and makes the calls that become ready meanwhile, while what they read is still in
    /// the cache.
    fn feed_joined(&mut self, batch: &FetchedBatch) {
        let began = self.now();
        let set = Arc::clone(&self.parts.set);
        let (mut records, mut reading) = (batch.iter(), Reading::new(&set, batch));
        for fed in (0..batch.offsets.len()).step_by(BLOCK_ROWS_MAX) {
            let left = ROUNDS_MAX.saturating_sub(self.now().saturating_sub(began));
            if fed > 0 && !left.is_zero() {
                self.make_calls(left, Chosen::All, Grant::Nothing);
            }
            self.feed(batch, records.by_ref().take(BLOCK_ROWS_MAX), &mut reading, |_, slot| slot.joined);
        }
        self.pass(batch, reading.watermark_ms, |_, slot| slot.joined);
        self.fed_for = self.now().saturating_sub(began);
    }

    /// Detaches slots that can take no more, and lets detached ones go on.
    fn catch_up(&mut self) {
        let now = self.now();
        let behind: Vec<_> = self
            .partitions
            .iter_mut()
            .flat_map(|(place, partition)| {
                let next = partition.next;
                let slots = partition.slots.iter_mut().enumerate();
                slots.filter_map(|(number, slot)| slot.look_behind(next, now).then(|| (place.clone(), number))).collect::<Vec<_>>()
            })
            .collect();
        for (place, number) in behind {
            match self.read_behind(&place, number) {
                Ok(Some(batch)) => {
                    let set = Arc::clone(&self.parts.set);
                    let mut reading = Reading::new(&set, &batch);
                    self.feed(&batch, batch.iter(), &mut reading, |other, _| other == number);
                    self.pass(&batch, reading.watermark_ms, |other, _| other == number);
                }
                Ok(None) => {}
                Err(error) => self.reading_failed(&place, number, &error),
            }
        }
    }

    fn read_behind(&mut self, place: &TopicPartition, number: usize) -> Result<Option<FetchedBatch>, BusError> {
        let Some(slot) = self.partitions.get_mut(place).and_then(|partition| partition.slots.get_mut(number)) else { return Ok(None) };
        let reader = match &mut slot.reader {
            Some(reader) => reader,
            none => none.insert(self.parts.bus.reader(place, Start::Offset(slot.fed))?),
        };
        reader.poll(Duration::ZERO)
    }

    fn reading_failed(&mut self, place: &TopicPartition, number: usize, error: &BusError) {
        let Some(slot) = self.partitions.get_mut(place).and_then(|partition| partition.slots.get_mut(number)) else { return };
        slot.reader = None;
        slot.read_not_before = self.parts.clock.elapsed() + READ_AGAIN;
        if let BusError::OutOfRange { start, position, .. } = error
            && *start > slot.fed
        {
            let lost = start - position;
            tracing::error!(
                plugin = slot.spec.name(),
                topic = &*place.topic,
                partition = place.partition,
                lost,
                "the plugin was too far behind: records were removed before it saw them"
            );
            slot.fed = *start;
            let alert = lost_alert(slot, lost, &*self.parts.clock);
            slot.stage_host_alert(&alert);
        } else {
            tracing::warn!(%error, plugin = slot.spec.name(), "the plugin cannot catch up; trying again");
        }
    }

    fn look_at_clock(&mut self) {
        let (now, now_ms) = (self.now(), self.parts.clock.now_ns().div_euclid(1_000_000));
        for partition in self.partitions.values_mut() {
            partition.polls = partition.polls.saturating_add(1);
            partition.is_idle = partition.polls >= IDLE_POLLS_MIN && now.saturating_sub(partition.fed_at) >= IDLE_AFTER;
            for slot in &mut partition.slots {
                slot.cut_old(now);
                if partition.is_idle && slot.joined && slot.is_drained() {
                    slot.tick_by_clock(now_ms);
                }
            }
        }
    }

    /// Whether some partition's progress is due to be published.
    fn wants_progress(&self) -> bool {
        let now = self.now();
        self.parts.outlets.graphs.is_some()
            && self.partitions.values().any(|partition| partition.slots.iter().any(|slot| slot.progress(partition.is_idle, now).is_some()))
    }

    fn save_slots(&mut self, step: &mut Step) {
        let now = self.now();
        let Self { parts, partitions, pool, scratch, .. } = self;
        let mut context = Context { set: &parts.set, pool, outlets: &parts.outlets, clock: &*parts.clock, scratch };
        for partition in partitions.values_mut() {
            for slot in &mut partition.slots {
                match slot.save(&mut context) {
                    Ok(checkpoint) => publish(slot, checkpoint, partition.is_idle, now, &parts.outlets, step),
                    Err(error) => roll_back(slot, &error, &mut context),
                }
            }
        }
    }

    fn load(&self, member: &mut dyn Member, place: &TopicPartition, position: i64) -> Result<Vec<Slot>, BusError> {
        let now = self.now();
        let incarnation = self.parts.outlets.incarnations.get(&place.topic).map_or("", |incarnation| incarnation);
        let slots = self.parts.set.plugins.iter().map(|spec| {
            let saved = match member.checkpoint(&Saved::key(spec.name(), place))? {
                Some(bytes) => Saved::decode(&bytes).map_err(|error| unusable(spec.name(), place, &error))?,
                // A new plugin begins where the group is.
                None => Saved { position, ..Saved::default() },
            };
            Ok(Slot::new(Arc::clone(spec), place.clone(), saved.go_on_in(incarnation, position), self.rows_max, now))
        });
        slots.collect()
    }

    /// The slots, for tests.
    #[cfg(test)]
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.partitions.values().flat_map(|partition| &partition.slots)
    }
}

impl Work for PluginsWork {
    fn look_at_topics(&mut self, topics: &BTreeSet<Arc<str>>) -> Result<(), BusError> {
        for topic in topics {
            self.parts.outlets.incarnations.insert(Arc::clone(topic), self.parts.bus.incarnation(topic)?);
        }
        Ok(())
    }

    fn assign(&mut self, member: &mut dyn Member, place: &TopicPartition, position: i64) -> Result<i64, BusError> {
        self.release(place);
        let slots = self.load(member, place, position)?;
        let fed_at = self.now();
        let partition = Partition { next: position, fed_at, polls: 0, is_idle: false, watermark_ms: i64::MIN, slots };
        self.partitions.insert(place.clone(), partition);
        Ok(position)
    }

    fn release(&mut self, place: &TopicPartition) {
        if let Some(mut partition) = self.partitions.remove(place) {
            partition.slots.iter_mut().for_each(Slot::retire);
        }
    }

    fn batch(&mut self, batch: &FetchedBatch, _: &mut Step) -> Result<(), Refused> {
        let now = self.now();
        if let Some(partition) = self.partitions.get_mut(&batch.partition) {
            let next = partition.next;
            partition.slots.iter_mut().for_each(|slot| slot.look_joined(next));
            (partition.fed_at, partition.polls, partition.is_idle) = (now, 0, false);
        }
        self.has_fed = true;
        self.feed_joined(batch);
        if let (Some(partition), Some(next)) = (self.partitions.get_mut(&batch.partition), batch.next_offset()) {
            partition.next = next;
        }
        Ok(())
    }

    fn tick(&mut self, _: &mut Step) -> bool {
        self.look_at_clock();
        self.catch_up();
        let fed_for = std::mem::take(&mut self.fed_for);
        let grant = if std::mem::take(&mut self.has_fed) { Grant::Once } else { Grant::EachRound };
        self.make_calls(ROUNDS_MAX.saturating_sub(fed_for), Chosen::All, grant);
        self.held_bytes() > 0
            || self.wants_progress()
            || self.partitions.values().any(|partition| partition.slots.iter().any(Slot::wants_saving))
    }

    fn is_busy(&self) -> bool {
        let now = self.now();
        self.partitions.values().flat_map(|partition| &partition.slots).any(|slot| slot.is_ready(now) || slot.reads_behind(now))
    }

    fn held_bytes(&self) -> usize {
        self.partitions.values().flat_map(|partition| &partition.slots).map(|slot| slot.staged.bytes()).sum()
    }

    fn finish(&mut self, step: &mut Step) {
        self.partitions.values_mut().flat_map(|partition| &mut partition.slots).for_each(Slot::cut);
        self.make_calls(FINISH_MAX, Chosen::Healthy, Grant::Once);
        self.save_slots(step);
    }

    fn committed(&mut self) {
        for slot in self.partitions.values_mut().flat_map(|partition| &mut partition.slots) {
            slot.saved();
            for (name, payload) in slot.staged.payloads.drain(..) {
                if !self.parts.live.set_payload(slot.spec.name(), &name, payload) {
                    tracing::warn!(plugin = slot.spec.name(), payload = name, "the plugin has too many payloads; this one is not shown");
                }
            }
        }
    }

    /// Shared instances go too: what they declared in the step they would not declare again.
    fn failed(&mut self) {
        for (name, running) in std::mem::take(&mut self.pool) {
            if let Some(spec) = self.parts.set.plugins.iter().find(|spec| spec.name() == name) {
                spec.status.set_memory(running.memory_bytes, 0);
            }
        }
    }

    fn lost(&mut self, place: &TopicPartition, offsets: i64, _: &mut Step) {
        for slot in self.partitions.get_mut(place).into_iter().flat_map(|partition| &mut partition.slots) {
            let alert = lost_alert(slot, offsets, &*self.parts.clock);
            slot.stage_host_alert(&alert);
        }
    }
}

/// The state cannot be had, so nothing that depends on it may be published: the slot goes back to its last checkpoint and rests.
fn roll_back(slot: &mut Slot, error: &CallError, context: &mut Context<'_>) {
    tracing::error!(
        plugin = slot.spec.name(),
        error = error.message,
        "the plugin's state cannot be saved; it begins anew from its last checkpoint"
    );
    slot.retire();
    let (rests, failures, seen_ms, saved) = (slot.rests, slot.failures_in_row, slot.seen_ms, slot.committed.clone());
    *slot = Slot::new(Arc::clone(&slot.spec), slot.place.clone(), saved, slot.rows_max, context.clock.elapsed());
    (slot.rests, slot.failures_in_row, slot.was_opened, slot.joined, slot.is_dirty) = (rests, failures + 2, true, false, false);
    slot.seen_ms = seen_ms;
    slot.instance_failed(error, context);
}

fn lost_alert(slot: &Slot, offsets: i64, clock: &dyn Clock) -> Alert {
    let (plugin, TopicPartition { topic, partition }) = (slot.spec.name().to_owned(), &slot.place);
    let summary = format!("{plugin}: {offsets} offsets of {topic}/{partition} were removed before they were read");
    let detail = "The log's retention is too short for how far this reader was behind.".to_owned();
    let (time_ns, id, kind) = (slot.alert_time_ns(clock), "lost".to_owned(), "host".to_owned());
    Alert { time_ns, plugin, id, kind, summary, detail, measured: None }
}

fn unusable(plugin: &str, place: &TopicPartition, error: &crate::graphs::codec::CodecError) -> BusError {
    BusError::Unusable(format!("plugin {plugin} in {}/{}: {error}", place.topic, place.partition))
}

/// The names of the plugins of a set, each once.
///
/// # Errors
/// The name that is there twice.
pub fn check_names(set: &PluginSet) -> Result<(), String> {
    let mut seen = HashSet::new();
    set.plugins.iter().map(|spec| spec.name()).find(|name| !seen.insert(*name)).map_or(Ok(()), |name| Err(name.to_owned()))
}
