//! Full, failing and slow disks.

use super::log::*;
use crate::conformance::*;
use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use tidemill_bus::{
    Bus, BusError,
    embedded::{EmbeddedBus, EmbeddedOptions},
    faults::{FaultFiles, PowerCut},
};

#[test]
fn after_a_failed_sync_nothing_is_accepted() {
    let files = FaultFiles::default();
    let bus = open(&files);
    in_and_out(&bus, 1);
    publish_values(&bus, "in", 0, &["before"]);
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    files.fail_syncs(1);
    let failed = publish(&bus, "in", 0, records(&["lost"])).expect_err("the sync failed");
    let why = "cannot sync /log/00000000.log: input/output error";
    assert_eq!(failed.to_string(), format!("the bus is not available: {why}"));
    let stopped = format!("the bus is not available: the log stopped: {why}; repair the disk and start again");
    assert_eq!(bus.health().expect_err("it says so").to_string(), stopped);
    assert_eq!(publish(&bus, "in", 0, records(&["later"])).expect_err("refused").to_string(), stopped);
    assert_eq!(member.member.commit(step_to("out", 0, &["later"])).expect_err("refused").to_string(), stopped);
    assert_eq!(found_values(&bus, "in", 0), ["before"], "what was confirmed can still be read");
    assert_eq!(found_values(&open(&files.power_cut(PowerCut::KeepsUnsynced)), "in", 0), ["before"]);
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let files = FaultFiles::default();
    let bus =
        EmbeddedBus::open_with(EmbeddedOptions { reserve_bytes: 0, ..EmbeddedOptions::new(FOLDER) }, Arc::new(files.clone()), clock());
    let bus = bus.expect("opened");
    in_and_out(&bus, 1);
    publish_values(&bus, "in", 0, &["before"]);
    files.set_free_bytes(50);
    let refused = publish(&bus, "in", 0, records(&["x".repeat(100)])).expect_err("full");
    assert!(matches!(&refused, BusError::Full(why) if why.starts_with("cannot write /log/00000000.log: ")), "{refused}");
    files.set_free_bytes(1 << 20);
    publish_values(&bus, "in", 0, &["after"]);
    drop(bus);
    assert_eq!(found_values(&open(&files.power_cut(PowerCut::LosesUnsynced)), "in", 0), ["before", "after"]);
}

#[test]
fn publishing_ends_before_the_disk_is_full() {
    let (files, clock) = (FaultFiles::default(), clock());
    let options = EmbeddedOptions { reserve_bytes: 1 << 20, ..EmbeddedOptions::new(FOLDER) };
    let bus =
        EmbeddedBus::open_with(options, Arc::new(files.clone()), Arc::<tidemill_bus::faults::ManualClock>::clone(&clock)).expect("opened");
    in_and_out(&bus, 1);
    publish_values(&bus, "in", 0, &["a"]);
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    let full = "the bus has no room: 500000 bytes are free on the disk of /log, 1048576 are kept in reserve";
    files.set_free_bytes(500_000);
    clock.advance(Duration::from_secs(2));
    // The disk is looked at after a write or a second.
    let deadline = Instant::now() + PATIENCE;
    while bus.health().is_ok() {
        assert!(Instant::now() < deadline, "the disk is looked at");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(bus.health().expect_err("it says so").to_string(), full);
    assert_eq!(publish(&bus, "in", 0, records(&["b"])).expect_err("refused").to_string(), full);
    member.member.commit(step_to("out", 0, &["b"])).expect("consumers go on, so that old segments can go");
    files.set_free_bytes(10 << 20);
    clock.advance(Duration::from_secs(2));
    while bus.health().is_err() {
        assert!(Instant::now() < deadline, "the disk is looked at");
        std::thread::sleep(Duration::from_millis(20));
    }
    publish_values(&bus, "in", 0, &["c"]);
}

#[test]
fn a_slow_disk_fills_the_queue_and_one_sync_serves_all() {
    let files = FaultFiles::default();
    let options = EmbeddedOptions { queue_bytes_max: 100_000, ..EmbeddedOptions::new(FOLDER) };
    let bus = EmbeddedBus::open_with(options, Arc::new(files.clone()), clock()).expect("opened");
    in_and_out(&bus, 4);
    files.hold_syncs(true);
    let (answers, answered) = mpsc::channel();
    let send = |n: u32| {
        let answers = answers.clone();
        bus.publish("in", n % 4, records(&["x".repeat(1000)]), Box::new(move |result| answers.send(result.is_ok()).expect("waited for")));
    };
    (0..500).for_each(send);
    let refused = answered.try_iter().filter(|ok| !ok).count();
    let (health, before) = (bus.health(), files.syncs());
    // Before anything may panic: the bus waits for its writer when it is dropped.
    files.hold_syncs(false);
    assert!((400..=460).contains(&refused), "{refused} of 500 requests of 2 KB were refused at once by a queue of 100 KB");
    assert!(matches!(health, Err(BusError::Full(_))), "{health:?}");
    let accepted = (0..500 - refused).filter(|_| answered.recv_timeout(PATIENCE).expect("answered")).count();
    assert_eq!(accepted, 500 - refused);
    assert!(files.syncs() - before <= 3, "{} syncs for {accepted} requests", files.syncs() - before);
    assert_eq!((0..4).map(|partition| found(&bus, "in", partition).len()).sum::<usize>(), accepted);
    assert!(bus.health().is_ok());
}

#[test]
fn a_thousand_partitions_are_quick() {
    let folder = tempfile::tempdir().expect("a folder");
    let begin = Instant::now();
    let open = || EmbeddedBus::open(EmbeddedOptions::new(folder.path())).expect("opened");
    let bus = open();
    in_and_out(&bus, 1000);
    let (answers, answered) = mpsc::channel();
    for partition in 0..1000 {
        let answers = answers.clone();
        bus.publish(
            "in",
            partition,
            records(&[partition.to_string()]),
            Box::new(move |result| answers.send(result.is_ok()).expect("waited for")),
        );
    }
    assert!((0..1000).all(|_| answered.recv_timeout(PATIENCE).expect("answered")));
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    member.until_seen(1000);
    let mut step = step_to("out", 999, &["done"]);
    step.positions.extend((0..1000).map(|partition| (at("in", partition), 1)));
    member.member.commit(step).expect("committed");
    drop(member);
    drop(bus);
    let bus = open();
    let member = Consumer::joined(&bus, "work", &["in"]);
    assert!(member.owned.iter().all(|(_, position)| *position == 1));
    assert!(begin.elapsed() < Duration::from_secs(10), "took {:?}", begin.elapsed());
}
