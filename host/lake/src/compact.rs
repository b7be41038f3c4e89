//! Upkeep of tables: small files become one, the log gets its checkpoints, and what they replace is cleaned up.
//!
//! One owner does it: the member that has partition 0 of `validated`. Rows stay the same (`dataChange` is false), and how far the
//! sources came is not touched. Files that were replaced stay on disk for readers of older versions, until somebody vacuums.

use crate::commit::{add_action, new_path};
use crate::error::LakeError;
use crate::layout::{PARTITION_COLUMN, arrow_of_table};
use crate::parquet_file::{DataFile, FileWriter};
use crate::rows::RowStats;
use crate::table::Shared;
use arrow_array::{Array, RecordBatch, cast::AsArray, types::TimestampMicrosecondType};
use arrow_schema::SchemaRef;
use deltalake_core::DeltaTable;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake_core::kernel::{Action, LogicalFileView, cast_record_batch};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::protocol::DeltaOperation;
use deltalake_core::table::state::DeltaTableState;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidemill_bus::crash_point;

/// Rows decoded at a time, at most: ...
const BATCH_ROWS_MAX: usize = 1_024;
/// ... as many as take about so many bytes as columns in memory, ...
const BATCH_BYTES: usize = 8 << 20;
/// ... where a value takes about so many: what it takes in the file says little, as a value that comes again takes a bit or two.
const VALUE_BYTES: usize = 16;
const LAST_CHECKPOINT: &str = "_last_checkpoint";

/// Looks after one table.
///
/// # Errors
/// Where the store fails or somebody else changed what was to be changed; the next round tries again.
pub(crate) async fn maintain(shared: Arc<Shared>, table: String) -> Result<(), LakeError> {
    let log_store = shared.store.log_store(&table)?;
    if !log_store.is_delta_table_location().await.map_err(|error| LakeError::table(&table, error))? {
        return Ok(());
    }
    let mut state = load(&table, &log_store).await?;
    for (date, files) in small_files(&shared, &state) {
        compact(&shared, &table, &log_store, &state, date, &files).await?;
        state = load(&table, &log_store).await?;
    }
    checkpoint(&shared, &table, &log_store, state.version()).await
}

async fn load(table: &str, log_store: &LogStoreRef) -> Result<DeltaTableState, LakeError> {
    DeltaTableState::try_new(log_store.as_ref(), None).await.map_err(|error| LakeError::table(table, error))
}

/// The small files of each date that has too many, the oldest first, as many as one compaction may read.
fn small_files(shared: &Shared, state: &DeltaTableState) -> BTreeMap<i32, Vec<LogicalFileView>> {
    let limits = &shared.limits;
    let mut dates: BTreeMap<i32, Vec<LogicalFileView>> = BTreeMap::new();
    for file in state.log_data().iter().filter(|file| (file.size() as u64) < limits.small_file_bytes) {
        if let Some(date) = date_of(&file) {
            dates.entry(date).or_default().push(file);
        }
    }
    dates.retain(|_, files| files.len() > limits.small_files_max);
    for files in dates.values_mut() {
        files.sort_by_key(LogicalFileView::modification_time);
        let mut bytes = 0;
        let fitting = files.iter().take_while(|file| {
            bytes += file.size() as u64;
            bytes <= limits.compaction_bytes_max
        });
        let fitting = fitting.count();
        files.truncate(fitting);
    }
    dates.retain(|_, files| files.len() > 1);
    dates
}

fn date_of(file: &LogicalFileView) -> Option<i32> {
    let text = file.partition_values_map().remove(PARTITION_COLUMN)??;
    let date: jiff::civil::Date = text.parse().ok()?;
    let days = date.since(jiff::civil::date(1970, 1, 1)).ok()?.get_days();
    Some(days)
}

async fn compact(
    shared: &Shared,
    table: &str,
    log_store: &LogStoreRef,
    state: &DeltaTableState,
    date: i32,
    files: &[LogicalFileView],
) -> Result<(), LakeError> {
    let merged = merge(shared, table, &arrow_of_table(&state.schema()), files).await?;
    let path = new_path(date);
    shared.store.put(table, &path, merged.bytes.clone()).await?;
    crash_point("lake-compaction");
    let mut actions: Vec<Action> = files.iter().map(|file| Action::Remove(file.remove_action(false))).collect();
    actions.push(Action::Add(add_action(&path, date, &merged, false)));
    let properties = CommitProperties::default().with_create_checkpoint(false).with_cleanup_expired_logs(Some(false));
    let operation = DeltaOperation::Optimize { predicate: None, target_size: shared.limits.compaction_bytes_max as i64 };
    let base = Some(state as &dyn TableReference);
    let commit = CommitBuilder::from(properties).with_actions(actions).build(base, Arc::clone(log_store), operation);
    let done = commit.await.map_err(|error| LakeError::table(table, error))?;
    crash_point("lake-compacted");
    shared.store.sync_commit(table, done.version()).await?;
    tracing::debug!(table, date, files = files.len(), rows = merged.stats.rows, "files compacted");
    metrics::counter!("tidemill_lake_compactions_total", "table" => table.to_owned()).increment(1);
    shared.note(table, |table| table.compactions += 1);
    Ok(())
}

