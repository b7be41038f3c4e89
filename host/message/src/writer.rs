//! Writing a message.

use crate::proto::{ValueType, field_tag, tag};
use crate::wire::{BYTES, FIXED64, VARINT, bytes_len, key, varint_len, write_bytes, write_bytes_head, write_varint};

/// Appends one message to a buffer, without memory of its own.
///
/// The message in the buffer is whole after every call; there is nothing to finish. Headers may be set in any order: the
/// bytes have their tags in ascending order (a header that comes after fields moves the fields, so set headers first).
/// A header that is set twice is written twice, and readers take the last. Fields keep the order of the calls.
#[derive(Debug)]
pub struct MessageWriter<'v> {
    out: &'v mut Vec<u8>,
    /// Where the elements of each tag end, by tag: the place of the next one.
    ends: [usize; TAGS],
}

const TAGS: usize = tag::FIELDS as usize + 1;

impl<'v> MessageWriter<'v> {
    /// Begins a message behind what `out` holds already. `timestamp` is in nanoseconds since 1970 UTC.
    pub fn new(out: &'v mut Vec<u8>, uuid: &[u8; 16], timestamp: i64) -> Self {
        write_bytes(out, tag::UUID, uuid);
        let mut ends = [out.len(); TAGS];
        write_number(out, tag::TIMESTAMP, timestamp as u64);
        ends[usize::from(tag::TIMESTAMP)..].fill(out.len());
        Self { out, ends }
    }

    /// Goes on with the message that `out` ends with, to which fields are appended, and nothing but fields.
    pub fn append(out: &'v mut Vec<u8>) -> Self {
        let ends = [out.len(); TAGS];
        Self { out, ends }
    }

    /// Where the message ends in its buffer so far.
    pub fn end(&self) -> usize {
        self.out.len()
    }

    /// Sets header `Type`.
    pub fn type_(&mut self, text: &[u8]) -> &mut Self {
        self.header_bytes(tag::TYPE, text)
    }

    /// Sets header `Logger`.
    pub fn logger(&mut self, text: &[u8]) -> &mut Self {
        self.header_bytes(tag::LOGGER, text)
    }

    /// Sets header `Severity`.
    pub fn severity(&mut self, severity: i32) -> &mut Self {
        self.header_number(tag::SEVERITY, severity)
    }

    /// Sets header `Payload`.
    pub fn payload(&mut self, text: &[u8]) -> &mut Self {
        self.header_bytes(tag::PAYLOAD, text)
    }

    /// Sets header `EnvVersion`.
    pub fn env_version(&mut self, text: &[u8]) -> &mut Self {
        self.header_bytes(tag::ENV_VERSION, text)
    }

    /// Sets header `Pid`.
    pub fn pid(&mut self, pid: i32) -> &mut Self {
        self.header_number(tag::PID, pid)
    }

    /// Sets header `Hostname`.
    pub fn hostname(&mut self, text: &[u8]) -> &mut Self {
        self.header_bytes(tag::HOSTNAME, text)
    }

    /// Appends a field of one string, without representation and without value type (string is the default).
    pub fn field_string(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.field_head(name, "", ValueType::String, bytes_len(value.len()));
        write_bytes(self.out, field_tag::STRING, value);
        self.grown()
    }

    /// Appends a field of strings. No values make a field that matches no matcher but `== NIL`.
    pub fn field_strings(&mut self, name: &str, representation: &str, values: &[&[u8]]) -> &mut Self {
        let size = values.iter().map(|value| bytes_len(value.len())).sum();
        self.field_head(name, representation, ValueType::String, size);
        for value in values {
            write_bytes(self.out, field_tag::STRING, value);
        }
        self.grown()
    }

    /// Appends a field of one bytes value.
    pub fn field_bytes(&mut self, name: &str, representation: &str, value: &[u8]) -> &mut Self {
        self.field_bytes_parts(name, representation, &[value])
    }

    /// Appends a field of one bytes value, the concatenation of `parts`.
    pub fn field_bytes_parts(&mut self, name: &str, representation: &str, parts: &[&[u8]]) -> &mut Self {
        let length = parts.iter().map(|part| part.len()).sum();
        self.field_head(name, representation, ValueType::Bytes, bytes_len(length));
        write_bytes_head(self.out, field_tag::BYTES, length);
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.grown()
    }

