//! What the stages that work in steps have in common: a member of a group, its partitions, and the step that is made of what
//! came since the last one. What a stage does with the records is its [`Work`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tidemill_bus::{BusError, Clock, Event, FetchedBatch, Member, OnLost, Step, TopicPartition, lost, safeguard, stopped};

/// How often a waiting worker looks at the clock and whether it is to stop.
const POLL_MAX: Duration = Duration::from_millis(50);
/// The first pause after a failure; each further one doubles it.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// When a step ends.
#[derive(Clone, Copy, Debug)]
pub struct StepOptions {
    /// So long after it began, in milliseconds.
    pub step_ms: u64,
    /// When it has so many bytes to publish and save.
    pub step_bytes_max: usize,
    /// Where a position is gone from the log: go on at the earliest record that is there, or stop the partition.
    pub on_lost: OnLost,
}

impl Default for StepOptions {
    /// 100 ms, 16 MiB, stop.
    fn default() -> Self {
        Self { step_ms: 100, step_bytes_max: 16 << 20, on_lost: OnLost::Stop }
    }
}

/// How often a partition that is refused is tried again.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// A record that a stage must not pass over, and cannot work on.
#[derive(Debug)]
pub struct Refused {
    /// Its offset: everything before it was worked on.
    pub offset: i64,
    /// What is wrong, and what to do.
    pub error: BusError,
}

/// What a stage does with the records of its partitions.
pub trait Work: Send {
    /// Called before partitions of these topics are taken over: a topic may have been made anew since the last time.
    ///
    /// # Errors
    /// When the bus cannot be asked; the driver tries again.
    fn look_at_topics(&mut self, topics: &BTreeSet<Arc<str>>) -> Result<(), BusError> {
        let _ = topics;
        Ok(())
    }
    /// Takes a partition over at the group's position, with what its checkpoints say, and answers where to read from.
    /// A partition that it has already begins anew from its checkpoints.
    ///
    /// # Errors
    /// When checkpoints cannot be read; the driver tries again. [`BusError::Unusable`] says something about this partition alone: it
    /// stands still, and the others go on.
    fn assign(&mut self, member: &mut dyn Member, partition: &TopicPartition, position: i64) -> Result<i64, BusError>;
    /// Gives a partition up; its step was finished before.
    fn release(&mut self, partition: &TopicPartition);
    /// Works on records. What it keeps back goes with [`Work::finish`] at the latest.
    ///
    /// # Errors
    /// Where the partition has to stand still in front of a record.
    fn batch(&mut self, batch: &FetchedBatch, step: &mut Step) -> Result<(), Refused>;
    /// Called after every poll, several times a second, whether or not records came: what happens by the clock, and work that
    /// was left over. `true` where there is something that the next step has to carry.
    fn tick(&mut self, step: &mut Step) -> bool;
    /// Work is left over: do not wait for records.
    fn is_busy(&self) -> bool {
        false
    }
    /// About how many bytes wait outside the step for [`Work::finish`].
    fn held_bytes(&self) -> usize {
        0
    }
    /// The step ends: everything read so far goes into it, with the checkpoints.
    fn finish(&mut self, step: &mut Step);
    /// The step is durable.
    fn committed(&mut self);
    /// The step failed: nothing of it happened, and all partitions are released and assigned anew.
    fn failed(&mut self) {}
    /// So many offsets of a partition were removed before they were read.
    fn lost(&mut self, partition: &TopicPartition, offsets: i64, step: &mut Step);
}

struct Owned {
    /// The group's position.
    committed: i64,
    /// The next offset to read.
    next: i64,
}

/// A partition that stands still.
struct Standing {
    offset: i64,
    /// At a record; else its checkpoints are refused.
    at_record: bool,
    /// When it is tried again.
    again: Duration,
}

/// A worker: one thread, one member, one [`Work`].
pub struct Driver<W> {
    name: &'static str,
    member: Box<dyn Member>,
    work: W,
    options: StepOptions,
    clock: Arc<dyn Clock>,
    owned: BTreeMap<TopicPartition, Owned>,
    /// Partitions whose checkpoints could not be read yet.
    waiting: Vec<(TopicPartition, i64)>,
    /// Partitions that stand still.
    refused: BTreeMap<TopicPartition, Standing>,
    /// Partitions that stood still at a record and are tried again: nobody knows yet how it ends.
    in_doubt: BTreeSet<TopicPartition>,
    /// Topics of partitions that were assigned and not looked at yet.
    new_topics: BTreeSet<Arc<str>>,
    step: Step,
    step_began: Option<Duration>,
    back_off: Duration,
    poll_max: Duration,
}

impl<W: Work> Driver<W> {
    /// A worker that owns nothing yet. The name is that of the stage, for logs and metrics.
    pub fn new(name: &'static str, member: Box<dyn Member>, work: W, options: StepOptions, clock: Arc<dyn Clock>) -> Self {
        let (owned, waiting, new_topics, step) = (BTreeMap::new(), Vec::new(), BTreeSet::new(), Step::default());
        Self {
            name,
            member,
            work,
            options,
            clock,
            owned,
            waiting,
            refused: BTreeMap::new(),
            in_doubt: BTreeSet::new(),
            new_topics,
            step,
            step_began: None,
            back_off: BACK_OFF_MIN,
            poll_max: POLL_MAX,
        }
    }

