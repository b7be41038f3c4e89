//! The worker of one plugin's outbox: a member of group `deliver-<plugin>` that performs what is saved there, in order in each
//! partition, all partitions at once.
//!
//! A partition's position moves behind a delivery when its target confirmed it, or refused it for good; until then it is tried again.
//! What is in flight when the host dies is sent again, with the same bytes under the same key.

use super::{
    allow::{self, Allowed},
    back_off::Jitter,
    file::Folder,
    http::{Outcome, Request},
    reject::Rejection,
};
use crate::{
    analysis::{Envelope, Outlet, StageHandle},
    lost::publish_lost_alert,
    output::{OutboxEntry, outbox_topic},
    source::Source,
    status::PluginStatus,
};
use crossbeam_channel::{Receiver, Sender};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tidemill_bus::{
    Bus, BusError, Clock, Event, FetchedBatch, Files, Member, OnLost, Step, TopicPartition, crash_point, lost, partition_of, safeguard,
    stopped,
};
use tidemill_config::Allow;
use tidemill_runtime::Target;

/// How often a waiting worker looks for outcomes.
const POLL_MAX: Duration = Duration::from_millis(10);
/// Bytes of deliveries that are read ahead of each partition.
const AHEAD_BYTES_MAX: usize = 8 << 20;
/// Positions are committed so often.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// How long a failed bus is left alone.
const BUS_PAUSE: Duration = Duration::from_millis(500);

/// How deliveries of a plugin are performed.
#[derive(Clone)]
pub struct DeliverOptions {
    /// The plugin.
    pub plugin: String,
    /// What it may reach.
    pub allow: Allow,
    /// The plugin's figures.
    pub status: Arc<PluginStatus>,
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Files.
    pub files: Arc<dyn Files>,
    /// Where requests run.
    pub runtime: tokio::runtime::Handle,
    /// How long one request may take.
    pub timeout: Duration,
    /// Where deliveries were removed before they were performed.
    pub on_lost: OnLost,
    /// Of the jitter.
    pub seed: u64,
    /// The configuration's number, for `tm-epoch`.
    pub epoch: u64,
}

/// Why deliveries cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The bus.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// No HTTP client.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
    /// No thread.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// A partition of the outbox.
struct Lane {
    /// What is to be done, with each record's offset.
    queue: VecDeque<(i64, Result<OutboxEntry, String>)>,
    queue_bytes: usize,
    paused: bool,
    /// The position that is committed, and the one behind what was done.
    committed: i64,
    done: i64,
    failures: u32,
    not_before: Duration,
    in_flight: bool,
}

struct Finished {
    place: TopicPartition,
    offset: i64,
    outcome: Outcome,
}

/// The worker.
pub struct DeliverWorker {
    options: DeliverOptions,
    member: Box<dyn Member>,
    client: reqwest::Client,
    folder: Folder,
    errors: Outlet,
    incarnation: Arc<str>,
    group: String,
    lanes: BTreeMap<TopicPartition, Lane>,
    step: Step,
    committed_at: Duration,
    jitter: Jitter,
    sender: Sender<Finished>,
    receiver: Receiver<Finished>,
}

/// Starts the thread that performs a plugin's deliveries.
///
/// # Errors
/// See [`DeliverError`].
pub fn start_deliveries(options: DeliverOptions) -> Result<StageHandle, DeliverError> {
    let name = format!("deliver-{}", options.plugin);
    let worker = DeliverWorker::new(options)?;
    Ok(StageHandle::start(&name, vec![move |stop: &AtomicBool| worker.run(stop)])?)
}

