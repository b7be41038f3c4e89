//! The system's files, with the size of each write noted.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_bus::{File, Files, SystemFiles};

/// The sizes of what was written, one a group.
#[derive(Clone, Debug, Default)]
pub struct Groups(Arc<Mutex<Vec<usize>>>);

impl Groups {
    /// The sizes so far; forgets them.
    pub fn take(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, size: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(size);
    }
}

/// The system's files.
#[derive(Debug, Default)]
pub struct Recording {
    files: SystemFiles,
    groups: Groups,
}

impl Recording {
    /// Notes the sizes there.
    pub fn new(groups: &Groups) -> Self {
        Self { files: SystemFiles, groups: groups.clone() }
    }
}

#[derive(Debug)]
struct RecordingFile {
    file: Box<dyn File>,
    groups: Groups,
}

impl Files for Recording {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let file = self.files.open(path, create)?;
        Ok(Box::new(RecordingFile { file, groups: self.groups.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.files.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.files.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.files.sync_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.files.free_bytes(path)
    }
}

impl File for RecordingFile {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.groups.note(bytes.len());
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
