//! Files in memory that fail on demand: a test double of [`Files`].
//!
//! `kill -9` proves nothing about durability, the page cache survives it. Here every file has what programs see and what the
//! disk holds; [`FaultFiles::power_cut`] gives the disk as it is found after the power came back.

use super::data::{Data, Dice};
use crate::{File, FileLock, Files, Metadata};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

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

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening, also where it makes the file.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Syncing a file: what it should have made durable never will be.
    Sync,
    /// Syncing a folder.
    SyncDir,
    /// Renaming to this name, or giving a second name.
    Rename,
    /// Removing.
    Remove,
    /// Cutting or growing a file.
    SetLen,
    /// Giving a file's room back.
    Punch,
    /// Asking for a file's length, or what there is to know of a name.
    Metadata,
    /// Listing a folder.
    List,
    /// Making folders.
    CreateDir,
    /// Locking.
    Lock,
    /// Asking for the free room.
    FreeBytes,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Open,
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::SyncDir,
        Self::Rename,
        Self::Remove,
        Self::SetLen,
        Self::Punch,
        Self::Metadata,
        Self::List,
        Self::CreateDir,
        Self::Lock,
        Self::FreeBytes,
    ];
}

/// After some that work, so many operations on files whose path has this in it fail with `EIO`.
#[derive(Debug)]
struct Fault {
    operation: Operation,
    part: String,
    working: u32,
    left: u32,
}

type Names = BTreeMap<PathBuf, Arc<Mutex<Data>>>;

#[derive(Debug)]
struct World {
    /// Names as programs see them, and as the disk holds them.
    names: Names,
    durable_names: Names,
    /// The same of folders. One that was never made is there.
    folders: BTreeSet<PathBuf>,
    durable_folders: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
    free_bytes: u64,
    faults: Vec<Fault>,
    lying_syncs: bool,
    syncs: u64,
    opened: u64,
    failed: u64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            folders: BTreeSet::new(),
            durable_folders: BTreeSet::new(),
            locked: BTreeSet::new(),
            free_bytes: u64::MAX,
            faults: Vec::new(),
            lying_syncs: false,
            syncs: 0,
            opened: 0,
            failed: 0,
        }
    }
}

impl World {
    /// Whether this operation is to fail.
    fn check(&mut self, operation: Operation, path: &Path) -> io::Result<()> {
        let path = path.to_string_lossy();
        let is_meant = |fault: &&mut Fault| fault.left > 0 && fault.operation == operation && path.contains(&fault.part);
        match self.faults.iter_mut().find(is_meant) {
            Some(fault) if fault.working > 0 => {
                fault.working -= 1;
                Ok(())
            }
            Some(fault) => {
                fault.left -= 1;
                self.failed += 1;
                Err(io::Error::other("input/output error"))
            }
            None => Ok(()),
        }
    }

    /// The names that the disk holds when each that was not synced is asked after.
    fn names_after(&self, mut kept: impl FnMut() -> bool) -> Names {
        let mut names = self.durable_names.clone();
        names.retain(|path, _| self.names.contains_key(path) || !kept());
        for (path, data) in &self.names {
            let known = names.get(path).is_some_and(|durable| Arc::ptr_eq(durable, data));
            if !known && kept() {
                names.insert(path.clone(), Arc::clone(data));
            }
        }
        let lost: Vec<_> = self.folders.difference(&self.durable_folders).filter(|_| !kept()).collect();
        names.retain(|path, _| !lost.iter().any(|folder| path.starts_with(folder)));
        names
    }
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
        let names = world.names_after(|| kept(cut));
        let names: Names = names.into_iter().map(|(path, data)| (path, Arc::new(Mutex::new(data.lock().after(|| kept(cut)))))).collect();
        let durable_names = names.clone();
        // Folders that are lost are made anew by whoever needs them; what was in them is lost above.
        let folders = world.folders.clone();
        let found = World { names, durable_names, durable_folders: folders.clone(), folders, ..World::default() };
        Self { world: Arc::new(Mutex::new(found)), gate: Arc::default() }
    }

    /// Disk and page cache as another process finds them when this one was killed now.
    pub fn killed(&self) -> Self {
        let world = self.world.lock();
        let mut copies: BTreeMap<*const Mutex<Data>, Arc<Mutex<Data>>> = BTreeMap::new();
        let mut copy = |names: &Names| -> Names {
            let copied = |(path, data): (&PathBuf, &Arc<Mutex<Data>>)| {
                let copy = copies.entry(Arc::as_ptr(data)).or_insert_with(|| Arc::new(Mutex::new(data.lock().clone())));
                (path.clone(), Arc::clone(copy))
            };
            names.iter().map(copied).collect()
        };
        let (names, durable_names) = (copy(&world.names), copy(&world.durable_names));
        let (folders, durable_folders) = (world.folders.clone(), world.durable_folders.clone());
        let found = World { names, durable_names, folders, durable_folders, ..World::default() };
        Self { world: Arc::new(Mutex::new(found)), gate: Arc::default() }
    }

    /// So many bytes can still be written; then `ENOSPC`.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.world.lock().free_bytes = bytes;
    }

    /// The next so many operations on files whose path has this in it fail with `EIO`.
    pub fn fail(&self, operation: Operation, path_part: &str, count: u32) {
        self.fail_after(0, operation, path_part, count);
    }

    /// The same, after so many that work.
    pub fn fail_after(&self, working: u32, operation: Operation, path_part: &str, count: u32) {
        self.world.lock().faults.push(Fault { operation, part: path_part.to_owned(), working, left: count });
    }

    /// How many operations were made to fail.
    pub fn failed(&self) -> u64 {
        self.world.lock().failed
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.world.lock().faults.clear();
    }

    /// The next so many syncs of files fail with `EIO`, and what they should have made durable is lost to the disk.
    pub fn fail_syncs(&self, count: u32) {
        self.fail(Operation::Sync, "", count);
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
        let data = Arc::new(Mutex::new(Data::durable(bytes)));
        let mut world = self.world.lock();
        world.names.insert(path.to_owned(), Arc::clone(&data));
        world.durable_names.insert(path.to_owned(), data);
    }

    /// Inverts a byte, as failing memory or disks do.
    pub fn flip(&self, path: &Path, offset: usize) {
        if let Some(data) = self.world.lock().names.get(path) {
            data.lock().flip(offset);
        }
    }
}

