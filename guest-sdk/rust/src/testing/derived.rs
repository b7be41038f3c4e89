//! Reading the messages that a plugin injects.

use std::collections::BTreeMap;

use super::Cell;
use crate::Time;

/// A message for the `derived` topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// Its row among those fed; `None` from a timer.
    pub row: Option<usize>,
    /// The partition key; empty: the Uuid.
    pub key: String,
    /// `Timestamp`
    pub time: Time,
    /// `Type`
    pub type_: String,
    /// `Logger`
    pub logger: String,
    /// `Payload`
    pub payload: String,
    /// The first value of each field.
    pub fields: BTreeMap<String, Cell>,
    /// The message as it is sent.
    pub bytes: Vec<u8>,
}

impl Derived {
    /// Reads a message. A broken one is the plugin's fault, so the test fails.
    ///
    /// # Panics
    /// Where the bytes are not a Heka message.
    pub(super) fn parse(row: Option<usize>, key: &str, bytes: &[u8]) -> Self {
        let (time, type_, logger, payload, fields) = Default::default();
        let mut out = Self { row, key: key.into(), time, type_, logger, payload, fields, bytes: bytes.into() };
        for (tag, value) in records(bytes) {
            match (tag, value) {
                (2, Record::Varint(ns)) => out.time = Time::from_ns(ns as i64),
                (3, Record::Bytes(bytes)) => out.type_ = text(bytes),
                (4, Record::Bytes(bytes)) => out.logger = text(bytes),
                (6, Record::Bytes(bytes)) => out.payload = text(bytes),
                (10, Record::Bytes(bytes)) => {
                    let (name, cell) = field(bytes);
                    out.fields.entry(name).or_insert(cell);
                }
                _ => {}
            }
        }
        out
    }
}

enum Record<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// The records of a message or a field.
fn records(mut bytes: &[u8]) -> Vec<(u64, Record<'_>)> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let head = varint(&mut bytes);
        let value = varint(&mut bytes);
        let record = match head & 7 {
            0 => Record::Varint(value),
            2 => {
                let (record, rest) = bytes.split_at(value as usize);
                bytes = rest;
                Record::Bytes(record)
            }
            other => panic!("a derived message has a record of wire type {other}"),
        };
        out.push((head >> 3, record));
    }
    out
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().expect("a derived message ends early");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a derived message has a number of more than 64 bits");
}

fn field(bytes: &[u8]) -> (String, Cell) {
    let (mut name, mut cell) = (String::new(), Cell::Null);
    for (tag, value) in records(bytes) {
        match (tag, value) {
            (1, Record::Bytes(bytes)) => name = text(bytes),
            (4, Record::Bytes(bytes)) => cell = Cell::Text(text(bytes)),
            (5, Record::Bytes(bytes)) => cell = Cell::Bytes(bytes.into()),
            (6, Record::Bytes(mut bytes)) => cell = Cell::Int(varint(&mut bytes) as i64),
            (7, Record::Bytes(bytes)) => cell = Cell::Float(f64::from_le_bytes(*bytes.first_chunk().expect("a double has 8 bytes"))),
            (8, Record::Bytes(bytes)) => cell = Cell::Bool(bytes.first() == Some(&1)),
            _ => {}
        }
    }
    (name, cell)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.into()).expect("a derived message has a text that is not UTF-8")
}
