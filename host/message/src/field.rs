//! A field of a message, borrowed.

use crate::error::{Fault, Problem};
use crate::proto::{ValueType, field_tag};
use crate::texts::is_same;
use crate::wire::{BYTES, Content, Element, FIXED64, VARINT, key, read_element, read_varint};
use std::ops::Range;

const NAME_KEY: u8 = key(field_tag::NAME, BYTES);
const TYPE_KEY: u8 = key(field_tag::VALUE_TYPE, VARINT);
const REPRESENTATION_KEY: u8 = key(field_tag::REPRESENTATION, BYTES);
const STRING_KEY: u8 = key(field_tag::STRING, BYTES);
const BYTES_KEY: u8 = key(field_tag::BYTES, BYTES);
const INTEGER_KEY: u8 = key(field_tag::INTEGER, VARINT);
const DOUBLE_KEY: u8 = key(field_tag::DOUBLE, FIXED64);
const BOOL_KEY: u8 = key(field_tag::BOOL, VARINT);
const INTEGERS_KEY: u8 = key(field_tag::INTEGER, BYTES);
const DOUBLES_KEY: u8 = key(field_tag::DOUBLE, BYTES);
const BOOLS_KEY: u8 = key(field_tag::BOOL, BYTES);

/// A field of a message, borrowed from its bytes. It has been checked: its values can be read without errors.
#[derive(Clone, Copy, Debug)]
pub struct FieldRef<'a> {
    /// The name; several fields of a message may have the same.
    pub name: &'a [u8],
    /// Unit or format of the values, free text; empty where there is none.
    pub representation: &'a [u8],
    value_type: ValueType,
    /// From the key of the first value to the end of the record.
    values: &'a [u8],
    raw: &'a [u8],
}

impl<'a> FieldRef<'a> {
    /// The type of all its values.
    pub fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// Its values, packed or not.
    pub fn values(&self) -> Values<'a> {
        Values { value_type: self.value_type, elements: self.values, packed: &[] }
    }

    /// The first value, if it is a string or bytes.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self.first()? {
            Value::String(bytes) | Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The first value, if it is an integer.
    pub fn integer(&self) -> Option<i64> {
        match self.first()? {
            Value::Integer(integer) => Some(integer),
            _ => None,
        }
    }

    /// The first value, if it is a double, or an integer, which is converted.
    pub fn double(&self) -> Option<f64> {
        match self.first()? {
            Value::Double(double) => Some(double),
            Value::Integer(integer) => Some(integer as f64),
            _ => None,
        }
    }

    /// The first value, if it is a bool.
    pub fn boolean(&self) -> Option<bool> {
        match self.first()? {
            Value::Bool(bool) => Some(bool),
            _ => None,
        }
    }

    /// The first value: [`FieldRef::values`] gives the same, and takes longer.
    #[inline]
    pub fn first(&self) -> Option<Value<'a>> {
        match (self.value_type, self.values) {
            (ValueType::String, [STRING_KEY | BYTES_KEY, length @ 0..0x80, rest @ ..]) => {
                Some(Value::String(rest.get(..usize::from(*length))?))
            }
            (ValueType::Integer, [INTEGER_KEY, number @ ..] | [INTEGERS_KEY, 1..0x80, number @ ..]) => {
                Some(Value::Integer(read_varint(number, &mut 0).ok()? as i64))
            }
            (ValueType::Double, [DOUBLE_KEY, rest @ ..] | [DOUBLES_KEY, 8..0x80, rest @ ..]) => {
                Some(Value::Double(f64::from_le_bytes(*rest.first_chunk()?)))
            }
            _ => self.values().next(),
        }
    }

    /// The field's protobuf record without its tag and length, as [`crate::MessageWriter::field_raw`] takes it.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The name of a checked record, without reading more of it than its beginning where the name comes first.
    #[inline]
    pub(crate) fn name_of(record: &'a [u8]) -> &'a [u8] {
        match record {
            [NAME_KEY, length @ 0..0x80, rest @ ..] => rest.get(..usize::from(*length)).unwrap_or_default(),
            _ => Self::read_head(record).ok().flatten().map_or(&[], |field| field.name),
        }
    }

    /// Reads and checks a record as writers make it: name, type and representation in this order, then one value, which comes with
    /// it. `None` for any other, which is not wrong for that.
    #[inline]
    pub(crate) fn usual(raw: &'a [u8]) -> Option<(Self, Value<'a>)> {
        let [NAME_KEY, length @ 0..0x80, rest @ ..] = raw else { return None };
        let (name, mut values) = rest.split_at_checked(usize::from(*length))?;
        let (mut value_type, mut representation) = (ValueType::String, &[][..]);
        if let [TYPE_KEY, number @ 0..0x80, rest @ ..] = values {
            value_type = ValueType::try_from(i32::from(*number)).ok()?;
            values = rest;
        }
        if let [REPRESENTATION_KEY, length @ 0..0x80, rest @ ..] = values {
            (representation, values) = rest.split_at_checked(usize::from(*length))?;
        }
        Some((Self { name, representation, value_type, values, raw }, one(value_type, values)?))
    }

    /// Reads everything before the first value and leaves the values unchecked. `None` is a record without name.
    pub(crate) fn read_head(raw: &'a [u8]) -> Result<Option<Self>, Fault> {
        let mut name = None;
        let mut field = FieldRef { name: &[], representation: &[], value_type: ValueType::String, values: &[], raw };
        let mut at = 0;
        while at < raw.len() {
            let element = read_element(raw, &mut at)?;
            match (element.tag as u8, element.content) {
                _ if element.tag == 0 || element.tag > u32::from(field_tag::BOOL) => {
                    return Err(element.fault(Problem::UnknownTag));
                }
                (field_tag::NAME, Content::Bytes(_)) if name.is_some() => return Err(element.fault(Problem::RepeatedName)),
                (field_tag::NAME, Content::Bytes(text)) => name = Some(text),
                (field_tag::VALUE_TYPE, Content::Varint(number)) => {
                    field.value_type = value_type_of(number as i32).map_err(|problem| element.fault(problem))?;
                }
                (field_tag::REPRESENTATION, Content::Bytes(text)) => field.representation = text,
                (field_tag::STRING.., _) => {
                    field.values = &raw[element.position..];
                    break;
                }
                _ => return Err(element.fault(Problem::WireType)),
            }
        }
        Ok(name.map(|name| FieldRef { name, ..field }))
    }

    /// Checks every value, so that [`FieldRef::values`] can do without errors.
    pub(crate) fn check_values(&self) -> Result<(), Fault> {
        let start = self.raw.len() - self.values.len();
        let mut first_tag = None;
        let mut at = start;
        while at < self.raw.len() {
            let element = read_element(self.raw, &mut at)?;
            let tag = *first_tag.get_or_insert(element.tag);
            if element.tag != tag {
                return Err(element.fault(Problem::AfterValues));
            }
            check_value(self.value_type, &element).map_err(|problem| element.fault(problem))?;
        }
        Ok(())
    }
}