impl DeliverWorker {
    /// Joins the group.
    ///
    /// # Errors
    /// See [`DeliverError`].
    pub fn new(options: DeliverOptions) -> Result<Self, DeliverError> {
        let topic = outbox_topic(&options.plugin);
        let errors = Outlet::new(&*options.bus, "errors")?;
        let incarnation = options.bus.incarnation(&topic)?;
        let client = super::http::client(options.timeout)?;
        let group = format!("deliver-{}", options.plugin);
        let member = options.bus.join(&group, &[&topic])?;
        let (sender, receiver) = crossbeam_channel::unbounded();
        let (committed_at, jitter) = (options.clock.elapsed(), Jitter::new(options.seed));
        let (lanes, step, folder) = (BTreeMap::new(), Step::default(), Folder::new(Arc::clone(&options.files)));
        Ok(Self { options, member, client, folder, errors, incarnation, group, lanes, step, committed_at, jitter, sender, receiver })
    }

    /// Works until `stop` is set. What is in flight then is not waited for: it is sent again after the next start.
    pub fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if !self.turn() {
                std::thread::sleep(BUS_PAUSE);
            }
        }
        self.take_outcomes();
        self.commit();
    }

    /// Reads, performs and commits once. `false` where the bus failed.
    pub fn turn(&mut self) -> bool {
        let event = self.member.poll(POLL_MAX);
        let went_well = match event {
            Ok(event) => self.handle(event),
            Err(error) => self.poll_failed(&error),
        };
        self.take_outcomes();
        self.begin();
        let is_due = self.options.clock.elapsed().saturating_sub(self.committed_at) >= COMMIT_EVERY;
        went_well && (!is_due || self.commit())
    }

    fn handle(&mut self, event: Event) -> bool {
        match event {
            Event::Assigned(partitions) => {
                stopped::moved(&self.group, partitions.iter().map(|(place, _)| place));
                match self.options.bus.incarnation(&outbox_topic(&self.options.plugin)) {
                    Ok(incarnation) => self.incarnation = incarnation,
                    Err(error) => tracing::warn!(%error, plugin = self.options.plugin, "the outbox cannot be looked up"),
                }
                for (place, position) in partitions {
                    self.lanes.insert(place, Lane::new(position));
                }
                true
            }
            Event::Revoked(partitions) => {
                let went_well = self.commit();
                stopped::moved(&self.group, &partitions);
                for place in partitions {
                    self.lanes.remove(&place);
                    self.options.status.set_position(&place, None);
                }
                went_well
            }
            Event::Batch(batch) => {
                self.queue(&batch);
                true
            }
            Event::Idle => true,
        }
    }

    fn poll_failed(&mut self, error: &BusError) -> bool {
        let Some(lost) = lost::handle(&self.group, &mut *self.member, error, self.options.on_lost) else {
            tracing::warn!(%error, plugin = self.options.plugin, "the outbox could not be read; trying again");
            return false;
        };
        publish_lost_alert(&self.group, &lost, &self.incarnation, &*self.options.clock, &mut self.step);
        if let (Some(lane), Some(next)) = (self.lanes.get_mut(&lost.partition), lost.resumed) {
            lane.done = next;
        }
        true
    }

    fn queue(&mut self, batch: &FetchedBatch) {
        let Some(lane) = self.lanes.get_mut(&batch.partition) else { return };
        for (offset, record) in batch.iter() {
            lane.queue_bytes += record.value.len();
            if !safeguard("outbox-position") {
                lane.done = offset + 1;
            }
            lane.queue.push_back((offset, OutboxEntry::read(record.value).map_err(|error| error.to_string())));
        }
        if lane.queue_bytes >= AHEAD_BYTES_MAX && !lane.paused {
            lane.paused = self.member.pause(&batch.partition, true).is_ok();
        }
    }

    /// Begins what is first in each partition.
    fn begin(&mut self) {
        let now = self.options.clock.elapsed();
        let places: Vec<_> = self.lanes.iter().filter(|(_, lane)| lane.is_due(now)).map(|(place, _)| place.clone()).collect();
        for place in places {
            // Files and records are done at once: go on until a request is in flight or something failed.
            while self.lanes.get(&place).is_some_and(|lane| lane.is_due(now)) {
                self.begin_first(&place);
            }
        }
    }

    fn begin_first(&mut self, place: &TopicPartition) {
        let Some(lane) = self.lanes.get_mut(place) else { return };
        let Some((offset, entry)) = lane.queue.front() else { return };
        let offset = *offset;
        crash_point("outbox-before-attempt");
        let outcome = match entry {
            Ok(entry) => match allow::check(&self.options.plugin, &self.options.allow, &entry.target) {
                Ok(Allowed::Http(url)) => match request(entry, url) {
                    Ok(request) => {
                        lane.in_flight = true;
                        return self.send(place.clone(), offset, request);
                    }
                    Err(why) => Outcome::Rejected(why),
                },
                Ok(Allowed::Append(path)) => written(self.folder.append(&path, &entry.body)),
                Ok(Allowed::Object(path)) => written(self.folder.put(&path, &entry.body)),
                Ok(Allowed::Bus(topic)) => publish(&*self.options.bus, &topic, entry, self.options.clock.now_ns(), &mut self.step),
                Err(refused) => Outcome::Rejected(refused.to_string()),
            },
            Err(broken) => Outcome::Rejected(broken.clone()),
        };
        self.settle(place, offset, outcome);
    }

    fn send(&self, place: TopicPartition, offset: i64, request: Request) {
        let (client, sender) = (self.client.clone(), self.sender.clone());
        self.options.runtime.spawn(async move {
            let outcome = request.attempt(&client).await;
            // A worker that has ended does not care.
            let _ = sender.send(Finished { place, offset, outcome });
        });
    }

    fn take_outcomes(&mut self) {
        while let Ok(Finished { place, offset, outcome }) = self.receiver.try_recv() {
            // A partition that was lost and came back may have another delivery in front by now.
            let is_first = |lane: &Lane| lane.in_flight && lane.queue.front().is_some_and(|(first, _)| *first == offset);
            if self.lanes.get(&place).is_some_and(is_first) {
                self.settle(&place, offset, outcome);
            }
        }
    }

    fn settle(&mut self, place: &TopicPartition, offset: i64, outcome: Outcome) {
        let plugin = self.options.plugin.clone();
        let count =
            |outcome: &'static str| metrics::counter!("tidemill_deliveries_total", "plugin" => plugin, "outcome" => outcome).increment(1);
        let Some(lane) = self.lanes.get_mut(place) else { return };
        lane.in_flight = false;
        match outcome {
            Outcome::Done => {
                crash_point("outbox-after-attempt");
                count("done");
                self.pass(place, offset);
            }
            Outcome::Retry { reason, after } => {
                count("retry");
                lane.failures = lane.failures.saturating_add(1);
                let pause = self.jitter.pause(lane.failures, after);
                lane.not_before = self.options.clock.elapsed() + pause;
                let (plugin, attempt, pause_ms) = (&self.options.plugin, lane.failures, pause.as_millis() as u64);
                tracing::warn!(plugin, partition = place.partition, offset, attempt, pause_ms, reason, "a delivery failed; trying again");
            }
            Outcome::Rejected(reason) => {
                count("rejected");
                tracing::error!(
                    plugin = self.options.plugin,
                    partition = place.partition,
                    offset,
                    reason,
                    "a delivery was refused for good"
                );
                self.reject(place, offset, &reason);
                self.pass(place, offset);
            }
        }
    }

    /// The delivery at this offset is settled.
    fn pass(&mut self, place: &TopicPartition, offset: i64) {
        let Some(lane) = self.lanes.get_mut(place) else { return };
        if let Some((_, entry)) = lane.queue.pop_front() {
            let bytes = entry.map_or(0, |entry| entry.body.len());
            lane.queue_bytes = if lane.queue.is_empty() { 0 } else { lane.queue_bytes.saturating_sub(bytes) };
        }
        (lane.done, lane.failures, lane.not_before) = (offset + 1, 0, Duration::ZERO);
        self.options.status.set_position(place, Some(lane.done));
        if lane.paused && lane.queue_bytes < AHEAD_BYTES_MAX / 2 {
            lane.paused = self.member.pause(place, false).is_err();
        }
    }

    fn reject(&mut self, place: &TopicPartition, offset: i64, reason: &str) {
        PluginStatus::add(&self.options.status.rejected, 1);
        let entry = self.lanes.get(place).and_then(|lane| lane.queue.front()).and_then(|(_, entry)| entry.as_ref().ok());
        let mut value = Vec::new();
        let timestamp_ns = self.options.clock.now_ns();
        let at = format!("{}/{}/{offset}", place.topic, place.partition);
        let uuid = Rejection { plugin: &self.options.plugin, entry, at: &at, reason }.write(timestamp_ns, &mut value);
        let source =
            Source { producer: &self.group, generation: 0, incarnation: &self.incarnation, partition: place.partition, offset, n: 0 };
        self.errors.publish(&mut self.step, Envelope { key: &uuid, source, epoch: self.options.epoch, timestamp_ns }, &value);
    }

    /// Makes durable what was done. After a failure it is done again.
    pub fn commit(&mut self) -> bool {
        self.committed_at = self.options.clock.elapsed();
        let mut step = std::mem::take(&mut self.step);
        let moved = self.lanes.iter().filter(|(_, lane)| lane.done > lane.committed);
        step.positions.extend(moved.map(|(place, lane)| (place.clone(), lane.done)));
        if step.is_empty() {
            return true;
        }
        if let Err(error) = self.member.commit(step) {
            tracing::warn!(%error, plugin = self.options.plugin, "deliveries could not be noted as done; they are done again");
            self.begin_anew();
            return false;
        }
        self.lanes.values_mut().for_each(|lane| lane.committed = lane.done);
        true
    }

    fn begin_anew(&mut self) {
        for (place, lane) in &mut self.lanes {
            if lane.paused && self.member.pause(place, false).is_err() {
                tracing::warn!(plugin = self.options.plugin, partition = place.partition, "the partition could not be resumed");
            }
            *lane = Lane::new(lane.committed);
            // A partition that is not ours any more is revoked by the next poll.
            if let Err(error) = self.member.seek(place, lane.committed) {
                tracing::warn!(%error, plugin = self.options.plugin, partition = place.partition, "seek failed");
            }
        }
    }
}

