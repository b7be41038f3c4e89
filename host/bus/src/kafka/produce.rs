//! From the bus's records to librdkafka's.

use crate::{BusError, RECORD_BYTES_MAX, RecordBuf, RecordRef};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::BaseRecord,
    util::IntoOpaque,
};

/// # Errors
/// When a record is over the limit.
pub(super) fn check_sizes(topic: &str, records: &RecordBuf) -> Result<(), BusError> {
    let size = records.largest();
    if size <= RECORD_BYTES_MAX {
        return Ok(());
    }
    Err(BusError::TooLarge { topic: topic.to_owned(), size, limit: RECORD_BYTES_MAX })
}

/// A record as librdkafka takes it. Kafka has no record before 1970-01-01T00:00:00.001Z (librdkafka reads 0 as now): earlier
/// times become that one.
pub(super) fn record<'a, O: IntoOpaque>(
    topic: &'a str,
    partition: u32,
    record: &RecordRef<'a>,
    opaque: O,
) -> BaseRecord<'a, [u8], [u8], O> {
    let made = BaseRecord::with_opaque_to(topic, opaque).partition(partition as i32);
    made.timestamp(record.timestamp_ms.max(1)).key(record.key).payload(record.value).headers(headers(record))
}

fn headers(record: &RecordRef<'_>) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    for (name, value) in record.headers() {
        let name = String::from_utf8_lossy(name);
        headers = headers.insert(Header { key: &name, value: Some(value) });
    }
    headers
}
