//! One Delta table: rows on their way into it, and the commit that makes them part of it together with how far their sources came.

use crate::columns::Column;
use crate::encode::write_chunk;
use crate::error::LakeError;
use crate::identity::Identity;
use crate::layout::{Layout, PARTITION_COLUMN};
use crate::options::{LakeLimits, LakeProgress, TableProgress};
use crate::parquet_file::{DataFile, FileWriter};
use crate::rows::{CHUNK_BYTES, Rows};
use crate::store::Store;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError};
use deltalake_core::kernel::{Action, Add, MetadataExt, Transaction, new_metadata};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidemill_message::MessageRef;

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
struct Opened {
    log_store: LogStoreRef,
    /// `None` until the first commit makes the table.
    state: Option<DeltaTableState>,
    layout: Arc<Layout>,
}

/// Rows of one date.
struct Part {
    rows: Rows,
    file: Option<FileWriter>,
}

/// A finished file.
struct ReadyFile {
    date: i32,
    path: String,
    file: DataFile,
    is_stored: bool,
}

/// A record that waits for its table to be opened.
struct Waiting {
    identity: Identity,
    bytes: Box<[u8]>,
}

/// See the module.
pub(crate) struct Table {
    name: String,
    shape: Shape,
    opened: Option<Opened>,
    /// How far each source came in the table, at the version of `opened.state`.
    marks: HashMap<Arc<str>, Option<i64>>,
    /// The last record of each source that was taken in.
    seen: HashMap<Arc<str>, (i64, u32)>,
    /// How far the sources of what is in memory came.
    pending: HashMap<Arc<str>, i64>,
    /// The first record in memory of each consumed partition.
    first: HashMap<usize, i64>,
    /// The same of a commit that is made but not durable yet, and its version.
    unsynced: Option<(u64, HashMap<usize, i64>)>,
    waiting: Vec<Waiting>,
    parts: BTreeMap<i32, Part>,
    ready: Vec<ReadyFile>,
    since: Option<Duration>,
    retry_at: Duration,
    failures: u32,
    /// Rows could not be encoded: what is in memory is not whole.
    is_broken: bool,
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

    fn is_committed(&self, identity: &Identity) -> bool {
        self.marks.get(&identity.app_id).copied().flatten().is_some_and(|mark| identity.offset <= mark)
    }

    /// Makes sure that the table is open and how far this source came is known; `false` where the store fails.
    async fn prepare(&mut self, shared: &Shared, now: Duration, app_id: &Arc<str>) -> bool {
        if self.opened.is_some() && self.marks.contains_key(app_id) {
            return true;
        }
        if now < self.retry_at {
            return false;
        }
        match self.open_for(shared, app_id).await {
            Ok(()) => true,
            Err(error) => {
                self.fail(shared, now, &error);
                false
            }
        }
    }

    async fn open_for(&mut self, shared: &Shared, app_id: &Arc<str>) -> Result<(), LakeError> {
        if self.opened.is_none() {
            let log_store = shared.store.log_store(&self.name)?;
            let state = self.load(&log_store).await?;
            let layout = Arc::new(self.layout(state.as_ref())?);
            self.opened = Some(Opened { log_store, state, layout });
        }
        if !self.marks.contains_key(app_id) {
            let mark = self.read_mark(app_id).await?;
            self.marks.insert(Arc::clone(app_id), mark);
        }
        Ok(())
    }

    async fn load(&self, log_store: &LogStoreRef) -> Result<Option<DeltaTableState>, LakeError> {
        let failed = |error| LakeError::table(&self.name, error);
        if !log_store.is_delta_table_location().await.map_err(failed)? {
            return Ok(None);
        }
        DeltaTableState::try_new(log_store.as_ref(), None).await.map(Some).map_err(failed)
    }

    fn layout(&self, state: Option<&DeltaTableState>) -> Result<Layout, LakeError> {
        let existing = state.map(DeltaTableState::schema);
        match &self.shape {
            Shape::Documents(columns) => Layout::documents(columns, existing.as_deref()),
            Shape::Errors => Layout::errors(existing.as_deref()),
        }
        .map_err(|error| LakeError::table(&self.name, error))
    }

    /// How far a source came, in the version that the next commit builds on.
    async fn read_mark(&self, app_id: &Arc<str>) -> Result<Option<i64>, LakeError> {
        match self.opened.as_ref().and_then(|opened| Some((opened, opened.state.as_ref()?))) {
            Some((opened, state)) => {
                let found = state.transaction_version(opened.log_store.as_ref(), app_id).await;
                found.map_err(|error| LakeError::table(&self.name, error))
            }
            None => Ok(None),
        }
    }

