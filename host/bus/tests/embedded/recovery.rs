//! What is found after a crash.

use super::{log::*, told};
use crate::conformance::*;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering},
};
use tidemill_bus::{
    Bus, BusError, Compression,
    embedded::{Damage, EmbeddedBus, EmbeddedOptions},
    faults::{FaultFiles, PowerCut},
};

/// Publishes and commits from two threads, cuts the power now and then; `None`, or what was confirmed and is lost after a cut.
fn lost_after_cuts(files: &FaultFiles) -> Option<String> {
    let bus = open(files);
    in_and_out(&bus, 2);
    let acked = Mutex::new(BTreeSet::new());
    let stop = AtomicBool::new(false);
    let confirm = |value: String| assert!(acked.lock().expect("not poisoned").insert(value), "each once");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in (0..).take_while(|_| !stop.load(Ordering::SeqCst)) {
                publish_values(&bus, "in", n % 2, &[&format!("published {n}")]);
                confirm(format!("published {n}"));
            }
        });
        scope.spawn(|| {
            let mut member = Consumer::joined(&bus, "work", &["in"]);
            for n in (0..).take_while(|_| !stop.load(Ordering::SeqCst)) {
                let mut step = step_to("out", 0, &[&format!("left {n}")]);
                *step.records(&at("out", 1)) = records(&[format!("right {n}")]);
                step.positions.push((at("in", 0), n));
                member.member.commit(step).expect("committed");
                confirm(format!("left {n}"));
            }
        });
        let lost = (0..60).find_map(|seed| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            let before = acked.lock().expect("not poisoned").clone();
            let cut = [PowerCut::LosesUnsynced, PowerCut::KeepsUnsynced, PowerCut::Tears(seed)][seed as usize % 3];
            check_after_cut(&files.power_cut(cut), &before).map(|lost| format!("seed {seed}: {lost}"))
        });
        stop.store(true, Ordering::SeqCst);
        lost
    })
}

fn check_after_cut(files: &FaultFiles, acked: &BTreeSet<String>) -> Option<String> {
    let bus = match try_open(files) {
        Ok(bus) => bus,
        Err(error) => return Some(error.to_string()),
    };
    if bus.partitions("in").is_err() {
        return Some("the topics".to_owned());
    }
    let found: BTreeSet<String> =
        ["in", "out"].iter().flat_map(|topic| [0, 1].map(|partition| found_values(&bus, topic, partition))).flatten().collect();
    let left = found.iter().filter_map(|value| value.strip_prefix("left ")).collect::<BTreeSet<_>>();
    let right = found.iter().filter_map(|value| value.strip_prefix("right ")).collect::<BTreeSet<_>>();
    if left != right {
        return Some(format!("half a step: {left:?} and {right:?}"));
    }
    let position = bus.group_positions().expect("listed").first().map(|found| found.position);
    if position != left.iter().filter_map(|n| n.parse().ok()).max() {
        return Some(format!("the position of the last step: {position:?}"));
    }
    acked.iter().find(|value| !found.contains(*value)).cloned()
}

#[test]
fn a_power_cut_loses_nothing_that_was_confirmed() {
    assert_eq!(lost_after_cuts(&FaultFiles::default()), None);
}

#[test]
fn a_missing_sync_is_noticed() {
    let files = FaultFiles::default();
    files.lie_about_syncs();
    assert!(lost_after_cuts(&files).is_some(), "the test above proves nothing");
}

/// A log of three entries of one record each; the bytes before the last, and the whole.
fn three_entries() -> (FaultFiles, usize, Vec<u8>) {
    let files = FaultFiles::default();
    let bus = open(&files);
    in_and_out(&bus, 1);
    publish_values(&bus, "in", 0, &["first"]);
    publish_values(&bus, "in", 0, &["second"]);
    let before = content(&files, &logs(&files)[0]).len();
    publish_values(&bus, "in", 0, &["third"]);
    let whole = content(&files, &logs(&files)[0]);
    (files, before, whole)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let (files, before, whole) = three_entries();
    for end in before..whole.len() {
        for (what, tail) in [("cut", 0), ("zeros", whole.len() - end), ("noise", 0)] {
            let torn = files.power_cut(PowerCut::KeepsUnsynced);
            let mut bytes = whole[..end].to_vec();
            bytes.resize(end + tail, 0);
            if what == "noise" {
                bytes.extend_from_slice(b"TmE\x01 and what else lay there");
            }
            torn.put(&logs(&torn)[0], bytes);
            let bus = open(&torn);
            assert_eq!(found_values(&bus, "in", 0), ["first", "second"], "{what} at {end}");
            assert_eq!(bus.damage(), [], "a torn tail is none");
            publish_values(&bus, "in", 0, &["again"]);
            drop(bus);
            assert_eq!(found_values(&open(&torn), "in", 0), ["first", "second", "again"], "{what} at {end}");
        }
    }
}