/// How a field begins, up to the key of its value, as writers make it: in the next message the field at the same place begins alike,
/// as a rule, and then only its value has to be checked.
#[derive(Clone, Debug)]
pub(crate) struct FieldHead {
    /// The first bytes of the record, with the key of the value.
    bytes: Box<[u8]>,
    form: Form,
    name_len: usize,
    representation: Range<usize>,
    value_type: ValueType,
}

/// How the value follows its key.
#[derive(Clone, Copy, Debug)]
enum Form {
    String,
    Bytes,
    Integer,
    Double,
    /// Seldom: the key is looked at again.
    Other,
}

/// Bytes of the longest head that is kept.
const HEAD_BYTES_MAX: usize = 64;

impl FieldHead {
    /// Of a field with one value that was made in the usual way; `None` of another.
    pub(crate) fn of(field: &FieldRef<'_>) -> Option<Self> {
        let (FieldRef { name, representation, value_type, values, raw }, _) = FieldRef::usual(field.raw)?;
        let bytes = raw.get(..raw.len() - values.len() + 1).filter(|bytes| bytes.len() <= HEAD_BYTES_MAX)?;
        // An empty one may lie anywhere.
        let begin = if representation.is_empty() { 0 } else { representation.as_ptr() as usize - raw.as_ptr() as usize };
        let representation = begin..begin + representation.len();
        let form = match (value_type, bytes.last()) {
            (ValueType::String, _) => Form::String,
            (ValueType::Bytes, _) => Form::Bytes,
            (ValueType::Integer, Some(&INTEGER_KEY)) => Form::Integer,
            (ValueType::Double, Some(&DOUBLE_KEY)) => Form::Double,
            _ => Form::Other,
        };
        Some(Self { bytes: bytes.into(), form, name_len: name.len(), representation, value_type })
    }

    /// The value of a field, if its record begins so and has one.
    #[inline(always)]
    pub(crate) fn read<'m>(&self, raw: &'m [u8]) -> Option<Value<'m>> {
        let (head, value) = raw.split_at_checked(self.bytes.len())?;
        if !is_same(head, &self.bytes) {
            return None;
        }
        match self.form {
            Form::String => one_text(value).map(Value::String),
            Form::Bytes => one_text(value).map(Value::Bytes),
            Form::Integer => one_integer(value),
            Form::Double => Some(Value::Double(f64::from_le_bytes(value.try_into().ok()?))),
            Form::Other => one(self.value_type, raw.get(head.len() - 1..)?),
        }
    }

    /// The field of a record that was [read](Self::read).
    #[inline]
    pub(crate) fn field<'m>(&self, raw: &'m [u8]) -> Option<FieldRef<'m>> {
        let (name, representation) = (raw.get(2..2 + self.name_len)?, raw.get(self.representation.clone())?);
        Some(FieldRef { name, representation, value_type: self.value_type, values: raw.get(self.bytes.len() - 1..)?, raw })
    }
}