#[derive(Debug)]
struct FaultFile {
    path: PathBuf,
    data: Arc<Mutex<Data>>,
    world: Arc<Mutex<World>>,
    gate: Arc<Gate>,
}

impl File for FaultFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.world.lock().check(Operation::Read, &self.path)?;
        let data = self.data.lock();
        let found = data.seen.get(offset as usize..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.world.lock();
        world.check(Operation::Write, &self.path)?;
        let allowed = (world.free_bytes).min(bytes.len() as u64);
        world.free_bytes -= if world.free_bytes == u64::MAX { 0 } else { allowed };
        let written = &bytes[..allowed as usize];
        self.data.lock().write(written, offset);
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
        world.check(Operation::Sync, &self.path).inspect_err(|_| data.lose())?;
        if !world.lying_syncs {
            data.sync();
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.world.lock().check(Operation::SetLen, &self.path)?;
        self.data.lock().set_len(length);
        Ok(())
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        self.world.lock().check(Operation::Punch, &self.path)?;
        self.data.lock().write(&vec![0; length as usize], offset);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.world.lock().check(Operation::Metadata, &self.path)?;
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
        world.check(Operation::Open, path)?;
        world.opened += 1;
        let found = world.names.get(path).cloned();
        let data = match found {
            Some(data) => data,
            None if create => Arc::clone(world.names.entry(path.to_owned()).or_default()),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(FaultFile { path: path.to_owned(), data, world: Arc::clone(&self.world), gate: Arc::clone(&self.gate) }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let folders = path.ancestors().filter(|folder| folder.parent().is_some()).map(Path::to_owned);
        let mut world = self.world.lock();
        world.check(Operation::CreateDir, path)?;
        world.folders.extend(folders);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut world = self.world.lock();
        world.check(Operation::List, path)?;
        let all: BTreeSet<&PathBuf> = world.names.keys().chain(&world.folders).collect();
        Ok(all.into_iter().filter(|name| name.parent() == Some(path)).cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        world.check(Operation::Rename, to)?;
        let data = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), data);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        world.check(Operation::Rename, to)?;
        let data = world.names.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        if world.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.names.insert(to.to_owned(), data);
        Ok(())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let mut world = self.world.lock();
        world.check(Operation::Metadata, path)?;
        if let Some(data) = world.names.get(path) {
            let data = data.lock();
            return Ok(Metadata { is_folder: false, length: data.seen.len() as u64, modified: data.modified });
        }
        if world.folders.contains(path) {
            return Ok(Metadata { is_folder: true, length: 0, modified: SystemTime::UNIX_EPOCH });
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        world.check(Operation::Remove, path)?;
        world.names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        world.check(Operation::SyncDir, path)?;
        let World { names, durable_names, folders, durable_folders, .. } = &mut *world;
        let is_in = |name: &Path| name.parent() == Some(path);
        durable_names.retain(|name, _| !is_in(name));
        durable_names.extend(names.iter().filter(|(name, _)| is_in(name)).map(|(name, data)| (name.clone(), Arc::clone(data))));
        durable_folders.extend(folders.iter().filter(|folder| is_in(folder)).cloned());
        Ok(())
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let mut world = self.world.lock();
        world.check(Operation::FreeBytes, path)?;
        Ok(world.free_bytes)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        let mut world = self.world.lock();
        world.check(Operation::Lock, path)?;
        if !world.locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        drop(world);
        Ok(Box::new(FaultLock { path: path.to_owned(), world: Arc::clone(&self.world) }))
    }
}