impl Lane {
    fn new(position: i64) -> Self {
        Self {
            queue: VecDeque::new(),
            queue_bytes: 0,
            paused: false,
            committed: position,
            done: position,
            failures: 0,
            not_before: Duration::ZERO,
            in_flight: false,
        }
    }

    fn is_due(&self, now: Duration) -> bool {
        !self.queue.is_empty() && !self.in_flight && now >= self.not_before
    }
}

fn request(entry: &OutboxEntry, url: reqwest::Url) -> Result<Request, String> {
    match &entry.target {
        Target::Http { method, headers, .. } => {
            let key = if safeguard("delivery-key") { entry.key.clone() } else { uuid::Uuid::new_v4().to_string() };
            Request::new(method, url, headers, &key, entry.body.clone())
        }
        _ => Err("not an HTTP target".to_owned()),
    }
}

fn written(result: std::io::Result<()>) -> Outcome {
    result.map_or_else(|error| Outcome::Retry { reason: format!("the file cannot be written: {error}"), after: None }, |()| Outcome::Done)
}

/// A record is published in the step that moves the position: exactly once.
fn publish(bus: &dyn Bus, topic: &str, entry: &OutboxEntry, now_ns: i64, step: &mut Step) -> Outcome {
    let Target::Bus { key, .. } = &entry.target else { return Outcome::Rejected("not a topic".to_owned()) };
    match bus.partitions(topic) {
        Ok(partitions) => {
            let place = TopicPartition { topic: topic.into(), partition: partition_of(key, partitions.max(1)) };
            step.records(&place).push(now_ns.div_euclid(1_000_000), key, &[("tm-v", b"1")], &entry.body);
            Outcome::Done
        }
        Err(error) => Outcome::Retry { reason: error.to_string(), after: None },
    }
}
