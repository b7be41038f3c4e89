//! One Delta table and the rows on their way into it.

use crate::columns::Column;
use crate::encode::write_chunk;
use crate::error::LakeError;
use crate::identity::Identity;
use crate::layout::Layout;
use crate::options::{LakeLimits, LakeProgress, TableProgress};
use crate::parquet_file::{DataFile, FileWriter};
use crate::rows::{CHUNK_BYTES, Rows};
use crate::store::Store;
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::table::state::DeltaTableState;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidemill_bus::safeguard;
use tidemill_message::MessageRef;

/// Opening a table may take so long before it counts as failed: the stage does nothing else meanwhile.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Encoded rows are about so many times smaller than what they take before.
const ENCODED_RATIO: usize = 8;

/// What all tables share.
pub(crate) struct Shared {
    pub store: Store,
    pub limits: LakeLimits,
    pub progress: Mutex<LakeProgress>,
}

impl Shared {
    pub(crate) fn note(&self, table: &str, note: impl FnOnce(&mut TableProgress)) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        note(progress.tables.entry(table.to_owned()).or_default());
    }
}

/// What a table's rows are made of.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Documents(Vec<Column>),
    Errors,
}

/// A record on its way into a table.
pub(crate) struct Arrival<'a> {
    /// The number of the consumed partition, and the record's offset in it.
    pub consumed: (usize, i64),
    pub identity: Identity,
    pub message: MessageRef<'a>,
}

/// How a commit ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// What was there is committed.
    Committed,
    /// Somebody else has moved on with the same sources, or rows could not be encoded: what is in memory must be forgotten and read
    /// again.
    Superseded,
}

/// A table that was found, or found missing.
pub(crate) struct Opened {
    pub log_store: LogStoreRef,
    /// `None` until the first commit makes the table.
    pub state: Option<DeltaTableState>,
    pub layout: Arc<Layout>,
}

/// Rows of one date.
pub(crate) struct Part {
    rows: Rows,
    pub file: Option<FileWriter>,
}

/// A finished file.
pub(crate) struct ReadyFile {
    pub date: i32,
    pub path: String,
    pub file: DataFile,
    pub is_stored: bool,
}

/// A record that waits for its table to be opened.
pub(crate) struct Waiting {
    pub identity: Identity,
    pub bytes: Box<[u8]>,
}

/// See the module.
pub(crate) struct Table {
    pub name: String,
    pub shape: Shape,
    pub opened: Option<Opened>,
    /// How far each source came in the table, at the version of `opened.state`.
    pub marks: HashMap<Arc<str>, Option<i64>>,
    /// The last record of each source that was taken in.
    pub seen: HashMap<Arc<str>, (i64, u32)>,
    /// How far the sources of what is in memory came.
    pub pending: HashMap<Arc<str>, i64>,
    /// The first record in memory of each consumed partition.
    pub first: HashMap<usize, i64>,
    /// The same of a commit that is made but not durable yet, and its version.
    pub unsynced: Option<(u64, HashMap<usize, i64>)>,
    pub waiting: Vec<Waiting>,
    pub parts: BTreeMap<i32, Part>,
    pub ready: Vec<ReadyFile>,
    pub since: Option<Duration>,
    pub retry_at: Duration,
    pub failures: u32,
    /// Rows could not be encoded: what is in memory is not whole.
    pub is_broken: bool,
}

