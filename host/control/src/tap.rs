//! Following a topic: one JSON object a line.

use crate::{Control, Problem};
use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use base64::Engine as _;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_bus::{Bus, BusError, FetchedBatch, Reader, RecordRef, Start, TopicPartition};
use tidemill_message::{FieldRef, Matcher, MessageRef, Value as FieldValue};
use tokio::sync::mpsc;

/// How long a tap with nothing to say waits before an empty line shows that it lives (and finds out whether anyone listens).
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// Lines that may wait for a slow listener before the tap stops reading.
const LINES_MAX: usize = 256;

/// The query of a tap.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapQuery {
    #[serde(default)]
    from: String,
    #[serde(default)]
    matcher: String,
    limit: Option<u64>,
}

/// `GET /api/v1/tap/TOPIC?from=&matcher=&limit=`: newline-delimited JSON; empty lines keep the connection alive.
pub async fn tap(State(control): State<Control>, Path(topic): Path<String>, Query(query): Query<TapQuery>) -> Result<Response, Problem> {
    let follow =
        Follow { start: parse_start(&query.from)?, matcher: parse_matcher(&query.matcher)?, limit: query.limit.unwrap_or(u64::MAX) };
    let bus = Arc::clone(&control.bus);
    let name = topic.clone();
    let readers = tokio::task::spawn_blocking(move || open(&*bus, &name, follow.start)).await.map_err(Problem::unavailable)?;
    let readers = readers.map_err(|error| match error {
        BusError::NotFound(_) => Problem::missing(format!("there is no topic {topic}")),
        error => Problem::unavailable(error),
    })?;
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    std::thread::Builder::new().name("tap".into()).spawn(move || follow.run(readers, &sender)).map_err(Problem::unavailable)?;
    let lines = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|line| (Ok::<_, std::convert::Infallible>(line), receiver))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

fn parse_start(text: &str) -> Result<Start, Problem> {
    match text {
        "" | "end" => Ok(Start::End),
        "beginning" => Ok(Start::Beginning),
        time => match time.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Start::TimeMs(time.as_millisecond())),
            Err(error) => {
                Err(Problem::bad(format!("from: {time:?} is neither beginning nor end nor a time like 2026-01-31T12:00:00Z: {error}")))
            }
        },
    }
}

fn parse_matcher(text: &str) -> Result<Option<Matcher>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    Matcher::parse(text).map(Some).map_err(|error| Problem::bad(format!("matcher: {error}")))
}

fn open(bus: &dyn Bus, topic: &str, start: Start) -> Result<Vec<Box<dyn Reader>>, BusError> {
    let topic: Arc<str> = topic.into();
    (0..bus.partitions(&topic)?).map(|partition| bus.reader(&TopicPartition { topic: Arc::clone(&topic), partition }, start)).collect()
}

/// What a tap shows.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Where it begins.
    pub start: Start,
    /// Only messages that it selects.
    pub matcher: Option<Matcher>,
    /// How many messages in all.
    pub limit: u64,
}