/// The value, if these are one of the type, with its key, as a writer makes it.
#[inline(always)]
fn one(value_type: ValueType, values: &[u8]) -> Option<Value<'_>> {
    match (value_type, values) {
        (ValueType::String, [STRING_KEY | BYTES_KEY, text @ ..]) => one_text(text).map(Value::String),
        (ValueType::Bytes, [STRING_KEY | BYTES_KEY, text @ ..]) => one_text(text).map(Value::Bytes),
        (ValueType::Integer, [INTEGER_KEY, number @ ..]) => one_integer(number),
        (ValueType::Integer, [INTEGERS_KEY, length, number @ ..]) if number.len() == usize::from(*length) => one_integer(number),
        (ValueType::Double, [DOUBLE_KEY, number @ ..] | [DOUBLES_KEY, 8, number @ ..]) => {
            Some(Value::Double(f64::from_le_bytes(number.try_into().ok()?)))
        }
        (ValueType::Bool, [BOOL_KEY, bool @ 0..0x80] | [BOOLS_KEY, 1, bool @ 0..0x80]) => Some(Value::Bool(*bool != 0)),
        _ => None,
    }
}

/// A length and a text of it, and nothing else.
#[inline(always)]
fn one_text(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [length @ 0..0x80, text @ ..] => (text.len() == usize::from(*length)).then_some(text),
        [low, high @ 0..0x80, text @ ..] => (text.len() == usize::from(*low & 0x7f) | usize::from(*high) << 7).then_some(text),
        _ => None,
    }
}

/// A varint and nothing else.
#[inline(always)]
fn one_integer(bytes: &[u8]) -> Option<Value<'_>> {
    let number = match bytes {
        [low @ 0..0x80] => u64::from(*low),
        [low @ 0x80..=0xff, high @ 0..0x80] => u64::from(*low & 0x7f) | u64::from(*high) << 7,
        [low @ 0x80..=0xff, middle @ 0x80..=0xff, high @ 0..0x80] => {
            u64::from(*low & 0x7f) | u64::from(*middle & 0x7f) << 7 | u64::from(*high) << 14
        }
        _ => {
            let mut at = 0;
            let number = read_varint(bytes, &mut at).ok()?;
            (at == bytes.len()).then_some(number)?
        }
    };
    Some(Value::Integer(number as i64))
}

fn value_type_of(number: i32) -> Result<ValueType, Problem> {
    ValueType::try_from(number).map_err(|_| Problem::UnknownValueType(number))
}

/// Strings and bytes may stand under each other's tag, as in the original, which looks at the declared type only.
#[inline]
fn tag_holds(tag: u8, value_type: ValueType) -> bool {
    match tag {
        field_tag::STRING | field_tag::BYTES => matches!(value_type, ValueType::String | ValueType::Bytes),
        field_tag::INTEGER => value_type == ValueType::Integer,
        field_tag::DOUBLE => value_type == ValueType::Double,
        field_tag::BOOL => value_type == ValueType::Bool,
        _ => false,
    }
}

#[inline]
fn check_value(value_type: ValueType, element: &Element<'_>) -> Result<(), Problem> {
    if !tag_holds(element.tag as u8, value_type) {
        return Err(Problem::ValueType);
    }
    match (value_type, element.content) {
        (ValueType::String | ValueType::Bytes, Content::Bytes(_)) => Ok(()),
        (ValueType::Integer | ValueType::Bool, Content::Varint(_)) => Ok(()),
        (ValueType::Integer | ValueType::Bool, Content::Bytes(packed)) => check_packed_varints(packed),
        (ValueType::Double, Content::Fixed64(_)) => Ok(()),
        (ValueType::Double, Content::Bytes(packed)) if packed.len().is_multiple_of(8) => Ok(()),
        (ValueType::Double, Content::Bytes(packed)) => Err(Problem::PackedDoubles(packed.len())),
        _ => Err(Problem::WireType),
    }
}

fn check_packed_varints(packed: &[u8]) -> Result<(), Problem> {
    let mut at = 0;
    while at < packed.len() {
        read_varint(packed, &mut at)?;
    }
    Ok(())
}

/// A value of a field, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text, not necessarily UTF-8.
    String(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Signed 64 bits.
    Integer(i64),
    /// IEEE 754 double.
    Double(f64),
    /// True or false.
    Bool(bool),
}