async fn merge(shared: &Shared, table: &str, schema: &SchemaRef, files: &[LogicalFileView]) -> Result<DataFile, LakeError> {
    let bytes = files.iter().map(|file| file.size() as usize).sum();
    let mut writer = FileWriter::with_capacity(Arc::clone(schema), bytes).map_err(|error| LakeError::encode(table, error))?;
    for file in files {
        let bytes = shared.store.get(table, &file.object_store_path()).await?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|reader| {
            let rows = batch_rows(reader.metadata());
            reader.with_batch_size(rows).build()
        });
        for batch in reader.map_err(|error| LakeError::encode(table, error))? {
            let batch = batch.map_err(|error| LakeError::encode(table, error))?;
            // Columns that came after the file was written are null in it.
            let batch = cast_record_batch(&batch, Arc::clone(schema), true, true).map_err(|error| LakeError::table(table, error))?;
            writer.write(&batch, &stats_of(&batch)).map_err(|error| LakeError::encode(table, error))?;
        }
    }
    writer.close().map_err(|error| LakeError::encode(table, error))
}

/// How many rows of a file are decoded at a time.
fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let count = |number: i64| usize::try_from(number).unwrap_or(0);
    let rows: usize = metadata.row_groups().iter().map(|group| count(group.num_rows())).sum();
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let bytes: usize = columns.map(|column| count(column.num_values()) * VALUE_BYTES + count(column.uncompressed_size())).sum();
    (BATCH_BYTES.saturating_mul(rows) / bytes.max(1)).clamp(1, BATCH_ROWS_MAX)
}

fn stats_of(batch: &RecordBatch) -> RowStats {
    let times = batch.column_by_name("submission_timestamp").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let valid = || times.into_iter().flat_map(|times| (0..times.len()).filter(|row| times.is_valid(*row)).map(|row| times.value(row)));
    RowStats { rows: batch.num_rows() as u64, min_us: valid().min(), max_us: valid().max() }
}

/// Writes a checkpoint when enough commits came since the last. Only what is older than the table's retention (30 days) and
/// covered by an older checkpoint is cleaned up, so that no reader loses what it reads.
async fn checkpoint(shared: &Shared, table: &str, log_store: &LogStoreRef, version: u64) -> Result<(), LakeError> {
    let last = shared.store.find(table, &format!("_delta_log/{LAST_CHECKPOINT}")).await?;
    let last = last.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok()?.get("version")?.as_u64()).unwrap_or(0);
    if version.saturating_sub(last) < shared.limits.checkpoint_commits {
        return Ok(());
    }
    let failed = |error| LakeError::table(table, error);
    let mut delta = DeltaTable::new(Arc::clone(log_store));
    delta.load_version(version).await.map_err(failed)?;
    deltalake_core::checkpoints::create_checkpoint(&delta, None).await.map_err(failed)?;
    crash_point("lake-checkpoint");
    let prefix = format!("{version:020}.checkpoint");
    let names = shared.store.log_files(table);
    for name in names.iter().filter(|name| name.starts_with(&prefix) || *name == LAST_CHECKPOINT) {
        shared.store.sync_log_file(table, name).await?;
    }
    let cleaned = deltalake_core::checkpoints::cleanup_metadata(&delta, None).await.map_err(failed)?;
    tracing::debug!(table, version, cleaned, "checkpoint written");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::builder::{Int64Builder, ListBuilder};
    use arrow_schema::{DataType, Field, Schema};

    /// Rows decoded at a time of a file of 2,000 rows with so many values each, all alike.
    fn batch_rows_of(values: usize) -> usize {
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let schema = Arc::new(Schema::new(vec![Field::new("values", DataType::List(item), false)]));
        let mut writer = FileWriter::new(Arc::clone(&schema)).expect("a writer");
        for _ in 0..20 {
            let mut lists = ListBuilder::new(Int64Builder::new());
            (0..100).for_each(|_| lists.append_value(std::iter::repeat_n(Some(7), values)));
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(lists.finish())]).expect("a batch");
            writer.write(&batch, &RowStats::default()).expect("written");
        }
        let file = writer.close().expect("closed");
        assert!(file.bytes.len() < 100_000, "{} bytes: values that are alike take next to nothing", file.bytes.len());
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.bytes).expect("a file");
        assert_eq!(reader.metadata().file_metadata().num_rows(), 2_000);
        batch_rows(reader.metadata())
    }

    #[test]
    fn wide_rows_are_decoded_fewer_at_a_time() {
        assert_eq!(batch_rows_of(1), BATCH_ROWS_MAX);
        assert_eq!(batch_rows_of(10_000), BATCH_BYTES / (10_000 * VALUE_BYTES));
    }
}
