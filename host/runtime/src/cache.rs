//! Compiled components on disk, so that a restart does not compile again.
//!
//! A file is `MAGIC`, the blake3 of the rest, and what wasmtime serialised. Compiled code is native code: the folder must be
//! private, and a file whose hash does not match (torn, rotten) is compiled again and replaced.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// First bytes of a file: what it is and which version of this format.
const MAGIC: &[u8] = b"tidemill cwasm 1\n";
const HASH_BYTES: usize = blake3::OUT_LEN;

/// A private folder of compiled components.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Makes the folder with mode 0700. One that is there must be ours and nobody else's to write.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let found = fs::metadata(folder)?;
        if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
            let mode = found.mode() & 0o777;
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("it holds native code, but has owner {} and mode {mode:o}: remove it, or make it ours with mode 700", found.uid()),
            ));
        }
        Ok(Self { folder: folder.to_path_buf() })
    }

    /// The compiled code of this key; none where there is none or it is damaged.
    pub(crate) fn get(&self, key: &blake3::Hash) -> Option<Vec<u8>> {
        let mut file = fs::read(self.path(key)).ok()?;
        let (head, body) = file.split_at_checked(MAGIC.len() + HASH_BYTES)?;
        let (magic, hash) = head.split_at(MAGIC.len());
        if magic != MAGIC || blake3::hash(body).as_bytes() != hash {
            tracing::warn!(file = %self.path(key).display(), "damaged compiled plugin, compiling again");
            return None;
        }
        file.drain(..MAGIC.len() + HASH_BYTES);
        Some(file)
    }

    /// Keeps compiled code: a file of its own, synced, then renamed, so that a reader sees all of it or none.
    pub(crate) fn put(&self, key: &blake3::Hash, compiled: &[u8]) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join(format!(".{}-{next}.tmp", std::process::id()));
        let written = write_synced(&temporary, compiled).and_then(|()| fs::rename(&temporary, self.path(key)));
        if written.is_err() {
            // Best effort: the error to report is the one above.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        fs::File::open(&self.folder)?.sync_all()
    }

    fn path(&self, key: &blake3::Hash) -> PathBuf {
        self.folder.join(format!("{}.cwasm", key.to_hex()))
    }
}

fn write_synced(path: &Path, compiled: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(MAGIC)?;
    file.write_all(blake3::hash(compiled).as_bytes())?;
    file.write_all(compiled)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn cache() -> (tempfile::TempDir, Cache, blake3::Hash) {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(&folder.path().join("cache")).expect("a cache");
        (folder, cache, blake3::hash(b"key"))
    }

    #[test]
    fn what_was_put_is_got_again_and_private() {
        let (_folder, cache, key) = cache();
        assert_eq!(cache.get(&key), None);
        cache.put(&key, b"code").expect("written");
        cache.put(&key, b"code 2").expect("replaced");
        assert_eq!(cache.get(&key).as_deref(), Some(&b"code 2"[..]));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&cache.folder), mode(&cache.path(&key))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&cache.folder).expect("list").count(), 1);
    }

    #[test]
    fn damaged_files_are_not_got() {
        let (_folder, cache, key) = cache();
        cache.put(&key, b"some code").expect("written");
        let whole = fs::read(cache.path(&key)).expect("there");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(cache.path(&key), &damaged).expect("damaged");
            assert_eq!(cache.get(&key), None, "byte {at}");
            fs::write(cache.path(&key), &whole[..at]).expect("torn");
            assert_eq!(cache.get(&key), None, "{at} bytes");
        }
    }

    #[test]
    fn a_folder_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("widened");
        let error = Cache::open(folder.path()).expect_err("refused").to_string();
        assert!(error.starts_with("it holds native code, but has owner ") && error.contains(" and mode 755: remove it"), "{error}");
    }
}
