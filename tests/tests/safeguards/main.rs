//! Every safeguard is needed: with it the check passes, without it the same check fails. What lies on the disk is cut off its power
//! at the worst moment, for `kill -9` shows no missing sync.
//!
//! Safeguards are switched for the whole process, so everything here is one test after another.

mod decode;
mod delivery;
mod lake;
mod log;
mod step;

use std::{
    sync::{Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, BusError, Compression, Event, Member, RecordBuf, SAFEGUARDS, Start, Step, SystemClock, TopicPartition, TopicSpec,
    embedded::{EmbeddedBus, EmbeddedOptions},
    faults::{FaultFiles, without},
};

/// How long anything may take that happens at once where all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is wrong, as a sentence.
type Verdict = Result<(), String>;

/// A check's name, which is its safeguard's, and what it does. A safeguard that several stages have, has a check for each.
type Check = (&'static str, fn() -> Verdict);

const CHECKS: &[Check] = &[
    ("log-sync", log::confirmed_records_survive_a_power_cut),
    ("log-folder-sync", log::a_rolled_segment_survives_a_power_cut),
    ("log-recovery-sync", log::what_a_restart_shows_a_power_cut_does_not_take),
    ("log-crc", log::a_flipped_byte_is_never_delivered),
    ("step-whole", step::a_step_is_there_or_not),
    ("group-fence", step::a_zombie_commits_nothing),
    ("step-undo", step::a_failed_step_leaves_nothing_behind),
    ("step-undo", decode::a_failed_step_is_decoded_again),
    ("dedupe-undo", decode::a_failed_step_is_decoded_again),
    ("lake-sync", lake::rows_survive_a_power_cut),
    ("lake-watermark", lake::rows_are_there_once),
    ("outbox-position", delivery::deliveries_are_made_after_a_crash),
    ("delivery-key", delivery::a_delivery_keeps_its_key),
];

static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn every_safeguard_is_needed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    names.dedup();
    assert_eq!(names, SAFEGUARDS, "each has its check");
    for (name, check) in CHECKS {
        assert_eq!(check(), Ok(()), "with {name}");
        let away = without(name);
        let wrong = check().expect_err(&format!("without {name} its check passes: it proves nothing"));
        drop(away);
        eprintln!("without {name}: {wrong}");
    }
}

#[test]
fn the_lake_survives_power_cuts_at_any_moment() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(lake::power_cuts(), Ok(()));
}

#[test]
fn the_lake_goes_on_after_errors_of_every_operation() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(lake::disk_errors(), Ok(()));
}

/// A log in memory, in segments of this size.
fn open(files: &FaultFiles, segment_bytes: u64) -> EmbeddedBus {
    try_open(files, segment_bytes).unwrap_or_else(|error| panic!("the log does not open: {error}"))
}

fn try_open(files: &FaultFiles, segment_bytes: u64) -> Result<EmbeddedBus, BusError> {
    let options = EmbeddedOptions { segment_bytes, reserve_bytes: 0, ..EmbeddedOptions::new("/data/log") };
    EmbeddedBus::open_with(options, std::sync::Arc::new(files.clone()), std::sync::Arc::new(SystemClock::default()))
}

fn topics(bus: &dyn Bus, names: &[&str]) {
    let spec = |name: &&str| TopicSpec { name: (*name).into(), partitions: 1, compacted: false, compression: Compression::None };
    bus.ensure_topics(&names.iter().map(spec).collect::<Vec<_>>()).expect("topics");
}

fn place(topic: &str) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition: 0 }
}

fn records<'a>(values: impl IntoIterator<Item = &'a str>) -> RecordBuf {
    let mut records = RecordBuf::default();
    values.into_iter().for_each(|value| records.push(0, b"", &[], value.as_bytes()));
    records
}

/// Publishes and waits until it is confirmed.
fn publish(bus: &dyn Bus, topic: &str, records: RecordBuf) {
    let (sender, receiver) = mpsc::channel();
    bus.publish(topic, 0, records, Box::new(move |done| drop(sender.send(done))));
    receiver.recv_timeout(PATIENCE).expect("an answer").expect("published");
}

/// The values of a topic.
fn values(bus: &dyn Bus, topic: &str) -> Vec<String> {
    let Ok(mut reader) = bus.reader(&place(topic), Start::Beginning) else { return vec![] };
    let mut found = vec![];
    while let Some(batch) = reader.poll(Duration::ZERO).expect("read") {
        found.extend(batch.iter().map(|(_, record)| String::from_utf8_lossy(record.value).into_owned()));
    }
    found
}

fn position(bus: &dyn Bus, group: &str, topic: &str) -> i64 {
    let found = bus.group_positions().expect("positions");
    found.iter().find(|at| &*at.group == group && &*at.partition.topic == topic).map_or(0, |at| at.position)
}

fn end(bus: &dyn Bus, topic: &str) -> i64 {
    let found = bus.topics().expect("topics");
    found.iter().find(|found| &*found.name == topic).map_or(0, |found| found.partitions[0].end)
}

/// A member that owns its partition.
fn joined(bus: &dyn Bus, group: &str, topic: &str) -> Box<dyn Member> {
    let mut member = bus.join(group, &[topic]).expect("joined");
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Event::Assigned(owned) = member.poll(Duration::from_millis(10)).expect("polled")
            && !owned.is_empty()
        {
            return member;
        }
    }
    panic!("no partition was assigned");
}

fn step_to(topic: &str, values: &[&str], positions: &[(&str, i64)]) -> Step {
    let mut step = Step::default();
    *step.records(&place(topic)) = records(values.iter().copied());
    step.positions = positions.iter().map(|(topic, next)| (place(topic), *next)).collect();
    step
}

/// Waits until it is so; whether it became so.
fn becomes(max: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > max {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
