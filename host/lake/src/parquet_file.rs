//! Parquet files: row groups in memory until the file is closed.

use crate::layout::ADDITIONAL_COLUMN;
use crate::rows::RowStats;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// A row group ends when its encoded columns take this much: 16 MiB. Each column of each group has a compressor and a dictionary of
/// its own, and a wide table has hundreds of columns.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// It also ends when its writers hold so much: values that come again and again are a bit or two when they are encoded, and eight
/// bytes until then.
const ROW_GROUP_MEMORY: usize = 64 << 20;

/// A page ends at this size: until then a value in a dictionary is held as eight bytes, whatever it takes in the file.
const PAGE_BYTES: usize = 256 << 10;

/// A file under construction.
pub struct FileWriter {
    writer: ArrowWriter<Vec<u8>>,
    stats: RowStats,
}

/// A finished file.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// The Parquet bytes.
    pub bytes: bytes::Bytes,
    /// What is in it.
    pub stats: RowStats,
}

impl FileWriter {
    /// Begins a file of this schema.
    ///
    /// # Errors
    /// Where Parquet cannot hold the schema.
    pub fn new(schema: SchemaRef) -> Result<Self, ParquetError> {
        Self::with_capacity(schema, 0)
    }

    /// Begins a file that will have about so many bytes: a list that grows to them would take twice as much in between.
    ///
    /// # Errors
    /// Where Parquet cannot hold the schema.
    pub fn with_capacity(schema: SchemaRef, bytes: usize) -> Result<Self, ParquetError> {
        let writer = ArrowWriter::try_new(Vec::with_capacity(bytes), schema, Some(properties()?))?;
        Ok(Self { writer, stats: RowStats::default() })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// Where the batch has another schema.
    pub fn write(&mut self, batch: &RecordBatch, stats: &RowStats) -> Result<(), ParquetError> {
        self.writer.write(batch)?;
        if self.writer.in_progress_size() >= ROW_GROUP_BYTES || self.writer.memory_size() >= ROW_GROUP_MEMORY {
            self.writer.flush()?;
        }
        self.stats.add(stats);
        Ok(())
    }

    /// The encoded bytes so far.
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// What is in so far.
    pub fn stats(&self) -> RowStats {
        self.stats
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Where the footer cannot be written.
    pub fn close(self) -> Result<DataFile, ParquetError> {
        Ok(DataFile { bytes: self.writer.into_inner()?.into(), stats: self.stats })
    }
}

/// zstd 1: the ratio of higher levels is little better and costs several times as much. Statistics only where queries filter.
fn properties() -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_offset_index_disabled(true)
        .set_created_by(concat!("tidemill ", env!("CARGO_PKG_VERSION")).to_owned());
    for column in ["submission_timestamp", "document_id", "doc_type", "sample_id"] {
        properties = properties.set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::Chunk);
    }
    Ok(properties.set_column_dictionary_enabled(ColumnPath::from(ADDITIONAL_COLUMN), false).build())
}