#[test]
fn a_byte_flipped_in_the_middle_costs_its_entry_alone() {
    let (files, before, whole) = three_entries();
    let second = whole.windows(6).position(|bytes| bytes == b"second").expect("it is there");
    for position in second - 100..before {
        let damaged = files.power_cut(PowerCut::KeepsUnsynced);
        let path = logs(&damaged)[0].clone();
        damaged.flip(&path, position);
        let bus = open(&damaged);
        let [Damage { file, bytes }] = bus.damage() else { panic!("one damage, not {:?}", bus.damage()) };
        assert_eq!(*file, path);
        assert!(bytes.contains(&(position as u64)), "{position} is in {bytes:?}");
        let seen = found(&bus, "in", 0);
        let rest = values(&seen);
        assert!(rest == ["first", "third"] || rest == ["second", "third"], "flipped at {position}: {rest:?}");
        let last = seen[1].offset;
        assert_eq!(last, 2, "offsets keep their hole");
        publish_values(&bus, "in", 0, &["more"]);
        drop(bus);
        let after = found(&open(&damaged), "in", 0);
        assert_eq!(values(&after).last().map(String::as_str), Some("more"));
        assert!(after.last().is_some_and(|seen| seen.offset > last), "no offset is given twice");
    }
}

#[test]
fn a_byte_flipped_anywhere_never_panics_and_costs_one_entry_at_most() {
    let (files, before, _) = three_entries();
    for position in 0..before {
        let damaged = files.power_cut(PowerCut::KeepsUnsynced);
        damaged.flip(&logs(&damaged)[0], position);
        match try_open(&damaged) {
            Ok(bus) => {
                let found = bus.partitions("in").map_or_else(|_| Vec::new(), |_| found_values(&bus, "in", 0));
                assert!(found.len() >= 2 || bus.partitions("in").is_err(), "flipped at {position}: {found:?}");
            }
            Err(error) => assert!(matches!(error, BusError::Unusable(_)), "flipped at {position}: {error}"),
        }
    }
}

#[test]
fn damage_found_by_a_reader_is_stepped_over() {
    let (files, _, whole) = three_entries();
    let bus = open(&files.power_cut(PowerCut::KeepsUnsynced));
    drop(bus);
    let damaged = files.power_cut(PowerCut::KeepsUnsynced);
    let bus = open(&damaged);
    damaged.flip(&logs(&damaged)[0], whole.windows(6).position(|bytes| bytes == b"second").expect("it is there"));
    assert_eq!(found_values(&bus, "in", 0), ["first", "third"]);
    let mut member = Consumer::joined(&bus, "work", &["in"]);
    member.until_seen(2);
    assert_eq!(values(&member.seen), ["first", "third"]);
}

#[test]
fn damage_in_a_closed_segment_is_told_with_its_place_by_the_reader_that_meets_it() {
    told::listen();
    let (files, folder) = (FaultFiles::default(), "/damaged-while-open");
    let options = EmbeddedOptions { segment_bytes: 2_000, ..EmbeddedOptions::new(folder) };
    let bus = EmbeddedBus::open_with(options, Arc::new(files.clone()), clock()).expect("opened");
    in_and_out(&bus, 1);
    let sent: Vec<String> = (0..20).map(|n| format!("record {n} {}", "x".repeat(300))).collect();
    sent.iter().for_each(|value| publish_values(&bus, "in", 0, &[value]));
    assert!(logs(&files).len() > 4, "most segments are closed");
    let holds = |path: &std::path::PathBuf| content(&files, path).windows(9).position(|bytes| bytes == b"record 9 ");
    let (path, position) = logs(&files).into_iter().find_map(|path| holds(&path).map(|at| (path, at))).expect("it is there");
    assert_ne!(Some(&path), logs(&files).last());
    files.flip(&path, position);
    let rest: Vec<String> = sent.iter().filter(|value| !value.starts_with("record 9 ")).cloned().collect();
    assert_eq!((found_values(&bus, "in", 0), found_values(&bus, "in", 0)), (rest.clone(), rest), "the others are there");
    let lines = told::told(&[folder, "these bytes are stepped over"]);
    let [line] = &lines[..] else { panic!("told once, not {lines:?}") };
    let number = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse::<usize>().ok()).expect("a number");
    let bytes = number("position=")..number("position=") + number("length=");
    assert!(
        line.contains(&format!("file={} ", path.display())) && bytes.contains(&position) && bytes.len() < 700,
        "{line}, not {position}"
    );
}

