//! What a worker of the analysis or output stage does with the records of its partitions: it reads each message once for all
//! plugins, feeds the slots, makes their calls in turns, and saves each slot together with what it staged.

use super::{
    block::{BLOCK_ROWS_MAX, Block},
    call::Context,
    document::{Located, Places},
    driver::{Refused, Work},
    progress::publish,
    rows::Fed,
    saved::Saved,
    slot::{Running, Slot},
    spec::PluginSet,
    staged::Outlets,
};
use crate::{columns::FillScratch, graphs::Alert, status::LiveState};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};
use tidemill_bus::{Bus, BusError, Clock, FetchedBatch, Member, RecordRef, Start, Step, TopicPartition};
use tidemill_message::{FoundFields, MatchBlock, MatcherSet, Matches, MessageRef};
use tidemill_runtime::{CallError, Kind};

/// Measured time that a slot gets for each fetch of records, which takes some milliseconds itself: one that needs more falls behind,
/// and the others go on. A call that took longer is paid back.
const QUANTUM: Duration = Duration::from_millis(5);
/// How long calls are made, of all slots, before the bus is looked at again.
const ROUNDS_MAX: Duration = Duration::from_millis(50);
/// How long the end of a step waits for calls.
const FINISH_MAX: Duration = Duration::from_millis(200);
/// Rows of the batches that are collected at a time for all plugins of a partition: what stays near at hand, and makes calls few.
const COLLECTED_ROWS: u32 = 65_536;
/// The least rows that a batch is cut at for that.
const BATCH_ROWS_MIN: u32 = 256;
/// Blocks are matched as such while of so many messages one is wanted.
const WANTED_SHARE: usize = 4;
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

/// How slots get time for their calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    /// They have what is left of it.
    Nothing,
    /// A quantum: records wait to be read.
    Once,
    /// A quantum in each round: there is nothing else to do.
    EachRound,
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
    /// Where the next round begins: a budget that ends a round early is fair in the long run.
    turn: usize,
    /// How long the last batch took to be fed, with the calls that were made meanwhile: that much less is left for calls after it.
    fed_for: Duration,
    rows_max: u32,
}

/// What is read of a fetched batch.
struct Reading<'b> {
    found: FoundFields<'b>,
    block: Block<'b>,
    matched: MatchBlock<'b>,
    /// The greatest time in the batch so far.
    watermark_ms: i64,
}

impl<'b> Reading<'b> {
    fn new(set: &'b PluginSet, batch: &'b FetchedBatch) -> Self {
        let (block, matched) = (Block::new(&set.shared, &batch.bytes), MatchBlock::default());
        Self { found: FoundFields::default(), block, matched, watermark_ms: i64::MIN }
    }
}

/// How the slots of a partition are fed, and memory for it.
#[derive(Default)]
struct Feeding {
    /// Those that are given each row at once.
    by_row: Vec<usize>,
    /// Those that take their rows from blocks.
    by_block: Vec<usize>,
    /// The rows of the block that each slot's matcher selects.
    selected: Vec<Vec<u16>>,
    /// Of the messages that were fed last, how many some slot wanted.
    wanted: usize,
    of: usize,
}

impl Feeding {
    fn begin(&mut self, slots: &[Slot], wanted: impl Fn(usize, &Slot) -> bool) {
        let Self { by_row, by_block, selected, .. } = self;
        by_row.clear();
        by_block.clear();
        selected.resize_with(slots.len(), Vec::new);
        for (number, slot) in slots.iter().enumerate().filter(|(number, slot)| wanted(*number, slot)) {
            if slot.spec.takes_blocks() { by_block.push(number) } else { by_row.push(number) }
        }
    }

    /// Whether whole blocks are read before anything of them is matched: each test is then made once for all messages, but their
    /// columns are also filled for those that nobody wants.
    fn is_by_block(&self) -> bool {
        self.by_row.is_empty() && !self.by_block.is_empty() && self.wanted * WANTED_SHARE >= self.of
    }

