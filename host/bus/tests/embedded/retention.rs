//! What is deleted and what stays.

use super::log::*;
use crate::conformance::*;
use bytes::Bytes;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, BusError, Checkpoint,
    embedded::{DeclaredGroup, EmbeddedBus, EmbeddedOptions},
    faults::{FaultFiles, ManualClock, PowerCut},
};

const SEGMENT_BYTES: u64 = 10_000;

fn small(options: EmbeddedOptions) -> EmbeddedOptions {
    EmbeddedOptions { segment_bytes: SEGMENT_BYTES, ..options }
}

fn declared() -> Vec<DeclaredGroup> {
    vec![DeclaredGroup { group: "work".into(), topics: vec!["in".into()] }]
}

fn open_small(options: EmbeddedOptions, files: &FaultFiles, clock: &Arc<ManualClock>) -> EmbeddedBus {
    EmbeddedBus::open_with(small(options), Arc::new(files.clone()), Arc::<ManualClock>::clone(clock)).expect("opened")
}

/// So many records of a kilobyte.
fn publish_kilobytes(bus: &dyn Bus, count: usize) {
    for _ in 0..count {
        publish(bus, "in", 0, records(&["x".repeat(1000)])).expect("published");
    }
}

fn start(bus: &dyn Bus) -> i64 {
    bus.topics().expect("listed").iter().find(|topic| &*topic.name == "in").expect("there").partitions[0].start
}

