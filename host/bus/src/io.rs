//! Files and clocks behind traits, so that tests can tear writes, fill disks and turn the clock back.

use std::{
    fmt::Debug,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The file system as everything durable sees it. Nothing durable is written except through it.
pub trait Files: Send + Sync + Debug + 'static {
    /// Opens a file for reading and writing; makes it when `create` is set.
    ///
    /// # Errors
    /// As the operating system says.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>>;
    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// As the operating system says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The files and folders in a folder, sorted by name.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Renames, replacing what is there.
    ///
    /// # Errors
    /// As the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken; else as the operating system says.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }
    /// What there is to know of a file or folder.
    ///
    /// # Errors
    /// As the operating system says.
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let found = std::fs::metadata(path)?;
        Ok(Metadata { is_folder: found.is_dir(), length: found.len(), modified: found.modified()? })
    }
    /// Removes a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that can still be written to the file system of this path.
    ///
    /// # Errors
    /// As the operating system says.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Locks a file (made where it is missing) against every other process until the value is dropped.
    ///
    /// # Errors
    /// `WouldBlock` where it is locked already; else as the operating system says.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }
}

/// What there is to know of a file or folder.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// A folder, else a file.
    pub is_folder: bool,
    /// In bytes.
    pub length: u64,
    /// When it was written to last.
    pub modified: SystemTime,
}

/// Makes a folder and those above it, and all their names durable: a synced file in a folder that is not there is lost.
///
/// # Errors
/// As the operating system says.
pub fn create_folder(files: &dyn Files, path: &Path) -> io::Result<()> {
    files.create_dir_all(path)?;
    for above in path.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match files.sync_dir(above) {
            // Not ours, so not made here.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            synced => synced?,
        }
    }
    Ok(())
}

/// A lock that is held until it is dropped.
pub trait FileLock: Send + Sync + Debug {}

impl FileLock for std::fs::File {}

/// An open file.
pub trait File: Send + Sync + Debug {
    /// Reads exactly these bytes.
    ///
    /// # Errors
    /// As the operating system says; `UnexpectedEof` where the file is shorter.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of these bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable (`fdatasync`).
    ///
    /// # Errors
    /// As the operating system says. What was written since the last sync is then of unknown state.
    fn sync(&self) -> io::Result<()>;
    /// Cuts or grows the file.
    ///
    /// # Errors
    /// As the operating system says.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// The file's length.
    ///
    /// # Errors
    /// As the operating system says.
    fn len(&self) -> io::Result<u64>;
    /// Gives the disk's room for these bytes back; they read as zeros from then on. Where the file system cannot, nothing happens.
    ///
    /// # Errors
    /// As the operating system says.
    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let _ = (offset, length);
        Ok(())
    }
    /// The bytes that the file takes on the disk, without its holes.
    ///
    /// # Errors
    /// As the operating system says.
    fn allocated(&self) -> io::Result<u64> {
        self.len()
    }
    /// Whether the file is empty.
    ///
    /// # Errors
    /// As the operating system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// The operating system's own files.
#[derive(Debug, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let file = std::fs::OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        Ok(Box::new(file))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        found.sort();
        Ok(found)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::File::open(path)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        rustix::fs::statvfs(path).map(|found| found.f_bavail.saturating_mul(found.f_frsize)).map_err(io::Error::from)
    }
}

impl File for std::fs::File {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        Self::set_len(self, length)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        use rustix::{fs::FallocateFlags as Flags, io::Errno};
        match rustix::fs::fallocate(self, Flags::PUNCH_HOLE | Flags::KEEP_SIZE, offset, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            done => done.map_err(io::Error::from),
        }
    }

    fn allocated(&self) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt;
        let found = self.metadata()?;
        Ok(found.len().min(found.blocks() * 512))
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|found| found.len())
    }
}

/// Time, injected wherever it decides something.
pub trait Clock: Send + Sync + Debug + 'static {
    /// Nanoseconds since 1970 UTC.
    fn now_ns(&self) -> i64;
    /// Time since some fixed point, never going backwards.
    fn elapsed(&self) -> Duration;
}

/// The operating system's clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now_ns(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
