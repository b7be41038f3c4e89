//! What the lake is started with, its limits by name, and what it tells while it runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tidemill_bus::{Bus, Clock, Files, OnLost};
use tidemill_schema::Registry;
use url::Url;

/// What the lake is started with.
pub struct LakeOptions {
    /// Where `validated` and `errors` are read from.
    pub bus: Arc<dyn Bus>,
    /// The schemas that the columns come from.
    pub registry: Arc<Registry>,
    /// Where the tables lie: `file:` or an object store (`s3:`, with the AWS environment variables).
    pub url: Url,
    /// A table with rows commits at least so often.
    pub commit_interval: Duration,
    /// A table with so many encoded bytes commits at once.
    pub commit_bytes: u64,
    /// Decides when it is time to commit.
    pub clock: Arc<dyn Clock>,
    /// Writes and syncs the files of a `file:` lake.
    pub files: Arc<dyn Files>,
    /// Where records were removed before the lake read them.
    pub on_lost: OnLost,
}

/// The limits of the lake.
#[derive(Clone, Debug)]
pub struct LakeLimits {
    /// Rows held in memory, of all tables. Beyond it the largest tables commit at once, and where they cannot, reading pauses until
    /// half is free. Default 384 MiB: a file of 128 MiB, what gathers while it is written, and as much for all other tables.
    pub memory_bytes_max: usize,
    /// Tables that commit at the same time. Default 8: an object store takes 50-200 ms each.
    pub commits_at_once: usize,
    /// A commit that meets commits of others is tried again so often before the table backs off. Default 15.
    pub commit_attempts_max: u32,
    /// The longest pause between two attempts of a table that cannot be written. Default 30 s; the first is 500 ms.
    pub retry_pause_max: Duration,
    /// How long stopping may take to commit what is buffered; the rest is read again. One commit may take half of it. Default 20 s.
    pub stop_timeout: Duration,
    /// How often the owner looks for tables to compact and checkpoint. Default 30 s.
    pub maintenance_interval: Duration,
    /// A date with more small files than this is compacted. Default 16.
    pub small_files_max: usize,
    /// A file below this is small. Default 32 MiB.
    pub small_file_bytes: u64,
    /// Bytes that one compaction reads at most. Default 128 MiB; it holds what it writes in memory, and about as much again for the rows that it unpacks.
    pub compaction_bytes_max: u64,
    /// Commits between two checkpoints of a table's log. Default 100: readers read the newest checkpoint and the commits behind it.
    pub checkpoint_commits: u64,
}

impl Default for LakeLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 384 << 20,
            commits_at_once: 8,
            commit_attempts_max: 15,
            retry_pause_max: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(20),
            maintenance_interval: Duration::from_secs(30),
            small_files_max: 16,
            small_file_bytes: 32 << 20,
            compaction_bytes_max: 128 << 20,
            checkpoint_commits: 100,
        }
    }
}

/// What one table has seen since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableProgress {
    /// Rows committed.
    pub rows: u64,
    /// Values that did not fit their columns and are kept in `additional_properties`.
    pub misfits: u64,
    /// Rows left out because the table had them already.
    pub repeated: u64,
    /// Commits with rows.
    pub commits: u64,
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Compactions.
    pub compactions: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// What the last failure said.
    pub last_error: Option<String>,
}

/// What the lake has done since the start, by the table's path below the lake.
#[derive(Clone, Debug, Default)]
pub struct LakeProgress {
    /// The tables.
    pub tables: BTreeMap<String, TableProgress>,
}

impl LakeProgress {
    /// Rows committed to all tables.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.rows).sum()
    }
}
