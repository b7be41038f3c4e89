//! A delivery as it is saved before the first attempt: a message of the topic `outbox-<plugin>`, Type `delivery`, Logger the plugin.
//!
//! Target, body and idempotency key are exact: a restart sends the same bytes under the same key.

use tidemill_message::{MessageRef, MessageWriter};
use tidemill_runtime::Target;
use xxhash_rust::xxh3::xxh3_128;

/// The Type of an outbox record's message.
pub const DELIVERY_TYPE: &str = "delivery";

/// A delivery of an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Whose delivery it is.
    pub plugin: String,
    /// The same at every attempt and after every restart; no other delivery has it.
    pub key: String,
    /// Where it goes.
    pub target: Target,
    /// `topic/partition/offset` of the first row it settles.
    pub first_source: String,
    /// Of the last.
    pub last_source: String,
    /// What is sent.
    pub body: Vec<u8>,
}

/// An outbox record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// It is no message.
    #[error("the record is not a message: {0}")]
    Message(String),
    /// A field is missing or of another form.
    #[error("field {0:?} is missing or not as an outbox record has it")]
    Field(&'static str),
}

/// The topic of a plugin's deliveries.
pub fn outbox_topic(plugin: &str) -> String {
    format!("outbox-{plugin}")
}

/// The key of the `n`-th delivery of the batch with these first and last offsets.
pub fn idempotency_key(plugin: &str, incarnation: &str, partition: u32, offsets: (i64, i64), n: u32) -> String {
    format!("{plugin}/{incarnation}/{partition}/{}-{}/{n}", offsets.0, offsets.1)
}

impl OutboxEntry {
    /// Appends the message.
    pub fn write(&self, timestamp_ns: i64, out: &mut Vec<u8>) {
        let Self { plugin, key, target, first_source, last_source, body } = self;
        let uuid = xxh3_128(key.as_bytes()).to_le_bytes();
        let mut message = MessageWriter::new(out, &uuid, timestamp_ns);
        message.type_(DELIVERY_TYPE.as_bytes()).logger(plugin.as_bytes());
        message.field_string("idempotencyKey", key.as_bytes());
        message.field_string("firstSource", first_source.as_bytes()).field_string("lastSource", last_source.as_bytes());
        match target {
            Target::Http { method, url, headers } => {
                message.field_string("target", b"http").field_string("method", method.as_bytes()).field_string("url", url.as_bytes());
                let lines: Vec<_> = headers.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect();
                message.field_strings("headers", "", &lines);
            }
            Target::Object(path) => drop(message.field_string("target", b"object").field_string("path", path.as_bytes())),
            Target::Append(path) => drop(message.field_string("target", b"append").field_string("path", path.as_bytes())),
            Target::Bus { topic, key } => {
                message.field_string("target", b"bus").field_string("topic", topic.as_bytes()).field_bytes("key", "", key);
            }
        }
        message.field_bytes("body", "", body);
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// Where it is not what [`OutboxEntry::write`] makes.
    pub fn read(value: &[u8]) -> Result<Self, OutboxError> {
        let message = MessageRef::parse(value).map_err(|error| OutboxError::Message(error.to_string()))?;
        let bytes = |name| message.field(name).and_then(|field| field.bytes()).ok_or(OutboxError::Field(name));
        let text = |name| bytes(name).and_then(|bytes| String::from_utf8(bytes.to_vec()).map_err(|_| OutboxError::Field(name)));
        let plugin = String::from_utf8_lossy(message.logger().unwrap_or_default()).into_owned();
        let target = match bytes("target")? {
            b"http" => Target::Http { method: text("method")?, url: text("url")?, headers: read_headers(&message)? },
            b"object" => Target::Object(text("path")?),
            b"append" => Target::Append(text("path")?),
            b"bus" => Target::Bus { topic: text("topic")?, key: bytes("key")?.to_vec() },
            _ => return Err(OutboxError::Field("target")),
        };
        let (first_source, last_source) = (text("firstSource")?, text("lastSource")?);
        Ok(Self { plugin, key: text("idempotencyKey")?, target, first_source, last_source, body: bytes("body")?.to_vec() })
    }
}

fn read_headers(message: &MessageRef<'_>) -> Result<Vec<(String, String)>, OutboxError> {
    let wrong = OutboxError::Field("headers");
    let mut lines = Vec::new();
    for value in message.field("headers").iter().flat_map(|field| field.values()) {
        match value {
            tidemill_message::Value::String(text) => lines.push(String::from_utf8(text.to_vec()).map_err(|_| wrong.clone())?),
            _ => return Err(wrong),
        }
    }
    let pairs = lines.chunks(2).map(|pair| match pair {
        [name, value] => Ok((name.clone(), value.clone())),
        _ => Err(wrong.clone()),
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_come_back_exactly() {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned()), ("X-Empty".to_owned(), String::new())];
        let targets = [
            Target::Http { method: "POST".into(), url: "http://127.0.0.1:1/a?b".into(), headers },
            Target::Http { method: "PUT".into(), url: "http://h".into(), headers: Vec::new() },
            Target::Object("a/b".into()),
            Target::Append("c.jsonl".into()),
            Target::Bus { topic: "t".into(), key: vec![0, 255] },
        ];
        for target in targets {
            let key = idempotency_key("http-json", "6f1c", 3, (7, 9), 0);
            assert_eq!(key, "http-json/6f1c/3/7-9/0");
            let (first_source, last_source) = ("validated/3/7".into(), "validated/3/9".into());
            let entry = OutboxEntry { plugin: "http-json".into(), key, target, first_source, last_source, body: vec![0, 159, 146, 150] };
            let mut value = Vec::new();
            entry.write(5, &mut value);
            assert_eq!(OutboxEntry::read(&value), Ok(entry));
        }
    }

    #[test]
    fn other_records_are_errors() {
        let check = |value: &[u8], expected: &str| assert_eq!(OutboxEntry::read(value).unwrap_err().to_string(), expected);
        let mut value = Vec::new();
        MessageWriter::new(&mut value, &[0; 16], 0).field_string("target", b"fax");
        check(&value, "field \"target\" is missing or not as an outbox record has it");
        let mut value = Vec::new();
        MessageWriter::new(&mut value, &[0; 16], 0).field_string("target", b"append");
        check(&value, "field \"path\" is missing or not as an outbox record has it");
        assert!(OutboxEntry::read(b"\xff").unwrap_err().to_string().starts_with("the record is not a message: "));
    }
}