#[test]
fn a_newer_format_is_refused() {
    let (files, _, mut whole) = three_entries();
    whole[8] = 2;
    let newer = files.power_cut(PowerCut::KeepsUnsynced);
    newer.put(&logs(&newer)[0], whole);
    let refused = try_open(&newer).err().expect("refused");
    assert!(matches!(refused, BusError::Unusable(_)));
    let expected = "/log/00000000.log is of format 2, this program reads up to format 1: use the newer program that wrote it";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn two_processes_do_not_share_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = || EmbeddedOptions::new(folder.path());
    let first = EmbeddedBus::open(options()).expect("opened");
    let refused = EmbeddedBus::open(options()).err().expect("refused");
    let expected = format!("{} is in use by another process: stop it or choose another folder", folder.path().display());
    assert_eq!(refused.to_string(), expected);
    drop(first);
    assert!(EmbeddedBus::open(options()).is_ok(), "free again");
}

#[test]
fn a_segment_that_was_being_made_is_set_aside() {
    let (files, _, whole) = three_entries();
    for end in 0..70 {
        let cut = files.power_cut(PowerCut::KeepsUnsynced);
        let path = std::path::Path::new(FOLDER).join("00000001.log");
        cut.put(&path, whole[..end].to_vec());
        let bus = open(&cut);
        assert_eq!(found_values(&bus, "in", 0), ["first", "second", "third"]);
        assert_eq!(cut.content(&path.with_extension("log.unreadable")).map(|bytes| bytes.len()), Some(end));
        publish_values(&bus, "in", 0, &["more"]);
        drop(bus);
        assert_eq!(found_values(&open(&cut), "in", 0).len(), 4);
    }
}

/// Written by the first release; every later one must open it. `cargo test -- --ignored make_the_museum` makes it.
const MUSEUM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/embedded/museum/format-1");

#[test]
#[ignore = "writes the museum of the present format"]
fn make_the_museum() {
    let options = EmbeddedOptions { segment_bytes: 1500, ..EmbeddedOptions::new(MUSEUM) };
    let bus = EmbeddedBus::open(options).expect("opened");
    in_and_out(&bus, 2);
    bus.ensure_topics(&[spec("lz4", 1, Compression::Lz4)]).expect("made");
    for n in 0..3 {
        publish_values(&bus, "in", 0, &[&format!("plain {n}")]);
        publish_values(&bus, "lz4", 0, &[&format!("lz4 {n}"), &"x".repeat(300)]);
        let mut member = Consumer::joined(&bus, "work", &["in"]);
        let mut step = step_to("out", 1, &[&format!("zstd {n}"), &"y".repeat(300)]);
        step.positions.push((at("in", 0), n + 1));
        step.checkpoints.push(tidemill_bus::Checkpoint { key: "state".into(), bytes: Some(format!("state {n}").into()) });
        member.member.commit(step).expect("committed");
    }
}

#[test]
fn logs_of_every_released_format_open() {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(MUSEUM).expect("the museum") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::open(EmbeddedOptions::new(folder.path())).expect("opened"));
    assert_eq!(found_values(&*bus, "in", 0), ["plain 0", "plain 1", "plain 2"]);
    let (x, y) = ("x".repeat(300), "y".repeat(300));
    assert_eq!(found_values(&*bus, "lz4", 0), ["lz4 0", &x, "lz4 1", &x, "lz4 2", &x]);
    assert_eq!(found_values(&*bus, "out", 1), ["zstd 0", &y, "zstd 1", &y, "zstd 2", &y]);
    let mut member = Consumer::joined(&*bus, "work", &["in"]);
    assert_eq!(member.owned, [(at("in", 0), 3), (at("in", 1), 0)]);
    assert_eq!(member.checkpoint("state").as_deref(), Some(&b"state 2"[..]));
}
