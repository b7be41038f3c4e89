//! An object store in a folder whose files all go through [`Files`], so that tests can cut its power.
//!
//! An object is whole or not there: it is written beside its name, synced, and then given the name. The name itself is durable
//! when its folder was synced, which is for [`Store`](crate::store::Store) to do: it knows when it counts. Only what replaces an
//! object waits for the names beside it: a table's `_last_checkpoint` must never be there without the checkpoint that it names.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_bus::{Files, safeguard};

/// What the name of an object that is being written has in it.
const DRAFT: &str = ".draft-";

/// All files of this host, or those of a test.
#[derive(Clone, Debug)]
pub(crate) struct LocalStore {
    files: Arc<dyn Files>,
}

impl std::fmt::Display for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("files")
    }
}

/// `a/b` is the file `/a/b`.
fn file_of(location: &Path) -> PathBuf {
    std::path::Path::new("/").join(location.as_ref())
}

fn failed(location: &Path, source: io::Error) -> Error {
    let (path, source) = (location.to_string(), source);
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NotFound { path, source: source.into() },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: source.into() },
        _ => Error::Generic { store: "files", source: format!("{path}: {source}").into() },
    }
}

fn unsupported(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "files".to_owned() }
}

impl LocalStore {
    pub(crate) fn new(files: Arc<dyn Files>) -> Self {
        Self { files }
    }

    /// Does file work on a thread that may wait.
    async fn on_files<T: Send + 'static>(
        &self,
        location: &Path,
        act: impl FnOnce(&dyn Files, &std::path::Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (files, path) = (Arc::clone(&self.files), file_of(location));
        let done = tokio::task::spawn_blocking(move || act(&*files, &path)).await;
        done.map_err(|source| Error::JoinError { source })?.map_err(|error| failed(location, error))
    }

    async fn meta(&self, location: &Path) -> Result<ObjectMeta> {
        let found = self.on_files(location, |files, path| files.metadata(path)).await?;
        if found.is_folder {
            return Err(failed(location, io::ErrorKind::NotFound.into()));
        }
        Ok(meta(location.clone(), &found))
    }

    async fn list_all(self, prefix: Path) -> Result<Vec<ObjectMeta>> {
        let base = prefix.clone();
        self.on_files(&prefix, move |files, folder| {
            let mut found = Vec::new();
            let mut folders = vec![(base, folder.to_owned())];
            while let Some((location, folder)) = folders.pop() {
                let (inner, objects) = list_folder(files, &location, &folder)?;
                folders.extend(inner.into_iter().map(|location| (location.clone(), file_of(&location))));
                found.extend(objects);
            }
            found.sort_unstable_by(|a, b| a.location.cmp(&b.location));
            Ok(found)
        })
        .await
    }
}

fn meta(location: Path, found: &tidemill_bus::Metadata) -> ObjectMeta {
    let last_modified = DateTime::<Utc>::from(found.modified);
    let e_tag = Some(format!("{:x}-{:x}", last_modified.timestamp_micros(), found.length));
    ObjectMeta { location, last_modified, size: found.length, e_tag, version: None }
}

/// The folders and objects in a folder; nothing where it is not there.
fn list_folder(files: &dyn Files, location: &Path, folder: &std::path::Path) -> io::Result<(Vec<Path>, Vec<ObjectMeta>)> {
    let names = match files.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    let (mut folders, mut objects) = (Vec::new(), Vec::new());
    for path in names {
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.contains(DRAFT)) else { continue };
        let Ok(location) = Path::parse(format!("{location}/{name}")) else { continue };
        match files.metadata(&path) {
            Ok(found) if found.is_folder => folders.push(location),
            Ok(found) => objects.push(meta(location, &found)),
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok((folders, objects))
}

/// Writes an object beside its name, and gives it the name.
fn put(files: &dyn Files, path: &std::path::Path, payload: &PutPayload, only_new: bool) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Err(io::ErrorKind::InvalidInput.into()) };
    files.create_dir_all(folder)?;
    let draft = folder.join(format!("{}{DRAFT}{}", name.to_string_lossy(), uuid::Uuid::new_v4().simple()));
    let file = files.open(&draft, true)?;
    let mut position = 0;
    let written = payload.iter().try_for_each(|piece| {
        file.write_all_at(piece, position)?;
        position += piece.len() as u64;
        Ok(())
    });
    let synced = written.and_then(|()| if safeguard("lake-sync") { file.sync() } else { Ok(()) });
    let named = synced.and_then(|()| match only_new {
        true => files.link(&draft, path),
        false => {
            if safeguard("lake-sync") {
                files.sync_dir(folder)?;
            }
            files.rename(&draft, path)
        }
    });
    if only_new || named.is_err() {
        // What cannot be removed has a name that nobody reads.
        let _ = files.remove(&draft);
    }
    named
}

fn read(files: &dyn Files, path: &std::path::Path, range: std::ops::Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    files.open(path, false)?.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}

#[async_trait::async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let only_new = match options.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => return Err(unsupported("an update of a version")),
        };
        self.on_files(location, move |files, path| put(files, path, &payload, only_new)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), parts: Arc::default() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let meta = self.meta(location).await?;
        options.check_preconditions(&meta)?;
        let range = match options.range {
            Some(range) => range.as_range(meta.size).map_err(|error| Error::Generic { store: "files", source: error.into() })?,
            None => 0..meta.size,
        };
        let wanted = if options.head { 0..0 } else { range.clone() };
        let bytes = self.on_files(location, move |files, path| read(files, path, wanted)).await?;
        let payload = GetResultPayload::Stream(futures::stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                store.on_files(&location, |files, path| files.remove(path)).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.clone().list_all(prefix.cloned().unwrap_or_default());
        futures::stream::once(listed).map_ok(|found| futures::stream::iter(found.into_iter().map(Ok))).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        let base = prefix.clone();
        let (common_prefixes, objects) = self.on_files(&prefix, move |files, folder| list_folder(files, &base, folder)).await?;
        Ok(ListResult { common_prefixes, objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let size = self.meta(from).await?.size;
        let bytes = self.on_files(from, move |files, path| read(files, path, 0..size)).await?;
        let mode = if matches!(options.mode, CopyMode::Create) { PutMode::Create } else { PutMode::Overwrite };
        self.put_opts(to, bytes.into(), mode.into()).await.map(drop)
    }
}

/// An object that comes in parts; they are held until it is whole.
#[derive(Debug)]
struct Upload {
    store: LocalStore,
    location: Path,
    parts: Arc<Mutex<Vec<PutPayload>>>,
}

#[async_trait::async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
        Box::pin(futures::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let parts = std::mem::take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        let payload: PutPayload = parts.iter().flat_map(|part| part.iter().cloned()).collect();
        self.store.put_opts(&self.location, payload, PutOptions::default()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}