    /// Works until `stop` is set; then commits what it has.
    pub fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if !self.turn() {
                self.pause(stop);
            }
        }
        self.commit();
    }

    /// Handles one event, and ends the step when it is due. `false` after a failure: wait before the next turn.
    pub fn turn(&mut self) -> bool {
        self.try_refused();
        // Also with partitions that wait: only a poll tells that they are another member's now. Their records are passed over
        // until they are taken over, which seeks back.
        let went_well = self.assign_waiting();
        let went_well = went_well
            & match self.member.poll(self.wait()) {
                Ok(event) => self.handle(event),
                Err(error) => self.poll_failed(&error),
            };
        if self.work.tick(&mut self.step) || !self.step.is_empty() {
            self.begin_step();
        }
        went_well && (!self.is_due() || self.commit())
    }

    /// Never waits for records: for tests, which turn the clock themselves.
    #[cfg(test)]
    pub fn never_wait(mut self) -> Self {
        self.poll_max = Duration::ZERO;
        self
    }

    /// What the stage keeps; tests look at it.
    pub fn work(&mut self) -> &mut W {
        &mut self.work
    }

    fn begin_step(&mut self) {
        self.step_began.get_or_insert_with(|| self.clock.elapsed());
    }

    fn wait(&self) -> Duration {
        if self.work.is_busy() {
            return Duration::ZERO;
        }
        self.step_began.map_or(self.poll_max, |began| {
            let end = began + Duration::from_millis(self.options.step_ms);
            end.saturating_sub(self.clock.elapsed()).min(self.poll_max)
        })
    }

    fn is_due(&self) -> bool {
        let Some(began) = self.step_began else { return false };
        let age = self.clock.elapsed().saturating_sub(began);
        age >= Duration::from_millis(self.options.step_ms) || self.step.bytes() + self.work.held_bytes() >= self.options.step_bytes_max
    }

    fn handle(&mut self, event: Event) -> bool {
        match event {
            Event::Assigned(partitions) => {
                stopped::moved(self.name, partitions.iter().map(|(partition, _)| partition));
                self.new_topics.extend(partitions.iter().map(|(partition, _)| Arc::clone(&partition.topic)));
                partitions.iter().for_each(|(partition, _)| self.forget(partition));
                self.waiting.extend(partitions);
                self.assign_waiting()
            }
            Event::Revoked(partitions) => {
                let went_well = self.commit();
                stopped::moved(self.name, &partitions);
                self.waiting.retain(|(partition, _)| !partitions.contains(partition));
                partitions.iter().for_each(|partition| self.forget(partition));
                for partition in &partitions {
                    self.owned.remove(partition);
                    self.work.release(partition);
                }
                went_well
            }
            Event::Batch(batch) => self.batch(&batch),
            Event::Idle => true,
        }
    }

    fn batch(&mut self, batch: &FetchedBatch) -> bool {
        let (Some(owned), Some(next)) = (self.owned.get_mut(&batch.partition), batch.next_offset()) else { return true };
        owned.next = next;
        self.begin_step();
        let Err(Refused { offset, error }) = self.work.batch(batch, &mut self.step) else {
            if self.in_doubt.remove(&batch.partition) {
                stopped::moved(self.name, [&batch.partition]);
            }
            return true;
        };
        if let Some(owned) = self.owned.get_mut(&batch.partition) {
            owned.next = offset;
        }
        // What was before it is kept, and then the partition is given up. Where that failed it begins anew, and gets here again.
        let went_well = self.commit();
        if went_well && self.owned.remove(&batch.partition).is_some() {
            self.work.release(&batch.partition);
            self.refuse(&batch.partition, offset, true, &error);
        }
        went_well
    }

    /// The partition stands still before this offset, and the others go on.
    fn refuse(&mut self, partition: &TopicPartition, offset: i64, at_record: bool, error: &BusError) {
        if stopped::stop(self.name, partition, error.to_string()) {
            let (stage, topic, partition) = (self.name, &*partition.topic, partition.partition);
            tracing::error!(%error, stage, topic, partition, offset, "the partition stands still");
        }
        let again = self.clock.elapsed() + REFUSED_FOR;
        self.refused.insert(partition.clone(), Standing { offset, at_record, again });
    }

    /// The partition is another member's, or assigned anew.
    fn forget(&mut self, partition: &TopicPartition) {
        self.refused.remove(partition);
        self.in_doubt.remove(partition);
    }

    /// Partitions that stood still for a while wait to be assigned: what was wrong with them may be mended.
    fn try_refused(&mut self) {
        if !self.refused.is_empty() {
            let now = self.clock.elapsed();
            for (partition, Standing { offset, at_record, .. }) in self.refused.extract_if(.., |_, standing| standing.again <= now) {
                if at_record {
                    self.in_doubt.insert(partition.clone());
                }
                self.waiting.push((partition, offset));
            }
        }
    }

    /// Partitions whose checkpoints cannot be read are tried again: without its state nothing of a partition may be worked on.
    fn assign_waiting(&mut self) -> bool {
        if !self.new_topics.is_empty() {
            if let Err(error) = self.work.look_at_topics(&self.new_topics) {
                tracing::warn!(%error, stage = self.name, "topics cannot be looked up; trying again");
                return false;
            }
            self.new_topics.clear();
        }
        while let Some((partition, position)) = self.waiting.pop() {
            match self.assign(&partition, position) {
                Ok(()) if self.in_doubt.contains(&partition) => {}
                Ok(()) => stopped::moved(self.name, [&partition]),
                Err(error @ BusError::Unusable(_)) => self.refuse(&partition, position, false, &error),
                Err(error) => {
                    let stage = self.name;
                    tracing::warn!(%error, stage, topic = &*partition.topic, partition = partition.partition, "checkpoints cannot be read; trying again");
                    self.waiting.push((partition, position));
                    return false;
                }
            }
        }
        true
    }

    fn assign(&mut self, partition: &TopicPartition, position: i64) -> Result<(), BusError> {
        let next = self.work.assign(&mut *self.member, partition, position)?;
        self.member.seek(partition, next)?;
        self.owned.insert(partition.clone(), Owned { committed: position, next });
        // What a new owner has to say goes with the next step, whether or not records come.
        self.begin_step();
        Ok(())
    }

    fn poll_failed(&mut self, error: &BusError) -> bool {
        let Some(lost) = lost::handle(self.name, &mut *self.member, error, self.options.on_lost) else {
            tracing::warn!(%error, stage = self.name, "the bus could not be read; trying again");
            return false;
        };
        let Some(owned) = self.owned.get_mut(&lost.partition) else { return false };
        // Committed like records that were read, so that it is said once.
        owned.next = lost.resumed.unwrap_or(owned.next);
        self.work.lost(&lost.partition, lost.offsets, &mut self.step);
        self.begin_step();
        true
    }

    /// Ends the step; whether it is durable. After a failure nothing of it happened, and all partitions begin anew from their
    /// checkpoints.
    pub fn commit(&mut self) -> bool {
        self.work.finish(&mut self.step);
        let mut step = std::mem::take(&mut self.step);
        self.step_began = None;
        let is_moved = self.owned.values().any(|owned| owned.next > owned.committed);
        let is_needed = is_moved || !step.is_empty();
        // All of them, moved or not: a checkpoint of a partition that is another member's by now must fail the step.
        step.positions.extend(self.owned.iter().map(|(partition, owned)| (partition.clone(), owned.committed.max(owned.next))));
        if is_needed && let Err(error) = self.member.commit(step) {
            tracing::warn!(%error, stage = self.name, "the step failed; its partitions begin anew from their checkpoints");
            metrics::counter!("tidemill_steps_failed_total", "stage" => self.name).increment(1);
            if safeguard("step-undo") {
                self.begin_anew();
            }
            return false;
        }
        self.owned.values_mut().for_each(|owned| owned.committed = owned.committed.max(owned.next));
        self.work.committed();
        self.back_off = BACK_OFF_MIN;
        true
    }

    fn begin_anew(&mut self) {
        self.work.failed();
        for (partition, owned) in std::mem::take(&mut self.owned) {
            self.work.release(&partition);
            self.waiting.push((partition, owned.committed));
        }
    }

    /// Waits after a failure, longer each time.
    fn pause(&mut self, stop: &AtomicBool) {
        let end = self.clock.elapsed() + self.back_off;
        self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
        while !stop.load(Ordering::Relaxed) && self.clock.elapsed() < end {
            std::thread::sleep(POLL_MAX.min(end.saturating_sub(self.clock.elapsed())).max(Duration::from_millis(1)));
        }
    }
}

/// The threads of a running stage.
#[derive(Debug)]
pub struct StageHandle {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl StageHandle {
    /// Starts a thread for each of the closures; each is given the flag that says when to stop.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start<F: FnOnce(&AtomicBool) + Send + 'static>(name: &str, workers: Vec<F>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut handle = Self { stop: Arc::clone(&stop), threads: Vec::with_capacity(workers.len()) };
        for (number, worker) in workers.into_iter().enumerate() {
            let stop = Arc::clone(&stop);
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            handle.threads.push(thread.spawn(move || worker(&stop))?);
        }
        Ok(handle)
    }

    /// Tells the threads to finish their step and end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until they have ended. `false` where one of them panicked.
    pub fn join(mut self) -> bool {
        self.stop();
        std::mem::take(&mut self.threads).into_iter().all(|thread| thread.join().is_ok())
    }

    /// Whether a thread has ended, which none does before [`StageHandle::stop`] unless it panicked.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }
}

impl Drop for StageHandle {
    fn drop(&mut self) {
        self.stop();
    }
}
