//! Of a `file:` lake.

use crate::*;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use tidemill_bus::faults::{Operation, PowerCut, at_crash_point};
use tidemill_lake::{LakeHandle, LakeLimits, LakeOptions, LakeStage};
use tidemill_message::MessageWriter;
use tidemill_schema::Registry;

const SEGMENT: u64 = 128 << 20;
/// Power cuts of one run.
const CUTS: u64 = 16;
/// A round of documents.
const ROUND: i64 = 40;

/// Where the lake lies on the double's disk. The folder of the table is there on the real one too, but empty: the reader of Delta
/// logs asks the operating system whether it is there, and nothing else.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("test/ping_v1")).expect("made");
        folder
    });
    folder.path()
}

/// A bus and a lake on the same disk.
struct World {
    bus: Arc<EmbeddedBus>,
    lake: LakeHandle,
}

impl World {
    fn open(files: &FaultFiles) -> Result<Self, String> {
        let bus = Arc::new(try_open(files, SEGMENT).map_err(|error| error.to_string())?);
        topics(&*bus, &["validated", "errors"]);
        let options = LakeOptions {
            bus: Arc::<EmbeddedBus>::clone(&bus),
            registry: Arc::new(Registry::default()),
            url: url::Url::from_directory_path(folder()).expect("a URL"),
            commit_interval: Duration::from_millis(20),
            commit_bytes: 128 << 20,
            clock: Arc::new(SystemClock::default()),
            files: Arc::new(files.clone()),
            on_lost: tidemill_bus::OnLost::Stop,
        };
        let limits = LakeLimits {
            maintenance_interval: Duration::from_millis(200),
            small_files_max: 3,
            checkpoint_commits: 5,
            ..LakeLimits::default()
        };
        let lake = LakeStage::start_with(options, limits).map_err(|error| error.to_string())?;
        Ok(Self { bus, lake })
    }

    /// Publishes documents of raw offsets `from`...
    fn publish(&self, from: i64) {
        let mut batch = RecordBuf::default();
        for offset in from..from + ROUND {
            let source = format!("decode/0/raw1/0/{offset}/0");
            batch.push_with(0, b"", &[("tm-src", source.as_bytes()), ("tm-schema", b"test/ping/1#00000000000000ab")], |out| {
                let mut writer = MessageWriter::new(out, &[1; 16], 1_541_030_400_000_000_000);
                writer.type_(b"validated").logger(b"test").field_string("documentId", format!("id-{offset}").as_bytes());
                writer.field_string("docType", b"ping").field_integer("docVersion", "", 1).field_bytes("submission", "json", b"{}");
            });
        }
        publish(&*self.bus, "validated", batch);
    }

    fn is_done(&self) -> bool {
        position(&*self.bus, "lake", "validated") == end(&*self.bus, "validated")
    }

    fn stop(self) {
        self.lake.stop();
    }
}

/// The rows of all tables, counted from their logs alone: every file that a commit added must be there as it was written.
fn rows(files: &FaultFiles) -> Result<u64, String> {
    let mut live: BTreeMap<PathBuf, (u64, u64)> = BTreeMap::new();
    let is_commit = |path: &PathBuf| {
        path.parent().is_some_and(|folder| folder.ends_with("_delta_log")) && path.extension().is_some_and(|ending| ending == "json")
    };
    for path in files.paths().into_iter().filter(is_commit) {
        let table = path.parent().and_then(Path::parent).unwrap_or(Path::new("/")).to_owned();
        let text = files.content(&path).unwrap_or_default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: serde_json::Value = serde_json::from_slice(line).map_err(|error| format!("{} is torn: {error}", path.display()))?;
            let name = |action: &serde_json::Value| table.join(action["path"].as_str().unwrap_or_default());
            if let Some(add) = action.get("add") {
                let stats: serde_json::Value = add["stats"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
                live.insert(name(add), (add["size"].as_u64().unwrap_or(0), stats["numRecords"].as_u64().unwrap_or(0)));
            }
            action.get("remove").map(|remove| live.remove(&name(remove)));
        }
    }
    live.iter().try_fold(0, |sum, (path, (size, rows))| {
        let content = files.content(path).unwrap_or_default();
        let is_whole = content.len() as u64 == *size && content.starts_with(b"PAR1") && content.ends_with(b"PAR1");
        if is_whole { Ok(sum + rows) } else { Err(format!("{} has {} of {size} bytes", path.display(), content.len())) }
    })
}

/// Opens what a power cut left, lets the lake do what is left to do, and counts.
fn rows_after(cut: &FaultFiles) -> Result<(u64, i64), String> {
    let world = World::open(cut)?;
    if !becomes(PATIENCE, || world.is_done()) {
        return Err(format!("the lake does not go on: {:?}", world.lake.progress()));
    }
    let expected = end(&*world.bus, "validated");
    world.stop();
    Ok((rows(cut)?, expected))
}