impl Table {
    pub(crate) fn new(name: String, shape: Shape) -> Self {
        Self {
            name,
            shape,
            opened: None,
            marks: HashMap::new(),
            seen: HashMap::new(),
            pending: HashMap::new(),
            first: HashMap::new(),
            unsynced: None,
            waiting: Vec::new(),
            parts: BTreeMap::new(),
            ready: Vec::new(),
            since: None,
            retry_at: Duration::ZERO,
            failures: 0,
            is_broken: false,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The first record of the consumed partition that is not durably in the table.
    pub(crate) fn first_open(&self, consumed: usize) -> Option<i64> {
        let unsynced = self.unsynced.as_ref().and_then(|(_, first)| first.get(&consumed));
        self.first.get(&consumed).into_iter().chain(unsynced).min().copied()
    }

    /// Memory that its rows take.
    pub(crate) fn bytes(&self) -> usize {
        let parts = self.parts.values().map(|part| part.rows.bytes() + part.file.as_ref().map_or(0, FileWriter::bytes));
        let ready = self.ready.iter().map(|ready| ready.file.bytes.len());
        let waiting = self.waiting.iter().map(|waiting| waiting.bytes.len() + 64);
        parts.chain(ready).chain(waiting).sum()
    }

    fn encoded_bytes(&self) -> usize {
        let parts = self.parts.values().map(|part| part.rows.bytes() / ENCODED_RATIO + part.file.as_ref().map_or(0, FileWriter::bytes));
        parts.chain(self.ready.iter().map(|ready| ready.file.bytes.len())).sum()
    }

    /// Whether there is anything to commit.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.pending.is_empty() || self.unsynced.is_some()
    }

    /// Whether there is something to commit and no pause after a failure.
    pub(crate) fn may_try(&self, now: Duration) -> bool {
        self.is_dirty() && now >= self.retry_at
    }

    /// Whether it is time to commit.
    pub(crate) fn is_due(&self, now: Duration, interval: Duration, commit_bytes: u64) -> bool {
        let is_old = self.since.is_some_and(|since| now.saturating_sub(since) >= interval);
        let is_full = self.encoded_bytes() as u64 >= commit_bytes;
        self.may_try(now) && (is_old || is_full || self.unsynced.is_some())
    }

    /// Takes a record in, unless the table has it.
    pub(crate) async fn admit(&mut self, shared: &Shared, now: Duration, arrival: Arrival<'_>) {
        let Arrival { consumed: (consumed, offset), identity, message } = arrival;
        let place = (identity.offset, identity.n);
        if self.seen.get(&identity.app_id).is_some_and(|seen| place <= *seen) {
            return;
        }
        let is_ready = self.waiting.is_empty() && self.prepare(shared, now, &identity.app_id).await;
        if is_ready && self.is_committed(&identity) {
            shared.note(&self.name, |table| table.repeated += 1);
            return;
        }
        self.seen.insert(Arc::clone(&identity.app_id), place);
        self.pending.insert(Arc::clone(&identity.app_id), identity.offset);
        self.first.entry(consumed).or_insert(offset);
        self.since.get_or_insert(now);
        if !is_ready {
            self.waiting.push(Waiting { identity, bytes: message.raw().into() });
        } else if let Err(error) = self.put(shared, &message) {
            self.fail(shared, now, &error);
        }
    }

    pub(crate) fn is_committed(&self, identity: &Identity) -> bool {
        let is_marked = |mark: i64| identity.offset <= mark && safeguard("lake-watermark");
        self.marks.get(&identity.app_id).copied().flatten().is_some_and(is_marked)
    }

    /// Makes sure that the table is open and how far this source came is known; `false` where the store fails.
    async fn prepare(&mut self, shared: &Shared, now: Duration, app_id: &Arc<str>) -> bool {
        if self.opened.is_some() && self.marks.contains_key(app_id) {
            return true;
        }
        if now < self.retry_at {
            return false;
        }
        let opened = match tokio::time::timeout(OPEN_TIMEOUT, self.open_for(shared, app_id)).await {
            Ok(opened) => opened,
            Err(_) => Err(LakeError::silent(&self.name, OPEN_TIMEOUT)),
        };
        match opened {
            Ok(()) => true,
            Err(error) => {
                self.fail(shared, now, &error);
                false
            }
        }
    }

    pub(crate) async fn open_for(&mut self, shared: &Shared, app_id: &Arc<str>) -> Result<(), LakeError> {
        if self.opened.is_none() {
            let log_store = shared.store.log_store(&self.name)?;
            let state = self.load(shared, &log_store).await?;
            let layout = Arc::new(self.layout(state.as_ref())?);
            self.opened = Some(Opened { log_store, state, layout });
        }
        if !self.marks.contains_key(app_id) {
            let mark = self.read_mark(app_id).await?;
            self.marks.insert(Arc::clone(app_id), mark);
        }
        Ok(())
    }

    /// Reads the newest version. What it says counts, rows that are in it are left out and positions move past them: so it is made
    /// durable first, for whoever wrote it may have died before he did.
    pub(crate) async fn load(&self, shared: &Shared, log_store: &LogStoreRef) -> Result<Option<DeltaTableState>, LakeError> {
        let failed = |error| LakeError::table(&self.name, error);
        if !log_store.is_delta_table_location().await.map_err(failed)? {
            return Ok(None);
        }
        let state = DeltaTableState::try_new(log_store.as_ref(), None).await.map_err(failed)?;
        shared.store.sync_log(&self.name).await?;
        Ok(Some(state))
    }

    pub(crate) fn layout(&self, state: Option<&DeltaTableState>) -> Result<Layout, LakeError> {
        let existing = state.map(DeltaTableState::schema);
        match &self.shape {
            Shape::Documents(columns) => Layout::documents(columns, existing.as_deref()),
            Shape::Errors => Layout::errors(existing.as_deref()),
        }
        .map_err(|error| LakeError::table(&self.name, error))
    }

    /// How far a source came, in the version that the next commit builds on.
    pub(crate) async fn read_mark(&self, app_id: &Arc<str>) -> Result<Option<i64>, LakeError> {
        match self.opened.as_ref().and_then(|opened| Some((opened, opened.state.as_ref()?))) {
            Some((opened, state)) => {
                let found = state.transaction_version(opened.log_store.as_ref(), app_id).await;
                found.map_err(|error| LakeError::table(&self.name, error))
            }
            None => Ok(None),
        }
    }

    pub(crate) fn put(&mut self, shared: &Shared, message: &MessageRef<'_>) -> Result<(), LakeError> {
        let Some(opened) = &self.opened else { return Ok(()) };
        let date = message.timestamp().div_euclid(86_400_000_000_000) as i32;
        let part = self.parts.entry(date).or_insert_with(|| Part { rows: new_rows(&self.shape, &opened.layout), file: None });
        let misfits = part.rows.push(message);
        if misfits > 0 {
            metrics::counter!("tidemill_lake_misfits_total", "table" => self.name.clone()).increment(misfits);
            shared.note(&self.name, |table| table.misfits += misfits);
        }
        if part.rows.bytes() >= CHUNK_BYTES {
            part.encode(&opened.layout, &self.name)?;
        }
        Ok(())
    }

    /// Notes a failure: the next attempt waits longer than the last.
    pub(crate) fn fail(&mut self, shared: &Shared, now: Duration, error: &LakeError) {
        self.is_broken |= matches!(error, LakeError::Encode { .. });
        let pause = RETRY_PAUSE.saturating_mul(1 << self.failures.min(16)).min(shared.limits.retry_pause_max);
        self.failures += 1;
        self.retry_at = now + pause;
        tracing::warn!(table = %self.name, %error, attempt = self.failures, retry_in_ms = pause.as_millis() as u64, "the table is not written");
        metrics::counter!("tidemill_lake_failures_total", "table" => self.name.clone()).increment(1);
        shared.note(&self.name, |table| {
            table.failures += 1;
            table.last_error = Some(error.to_string());
        });
    }

    /// Forgets what is in memory; returns where to read again.
    pub(crate) fn forget(&mut self) -> HashMap<usize, i64> {
        let first = std::mem::take(&mut self.first);
        let name = std::mem::take(&mut self.name);
        let shape = std::mem::replace(&mut self.shape, Shape::Errors);
        let (retry_at, failures, unsynced) = (self.retry_at, self.failures, self.unsynced.take());
        *self = Self { retry_at, failures, unsynced, ..Self::new(name, shape) };
        first
    }
}

impl Part {
    /// Moves the rows into the file.
    pub(crate) fn encode(&mut self, layout: &Layout, table: &str) -> Result<(), LakeError> {
        if self.rows.stats().rows == 0 {
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(FileWriter::new(Arc::clone(&layout.arrow)).map_err(|error| LakeError::encode(table, error))?);
        }
        self.file.as_mut().map_or(Ok(()), |file| write_chunk(&mut self.rows, file, table))
    }
}

fn new_rows(shape: &Shape, layout: &Arc<Layout>) -> Rows {
    match shape {
        Shape::Documents(_) => Rows::documents(Arc::clone(layout)),
        Shape::Errors => Rows::errors(Arc::clone(layout)),
    }
}
