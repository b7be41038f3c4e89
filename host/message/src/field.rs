//! A field of a message, borrowed.

use crate::error::{Fault, Problem};
use crate::proto::{ValueType, field_tag};
use crate::wire::{BYTES, Content, Element, key, read_element, read_varint};

const NAME_KEY: u8 = key(field_tag::NAME, BYTES);

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
        match self.values().next()? {
            Value::String(bytes) | Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The first value, if it is an integer.
    pub fn integer(&self) -> Option<i64> {
        match self.values().next()? {
            Value::Integer(integer) => Some(integer),
            _ => None,
        }
    }

    /// The first value, if it is a double, or an integer, which is converted.
    pub fn double(&self) -> Option<f64> {
        match self.values().next()? {
            Value::Double(double) => Some(double),
            Value::Integer(integer) => Some(integer as f64),
            _ => None,
        }
    }

    /// The first value, if it is a bool.
    pub fn boolean(&self) -> Option<bool> {
        match self.values().next()? {
            Value::Bool(bool) => Some(bool),
            _ => None,
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