fn check_after(cut: &FaultFiles) -> Verdict {
    let (found, expected) = rows_after(cut)?;
    if found == expected as u64 { Ok(()) } else { Err(format!("{found} rows of {expected} records")) }
}

pub fn rows_survive_a_power_cut() -> Verdict {
    let files = FaultFiles::default();
    let world = World::open(&files)?;
    for round in 0..3 {
        world.publish(round * ROUND);
        if !becomes(PATIENCE, || world.is_done()) {
            return Err(format!("the lake does not go on: {:?}", world.lake.progress()));
        }
    }
    let cut = files.power_cut(PowerCut::LosesUnsynced);
    world.stop();
    check_after(&cut)
}

/// Killed at a point, restarted, and then the power fails: what the restart counted as committed must be durable.
fn check_killed(dead: &FaultFiles) -> Verdict {
    let world = World::open(dead)?;
    if !becomes(PATIENCE, || world.is_done()) {
        return Err(format!("the lake does not go on: {:?}", world.lake.progress()));
    }
    let cut = dead.power_cut(PowerCut::LosesUnsynced);
    world.stop();
    check_after(&cut)
}

/// Each operation on the table's files fails a few times, and then works again.
pub fn disk_errors() -> Verdict {
    let files = FaultFiles::default();
    let world = World::open(&files)?;
    let mut met = vec![];
    for (round, operation) in (0..).zip(Operation::ALL) {
        let before = files.failed();
        world.publish(2 * round * ROUND);
        becomes(Duration::from_millis(300), || world.is_done());
        files.fail(operation, "ping_v1", 2);
        world.publish((2 * round + 1) * ROUND);
        if !becomes(PATIENCE, || world.is_done()) {
            return Err(format!("after {operation:?} failed the lake does not go on: {:?}", world.lake.progress()));
        }
        files.heal();
        if files.failed() > before {
            met.push(operation);
        }
    }
    let always = [Operation::Open, Operation::Write, Operation::Sync, Operation::SyncDir, Operation::Rename, Operation::Remove];
    if let Some(operation) = always.iter().find(|operation| !met.contains(operation)) {
        return Err(format!("{operation:?} was not asked for"));
    }
    let cut = files.power_cut(PowerCut::LosesUnsynced);
    world.stop();
    check_after(&cut)
}

pub fn rows_are_there_once() -> Verdict {
    let files = FaultFiles::default();
    let (cuts, disk) = (Arc::new(Mutex::new(vec![])), files.clone());
    let taken = Arc::clone(&cuts);
    let cut = move || taken.lock().expect("not poisoned").push(disk.power_cut(PowerCut::KeepsUnsynced));
    let hook = at_crash_point("lake-before-position", cut);
    let world = World::open(&files)?;
    world.publish(0);
    let is_done = becomes(PATIENCE, || world.is_done());
    drop(hook);
    world.stop();
    let first = cuts.lock().expect("not poisoned").first().cloned();
    match first {
        Some(cut) if is_done => check_after(&cut),
        _ => Err("the lake committed nothing".to_owned()),
    }
}

/// Cuts at moments that nobody chose, and at every point of the lake; each sector and name that was not synced is there or not.
pub fn power_cuts() -> Verdict {
    const POINTS: [&str; 6] =
        ["lake-before-commit", "lake-after-commit", "lake-before-position", "lake-compaction", "lake-compacted", "lake-checkpoint"];
    let files = FaultFiles::default();
    let cuts = Arc::new(Mutex::new(vec![]));
    let hooks = POINTS.map(|name| {
        let (taken, disk) = (Arc::clone(&cuts), files.clone());
        at_crash_point(name, move || {
            let mut taken = taken.lock().expect("not poisoned");
            let seed = taken.len() as u64;
            taken.push((name, seed, disk.power_cut(PowerCut::Tears(seed)), disk.killed()));
        })
    });
    let world = World::open(&files)?;
    for round in 0..CUTS {
        world.publish(round as i64 * ROUND);
        std::thread::sleep(Duration::from_millis(100 + 7 * round));
        cuts.lock().expect("not poisoned").push(("any moment", round, files.power_cut(PowerCut::Tears(round)), files.killed()));
    }
    drop(hooks);
    world.stop();
    let mut cuts = std::mem::take(&mut *cuts.lock().expect("not poisoned"));
    eprintln!("{} power cuts", cuts.len());
    // A few of each kind, the later ones, which have more to lose.
    let mut left: BTreeMap<&str, u32> = BTreeMap::new();
    cuts.reverse();
    cuts.retain(|(name, ..)| {
        let count = left.entry(name).or_default();
        *count += 1;
        *count <= 2
    });
    let missing = POINTS.iter().find(|name| !left.contains_key(*name));
    if let Some(name) = missing {
        return Err(format!("{name} was not reached"));
    }
    cuts.iter().try_for_each(|(name, seed, cut, dead)| {
        check_after(cut).map_err(|wrong| format!("{name}, seed {seed}: {wrong}"))?;
        check_killed(dead).map_err(|wrong| format!("{name}, killed and then without power: {wrong}"))
    })
}
