//! The commit of a table: its files, its new columns and how far its sources came, all in one version of the Delta log.

use crate::error::LakeError;
use crate::layout::PARTITION_COLUMN;
use crate::parquet_file::DataFile;
use crate::table::{Opened, Outcome, ReadyFile, Shared, Table};
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError};
use deltalake_core::kernel::{Action, Add, MetadataExt, Transaction, new_metadata};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use std::{sync::Arc, time::Duration};
use tidemill_bus::crash_point;
use tidemill_message::MessageRef;

impl Table {
    /// Commits what is in memory. After an error everything still is.
    ///
    /// # Errors
    /// Where the store fails or is silent for `limit`, or others commit all the time. Whether an attempt that was cut off has
    /// succeeded shows when the next one meets it.
    pub(crate) async fn commit(&mut self, shared: &Shared, now: Duration, limit: Duration) -> Result<Outcome, LakeError> {
        let done = match tokio::time::timeout(limit, self.try_commit(shared)).await {
            Ok(done) => done,
            Err(_) => Err(LakeError::silent(&self.name, limit)),
        };
        match &done {
            Ok(Outcome::Superseded) => {}
            Ok(Outcome::Committed) => self.failures = 0,
            Err(error) => self.fail(shared, now, error),
        }
        done
    }

    async fn try_commit(&mut self, shared: &Shared) -> Result<Outcome, LakeError> {
        self.sync(shared).await?;
        if self.is_broken {
            return Ok(Outcome::Superseded);
        }
        if self.pending.is_empty() {
            return Ok(Outcome::Committed);
        }
        self.settle_waiting(shared).await?;
        self.finish_parts()?;
        self.store_files(shared).await?;
        crash_point("lake-before-commit");
        for _ in 0..shared.limits.commit_attempts_max {
            match self.commit_once().await {
                Ok(version) => {
                    crash_point("lake-after-commit");
                    self.committed(shared, version);
                    self.sync(shared).await?;
                    return Ok(Outcome::Committed);
                }
                Err(error) if is_contention(&error) => {}
                Err(error) => return Err(LakeError::table(&self.name, error)),
            }
            if !self.catch_up(shared).await? {
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
        if let Ok(layout) = self.layout(opened.state.as_ref())
            && let Some(opened) = &mut self.opened
        {
            opened.layout = Arc::new(layout);
        }
    }

    async fn sync(&mut self, shared: &Shared) -> Result<(), LakeError> {
        if let Some((version, _)) = &self.unsynced {
            shared.store.sync_commit(&self.name, *version).await?;
        }
        self.unsynced = None;
        Ok(())
    }

    /// Reads what others committed; `false` where they moved our sources on or changed our columns.
    async fn catch_up(&mut self, shared: &Shared) -> Result<bool, LakeError> {
        let Some(opened) = &self.opened else { return Ok(false) };
        let state = self.load(shared, &opened.log_store).await?;
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
        let operation =
            DeltaOperation::Create { mode: SaveMode::ErrorIfExists, location, protocol: protocol.clone(), metadata: metadata.clone() };
        Ok((vec![Action::Protocol(protocol), Action::Metadata(metadata)], operation))
    }
}

/// Somebody else committed in between.
fn is_contention(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        DeltaTableError::Transaction { source } => {
            matches!(
                source,
                TransactionError::MaxCommitAttempts(_) | TransactionError::VersionAlreadyExists(_) | TransactionError::CommitConflict(_)
            )
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
