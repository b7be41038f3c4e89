//! The record of `errors` for a delivery that was refused for good.

use crate::output::OutboxEntry;
use tidemill_message::MessageWriter;
use tidemill_runtime::Target;
use xxhash_rust::xxh3::xxh3_128;

/// The `DecodeErrorType` of a delivery that its target or the allow-list refused.
pub const DELIVERY_REJECTED: &str = "delivery_rejected";

/// Bytes of the body that are kept.
const BODY_BYTES_MAX: usize = 64 << 10;

/// A delivery that was refused.
pub struct Rejection<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// The delivery, where its record can be read.
    pub entry: Option<&'a OutboxEntry>,
    /// Where the delivery is in the outbox.
    pub at: &'a str,
    /// Why.
    pub reason: &'a str,
}

impl Rejection<'_> {
    /// Appends the message and gives its Uuid, the same each time.
    pub fn write(&self, timestamp_ns: i64, out: &mut Vec<u8>) -> [u8; 16] {
        let Self { plugin, entry, at, reason } = self;
        let uuid = xxh3_128(at.as_bytes()).to_le_bytes();
        let mut message = MessageWriter::new(out, &uuid, timestamp_ns);
        message.type_(b"error").logger(plugin.as_bytes());
        message.field_string("DecodeErrorType", DELIVERY_REJECTED.as_bytes());
        message.field_string("DecodeError", format!("plugin {plugin}: {reason}").as_bytes());
        message.field_string("source", entry.map_or(*at, |entry| &entry.first_source).as_bytes());
        message.field_string("plugin", plugin.as_bytes()).field_string("outbox", at.as_bytes());
        if let Some(entry) = entry {
            message.field_string("target", describe(&entry.target).as_bytes());
            message.field_string("lastSource", entry.last_source.as_bytes()).field_string("idempotencyKey", entry.key.as_bytes());
            message.field_bytes("body", "", &entry.body[..entry.body.len().min(BODY_BYTES_MAX)]);
        }
        uuid
    }
}

fn describe(target: &Target) -> String {
    match target {
        Target::Http { method, url, .. } => format!("{method} {url}"),
        Target::Object(path) => format!("object {path}"),
        Target::Append(path) => format!("append {path}"),
        Target::Bus { topic, .. } => format!("topic {topic}"),
    }
}
