//! A disk on which any operation fails, once or for good, early or late: nothing that was confirmed is lost, the error is told, and
//! when the disk works again everything is there.

use super::{log::*, told};
use crate::conformance::*;
use bytes::Bytes;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tidemill_bus::{
    Bus, BusError, Checkpoint, Start,
    embedded::{DeclaredGroup, EmbeddedBus, EmbeddedOptions},
    faults::{FaultFiles, ManualClock, Operation, PowerCut},
};

/// Operations of a kind that work before the first that fails.
const WORKING: [u32; 9] = [0, 1, 2, 3, 5, 8, 13, 21, 34];
const ROUNDS: i64 = 40;
/// Records that the group leaves unread.
const UNREAD: i64 = 12;
const EIO: &str = "input/output error";

/// A disk and what was confirmed on it.
struct Disk {
    name: String,
    files: FaultFiles,
    clock: Arc<ManualClock>,
    confirmed: Vec<String>,
    position: i64,
    saved: i64,
    /// What the callers were told, which is what there was to know for them.
    refused: Vec<String>,
}

impl Disk {
    fn new(name: String) -> Self {
        let (files, clock) = (FaultFiles::default(), clock());
        Self { name, files, clock, confirmed: vec![], position: 0, saved: 0, refused: vec![] }
    }

    /// Small segments, of which those go that the group has read.
    fn open(&self, files: &FaultFiles) -> Result<EmbeddedBus, BusError> {
        let group = DeclaredGroup { group: "work".into(), topics: vec!["in".into()] };
        let options = EmbeddedOptions {
            segment_bytes: 8_000,
            retention_bytes: 100_000,
            declared_groups: vec![group],
            open_files_max: 2,
            ..EmbeddedOptions::new(PathBuf::from(&self.name))
        };
        EmbeddedBus::open_with(options, Arc::new(files.clone()), Arc::<ManualClock>::clone(&self.clock))
    }

    /// Publishes, reads and saves what is large and replaced soon; each time the log is looked after.
    fn work(&mut self, bus: &EmbeddedBus) {
        let mut member = bus.join("work", &["in"]).expect("joined");
        for round in 1..=ROUNDS {
            self.clock.advance(Duration::from_secs(2));
            let value = format!("{} {}", self.confirmed.len(), "x".repeat(700));
            match publish(bus, "in", 0, records(&[&value])) {
                Ok(()) => self.confirmed.push(value),
                Err(error) => self.refused.push(error.to_string()),
            }
            if let Err(error) = read_from(bus, self.position) {
                self.refused.push(error.to_string());
            }
            if round % 4 == 0 {
                let mut step = step_to("out", 0, &["made"]);
                let position = (self.confirmed.len() as i64 - UNREAD).max(0);
                step.positions.push((at("in", 0), position));
                let state = Bytes::from(format!("{round:>40000}"));
                step.checkpoints.push(Checkpoint { key: "state".into(), bytes: Some(state) });
                let polled = member.poll(Duration::ZERO).map(drop);
                match polled.and_then(|()| member.commit(step)) {
                    Ok(()) => (self.position, self.saved) = (position, round),
                    Err(error) => self.refused.push(error.to_string()),
                }
            }
        }
    }

    /// What is on the disk has everything that was confirmed, and takes more. A hole that is torn is told as damage, though nobody needs
    /// its bytes any more.
    fn check(&self, files: &FaultFiles, is_torn: bool, what: &str) {
        let bus = self.open(files).unwrap_or_else(|error| panic!("{what}: it does not open: {error}"));
        if !is_torn {
            assert_eq!(bus.damage(), [], "{what}");
        }
        let mut member = Consumer::joined(&bus, "work", &["in"]);
        let position = member.owned[0].1;
        assert!(position >= self.position, "{what}: the position is {position}, {} was confirmed", self.position);
        let state = member.checkpoint("state").map_or(0, |bytes| String::from_utf8_lossy(&bytes).trim().parse().expect("a number"));
        assert!(state >= self.saved, "{what}: the state is {state}, {} was confirmed", self.saved);
        publish(&bus, "in", 0, records(&["more"])).unwrap_or_else(|error| panic!("{what}: it takes no more: {error}"));
        let found = read_from(&bus, self.position).unwrap_or_else(|error| panic!("{what}: {error}"));
        let (last, rest) = found.split_last().expect("at least one");
        assert_eq!(last, "more", "{what}");
        let expected = &self.confirmed[self.position as usize..];
        assert!(rest.starts_with(expected) && rest.len() <= expected.len() + 1, "{what}: {} of {} are there", rest.len(), expected.len());
    }