/// The values of a field.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    value_type: ValueType,
    elements: &'a [u8],
    /// What is left of the packed element that is being read.
    packed: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        loop {
            if !self.packed.is_empty() {
                return self.next_packed();
            }
            match self.next_content()? {
                Content::Bytes(text) if self.value_type == ValueType::String => return Some(Value::String(text)),
                Content::Bytes(bytes) if self.value_type == ValueType::Bytes => return Some(Value::Bytes(bytes)),
                Content::Bytes(packed) => self.packed = packed,
                Content::Varint(number) => return Some(self.number(number)),
                Content::Fixed64(bytes) => return Some(Value::Double(f64::from_le_bytes(bytes))),
            }
        }
    }
}

impl<'a> Values<'a> {
    /// Nothing fails here: the field was checked.
    fn next_content(&mut self) -> Option<Content<'a>> {
        let mut at = 0;
        let element = (!self.elements.is_empty()).then(|| read_element(self.elements, &mut at).ok())??;
        self.elements = &self.elements[at..];
        Some(element.content)
    }

    fn next_packed(&mut self) -> Option<Value<'a>> {
        if self.value_type == ValueType::Double {
            let (bytes, rest) = self.packed.split_first_chunk::<8>()?;
            self.packed = rest;
            return Some(Value::Double(f64::from_le_bytes(*bytes)));
        }
        let mut at = 0;
        let number = read_varint(self.packed, &mut at).ok()?;
        self.packed = &self.packed[at..];
        Some(self.number(number))
    }

    fn number(&self, number: u64) -> Value<'a> {
        match self.value_type {
            ValueType::Bool => Value::Bool(number != 0),
            _ => Value::Integer(number as i64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageRef, MessageWriter};

    /// Records as writers make them, with everything that their values may be.
    fn records() -> Vec<Vec<u8>> {
        let (mut bytes, texts) = (Vec::new(), [0, 1, 127, 128, 300, 16_384].map(|length| vec![b'x'; length]));
        let mut writer = MessageWriter::new(&mut bytes, &[7; 16], 1);
        for text in &texts {
            writer.field_string("text", text).field_bytes("json", "json", text).field_bytes("", "", text);
        }
        for number in [0, 1, 127, 128, 1 << 40, i64::MAX, -1, i64::MIN] {
            writer.field_integer("integer", "ms", number).field_double("double", "", number as f64);
        }
        writer.field_bool("yes", true).field_bool("no", false);
        let message = MessageRef::parse(&bytes).expect("a message");
        message.fields().map(|field| field.raw().to_vec()).collect()
    }

    /// A record that is read in the usual way is read with care to the same.
    #[track_caller]
    fn check(record: &[u8]) -> bool {
        let Some((usual, value)) = FieldRef::usual(record) else { return false };
        let field = FieldRef::read_head(record).ok().flatten().expect("a field");
        assert!(field.check_values().is_ok(), "{record:x?}");
        let parts = |field: &FieldRef<'_>| (field.name.to_vec(), field.representation.to_vec(), field.value_type, field.values.to_vec());
        assert_eq!(parts(&usual), parts(&field), "{record:x?}");
        let (first, known) = (usual.first(), field.values().next());
        assert_eq!(format!("{value:?}"), format!("{:?}", known.expect("a value")), "{record:x?}");
        let bits = |value: Option<Value<'_>>| match value {
            Some(Value::Double(number)) => format!("{:x}", number.to_bits()),
            other => format!("{other:?}"),
        };
        assert_eq!(bits(first), bits(known), "{record:x?}");
        true
    }

    #[test]
    fn what_is_read_in_the_usual_way_is_what_care_reads() {
        let records = records();
        let unusual: Vec<_> = records.iter().filter(|record| !check(record)).map(Vec::len).collect();
        // Texts of 16 KiB.
        assert_eq!(unusual.len(), 3, "{unusual:?}");
        let (mut seed, mut usual) = (0x9e37_79b9_7f4a_7c15_u64, 0);
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 11) as usize % below.max(1)
        };
        for turn in 0..200_000 {
            let mut record = records[turn % records.len()].clone();
            record.truncate(400);
            for _ in 0..=random(2) {
                let (at, byte) =
                    (random(record.len().min(16)), [0, 1, 2, 4, 8, 0x0a, 0x10, 0x1a, 0x22, 0x30, 0x39, 0x7f, 0x80, 0xff][random(14)]);
                match random(3) {
                    0 => record.insert(at, byte),
                    1 if !record.is_empty() => drop(record.remove(at)),
                    _ => {
                        if let Some(place) = record.get_mut(at) {
                            *place = byte;
                        }
                    }
                }
            }
            usual += usize::from(check(&record));
        }
        assert!(usual > 10_000, "{usual} of the changed records were still usual");
    }
}