    fn select_block<'m>(&mut self, matchers: &MatcherSet, matched: &mut MatchBlock<'m>, block: &mut Block<'m>) {
        let Self { by_block, selected, wanted, of, .. } = self;
        (*wanted, *of) = (matchers.select(matched, by_block, selected), matched.len());
        block.take_tested(matched);
        matched.clear();
    }

    /// Whether a slot that takes blocks wants the message.
    fn selects(&mut self, matches: &Matches) -> bool {
        let is_wanted = self.by_block.iter().any(|number| matches.contains(*number));
        self.of += 1;
        self.wanted += usize::from(is_wanted);
        is_wanted
    }

    fn select(&mut self, matches: &Matches, place: u16) {
        for number in &self.by_block {
            if matches.contains(*number) {
                self.selected[*number].push(place);
            }
        }
    }

    fn feed(&mut self, slots: &mut [Slot], block: &mut Block<'_>, now: Duration) {
        let rows = block.take_rows();
        for number in &self.by_block {
            slots[*number].feed_block(block, &rows, &self.selected[*number], now);
            self.selected[*number].clear();
        }
        block.clear();
    }
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
        Self { parts, partitions, pool, matches, places, scratch, feeding, has_fed: false, turn: 0, fed_for: Duration::ZERO, rows_max }
    }

    /// Batches of partitions that are assigned from now on have at most so many rows: what plugins find does not depend on it.
    pub fn limit_rows(&mut self, rows_max: u32) {
        self.rows_max = rows_max.max(1);
    }

    fn now(&self) -> Duration {
        self.parts.clock.elapsed()
    }

    /// Makes calls in turns until nothing is ready, those that are have no time left, or the time of all is up.
    fn make_calls(&mut self, budget: Duration, only_healthy: bool, grant: Grant) {
        let Self { parts, partitions, pool, scratch, turn, .. } = self;
        let mut slots: Vec<_> = partitions.values_mut().flat_map(|partition| &mut partition.slots).collect();
        let mut context = Context { set: &parts.set, pool, outlets: &parts.outlets, clock: &*parts.clock, scratch };
        let (began, count) = (parts.clock.elapsed(), slots.len());
        if grant == Grant::Once {
            slots.iter_mut().for_each(|slot| slot.grant(QUANTUM));
        }
        // Slots without work cost a look each: where there is no work at all there is no round.
        let is_wanted = |slot: &Slot, now| slot.is_ready(now) && !(only_healthy && slot.is_careful());
        loop {
            let mut goes_on = false;
            for _ in 0..count {
                *turn = (*turn + 1) % count;
                let now = parts.clock.elapsed();
                if now.saturating_sub(began) > budget {
                    return;
                }
                let slot = &mut *slots[*turn];
                slot.wake(now);
                if !is_wanted(slot, now) {
                    continue;
                }
                if grant == Grant::EachRound {
                    slot.grant(QUANTUM);
                    goes_on = true;
                }
                if slot.has_time() {
                    slot.run_one(&mut context);
                    goes_on = true;
                }
            }
            if !goes_on {
                return;
            }
        }
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
            (feeding.wanted, feeding.of) = (0, 0);
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
                self.make_calls(left, false, Grant::Nothing);
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
        self.make_calls(ROUNDS_MAX.saturating_sub(fed_for), false, grant);
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
        self.make_calls(FINISH_MAX, true, Grant::Once);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::block::SharedPlan;
    use bytes::Bytes;
    use tidemill_message::{Matcher, MessageWriter};

    #[test]
    fn blocks_are_matched_as_such_while_enough_of_them_is_wanted() {
        let matchers = MatcherSet::new(vec![Matcher::parse("Severity == 1").expect("a matcher")]);
        let messages = [1, 2, 2, 2, 2].map(|severity| {
            let mut bytes = Vec::new();
            MessageWriter::new(&mut bytes, &[0; 16], 0).severity(severity);
            bytes
        });
        let [wanted, unwanted] = [0, 1].map(|number| MessageRef::parse(&messages[number]).expect("a message"));
        let (plan, chunk, found) = (SharedPlan::default(), Bytes::new(), FoundFields::default());
        let (mut block, mut matched, mut matches) = (Block::new(&plan, &chunk), MatchBlock::default(), Matches::new());
        let mut feeding = Feeding { by_block: vec![0], selected: vec![Vec::new()], ..Feeding::default() };
        assert!(feeding.is_by_block(), "nothing is known yet");
        let mut select = |feeding: &mut Feeding, [wanted_count, unwanted_count]: [usize; 2]| {
            let all = std::iter::repeat_n(&wanted, wanted_count).chain(std::iter::repeat_n(&unwanted, unwanted_count));
            all.for_each(|message| matchers.push(&mut matched, message, &found));
            feeding.select_block(&matchers, &mut matched, &mut block);
        };
        select(&mut feeding, [1, WANTED_SHARE - 1]);
        assert_eq!((feeding.is_by_block(), &feeding.selected[0][..]), (true, &[0][..]));
        select(&mut feeding, [1, WANTED_SHARE]);
        assert!(!feeding.is_by_block(), "too few are wanted");
        (feeding.wanted, feeding.of) = (0, 0);
        for message in [&unwanted, &unwanted, &unwanted, &unwanted, &wanted] {
            assert!(!feeding.is_by_block() || feeding.of == 0);
            matchers.matches(message, &mut matches);
            assert_eq!(feeding.selects(&matches), std::ptr::eq(message, &wanted));
        }
        assert!(!feeding.is_by_block(), "one in five");
        matchers.matches(&wanted, &mut matches);
        assert!(feeding.selects(&matches) && feeding.is_by_block(), "two in six");
        feeding.by_row.push(1);
        assert!(!feeding.is_by_block(), "somebody takes rows one by one");
    }
}