    /// Appends a field of one integer.
    pub fn field_integer(&mut self, name: &str, representation: &str, value: i64) -> &mut Self {
        self.field_integers(name, representation, &[value])
    }

    /// Appends a field of integers, packed.
    pub fn field_integers(&mut self, name: &str, representation: &str, values: &[i64]) -> &mut Self {
        let length = values.iter().map(|value| varint_len(*value as u64)).sum();
        self.field_head(name, representation, ValueType::Integer, bytes_len(length));
        write_bytes_head(self.out, field_tag::INTEGER, length);
        for value in values {
            write_varint(self.out, *value as u64);
        }
        self.grown()
    }

    /// Appends a field of one double.
    pub fn field_double(&mut self, name: &str, representation: &str, value: f64) -> &mut Self {
        self.field_doubles(name, representation, &[value])
    }

    /// Appends a field of doubles, packed.
    pub fn field_doubles(&mut self, name: &str, representation: &str, values: &[f64]) -> &mut Self {
        let length = size_of_val(values);
        self.field_head(name, representation, ValueType::Double, bytes_len(length));
        write_bytes_head(self.out, field_tag::DOUBLE, length);
        for value in values {
            self.out.extend_from_slice(&value.to_le_bytes());
        }
        self.grown()
    }

    /// Appends a field of one bool.
    pub fn field_bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.field_head(name, "", ValueType::Bool, bytes_len(1));
        write_bytes(self.out, field_tag::BOOL, &[u8::from(value)]);
        self.grown()
    }

    /// Appends a field copied whole, as [`crate::FieldRef::raw`] gives it. The bytes are not checked.
    pub fn field_raw(&mut self, raw: &[u8]) -> &mut Self {
        write_bytes(self.out, tag::FIELDS, raw);
        self.grown()
    }

    /// Writes everything of a field before its values, which take `values_size` bytes.
    fn field_head(&mut self, name: &str, representation: &str, value_type: ValueType, values_size: usize) {
        // A one-byte key and a one-byte number, left out for the default.
        let type_size = if value_type == ValueType::String { 0 } else { 2 };
        let representation_size = if representation.is_empty() { 0 } else { bytes_len(representation.len()) };
        let size = bytes_len(name.len()) + type_size + representation_size + values_size;
        self.out.reserve(bytes_len(size));
        write_bytes_head(self.out, tag::FIELDS, size);
        write_bytes(self.out, field_tag::NAME, name.as_bytes());
        if type_size != 0 {
            write_number(self.out, field_tag::VALUE_TYPE, value_type as u64);
        }
        if representation_size != 0 {
            write_bytes(self.out, field_tag::REPRESENTATION, representation.as_bytes());
        }
    }

    /// Notes that fields, the last tag, were appended.
    fn grown(&mut self) -> &mut Self {
        self.ends[usize::from(tag::FIELDS)] = self.out.len();
        self
    }

    fn header_bytes(&mut self, tag: u8, content: &[u8]) -> &mut Self {
        write_bytes(self.out, tag, content);
        self.put_in_place(tag)
    }

    fn header_number(&mut self, tag: u8, number: i32) -> &mut Self {
        // Protobuf extends the sign of an int32 to 64 bits.
        write_number(self.out, tag, i64::from(number) as u64);
        self.put_in_place(tag)
    }

    /// Moves the header that was just appended behind the last element of its tag or a lower one.
    fn put_in_place(&mut self, tag: u8) -> &mut Self {
        let before = self.ends[TAGS - 1];
        let grown = self.out.len() - before;
        let place = self.ends[usize::from(tag)];
        if place < before {
            self.out[place..].rotate_right(grown);
        }
        self.ends[usize::from(tag)..].iter_mut().for_each(|end| *end += grown);
        self
    }
}

fn write_number(out: &mut Vec<u8>, tag: u8, number: u64) {
    out.push(key(tag, VARINT));
    write_varint(out, number);
}

// All keys fit one byte, which `bytes_len` and `field_head` count on.
const _: () = assert!(key(tag::FIELDS, BYTES) < 0x80 && key(field_tag::DOUBLE, FIXED64) < 0x80);
