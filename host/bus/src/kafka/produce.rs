//! What holds for every record that is sent.

use crate::{BusError, RECORD_BYTES_MAX, RecordBuf};

/// # Errors
/// When a record is over the limit.
pub(super) fn check_sizes(topic: &str, records: &RecordBuf) -> Result<(), BusError> {
    let size = records.largest();
    if size <= RECORD_BYTES_MAX {
        return Ok(());
    }
    Err(BusError::TooLarge { topic: topic.to_owned(), size, limit: RECORD_BYTES_MAX })
}
