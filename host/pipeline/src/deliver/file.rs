//! Deliveries into files below the plugin's folder.
//!
//! An appended body is on the disk before the position moves. Appending is at least once: a host that dies between the two appends
//! the body again, and what it wrote half stands before it. An object is whole or not there, whatever happens.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tidemill_bus::{Files, create_folder};

/// Writes files, and knows which names it has made durable. What an earlier process left is not known: it may have died before.
#[derive(Debug)]
pub struct Folder {
    files: Arc<dyn Files>,
    durable: HashSet<PathBuf>,
}

impl Folder {
    /// Nothing is known yet.
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self { files, durable: HashSet::new() }
    }

    /// Appends the body and makes it durable.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn append(&mut self, path: &Path, body: &[u8]) -> io::Result<()> {
        let folder = self.make(path)?;
        let file = self.files.open(path, true)?;
        file.write_all_at(body, file.len()?)?;
        file.sync()?;
        if !self.durable.contains(path) {
            self.files.sync_dir(folder)?;
            self.durable.insert(path.to_owned());
        }
        Ok(())
    }

    /// Puts the body in place of the file and makes it durable.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn put(&mut self, path: &Path, body: &[u8]) -> io::Result<()> {
        let folder = self.make(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let draft = folder.join(format!(".{name}.draft"));
        let file = self.files.open(&draft, true)?;
        file.set_len(0)?;
        file.write_all_at(body, 0)?;
        file.sync()?;
        self.files.rename(&draft, path)?;
        self.files.sync_dir(folder)
    }

    /// The folder of a file, made and durable.
    fn make<'p>(&mut self, path: &'p Path) -> io::Result<&'p Path> {
        let folder = path.parent().ok_or_else(|| io::Error::other("the path has no folder"))?;
        if !self.durable.contains(folder) {
            create_folder(&*self.files, folder)?;
            self.durable.insert(folder.to_owned());
        }
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_bus::{
        SystemFiles,
        faults::{FaultFiles, PowerCut},
    };

    #[test]
    fn bodies_are_appended_and_objects_replaced() {
        let folder = std::env::temp_dir().join(format!("tidemill-deliver-{}", uuid::Uuid::new_v4()));
        let (log, object) = (folder.join("a/log.jsonl"), folder.join("b/object"));
        let mut files = Folder::new(Arc::new(SystemFiles));
        for body in ["one\n", "two\n"] {
            files.append(&log, body.as_bytes()).unwrap();
            files.put(&object, body.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&object).unwrap(), "two\n");
        let names: Vec<_> = std::fs::read_dir(folder.join("b")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["object"], "no draft is left");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let mut files = Folder::new(Arc::new(SystemFiles));
        assert!(files.append(Path::new("/dev/null/x/y"), b"").is_err());
        assert!(files.put(Path::new("/"), b"").is_err());
    }

    #[test]
    fn a_confirmed_body_survives_a_power_cut_whoever_made_the_file() {
        let disk = FaultFiles::default();
        let (log, object) = (Path::new("/out/a/log.jsonl"), Path::new("/out/b/object"));
        // An earlier process wrote the first body and died before it synced any name.
        disk.create_dir_all(Path::new("/out/a")).unwrap();
        let file = disk.open(log, true).unwrap();
        file.write_all_at(b"one\n", 0).unwrap();
        file.sync().unwrap();
        let mut files = Folder::new(Arc::new(disk.clone()));
        files.append(log, b"two\n").unwrap();
        files.put(object, b"old").unwrap();
        files.put(object, b"new").unwrap();
        for cut in [PowerCut::LosesUnsynced, PowerCut::Tears(1), PowerCut::Tears(2)] {
            let found = disk.power_cut(cut);
            assert_eq!(found.content(log).as_deref(), Some(&b"one\ntwo\n"[..]), "{cut:?}");
            assert_eq!(found.content(object).as_deref(), Some(&b"new"[..]), "{cut:?}");
        }
    }
}