    /// Whoever asked was told, or else the log says it.
    fn check_told(&self, operation: Operation, count: u32, what: &str) {
        assert!(self.refused.iter().all(|text| text.contains(EIO)), "{what}: {:?}", self.refused);
        let place = match operation {
            Operation::FreeBytes => "cannot tell the free space of the disk",
            Operation::Punch | Operation::Metadata => "the space of a replaced checkpoint was not given back",
            _ => &self.name,
        };
        let is_told = !self.refused.is_empty() || !told::told(&[place, EIO]).is_empty();
        // A poll that has records already gives those, and the next one reads again.
        let is_made_good = count == 1 && matches!(operation, Operation::Open | Operation::Read);
        assert!(is_told || is_made_good || self.files.failed() == 0, "{what}: {} failed and nobody was told", self.files.failed());
    }
}

fn read_from(bus: &EmbeddedBus, position: i64) -> Result<Vec<String>, BusError> {
    let mut reader = bus.reader(&at("in", 0), Start::Offset(position))?;
    let mut found = vec![];
    while let Some(batch) = reader.poll(Duration::ZERO)? {
        found.extend(batch.iter().map(|(_, record)| String::from_utf8_lossy(record.value).into_owned()));
    }
    Ok(found)
}

fn each(mut check: impl FnMut(Operation, u32, u32)) {
    for operation in Operation::ALL {
        for working in WORKING {
            [1, u32::MAX].into_iter().for_each(|count| check(operation, working, count));
        }
    }
}

#[test]
fn a_log_whose_disk_fails_at_work_loses_nothing_and_says_so() {
    told::listen();
    let mut met = Vec::new();
    each(|operation, working, count| {
        let what = format!("at work {operation:?} {count} times after {working}");
        let mut disk = Disk::new(format!("/at-work-{operation:?}-{working}-{count}"));
        let bus = disk.open(&disk.files).expect("opened");
        in_and_out(&bus, 1);
        disk.files.fail_after(working, operation, "", count);
        disk.work(&bus);
        disk.files.heal();
        let cuts = [PowerCut::LosesUnsynced, PowerCut::KeepsUnsynced, PowerCut::Tears(u64::from(working))];
        for cut in cuts {
            disk.check(&disk.files.power_cut(cut), matches!(cut, PowerCut::Tears(_)), &format!("{what}, {cut:?}"));
        }
        drop(bus);
        disk.check_told(operation, count, &what);
        disk.check(&disk.files, false, &what);
        if disk.files.failed() > 0 && !met.contains(&operation) {
            met.push(operation);
        }
    });
    use Operation::*;
    assert_eq!(met, [Open, Read, Write, Sync, SyncDir, Remove, SetLen, Punch, Metadata, FreeBytes]);
}

#[test]
fn a_log_whose_disk_fails_while_it_opens_loses_nothing_and_says_so() {
    told::listen();
    let mut met = Vec::new();
    let mut disk = Disk::new("/while-opening".to_owned());
    let bus = disk.open(&disk.files).expect("opened");
    in_and_out(&bus, 1);
    disk.work(&bus);
    drop(bus);
    assert_eq!((disk.confirmed.len() as i64, disk.saved), (ROUNDS, ROUNDS));
    each(|operation, working, count| {
        let what = format!("while it opens {operation:?} {count} times after {working}");
        let found = disk.files.killed();
        // The next segment, as far as it was made.
        found.put(&PathBuf::from(&disk.name).join("00000099.log"), b"TIDELOG".to_vec());
        found.fail_after(working, operation, "", count);
        match disk.open(&found) {
            Ok(bus) => drop(bus),
            Err(error) => assert!(error.to_string().contains(EIO), "{what}: {error}"),
        }
        if found.failed() > 0 && !met.contains(&operation) {
            met.push(operation);
        }
        found.heal();
        disk.check(&found, false, &what);
        disk.check(&found.power_cut(PowerCut::LosesUnsynced), false, &what);
    });
    use Operation::*;
    assert_eq!(met, [Open, Read, Sync, SyncDir, Rename, Metadata, List, CreateDir, Lock, FreeBytes]);
}
