//! The files of the folder: names, open handles, frames read from them, a small cache.

use super::{
    buffers::Buffers,
    format::{FRAME_HEADER_BYTES, Place},
    frame::{self, Checker, Unpacked},
};
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
/// A frame is read in pieces of this size.
const READ_BYTES: usize = 128 << 10;

/// The folder of the log.
#[derive(Debug)]
pub(super) struct Store {
    files: Arc<dyn Files>,
    folder: PathBuf,
    handles: Mutex<Handles>,
    cache: Mutex<Cache>,
    buffers: Arc<Buffers>,
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
    pub(super) fn new(
        files: Arc<dyn Files>,
        folder: PathBuf,
        open_files_max: usize,
        cache_bytes_max: usize,
        buffer_bytes_max: usize,
    ) -> Self {
        let handles = Handles { open: HashMap::new(), uses: 0, max: open_files_max.max(1) };
        let cache = Cache { batches: BTreeMap::new(), order: VecDeque::new(), bytes: 0, bytes_max: cache_bytes_max };
        let (handles, cache, buffers) = (Mutex::new(handles), Mutex::new(cache), Buffers::new(buffer_bytes_max));
        Self { files, folder, handles, cache, buffers, damaged: Mutex::default() }
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

    /// Buffers to read into.
    pub(super) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// The records of a compressed batch that was read lately.
    pub(super) fn cached(&self, place: Place) -> Option<Bytes> {
        self.cache.lock().batches.get(&place).cloned()
    }

    /// The bytes that a frame carries.
    pub(super) fn read_frame(&self, place: Place) -> Result<Bytes, FrameError> {
        self.check_length(place)?;
        let mut frame = vec![0; place.length as usize];
        Ok(match self.open_into(place, &mut frame)? {
            Unpacked::Plain => Bytes::from(frame).slice(FRAME_HEADER_BYTES..),
            Unpacked::Raw(raw) => Bytes::from(raw),
        })
    }

    /// A damaged length must not make memory of gigabytes. Asking for the file's costs a call, so small frames are just tried.
    pub(super) fn check_length(&self, place: Place) -> Result<(), FrameError> {
        if place.length <= LARGE_BYTES {
            return Ok(());
        }
        let length = self.open(place.segment, false).and_then(|file| file.len()).map_err(|error| self.read_error(place, error))?;
        if u64::from(place.position) + u64::from(place.length) > length { Err(self.report_damage(place)) } else { Ok(()) }
    }

    /// Reads a batch to where its stored bytes are wanted, header in front; answers its records where they are not what is stored.
    /// Those are kept for the other readers of the partition; the others lie in the system's cache, and a copy costs no less here.
    pub(super) fn read_into(&self, place: Place, frame: &mut [u8]) -> Result<Option<Bytes>, FrameError> {
        match self.open_into(place, frame)? {
            Unpacked::Plain => Ok(None),
            Unpacked::Raw(raw) => {
                let raw = Bytes::from(raw);
                self.cache.lock().insert(place, raw.clone());
                Ok(Some(raw))
            }
        }
    }

    fn open_into(&self, place: Place, frame: &mut [u8]) -> Result<Unpacked, FrameError> {
        self.read_checked(place, frame)?;
        frame::unpack(frame).ok_or_else(|| self.report_damage(place))
    }

    /// Reads a frame and compares its CRC, in pieces: what was read just now is still in the processor's cache.
    fn read_checked(&self, place: Place, frame: &mut [u8]) -> Result<(), FrameError> {
        let file = self.open(place.segment, false).map_err(|error| self.read_error(place, error))?;
        let (mut position, mut checker) = (u64::from(place.position), Checker::default());
        for piece in frame.chunks_mut(READ_BYTES) {
            file.read_exact_at(piece, position).map_err(|error| self.read_error(place, error))?;
            position += piece.len() as u64;
            checker.add(piece);
        }
        if checker.is_right() { Ok(()) } else { Err(self.report_damage(place)) }
    }

    fn read_error(&self, place: Place, error: io::Error) -> FrameError {
        match error.kind() {
            io::ErrorKind::NotFound => FrameError::Gone,
            io::ErrorKind::UnexpectedEof => self.report_damage(place),
            _ => FrameError::Io(io_error("cannot read", &self.log_path(place.segment), error)),
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
