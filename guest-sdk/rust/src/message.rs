//! Messages that a plugin makes: unframed Heka protobuf.

use crate::Time;

/// A message for the `derived` topic.
///
/// Its Uuid is a hash of its content unless [`Message::uuid`] sets it: a plugin has no randomness, and the same input gives the
/// same message again. Put something of the source into it (its `documentId`) where two equal messages must stay apart.
#[derive(Debug, Clone)]
pub struct Message {
    uuid: Option<[u8; 16]>,
    time: Time,
    type_: String,
    logger: String,
    payload: String,
    hostname: String,
    severity: Option<i32>,
    /// The fields' records, tag and length included.
    fields: Vec<u8>,
}

/// Protobuf wire types.
const VARINT: u8 = 0;
const LEN: u8 = 2;

/// Values of `Field.value_type`; the default, string, is not written.
const TYPE_BYTES: u8 = 1;
const TYPE_INTEGER: u8 = 2;
const TYPE_DOUBLE: u8 = 3;
const TYPE_BOOL: u8 = 4;

impl Message {
    /// A message of a Type of the plugin's own.
    pub fn new(type_: impl Into<String>, time: Time) -> Self {
        let (logger, payload, hostname) = Default::default();
        Self { uuid: None, time, type_: type_.into(), logger, payload, hostname, severity: None, fields: Vec::new() }
    }

    /// Sets the Uuid; otherwise it is made from the content.
    pub fn uuid(&mut self, uuid: [u8; 16]) -> &mut Self {
        self.uuid = Some(uuid);
        self
    }

    /// Sets the Logger.
    pub fn logger(&mut self, logger: impl Into<String>) -> &mut Self {
        self.logger = logger.into();
        self
    }

    /// Sets the Payload.
    pub fn payload(&mut self, payload: impl Into<String>) -> &mut Self {
        self.payload = payload.into();
        self
    }

    /// Sets the Hostname.
    pub fn hostname(&mut self, hostname: impl Into<String>) -> &mut Self {
        self.hostname = hostname.into();
        self
    }

    /// Sets the Severity: 0 (emergency) to 7 (debug).
    pub fn severity(&mut self, severity: i32) -> &mut Self {
        self.severity = Some(severity);
        self
    }

    /// Adds a field of text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.field(name, 0, "", |record| write_bytes(record, 4, value.as_bytes()))
    }

    /// Adds a field of bytes; the representation is their format, for example `json`.
    pub fn bytes(&mut self, name: &str, representation: &str, value: &[u8]) -> &mut Self {
        self.field(name, TYPE_BYTES, representation, |record| write_bytes(record, 5, value))
    }

    /// Adds a field of a whole number; the representation is its unit, for example `ms` or `B`.
    pub fn int(&mut self, name: &str, representation: &str, value: i64) -> &mut Self {
        self.field(name, TYPE_INTEGER, representation, |record| {
            let mut packed = Vec::with_capacity(10);
            write_varint(&mut packed, value as u64);
            write_bytes(record, 6, &packed);
        })
    }

    /// Adds a field of a number.
    pub fn float(&mut self, name: &str, representation: &str, value: f64) -> &mut Self {
        self.field(name, TYPE_DOUBLE, representation, |record| write_bytes(record, 7, &value.to_le_bytes()))
    }

    /// Adds a field that is true or false.
    pub fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.field(name, TYPE_BOOL, "", |record| write_bytes(record, 8, &[u8::from(value)]))
    }

    /// Readers want a field's values last.
    fn field(&mut self, name: &str, value_type: u8, representation: &str, value: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let mut record = Vec::new();
        write_bytes(&mut record, 1, name.as_bytes());
        if value_type != 0 {
            record.extend_from_slice(&[2 << 3 | VARINT, value_type]);
        }
        write_nonempty(&mut record, 3, representation);
        value(&mut record);
        write_bytes(&mut self.fields, 10, &record);
        self
    }

    /// Appends the encoded message.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { uuid, fields, .. } = self;
        let start = out.len();
        write_bytes(out, 1, &uuid.unwrap_or_default());
        self.write_headers(out);
        out.extend_from_slice(fields);
        if uuid.is_none() {
            let hash = fingerprint(&out[start..]);
            out[start + 2..start + 18].copy_from_slice(&hash);
        }
    }

    fn write_headers(&self, out: &mut Vec<u8>) {
        let Self { uuid: _, time, type_, logger, payload, hostname, severity, fields: _ } = self;
        out.push(2 << 3 | VARINT);
        write_varint(out, time.ns() as u64);
        write_nonempty(out, 3, type_);
        write_nonempty(out, 4, logger);
        if let Some(severity) = severity {
            out.push(5 << 3 | VARINT);
            write_varint(out, i64::from(*severity) as u64);
        }
        write_nonempty(out, 6, payload);
        write_nonempty(out, 9, hostname);
    }
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag << 3 | LEN);
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_nonempty(out: &mut Vec<u8>, tag: u8, text: &str) {
    if !text.is_empty() {
        write_bytes(out, tag, text.as_bytes());
    }
}

/// FNV-1a of 128 bits, marked as a custom Uuid (version 8). Stable for ever: replays must give the same Uuids.
fn fingerprint(bytes: &[u8]) -> [u8; 16] {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in bytes {
        hash = (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    let mut uuid = hash.to_be_bytes();
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_protobuf_of_heka() {
        let mut message = Message::new("t", Time::from_ns(300));
        message.uuid([7; 16]).logger("l").severity(-1).payload("p").hostname("h");
        message.text("s", "é").int("i", "ms", -1).float("d", "", 1.0).bool("b", true).bytes("j", "json", b"{}");
        let mut out = vec![0xEE];
        message.write(&mut out);
        let expected: Vec<u8> = [
            &[0xEE, 0x0A, 16][..],
            &[7; 16],
            &[0x10, 0xAC, 0x02, 0x1A, 1, b't', 0x22, 1, b'l'],
            &[0x28, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            &[0x32, 1, b'p', 0x4A, 1, b'h'],
            &[0x52, 7, 0x0A, 1, b's', 0x22, 2, 0xC3, 0xA9],
            &[0x52, 21, 0x0A, 1, b'i', 0x10, 2, 0x1A, 2, b'm', b's', 0x32, 10],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            &[0x52, 15, 0x0A, 1, b'd', 0x10, 3, 0x3A, 8, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F],
            &[0x52, 8, 0x0A, 1, b'b', 0x10, 4, 0x42, 1, 1],
            &[0x52, 15, 0x0A, 1, b'j', 0x10, 1, 0x1A, 4, b'j', b's', b'o', b'n', 0x2A, 2, b'{', b'}'],
        ]
        .concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn the_uuid_follows_from_the_content() {
        let encode = |text: &str| {
            let mut out = Vec::new();
            Message::new("t", Time::from_ns(1)).text("f", text).write(&mut out);
            out[2..18].to_vec()
        };
        assert_eq!(encode("a"), encode("a"));
        assert_ne!(encode("a"), encode("b"));
        assert_eq!((encode("a")[6] >> 4, encode("a")[8] >> 6), (8, 2), "version 8, variant 10");
    }
}
