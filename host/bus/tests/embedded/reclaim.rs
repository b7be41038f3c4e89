//! A large state that is saved often does not fill the disk, and files are not all open at once.

use crate::conformance::*;
use bytes::Bytes;
use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};
use tidemill_bus::{
    Checkpoint, Step,
    embedded::{EmbeddedBus, EmbeddedOptions},
};

/// What the folder takes on the disk.
fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries.map(|entry| entry.metadata().map_or(0, |found| found.blocks() * 512)).sum()
}

/// Files of the folder that this process holds open.
fn open_files(folder: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").expect("a list").map(|entry| entry.expect("an entry").path());
    links.filter(|link| std::fs::read_link(link).is_ok_and(|to| to.starts_with(folder))).count()
}

fn state(round: usize, bytes: usize) -> Bytes {
    Bytes::from((0..bytes).map(|at| (at / 7 + round) as u8).collect::<Vec<_>>())
}

#[test]
fn a_large_state_saved_often_takes_little_room() {
    let is_long = std::env::var_os("TIDEMILL_TEST_LONG").is_some();
    let (rounds, bytes, segment_bytes) = if is_long { (1_000, 4 << 20, 128 << 20) } else { (120, 1 << 20, 8 << 20) };
    let folder = tempfile::tempdir().expect("a folder");
    let options = || EmbeddedOptions { segment_bytes, ..EmbeddedOptions::new(folder.path()) };
    let open = || EmbeddedBus::open(options()).expect("opened");
    let mut bus = open();
    in_and_out(&bus, 1);
    let mut most = 0;
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    for round in 0..rounds {
        publish_values(&bus, "in", 0, &[&round.to_string()]);
        let save = |key: &str, bytes| Checkpoint { key: key.into(), bytes: Some(bytes) };
        let checkpoints = vec![save("large", state(round, bytes)), save("small", Bytes::from(round.to_string()))];
        let positions = vec![(at("in", 0), round as i64 + 1)];
        member.member.commit(Step { checkpoints, positions, ..Step::default() }).expect("committed");
        most = most.max(disk_bytes(folder.path()));
        if round % (rounds / 3) == 7 {
            drop(member);
            drop(bus);
            bus = open();
            assert_eq!(bus.damage(), [], "holes are no damage");
            member = Consumer::joined(&bus, "work", &["in"]);
        }
    }
    let bound = 2 * segment_bytes + 4 * bytes as u64;
    eprintln!("{rounds} states of {bytes} bytes took at most {most} bytes of disk; the bound is {bound}");
    assert!(most <= bound, "{most} bytes on the disk for one state of {bytes}, over {bound}");
    drop((member, bus));

    // Without the indexes of the segments all of them are read.
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    let bus = open();
    assert_eq!(bus.damage(), []);
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    assert!(member.checkpoint("large") == Some(state(rounds - 1, bytes)), "the newest state is there");
    assert_eq!(member.checkpoint("small"), Some(Bytes::from((rounds - 1).to_string())));
    assert_eq!(read_all(&bus, "in", 0, rounds).len(), rounds, "no record went with the states");
}

#[test]
fn retention_counts_what_is_on_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = EmbeddedOptions { segment_bytes: 2 << 20, retention_bytes: 16 << 20, ..EmbeddedOptions::new(folder.path()) };
    let bus = EmbeddedBus::open(options).expect("opened");
    in_and_out(&bus, 1);
    publish_values(&bus, "in", 0, &["the oldest record"]);
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    for round in 0..40 {
        let checkpoints = vec![Checkpoint { key: "large".into(), bytes: Some(state(round, 1 << 20)) }];
        member.member.commit(Step { checkpoints, ..Step::default() }).expect("committed");
    }
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(values(&read_all(&bus, "in", 0, 1)), ["the oldest record"], "40 MiB of replaced states push no record out of 16 MiB");
}

#[test]
fn ten_thousand_partitions_in_many_segments_need_few_files() {
    const PARTITIONS: u32 = 10_000;
    let folder = tempfile::tempdir().expect("a folder");
    let defaults = EmbeddedOptions::new(folder.path());
    assert_eq!(defaults.open_files_max, 1_000);
    let options = || EmbeddedOptions { segment_bytes: 1 << 20, open_files_max: 8, ..defaults.clone() };
    let bus = EmbeddedBus::open(options()).expect("opened");
    in_and_out(&bus, PARTITIONS);
    for round in 0..5 {
        let mut member = Consumer::joined(&bus, "fill", &["in"]);
        let mut step = Step::default();
        for partition in 0..PARTITIONS {
            *step.records(&at("in", partition)) = records(&[format!("{round}/{partition} {}", "x".repeat(200))]);
        }
        member.member.commit(step).expect("committed");
    }
    let segments = || {
        std::fs::read_dir(folder.path())
            .expect("a folder")
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "log")))
            .count()
    };
    assert!(segments() >= 5, "{} segments", segments());
    let mut most = 0;
    let mut check = |bus: &EmbeddedBus| {
        let (mut member, begin) = (Consumer::joined(bus, "read", &["in"]), Instant::now());
        assert_eq!(member.owned.len(), PARTITIONS as usize);
        while member.seen.len() < 5 * PARTITIONS as usize {
            assert!(begin.elapsed() < PATIENCE, "{} records", member.seen.len());
            member.poll(Duration::from_millis(100));
            most = most.max(if member.seen.len() % 100 == 0 { open_files(folder.path()) } else { 0 });
        }
    };
    check(&bus);
    drop(bus);
    check(&EmbeddedBus::open(options()).expect("opened"));
    // The lock and the segment that is written to are open beside them.
    assert!((2..=8 + 2).contains(&most), "{most} files were open at once");
}