/// Lets the writer look around until it did what is expected.
fn until(clock: &ManualClock, what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        clock.advance(Duration::from_secs(2));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn commit(member: &mut Consumer, position: i64, state: &'static str) {
    let mut step = step_to("out", 0, &["kept"]);
    step.positions.push((at("in", 0), position));
    step.checkpoints.push(Checkpoint { key: "state".into(), bytes: Some(Bytes::from_static(state.as_bytes())) });
    member.member.commit(step).expect("committed");
}

#[test]
fn old_segments_go_and_the_state_stays() {
    for (what, limit) in [("bytes", true), ("age", false)] {
        let (files, clock) = (FaultFiles::default(), clock());
        let mut options = EmbeddedOptions::new(FOLDER);
        if limit {
            options.retention_bytes = 3 * SEGMENT_BYTES;
        }
        let bus = open_small(options.clone(), &files, &clock);
        in_and_out(&bus, 2);
        let incarnation = bus.incarnation("in").expect("there");
        publish_kilobytes(&bus, 5);
        let mut member = Consumer::joined(&bus, "work", &["in"]);
        commit(&mut member, 5, "five");
        publish_kilobytes(&bus, 60);
        let segments = logs(&files).len();
        if !limit {
            assert!(segments > 5 && start(&bus) == 0, "age alone does not delete what is young");
            clock.advance(Duration::from_secs(8 * 24 * 3600));
            publish_kilobytes(&bus, 1);
        }
        until(&clock, what, || logs(&files).len() <= 5 && start(&bus) > 5);
        let end = found(&bus, "in", 0).last().expect("the newest are there").offset;
        drop((member, bus));

        let files = files.power_cut(PowerCut::LosesUnsynced);
        let bus = open_small(options, &files, &clock);
        assert_eq!(bus.damage(), []);
        assert!(start(&bus) > 5);
        assert_eq!(bus.incarnation("in").expect("there"), incarnation);
        assert_eq!(found(&bus, "in", 0).last().map(|seen| seen.offset), Some(end), "{what}");
        let mut member = Consumer::joined(&bus, "work", &["in"]);
        assert_eq!(member.owned[0], (at("in", 0), 5), "{what}: positions stay");
        assert_eq!(member.checkpoint("state").as_deref(), Some(&b"five"[..]), "{what}: checkpoints are carried forward");
        let told = member.member.poll(Duration::ZERO).expect_err("the records are gone");
        assert!(matches!(told, BusError::OutOfRange { position: 5, .. }), "{told}");
        publish(&bus, "in", 1, records(&["first there"])).expect("published");
        assert_eq!(found(&bus, "in", 1)[0].offset, 0);
    }
}

/// They are written anew before their segments go. Where they alone are more than the limit, that frees nothing, and must end.
#[test]
fn states_that_are_larger_than_the_limit_are_not_written_anew_for_ever() {
    let (files, clock) = (FaultFiles::default(), clock());
    let limits =
        EmbeddedOptions { retention_bytes: 5 * SEGMENT_BYTES, pinned_bytes_max: 12 * SEGMENT_BYTES, ..EmbeddedOptions::new(FOLDER) };
    let options = EmbeddedOptions { declared_groups: declared(), ..limits };
    let bus = open_small(options, &files, &clock);
    in_and_out(&bus, 1);
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    for number in 0..12 {
        let mut step = step_to("out", 0, &["kept"]);
        step.checkpoints.push(Checkpoint { key: format!("state {number}"), bytes: Some(Bytes::from(vec![number; 8_000])) });
        member.member.commit(step).expect("committed");
    }
    publish_kilobytes(&bus, 20);
    let newest = || logs(&files).into_iter().max();
    let look_around = || {
        for _ in 0..3 {
            clock.advance(Duration::from_secs(2));
            std::thread::sleep(Duration::from_millis(1_100));
        }
    };
    look_around();
    let before = newest();
    look_around();
    assert_eq!(newest(), before, "a log that nobody writes to does not move");
    assert_eq!(start(&bus), 0, "nor is the group cut loose");
    member.until_seen(20);
    commit(&mut member, 20, "twenty");
    publish_kilobytes(&bus, 60);
    until(&clock, "records go all the same", || start(&bus) > 20);
    for number in 0..12 {
        assert_eq!(member.checkpoint(&format!("state {number}")).as_deref(), Some(&[number; 8_000][..]));
    }
}

#[test]
fn a_declared_group_keeps_its_records_up_to_a_limit() {
    let (files, clock) = (FaultFiles::default(), clock());
    let options = EmbeddedOptions {
        retention_bytes: 2 * SEGMENT_BYTES,
        declared_groups: declared(),
        pinned_bytes_max: 15 * SEGMENT_BYTES,
        ..EmbeddedOptions::new(FOLDER)
    };
    let bus = open_small(options, &files, &clock);
    in_and_out(&bus, 1);
    publish_kilobytes(&bus, 60);
    clock.advance(Duration::from_secs(2));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(start(&bus), 0, "the group has read nothing yet");
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    member.until_seen(60);
    commit(&mut member, 30, "thirty");
    until(&clock, "what was read goes", || start(&bus) > 10);
    assert!(start(&bus) <= 30, "what was not read stays");
    publish_kilobytes(&bus, 100);
    until(&clock, "the group is cut loose", || start(&bus) > 30);
    member.member.seek(&at("in", 0), 30).expect("owned");
    let told = member.member.poll(Duration::ZERO).expect_err("cut loose");
    assert!(matches!(told, BusError::OutOfRange { position: 30, .. }), "{told}");
    assert!(logs(&files).len() <= 17, "the log stays within its limit");
}

#[test]
fn sealed_segments_open_by_their_index_and_without_it() {
    let (files, clock) = (FaultFiles::default(), clock());
    let options = || EmbeddedOptions { open_files_max: 2, ..EmbeddedOptions::new(FOLDER) };
    let bus = open_small(options(), &files, &clock);
    in_and_out(&bus, 1);
    publish_kilobytes(&bus, 60);
    let before = found(&bus, "in", 0);
    assert_eq!(before.len(), 60, "two open files are enough");
    drop(bus);
    let indexes: Vec<_> = files.paths().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "idx")).collect();
    assert_eq!(indexes.len(), logs(&files).len() - 1, "one for each sealed segment");

    let quick = files.power_cut(PowerCut::LosesUnsynced);
    let path = logs(&quick)[1].clone();
    quick.flip(&path, 5000);
    let bus = open_small(options(), &quick, &clock);
    assert_eq!(bus.damage(), [], "the segment itself was not read");
    let found_now = found(&bus, "in", 0);
    assert!((57..60).contains(&found_now.len()), "a reader finds the damage and steps over it: {}", found_now.len());
    drop(bus);

    for index in &indexes {
        let content = files.content(index).expect("there");
        files.put(index, content[..content.len() - 1].to_vec());
    }
    let bus = open_small(options(), &files, &clock);
    assert_eq!(found(&bus, "in", 0), before, "indexes are made anew");
    drop(bus);
    assert!(indexes.iter().all(|index| files.content(index).is_some_and(|content| content.len() > 36)));
}

#[test]
fn a_damaged_snapshot_is_made_up_from_its_copy_or_older_segments() {
    let (files, clock) = (FaultFiles::default(), clock());
    let bus = open_small(EmbeddedOptions::new(FOLDER), &files, &clock);
    in_and_out(&bus, 1);
    publish_kilobytes(&bus, 5);
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    commit(&mut member, 5, "five");
    publish_kilobytes(&bus, 20);
    drop((member, bus));
    for damaged in [1, 2] {
        let files = files.power_cut(PowerCut::KeepsUnsynced);
        let last = logs(&files).pop().expect("there");
        let bytes = content(&files, &last);
        let copies: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"TmE\x01")).take(damaged).collect();
        copies.iter().for_each(|copy| files.flip(&last, copy + 40));
        let bus = open_small(EmbeddedOptions::new(FOLDER), &files, &clock);
        assert!(!bus.damage().is_empty());
        assert_eq!(found(&bus, "in", 0).len(), 25);
        let mut member = Consumer::joined(&bus, "work", &["in"]);
        assert_eq!(member.owned, [(at("in", 0), 5)]);
        assert_eq!(member.checkpoint("state").as_deref(), Some(&b"five"[..]));
    }
}
