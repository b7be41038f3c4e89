//! Deliveries into files below the plugin's folder.
//!
//! An appended body is on the disk before the position moves. Appending is at least once: a host that dies between the two appends
//! the body again, and what it wrote half stands before it. An object is whole or not there, whatever happens.

use std::{io, path::Path};
use tidemill_bus::Files;

/// Appends the body and makes it durable.
///
/// # Errors
/// As the operating system says.
pub fn append(files: &dyn Files, path: &Path, body: &[u8]) -> io::Result<()> {
    let folder = make_folder(files, path)?;
    let file = files.open(path, true)?;
    let length = file.len()?;
    file.write_all_at(body, length)?;
    file.sync()?;
    if length == 0 { files.sync_dir(folder) } else { Ok(()) }
}

/// Puts the body in place of the file and makes it durable.
///
/// # Errors
/// As the operating system says.
pub fn put(files: &dyn Files, path: &Path, body: &[u8]) -> io::Result<()> {
    let folder = make_folder(files, path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.draft"));
    let file = files.open(&draft, true)?;
    file.set_len(0)?;
    file.write_all_at(body, 0)?;
    file.sync()?;
    files.rename(&draft, path)?;
    files.sync_dir(folder)
}

fn make_folder<'p>(files: &dyn Files, path: &'p Path) -> io::Result<&'p Path> {
    let folder = path.parent().ok_or_else(|| io::Error::other("the path has no folder"))?;
    files.create_dir_all(folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_bus::SystemFiles;

    #[test]
    fn bodies_are_appended_and_objects_replaced() {
        let folder = std::env::temp_dir().join(format!("tidemill-deliver-{}", uuid::Uuid::new_v4()));
        let (log, object) = (folder.join("a/log.jsonl"), folder.join("b/object"));
        for body in ["one\n", "two\n"] {
            append(&SystemFiles, &log, body.as_bytes()).unwrap();
            put(&SystemFiles, &object, body.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&object).unwrap(), "two\n");
        let names: Vec<_> = std::fs::read_dir(folder.join("b")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["object"], "no draft is left");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        assert!(append(&SystemFiles, Path::new("/dev/null/x/y"), b"").is_err());
        assert!(put(&SystemFiles, Path::new("/"), b"").is_err());
    }
}
