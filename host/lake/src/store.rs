//! Where the lake lies: tables' logs and data files, in an object store or in a folder.
//!
//! In a `file:` lake ([`LocalStore`]) data files are written and synced here, with their folders, before a commit names them, and
//! the commit's own folder after it, before anything counts as committed.

use crate::error::LakeError;
use crate::local::LocalStore;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::{ObjectStore, ObjectStoreExt, path::Path, prefix::PrefixStore};
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_bus::{Files, create_folder, safeguard};
use url::Url;

/// The folder of a table's log.
const LOG_FOLDER: &str = "_delta_log";

/// The lake's place.
#[derive(Debug)]
pub(crate) struct Store {
    url: Url,
    root: Arc<dyn ObjectStore>,
    base: Path,
    local: Option<Arc<Local>>,
}

/// A lake in a folder.
#[derive(Debug)]
struct Local {
    folder: PathBuf,
    files: Arc<dyn Files>,
    /// Folders whose own names are durable already.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Store {
    pub(crate) fn open(url: &Url, files: Arc<dyn Files>) -> Result<Self, LakeError> {
        let refuse = |detail: String| LakeError::Url { url: url.to_string(), detail };
        if url.scheme() == "file" {
            let folder = url.to_file_path().map_err(|()| refuse("it names no folder of this host".to_owned()))?;
            let base = Path::from_url_path(url.path()).map_err(|error| refuse(error.to_string()))?;
            create_folder(&*files, &folder).map_err(|error| LakeError::store(format!("make {}", folder.display()), error))?;
            let root = Arc::new(LocalStore::new(Arc::clone(&files)));
            let local = Some(Arc::new(Local { folder, files, durable: Mutex::default() }));
            return Ok(Self { url: url.clone(), root, base, local });
        }
        // Only what the environment says about the object store: its keys are not looked at by others.
        let environment = std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).map(|(name, value)| (name.to_lowercase(), value));
        let (root, base) = object_store::parse_url_opts(url, environment).map_err(|error| refuse(error.to_string()))?;
        Ok(Self { url: url.clone(), root: Arc::from(root), base, local: None })
    }

    /// The log of the table at this path below the lake.
    pub(crate) fn log_store(&self, table: &str) -> Result<LogStoreRef, LakeError> {
        let text = format!("{}/{table}/", self.url.as_str().trim_end_matches('/'));
        let url = Url::parse(&text).map_err(|error| LakeError::Url { url: text, detail: error.to_string() })?;
        Ok(default_logstore(self.table_store(table), Arc::clone(&self.root), &url, &StorageConfig::default()))
    }

    fn table_store(&self, table: &str) -> Arc<dyn ObjectStore> {
        let prefix = table.split('/').fold(self.base.clone(), |path, part| path.join(part));
        Arc::new(PrefixStore::new(Arc::clone(&self.root), prefix))
    }

    /// Writes a data file so that it is there when this returns.
    pub(crate) async fn put(&self, table: &str, path: &str, bytes: bytes::Bytes) -> Result<(), LakeError> {
        let failed = |detail: String| LakeError::store(format!("write {table}/{path}"), detail);
        match &self.local {
            Some(local) => {
                let place = local.folder.join(table).join(path);
                on_files(local, move |local| local.write(&place, &bytes)).await.map_err(|error| failed(error.to_string()))
            }
            None => {
                let place = Path::parse(path).map_err(|error| failed(error.to_string()))?;
                self.table_store(table).put(&place, bytes.into()).await.map(drop).map_err(|error| failed(error.to_string()))
            }
        }
    }

    /// Reads a data file.
    pub(crate) async fn get(&self, table: &str, path: &Path) -> Result<bytes::Bytes, LakeError> {
        let failed = |error: object_store::Error| LakeError::store(format!("read {table}/{path}"), error);
        self.table_store(table).get(path).await.map_err(failed)?.bytes().await.map_err(failed)
    }

    /// Reads a small file of the table, where there is one.
    pub(crate) async fn find(&self, table: &str, path: &str) -> Result<Option<bytes::Bytes>, LakeError> {
        let failed = |error: object_store::Error| LakeError::store(format!("read {table}/{path}"), error);
        match self.table_store(table).get(&Path::from(path)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes a commit of a `file:` lake durable; other stores have done so already.
    pub(crate) async fn sync_commit(&self, table: &str, version: u64) -> Result<(), LakeError> {
        self.sync_log_file(table, &format!("{version:020}.json")).await
    }

    /// Makes a file of the log and its name durable.
    pub(crate) async fn sync_log_file(&self, table: &str, name: &str) -> Result<(), LakeError> {
        let Some(local) = &self.local else { return Ok(()) };
        let path = local.folder.join(table).join(LOG_FOLDER).join(name);
        let what = format!("sync {}", path.display());
        on_files(local, move |local| local.sync(&path)).await.map_err(|error| LakeError::store(what, error))
    }

    /// Makes the names in the log durable; what they name is so already.
    pub(crate) async fn sync_log(&self, table: &str) -> Result<(), LakeError> {
        let Some(local) = &self.local else { return Ok(()) };
        let folder = local.folder.join(table).join(LOG_FOLDER);
        let what = format!("sync {}", folder.display());
        on_files(local, move |local| local.sync_folders(&folder)).await.map_err(|error| LakeError::store(what, error))
    }

    /// The names of the log's files, of a `file:` lake.
    pub(crate) fn log_files(&self, table: &str) -> Vec<String> {
        let Some(local) = &self.local else { return Vec::new() };
        let found = local.files.list(&local.folder.join(table).join(LOG_FOLDER)).unwrap_or_default();
        found.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }
}

/// Does file work on a thread that may wait, so that time limits hold.
async fn on_files(local: &Arc<Local>, act: impl FnOnce(&Local) -> std::io::Result<()> + Send + 'static) -> std::io::Result<()> {
    let local = Arc::clone(local);
    tokio::task::spawn_blocking(move || act(&local)).await.map_err(std::io::Error::other)?
}

impl Local {
    fn write(&self, path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            self.files.create_dir_all(folder)?;
        }
        let file = self.files.open(path, true)?;
        file.write_all_at(bytes, 0)?;
        file.set_len(bytes.len() as u64)?;
        if safeguard("lake-sync") {
            file.sync()?;
        }
        self.sync_folders_of(path)
    }

    fn sync(&self, path: &std::path::Path) -> std::io::Result<()> {
        if safeguard("lake-sync") {
            self.files.open(path, false)?.sync()?;
        }
        self.sync_folders_of(path)
    }

    fn sync_folders_of(&self, path: &std::path::Path) -> std::io::Result<()> {
        path.parent().map_or(Ok(()), |folder| self.sync_folders(folder))
    }

    /// The folder; and those above it, up to the lake's own, where that was not done before.
    fn sync_folders(&self, folder: &std::path::Path) -> std::io::Result<()> {
        if !safeguard("lake-sync") {
            return Ok(());
        }
        self.files.sync_dir(folder)?;
        let durable = || self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable().contains(folder) {
            return Ok(());
        }
        let mut above = folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.folder));
        above.try_for_each(|above| self.files.sync_dir(above))?;
        durable().insert(folder.to_owned());
        Ok(())
    }
}
