//! Files in memory that fail on demand: a test double of [`Files`] (cargo feature `faults`, for tests alone).
//!
//! `kill -9` proves nothing about durability, the page cache survives it. Here every file has what programs see and what the
//! disk holds; [`FaultFiles::power_cut`] gives the disk as it is found after the power came back.

use crate::{Clock, File, FileLock, Files};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// Sectors are written whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Files in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct FaultFiles {
    world: Arc<Mutex<World>>,
    gate: Arc<Gate>,
}

/// Holds syncs up.
#[derive(Debug, Default)]
struct Gate {
    held: Mutex<bool>,
    opened: Condvar,
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock at this time since 1970.
    pub fn at(since_1970: Duration) -> Self {
        Self(AtomicI64::new(since_1970.as_nanos() as i64))
    }

    /// Moves it on.
    pub fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as i64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now_ns().unsigned_abs())
    }
}

/// What becomes of writes, lengths and names that were never synced.
#[derive(Clone, Copy, Debug)]
pub enum PowerCut {
    /// All are lost.
    LosesUnsynced,
    /// All got to the disk.
    KeepsUnsynced,
    /// Each sector and name is lost or kept, by this seed: tears and reorders.
    Tears(u64),
}

#[derive(Debug)]
struct World {
    /// Names as programs see them, and as the disk holds them.
    names: BTreeMap<PathBuf, Arc<Mutex<Data>>>,
    durable_names: BTreeMap<PathBuf, Arc<Mutex<Data>>>,
    folders: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    free_bytes: u64,
    failing_syncs: u32,
    lying_syncs: bool,
    syncs: u64,
    opened: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            folders: BTreeSet::new(),
            locked: BTreeSet::new(),
            free_bytes: u64::MAX,
            failing_syncs: 0,
            lying_syncs: false,
            syncs: 0,
            opened: 0,
        }
    }
}

#[derive(Debug, Default)]
struct Data {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl FaultFiles {
    /// The disk after the power came back; these files here go on as if nothing had happened.
    pub fn power_cut(&self, cut: PowerCut) -> Self {
        let world = self.world.lock();
        let mut dice = Dice(match cut {
            PowerCut::Tears(seed) => seed,
            _ => 0,
        });
        let mut kept = |cut| match cut {
            PowerCut::LosesUnsynced => false,
            PowerCut::KeepsUnsynced => true,
            PowerCut::Tears(_) => dice.throw(),
        };
        let mut names = world.durable_names.clone();
        for (path, data) in &world.names {
            let known = names.get(path).is_some_and(|durable| Arc::ptr_eq(durable, data));
            if !known && kept(cut) {
                names.insert(path.clone(), Arc::clone(data));
            }
        }
        let names: BTreeMap<_, _> =
            names.into_iter().map(|(path, data)| (path, Arc::new(Mutex::new(data.lock().after(|| kept(cut)))))).collect();
        let durable_names = names.clone();
        let found = World { names, durable_names, folders: world.folders.clone(), ..World::default() };
        Self { world: Arc::new(Mutex::new(found)), gate: Arc::default() }
    }

    /// So many bytes can still be written; then `ENOSPC`.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.world.lock().free_bytes = bytes;
    }

    /// The next so many syncs fail with `EIO`, and what they should have made durable is lost to the disk.
    pub fn fail_syncs(&self, count: u32) {
        self.world.lock().failing_syncs = count;
    }

    /// Syncs of files say ok and do nothing: as if the program had forgotten them.
    pub fn lie_about_syncs(&self) {
        self.world.lock().lying_syncs = true;
    }

    /// From now on (`true`) syncs wait until they may go on (`false`): a slow disk.
    pub fn hold_syncs(&self, held: bool) {
        *self.gate.held.lock() = held;
        self.gate.opened.notify_all();
    }

    /// How many times a file was synced.
    pub fn syncs(&self) -> u64 {
        self.world.lock().syncs
    }

    /// How many times a file was opened.
    pub fn opened(&self) -> u64 {
        self.world.lock().opened
    }

    /// The names of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.world.lock().names.keys().cloned().collect()
    }

    /// What a file holds; `None` where there is none.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        self.world.lock().names.get(path).map(|data| data.lock().seen.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let data = Arc::new(Mutex::new(Data { seen: bytes.clone(), durable: bytes, unsynced: Vec::new() }));
        let mut world = self.world.lock();
        world.names.insert(path.to_owned(), Arc::clone(&data));
        world.durable_names.insert(path.to_owned(), data);
    }

    /// Inverts a byte, as failing memory or disks do.
    pub fn flip(&self, path: &Path, offset: usize) {
        if let Some(data) = self.world.lock().names.get(path) {
            let mut data = data.lock();
            data.seen[offset] ^= 0xff;
            data.durable = data.seen.clone();
        }
    }
}

impl Data {
    /// What the disk holds when each unsynced sector is asked after.
    fn after(&self, mut kept: impl FnMut() -> bool) -> Self {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match change {
                Change::Length(length) if kept() => bytes.resize(*length, 0),
                Change::Length(_) => {}
                Change::Write { offset, bytes: written } => {
                    let mut at = *offset;
                    for sector in sectors(*offset, written) {
                        if kept() {
                            write_at(&mut bytes, at, sector);
                        }
                        at += sector.len();
                    }
                }
            }
        }
        Self { seen: bytes.clone(), durable: bytes, unsynced: Vec::new() }
    }
}

