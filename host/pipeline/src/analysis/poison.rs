//! The record of `errors` for a message on which a plugin failed alone, twice.

use tidemill_message::{MessageRef, MessageWriter, ValueType};
use tidemill_runtime::CallError;

/// Bytes of a backtrace that are kept.
const BACKTRACE_BYTES_MAX: usize = 16 << 10;
/// A message's own field is copied up to this size: what identifies a message is small, the document is in `validated`.
const FIELD_BYTES_MAX: usize = 1 << 10;
/// What an error record says itself is not copied from the message, which may be an error record.
const OWN_FIELDS: [&[u8]; 8] =
    [b"DecodeErrorType", b"DecodeError", b"DecodeErrorDetail", b"source", b"plugin", b"plugin_version", b"fuel", b"backtrace"];

/// A failure on one message.
pub struct Poison<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The second failure.
    pub error: &'a CallError,
    /// The message's `topic/partition/offset`.
    pub source: &'a str,
}

impl Poison<'_> {
    /// Appends the message, which has the identity of the one that failed.
    pub fn write(&self, message: &MessageRef<'_>, out: &mut Vec<u8>) {
        let Self { plugin, version, error, source } = self;
        let mut writer = MessageWriter::new(out, message.uuid(), message.timestamp());
        writer.type_(b"error");
        if let Some(logger) = message.logger() {
            writer.logger(logger);
        }
        if let Some(hostname) = message.hostname() {
            writer.hostname(hostname);
        }
        for field in message.fields().filter(|field| is_copied(field)) {
            writer.field_raw(field.raw());
        }
        writer.field_string("DecodeErrorType", error.kind.error_type().as_bytes());
        writer.field_string("DecodeError", format!("plugin {plugin}: {}", error.message).as_bytes());
        writer.field_string("DecodeErrorDetail", last_words(error).as_bytes());
        writer.field_string("source", source.as_bytes());
        writer.field_string("plugin", plugin.as_bytes());
        writer.field_string("plugin_version", version.as_bytes());
        writer.field_integer("fuel", "", i64::try_from(error.fuel).unwrap_or(i64::MAX));
        writer.field_string("backtrace", bounded(&error.backtrace, BACKTRACE_BYTES_MAX).as_bytes());
    }

    /// Whether the message is an error record about this very plugin: an error about it would have no end.
    pub fn is_own_error(plugin: &str, message: &MessageRef<'_>) -> bool {
        message.type_() == Some(b"error") && message.field("plugin").and_then(|field| field.bytes()) == Some(plugin.as_bytes())
    }
}

/// The beginning of a text, cut between characters.
fn bounded(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

fn is_copied(field: &tidemill_message::FieldRef<'_>) -> bool {
    let is_document = field.representation == b"json" || field.value_type() == ValueType::Bytes;
    !is_document && field.raw().len() <= FIELD_BYTES_MAX && !OWN_FIELDS.contains(&field.name)
}

/// The log lines of the failed call: a trap itself carries no text.
fn last_words(error: &CallError) -> String {
    let lines: Vec<_> = error.log.iter().map(|line| line.text.as_str()).collect();
    bounded(&lines.join("\n"), BACKTRACE_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_runtime::CallErrorKind;

    #[test]
    fn the_record_has_the_messages_identity_and_the_reason() {
        let mut bytes = Vec::new();
        MessageWriter::new(&mut bytes, &[7; 16], 99)
            .type_(b"validated")
            .logger(b"telemetry")
            .field_string("documentId", b"abc")
            .field_string("plugin", b"another")
            .field_bytes("submission", "json", b"{}")
            .field_string("large", &[b'x'; FIELD_BYTES_MAX]);
        let message = MessageRef::parse(&bytes).unwrap();
        let error = CallError {
            kind: CallErrorKind::Fuel { limit: 5 },
            message: "`process` used up its fuel".into(),
            backtrace: "frame".into(),
            fuel: 5,
            limit: None,
            log: Vec::new(),
        };
        let mut out = Vec::new();
        Poison { plugin: "spin", version: "1", error: &error, source: "validated/3/17" }.write(&message, &mut out);
        let record = MessageRef::parse(&out).unwrap();
        assert_eq!(
            (record.uuid(), record.timestamp(), record.type_(), record.logger()),
            (&[7; 16], 99, Some(&b"error"[..]), Some(&b"telemetry"[..]))
        );
        let fields: Vec<_> = record.fields().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect();
        let expected = [
            "documentId",
            "DecodeErrorType",
            "DecodeError",
            "DecodeErrorDetail",
            "source",
            "plugin",
            "plugin_version",
            "fuel",
            "backtrace",
        ];
        assert_eq!(fields, expected);
        let text = |name| String::from_utf8_lossy(record.field(name).unwrap().bytes().unwrap()).into_owned();
        assert_eq!([text("DecodeErrorType"), text("DecodeError")], ["plugin_fuel", "plugin spin: `process` used up its fuel"]);
        assert!(
            Poison::is_own_error("spin", &record) && !Poison::is_own_error("other", &record) && !Poison::is_own_error("another", &message)
        );
    }
}
