//! The two buses against what they stand on.

mod embedded;
mod kafka;
mod recording;

pub use embedded::{embedded_append, embedded_read};
pub use kafka::{kafka_consume, kafka_produce};

use tidemill_bus::{Compression, RecordBuf, TopicSpec};

pub const EMBEDDED_APPEND: &str = "bus/embedded-append";
pub const EMBEDDED_READ: &str = "bus/embedded-read";
pub const KAFKA_PRODUCE: &str = "bus/kafka-produce";
pub const KAFKA_CONSUME: &str = "bus/kafka-consume";

const TOPIC: &str = "raw";
const KEY: &[u8] = b"6fd3eb50-8bec-4b9c-8778-59406171312a";
const HEADERS: [(&str, &[u8]); 1] = [("tm-v", b"1")];
/// With key, header and framing a record of 1 KB.
const VALUE_BYTES: usize = 940;
const CORPUS: &str = "1-KB-records";

fn topic(partitions: u32) -> TopicSpec {
    TopicSpec { name: TOPIC.into(), partitions, compacted: false, compression: Compression::None }
}

fn record(number: usize, value: &[u8]) -> RecordBuf {
    let mut record = RecordBuf::default();
    record.push(timestamp_ms(number), KEY, &HEADERS, value);
    record
}

fn timestamp_ms(number: usize) -> i64 {
    1_522_238_400_000 + number as i64
}