/// The pieces of a write that lie in one sector each.
fn sectors(offset: usize, mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut room = SECTOR_BYTES - offset % SECTOR_BYTES;
    while !bytes.is_empty() {
        let (sector, rest) = bytes.split_at(room.min(bytes.len()));
        found.push(sector);
        bytes = rest;
        room = SECTOR_BYTES;
    }
    found
}

fn write_at(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if into.len() < offset + bytes.len() {
        into.resize(offset + bytes.len(), 0);
    }
    into[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// A small generator (splitmix64): the seed decides all.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 63) == 1
    }
}

#[derive(Debug)]
struct FaultFile {
    data: Arc<Mutex<Data>>,
    world: Arc<Mutex<World>>,
    gate: Arc<Gate>,
}

impl File for FaultFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let data = self.data.lock();
        let found = data.seen.get(offset as usize..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.world.lock();
        let allowed = (world.free_bytes).min(bytes.len() as u64);
        world.free_bytes -= if world.free_bytes == u64::MAX { 0 } else { allowed };
        let written = &bytes[..allowed as usize];
        let mut data = self.data.lock();
        write_at(&mut data.seen, offset as usize, written);
        data.unsynced.push(Change::Write { offset: offset as usize, bytes: written.to_vec() });
        if written.len() < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut held = self.gate.held.lock();
        while *held {
            self.gate.opened.wait(&mut held);
        }
        drop(held);
        let mut world = self.world.lock();
        world.syncs += 1;
        let mut data = self.data.lock();
        if world.failing_syncs > 0 {
            world.failing_syncs -= 1;
            data.unsynced.clear();
            return Err(io::Error::other("input/output error"));
        }
        if !world.lying_syncs {
            data.durable = data.seen.clone();
            data.unsynced.clear();
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut data = self.data.lock();
        data.seen.resize(length as usize, 0);
        data.unsynced.push(Change::Length(length as usize));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.data.lock().seen.len() as u64)
    }
}

#[derive(Debug)]
struct FaultLock {
    path: PathBuf,
    world: Arc<Mutex<World>>,
}

impl FileLock for FaultLock {}

impl Drop for FaultLock {
    fn drop(&mut self) {
        self.world.lock().locked.remove(&self.path);
    }
}

impl Files for FaultFiles {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let mut world = self.world.lock();
        world.opened += 1;
        let found = world.names.get(path).cloned();
        let data = match found {
            Some(data) => data,
            None if create => Arc::clone(world.names.entry(path.to_owned()).or_default()),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(FaultFile { data, world: Arc::clone(&self.world), gate: Arc::clone(&self.gate) }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.world.lock().folders.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let world = self.world.lock();
        Ok(world.names.keys().filter(|name| name.parent() == Some(path)).cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        let data = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), data);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.world.lock().names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        let World { names, durable_names, .. } = &mut *world;
        durable_names.retain(|name, _| name.parent() != Some(path));
        durable_names
            .extend(names.iter().filter(|(name, _)| name.parent() == Some(path)).map(|(name, data)| (name.clone(), Arc::clone(data))));
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.world.lock().free_bytes)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        if !self.world.lock().locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FaultLock { path: path.to_owned(), world: Arc::clone(&self.world) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &FaultFiles) -> Option<Vec<u8>> {
        files.content(Path::new("/a/b"))
    }

    #[test]
    fn a_power_cut_keeps_what_was_synced_alone() {
        let files = FaultFiles::default();
        let file = files.open(Path::new("/a/b"), true).expect("opened");
        file.write_all_at(&[1; 700], 0).expect("written");
        assert_eq!(written(&files.power_cut(PowerCut::LosesUnsynced)), None, "its name was not synced");
        files.sync_dir(Path::new("/a")).expect("synced");
        assert_eq!(written(&files.power_cut(PowerCut::LosesUnsynced)), Some(vec![]));
        file.sync().expect("synced");
        file.write_all_at(&[2; 700], 700).expect("written");
        assert_eq!(written(&files.power_cut(PowerCut::LosesUnsynced)), Some(vec![1; 700]));
        assert_eq!(written(&files.power_cut(PowerCut::KeepsUnsynced)).map(|bytes| bytes.len()), Some(1400));
        let torn: BTreeSet<_> = (0..32).filter_map(|seed| written(&files.power_cut(PowerCut::Tears(seed)))).collect();
        assert_eq!(torn.len(), 4, "either of two sectors is there or not: 700..1024 and 1024..1400");
    }

    #[test]
    fn a_full_disk_takes_a_part() {
        let files = FaultFiles::default();
        files.set_free_bytes(3);
        let file = files.open(Path::new("/a/b"), true).expect("opened");
        let refused = file.write_all_at(b"12345", 0).expect_err("full");
        assert_eq!((refused.kind(), written(&files)), (io::ErrorKind::StorageFull, Some(b"123".to_vec())));
    }
}
