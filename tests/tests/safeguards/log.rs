//! The embedded log's own.

use crate::*;
use std::sync::Arc;
use tidemill_bus::faults::{PowerCut, at_crash_point};

const SEGMENT: u64 = 128 << 20;

fn found_after(files: &FaultFiles, segment_bytes: u64, expected: &[String]) -> Verdict {
    let bus = try_open(&files.power_cut(PowerCut::LosesUnsynced), segment_bytes).map_err(|error| error.to_string())?;
    let found = values(&bus, "in");
    if found == expected { Ok(()) } else { Err(format!("{} of {} confirmed records were found", found.len(), expected.len())) }
}

pub fn confirmed_records_survive_a_power_cut() -> Verdict {
    let files = FaultFiles::default();
    let bus = open(&files, SEGMENT);
    topics(&bus, &["in"]);
    let sent: Vec<String> = (0..5).map(|n| format!("record {n}")).collect();
    sent.iter().for_each(|value| publish(&bus, "in", records([value.as_str()])));
    found_after(&files, SEGMENT, &sent)
}

pub fn a_rolled_segment_survives_a_power_cut() -> Verdict {
    let files = FaultFiles::default();
    let bus = open(&files, 4_096);
    topics(&bus, &["in"]);
    let sent: Vec<String> = (0..30).map(|n| format!("record {n} {}", "x".repeat(500))).collect();
    sent.iter().for_each(|value| publish(&bus, "in", records([value.as_str()])));
    found_after(&files, 4_096, &sent)
}

pub fn a_flipped_byte_is_never_delivered() -> Verdict {
    let files = FaultFiles::default();
    let bus = open(&files, SEGMENT);
    topics(&bus, &["in"]);
    ["first", "second", "third"].into_iter().for_each(|value| publish(&bus, "in", records([value])));
    drop(bus);
    let path = files.paths().into_iter().find(|path| path.extension().is_some_and(|ending| ending == "log")).expect("a segment");
    let content = files.content(&path).expect("content");
    files.flip(&path, content.windows(6).position(|bytes| bytes == b"second").expect("it is there"));
    let found = values(&open(&files, SEGMENT), "in");
    if found == ["first", "third"] { Ok(()) } else { Err(format!("{found:?} were delivered")) }
}

/// The process dies at a point; the next one opens the log, takes a record, and then the power fails.
pub fn what_a_restart_shows_a_power_cut_does_not_take() -> Verdict {
    // So small that the next entry begins a new segment and a sync of the old one is nobody's by-product; or so large that none is begun.
    for (point, segment_bytes) in [("log-before-sync", 1), ("log-roll-segment", SEGMENT)] {
        let files = FaultFiles::default();
        let dead = Arc::new(Mutex::new(vec![]));
        let bus = open(&files, 4_096);
        topics(&bus, &["in"]);
        let hook = {
            let (taken, disk) = (Arc::clone(&dead), files.clone());
            at_crash_point(point, move || taken.lock().expect("not poisoned").push(disk.killed()))
        };
        (0..30).for_each(|n| publish(&bus, "in", records([format!("record {n} {}", "x".repeat(500)).as_str()])));
        drop(hook);
        for found in dead.lock().expect("not poisoned").iter() {
            let bus = try_open(found, segment_bytes).map_err(|error| error.to_string())?;
            let mut shown = values(&bus, "in");
            publish(&bus, "in", records(["after the restart"]));
            shown.push("after the restart".to_owned());
            found_after(found, segment_bytes, &shown).map_err(|lost| format!("killed at {point}: {lost}"))?;
        }
    }
    Ok(())
}
