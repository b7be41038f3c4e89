//! Records to Parquet without a bus or a table: for benchmarks and tools.

use crate::columns::of_schema;
use crate::error::LakeError;
use crate::layout::{LEADING_COLUMNS, Layout};
use crate::parquet_file::{DataFile, FileWriter};
use crate::rows::{CHUNK_BYTES, Rows};
use std::sync::Arc;
use tidemill_message::MessageRef;

/// The rows of one table, encoded as the lake does it.
pub struct Encoder {
    layout: Arc<Layout>,
    rows: Rows,
    misfits: u64,
}

impl Encoder {
    /// For documents of this JSON Schema.
    ///
    /// # Errors
    /// Where the schema's columns make no table.
    pub fn new(schema: &serde_json::Value) -> Result<Self, LakeError> {
        let columns = of_schema(schema, &LEADING_COLUMNS);
        let layout = Arc::new(Layout::documents(&columns, None).map_err(|error| LakeError::table("encoder", error))?);
        Ok(Self { rows: Rows::documents(Arc::clone(&layout)), layout, misfits: 0 })
    }

    /// Puts a message of `validated` in.
    pub fn push(&mut self, message: &MessageRef<'_>) {
        self.misfits += self.rows.push(message);
    }

    /// The file's Arrow schema.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many values did not fit their columns.
    pub fn misfits(&self) -> u64 {
        self.misfits
    }

    /// All rows so far as one Parquet file.
    ///
    /// # Errors
    /// Where rows cannot be written as Parquet.
    pub fn finish(&mut self) -> Result<DataFile, LakeError> {
        let mut file = FileWriter::new(Arc::clone(&self.layout.arrow)).map_err(|error| LakeError::encode("encoder", error))?;
        write_chunk(&mut self.rows, &mut file, "encoder")?;
        file.close().map_err(|error| LakeError::encode("encoder", error))
    }
}

/// Moves rows into the file as a row group.
pub(crate) fn write_chunk(rows: &mut Rows, file: &mut FileWriter, table: &str) -> Result<(), LakeError> {
    let stats = rows.stats();
    let batch = rows.take().map_err(|error| LakeError::encode(table, error))?;
    file.write(&batch, &stats).map_err(|error| LakeError::encode(table, error))
}

/// The Parquet bytes of these messages of `validated`, which have this JSON Schema. Row groups as the lake makes them.
///
/// # Errors
/// A message that is none, or rows that cannot be written.
pub fn to_parquet<'a>(schema: &serde_json::Value, messages: impl IntoIterator<Item = &'a [u8]>) -> Result<DataFile, LakeError> {
    let mut encoder = Encoder::new(schema)?;
    let mut file = FileWriter::new(Arc::clone(&encoder.layout.arrow)).map_err(|error| LakeError::encode("encoder", error))?;
    for message in messages {
        encoder.push(&MessageRef::parse(message).map_err(|error| LakeError::encode("encoder", error))?);
        if encoder.rows.bytes() >= CHUNK_BYTES {
            write_chunk(&mut encoder.rows, &mut file, "encoder")?;
        }
    }
    write_chunk(&mut encoder.rows, &mut file, "encoder")?;
    file.close().map_err(|error| LakeError::encode("encoder", error))
}