impl Follow {
    /// Reads until the listener is gone or the limit is reached.
    fn run(&self, mut readers: Vec<Box<dyn Reader>>, sender: &mpsc::Sender<Bytes>) {
        let mut left = self.limit;
        let mut spoke = Instant::now();
        while left > 0 {
            let mut any = false;
            for reader in &mut readers {
                match reader.poll(Duration::ZERO) {
                    Ok(Some(batch)) => {
                        any = true;
                        if !self.send(&batch, &mut left, sender) {
                            return;
                        }
                    }
                    Ok(None) => {}
                    Err(error) => {
                        let _ = sender.blocking_send(Bytes::from(format!("{}\n", json!({"error": error.to_string()}))));
                        return;
                    }
                }
            }
            if any {
                spoke = Instant::now();
            } else {
                std::thread::sleep(Duration::from_millis(10));
                if spoke.elapsed() > KEEP_ALIVE {
                    spoke = Instant::now();
                    if sender.blocking_send(Bytes::from_static(b"\n")).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Sends the selected messages of a batch; false when the tap is over.
    fn send(&self, batch: &FetchedBatch, left: &mut u64, sender: &mpsc::Sender<Bytes>) -> bool {
        for (offset, record) in batch.iter() {
            let message = MessageRef::parse(record.value).ok();
            let selected = self.matcher.as_ref().is_none_or(|matcher| message.as_ref().is_some_and(|message| matcher.matches(message)));
            if !selected {
                continue;
            }
            let line = format!("{}\n", message_json(&batch.partition, offset, &record));
            *left -= 1;
            if sender.blocking_send(Bytes::from(line)).is_err() || *left == 0 {
                return false;
            }
        }
        true
    }
}

/// A record as `tap --json` prints it; a value that is no Heka message stands whole under `value`.
pub fn message_json(partition: &TopicPartition, offset: i64, record: &RecordRef<'_>) -> Value {
    let headers: Map<String, Value> =
        record.headers().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), text(value))).collect();
    let mut object = json!({
        "topic": partition.topic, "partition": partition.partition, "offset": offset, "key": text(record.key), "headers": headers,
    });
    let Ok(message) = MessageRef::parse(record.value) else {
        object["value"] = text(record.value);
        return object;
    };
    let optional = |bytes: Option<&[u8]>| bytes.map_or(Value::Null, text);
    object["uuid"] = json!(uuid::Uuid::from_bytes(*message.uuid()).to_string());
    object["timestamp"] = json!(message.timestamp());
    object["type"] = optional(message.type_());
    object["logger"] = optional(message.logger());
    object["severity"] = json!(message.severity());
    object["hostname"] = optional(message.hostname());
    object["pid"] = json!(message.pid());
    object["env_version"] = optional(message.env_version());
    object["payload"] = optional(message.payload());
    object["fields"] = fields_json(&message);
    object
}

fn fields_json(message: &MessageRef<'_>) -> Value {
    let mut fields: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for field in message.fields() {
        fields.entry(String::from_utf8_lossy(field.name).into_owned()).or_default().extend(field_values(&field));
    }
    let one = |mut values: Vec<Value>| if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
    fields.into_iter().map(|(name, values)| (name, one(values))).collect::<Map<_, _>>().into()
}

fn field_values(field: &FieldRef<'_>) -> Vec<Value> {
    let value = |value| match value {
        FieldValue::String(bytes) | FieldValue::Bytes(bytes) => text(bytes),
        FieldValue::Integer(number) => json!(number),
        FieldValue::Double(number) => json!(number),
        FieldValue::Bool(truth) => json!(truth),
    };
    field.values().map(value).collect()
}

/// Text as text, other bytes as `{"base64": ..}`.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"base64": base64::engine::general_purpose::STANDARD.encode(bytes)}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_bus::RecordBuf;
    use tidemill_message::MessageWriter;

    #[test]
    fn a_record_is_one_object() {
        let mut records = RecordBuf::default();
        records.push_with(7, b"key", &[("tm-v", b"1"), ("tm-idx", &[0xff])], |out| {
            let mut message = MessageWriter::new(out, &[1; 16], 5);
            message.type_(b"validated").field_string("a", b"x").field_string("a", b"y").field_bytes("b", "", &[0xfe]).field_integer(
                "n",
                "",
                i64::MAX,
            );
        });
        let partition = TopicPartition { topic: "validated".into(), partition: 2 };
        let found = message_json(&partition, 9, &records.iter().next().unwrap());
        let expected = json!({
            "topic": "validated", "partition": 2, "offset": 9, "key": "key", "headers": {"tm-v": "1", "tm-idx": {"base64": "/w=="}},
            "uuid": "01010101-0101-0101-0101-010101010101", "timestamp": 5, "type": "validated", "logger": null, "severity": 7, "hostname": null,
            "pid": null, "env_version": null, "payload": null, "fields": {"a": ["x", "y"], "b": {"base64": "/g=="}, "n": i64::MAX},
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_start_is_a_word_or_a_time() {
        assert!(matches!(parse_start("beginning"), Ok(Start::Beginning)));
        assert!(matches!(parse_start("2026-01-01T00:00:00Z"), Ok(Start::TimeMs(1_767_225_600_000))));
        assert!(parse_start("yesterday").is_err());
    }
}