    fn put(&mut self, shared: &Shared, message: &MessageRef<'_>) -> Result<(), LakeError> {
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
    fn fail(&mut self, shared: &Shared, now: Duration, error: &LakeError) {
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

    /// Commits what is in memory. After an error everything still is.
    ///
    /// # Errors
    /// Where the store fails or others commit all the time.
    pub(crate) async fn commit(&mut self, shared: &Shared, now: Duration) -> Result<Outcome, LakeError> {
        let done = self.try_commit(shared).await;
        match &done {
            Ok(Outcome::Superseded) => {}
            Ok(Outcome::Committed) => self.failures = 0,
            Err(error) => self.fail(shared, now, error),
        }
        done
    }

    async fn try_commit(&mut self, shared: &Shared) -> Result<Outcome, LakeError> {
        self.sync(shared)?;
        if self.is_broken {
            return Ok(Outcome::Superseded);
        }
        if self.pending.is_empty() {
            return Ok(Outcome::Committed);
        }
        self.settle_waiting(shared).await?;
        self.finish_parts()?;
        self.store_files(shared).await?;
        for _ in 0..shared.limits.commit_attempts_max {
            match self.commit_once().await {
                Ok(version) => {
                    self.committed(shared, version);
                    self.sync(shared)?;
                    return Ok(Outcome::Committed);
                }
                Err(error) if is_contention(&error) => {}
                Err(error) => return Err(LakeError::table(&self.name, error)),
            }
            if !self.catch_up().await? {
                return Ok(Outcome::Superseded);
            }
        }
        Err(LakeError::Contended { table: self.name.clone(), attempts: shared.limits.commit_attempts_max })
    }

    /// Puts in what came while the table could not be opened.
    async fn settle_waiting(&mut self, shared: &Shared) -> Result<(), LakeError> {
        let sources: Vec<Arc<str>> = self.waiting.iter().map(|waiting| Arc::clone(&waiting.identity.app_id)).collect();
        for app_id in sources {
            self.open_for(shared, &app_id).await?;
        }
        for waiting in std::mem::take(&mut self.waiting) {
            if self.is_committed(&waiting.identity) {
                shared.note(&self.name, |table| table.repeated += 1);
            } else if let Ok(message) = MessageRef::parse(&waiting.bytes) {
                self.put(shared, &message)?;
            }
        }
        Ok(())
    }

    fn finish_parts(&mut self) -> Result<(), LakeError> {
        let Some(opened) = &self.opened else { return Ok(()) };
        while let Some((date, mut part)) = self.parts.pop_first() {
            part.encode(&opened.layout, &self.name)?;
            if let Some(file) = part.file {
                let file = file.close().map_err(|error| LakeError::encode(&self.name, error))?;
                self.ready.push(ReadyFile { date, path: new_path(date), file, is_stored: false });
            }
        }
        Ok(())
    }

    async fn store_files(&mut self, shared: &Shared) -> Result<(), LakeError> {
        for ready in self.ready.iter_mut().filter(|ready| !ready.is_stored) {
            shared.store.put(&self.name, &ready.path, ready.file.bytes.clone()).await?;
            ready.is_stored = true;
        }
        Ok(())
    }

    /// One attempt on the version that is known. `max_retries` 0: what others committed since must be looked at here first.
    async fn commit_once(&mut self) -> Result<u64, DeltaTableError> {
        let Some(opened) = &mut self.opened else { return Err(DeltaTableError::NotATable(self.name.clone())) };
        let transactions = self.pending.iter().map(|(app_id, offset)| Transaction::new(app_id, *offset)).collect();
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transactions(transactions);
        let (mut actions, operation) = opened.head()?;
        actions.extend(self.ready.iter().map(|ready| Action::Add(add_action(&ready.path, ready.date, &ready.file, true))));
        let base = opened.state.as_ref().map(|state| state as &dyn TableReference);
        let done = CommitBuilder::from(properties).with_actions(actions).build(base, Arc::clone(&opened.log_store), operation).await?;
        opened.state = Some(done.snapshot());
        Ok(done.version())
    }

    fn committed(&mut self, shared: &Shared, version: u64) {
        let rows: u64 = self.ready.iter().map(|ready| ready.file.stats.rows).sum();
        let bytes: u64 = self.ready.iter().map(|ready| ready.file.bytes.len() as u64).sum();
        let files = self.ready.len() as u64;
        metrics::counter!("tidemill_lake_rows_total", "table" => self.name.clone()).increment(rows);
        metrics::counter!("tidemill_lake_commits_total", "table" => self.name.clone()).increment(1);
        metrics::counter!("tidemill_lake_bytes_total", "table" => self.name.clone()).increment(bytes);
        tracing::debug!(table = %self.name, version, rows, files, bytes, "rows committed");
        shared.note(&self.name, |table| {
            table.rows += rows;
            table.files += files;
            table.bytes += bytes;
            table.commits += 1;
            table.last_error = None;
        });
        for (app_id, offset) in self.pending.drain() {
            self.marks.insert(app_id, Some(offset));
        }
        self.unsynced = Some((version, std::mem::take(&mut self.first)));
        self.ready.clear();
        self.since = None;
        self.renew_layout();
    }

    /// After the columns were added they are there.
    fn renew_layout(&mut self) {
        let Some(opened) = self.opened.as_ref().filter(|opened| opened.layout.adds_columns) else { return };
        if let Ok(layout) = self.layout(opened.state.as_ref()) {
            if let Some(opened) = &mut self.opened {
                opened.layout = Arc::new(layout);
            }
        }
    }

    fn sync(&mut self, shared: &Shared) -> Result<(), LakeError> {
        if let Some((version, _)) = &self.unsynced {
            shared.store.sync_commit(&self.name, *version)?;
        }
        self.unsynced = None;
        Ok(())
    }

    /// Reads what others committed; `false` where they moved our sources on or changed our columns.
    async fn catch_up(&mut self) -> Result<bool, LakeError> {
        let Some(opened) = &self.opened else { return Ok(false) };
        let state = self.load(&opened.log_store).await?;
        let layout = self.layout(state.as_ref())?;
        let is_same = layout.columns == opened.layout.columns;
        if let Some(opened) = &mut self.opened {
            opened.state = state;
            opened.layout = Arc::new(layout);
        }
        for app_id in self.pending.keys() {
            if self.read_mark(app_id).await? != self.marks.get(app_id).copied().flatten() {
                return Ok(false);
            }
        }
        Ok(is_same)
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

impl Opened {
    /// What comes before the files of a commit: the table's own making, or its new columns.
    fn head(&self) -> Result<(Vec<Action>, DeltaOperation), DeltaTableError> {
        let Some(state) = &self.state else { return self.creation() };
        let mut actions = Vec::new();
        if self.layout.adds_columns {
            actions.push(Action::Metadata(state.metadata().clone().with_schema(&self.layout.delta)?));
        }
        let partition_by = Some(vec![PARTITION_COLUMN.to_owned()]);
        Ok((actions, DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None }))
    }

    fn creation(&self) -> Result<(Vec<Action>, DeltaOperation), DeltaTableError> {
        // Reader 1 and writer 2: what every tool reads.
        let protocol: deltalake_core::kernel::Protocol =
            serde_json::from_value(serde_json::json!({"minReaderVersion": 1, "minWriterVersion": 2}))?;
        let metadata = new_metadata(&self.layout.delta, [PARTITION_COLUMN], [("delta.checkpointInterval", "100")])?;
        let location = self.log_store.root_url().clone();
        let operation = DeltaOperation::Create { mode: SaveMode::ErrorIfExists, location, protocol: protocol.clone(), metadata: metadata.clone() };
        Ok((vec![Action::Protocol(protocol), Action::Metadata(metadata)], operation))
    }
}

impl Part {
    /// Moves the rows into the file.
    fn encode(&mut self, layout: &Layout, table: &str) -> Result<(), LakeError> {
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

/// Somebody else committed in between.
fn is_contention(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        DeltaTableError::Transaction { source } => {
            matches!(source, TransactionError::MaxCommitAttempts(_) | TransactionError::VersionAlreadyExists(_) | TransactionError::CommitConflict(_))
        }
        _ => false,
    }
}

/// `2018-11-01` of days since 1970.
pub(crate) fn date_text(date: i32) -> String {
    jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(date)).to_string()
}

pub(crate) fn new_path(date: i32) -> String {
    format!("{PARTITION_COLUMN}={}/part-{}.zstd.parquet", date_text(date), uuid::Uuid::new_v4())
}

/// The action that makes a file part of the table.
pub(crate) fn add_action(path: &str, date: i32, file: &DataFile, data_change: bool) -> Add {
    Add {
        path: path.to_owned(),
        partition_values: [(PARTITION_COLUMN.to_owned(), Some(date_text(date)))].into(),
        size: file.bytes.len() as i64,
        modification_time: jiff::Timestamp::now().as_millisecond(),
        data_change,
        stats: Some(stats_text(file)),
        ..Add::default()
    }
}

fn stats_text(file: &DataFile) -> String {
    let time = |us: Option<i64>| Some(jiff::Timestamp::from_microsecond(us?).ok()?.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
    let column = |value: Option<String>| serde_json::json!({"submission_timestamp": value});
    let stats = file.stats;
    serde_json::json!({
        "numRecords": stats.rows,
        "minValues": column(time(stats.min_us)),
        "maxValues": column(time(stats.max_us)),
        "nullCount": {"submission_timestamp": 0},
    })
    .to_string()
}
