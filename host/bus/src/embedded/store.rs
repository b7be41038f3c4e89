//! The files of the folder: names, open handles, frames read from them, a small cache.

use super::{format::Place, frame};
use crate::{BusError, File, Files};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A frame of more bytes is compared with its file before memory is taken for it.
const LARGE_BYTES: u32 = 4 << 20;

/// The folder of the log.
#[derive(Debug)]
pub(super) struct Store {
    files: Arc<dyn Files>,
    folder: PathBuf,
    handles: Mutex<Handles>,
    cache: Mutex<Cache>,
    /// Frames found damaged, so that each is reported once.
    damaged: Mutex<BTreeSet<Place>>,
}

/// Open segments, the least recently used closed first.
#[derive(Debug)]
struct Handles {
    open: HashMap<u32, (Arc<dyn File>, u64)>,
    uses: u64,
    max: usize,
}

/// Decompressed batches, the oldest dropped first.
#[derive(Debug)]
struct Cache {
    batches: BTreeMap<Place, Bytes>,
    order: VecDeque<Place>,
    bytes: usize,
    bytes_max: usize,
}

/// Why a frame could not be read.
#[derive(Debug)]
pub(super) enum FrameError {
    /// Its segment is gone: retention was quicker.
    Gone,
    /// Its CRC is wrong; reported.
    Damaged,
    /// The disk failed.
    Io(BusError),
}

/// An I/O error with what was done where.
pub(super) fn io_error(what: &str, path: &Path, source: io::Error) -> BusError {
    BusError::Io { what: format!("{what} {}", path.display()), source }
}

impl Store {
    pub(super) fn new(files: Arc<dyn Files>, folder: PathBuf, open_files_max: usize, cache_bytes_max: usize) -> Self {
        let handles = Handles { open: HashMap::new(), uses: 0, max: open_files_max.max(1) };
        let cache = Cache { batches: BTreeMap::new(), order: VecDeque::new(), bytes: 0, bytes_max: cache_bytes_max };
        Self { files, folder, handles: Mutex::new(handles), cache: Mutex::new(cache), damaged: Mutex::default() }
    }

    pub(super) fn files(&self) -> &dyn Files {
        &*self.files
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn log_path(&self, segment: u32) -> PathBuf {
        self.folder.join(format!("{segment:08}.log"))
    }

    pub(super) fn index_path(&self, segment: u32) -> PathBuf {
        self.folder.join(format!("{segment:08}.idx"))
    }

    /// The numbers of the segments that are there, ascending.
    pub(super) fn segments(&self) -> Result<Vec<u32>, BusError> {
        let found = self.files.list(&self.folder).map_err(|error| io_error("cannot list", &self.folder, error))?;
        let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok();
        let mut numbers: Vec<u32> = found.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// An open segment.
    pub(super) fn open(&self, segment: u32, create: bool) -> io::Result<Arc<dyn File>> {
        let mut handles = self.handles.lock();
        handles.uses += 1;
        let now = handles.uses;
        if let Some((file, used)) = handles.open.get_mut(&segment) {
            *used = now;
            return Ok(Arc::clone(file));
        }
        if handles.open.len() >= handles.max {
            let oldest = handles.open.iter().min_by_key(|(_, (_, used))| *used).map(|(segment, _)| *segment);
            oldest.map(|segment| handles.open.remove(&segment));
        }
        let file: Arc<dyn File> = Arc::from(self.files.open(&self.log_path(segment), create)?);
        handles.open.insert(segment, (Arc::clone(&file), now));
        Ok(file)
    }

    /// Renames a segment of which nothing can be read: almost always it was being made when the process ended, but who knows.
    /// Returns its length.
    pub(super) fn set_aside(&self, segment: u32) -> Result<u64, BusError> {
        let path = self.log_path(segment);
        let failed = |error| io_error("cannot set aside", &path, error);
        let length = self.open(segment, false).and_then(|file| file.len()).map_err(failed)?;
        let aside = self.folder.join(format!("{segment:08}.log.unreadable"));
        tracing::warn!(from = %path.display(), to = %aside.display(), length, "set aside: it holds nothing that can be read");
        self.handles.lock().open.remove(&segment);
        self.files.rename(&path, &aside).and_then(|()| self.files.sync_dir(&self.folder)).map_err(failed)?;
        Ok(length)
    }

    /// Removes a segment and its index.
    pub(super) fn remove(&self, segment: u32) -> Result<(), BusError> {
        self.handles.lock().open.remove(&segment);
        for path in [self.log_path(segment), self.index_path(segment)] {
            match self.files.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("cannot remove", &path, error)),
                _ => {}
            }
        }
        self.files.sync_dir(&self.folder).map_err(|error| io_error("cannot sync", &self.folder, error))
    }

    /// The bytes that a frame carries, from the cache where `cached`.
    pub(super) fn read_frame(&self, place: Place, cached: bool) -> Result<Bytes, FrameError> {
        if let Some(found) = cached.then(|| self.cache.lock().batches.get(&place).cloned()).flatten() {
            return Ok(found);
        }
        let raw = frame::open_frame(self.read_stored(place)?).ok_or_else(|| self.report_damage(place))?;
        if cached {
            self.cache.lock().insert(place, raw.clone());
        }
        Ok(raw)
    }

    /// The frame as it is stored, unchecked.
    pub(super) fn read_stored(&self, place: Place) -> Result<Bytes, FrameError> {
        let path = || self.log_path(place.segment);
        let mut bytes = Vec::new();
        let read = self.open(place.segment, false).and_then(|file| {
            // A damaged length must not make memory of gigabytes; asking for the file's costs a call, so small ones are tried.
            if place.length > LARGE_BYTES && u64::from(place.position) + u64::from(place.length) > file.len()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.resize(place.length as usize, 0);
            file.read_exact_at(&mut bytes, u64::from(place.position))
        });
        match read {
            Ok(()) => Ok(Bytes::from(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FrameError::Gone),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.report_damage(place)),
            Err(error) => Err(FrameError::Io(io_error("cannot read", &path(), error))),
        }
    }

    fn report_damage(&self, place: Place) -> FrameError {
        if self.damaged.lock().insert(place) {
            metrics::counter!("tidemill_bus_damaged_frames_total").increment(1);
            let Place { segment, position, length } = place;
            tracing::error!(file = %self.log_path(segment).display(), position, length, "damaged: these bytes are stepped over");
        }
        FrameError::Damaged
    }
}

impl Cache {
    fn insert(&mut self, place: Place, bytes: Bytes) {
        if bytes.len() > self.bytes_max / 4 || self.batches.contains_key(&place) {
            return;
        }
        self.bytes += bytes.len();
        self.order.push_back(place);
        self.batches.insert(place, bytes);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= self.batches.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
    }
}
