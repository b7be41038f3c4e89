//! Fields of messages as prost's structs.

use tidemill_message::proto::{Field, Message, ValueType};

pub fn string(name: &str, value: &str) -> Field {
    Field { name: name.to_owned(), value_string: vec![value.to_owned()], ..Field::default() }
}

pub fn json_bytes(name: &str, value: &[u8]) -> Field {
    let representation = Some("json".to_owned());
    Field { representation, value_bytes: vec![value.to_vec()], ..typed(name, ValueType::Bytes) }
}

pub fn integer(name: &str, value: i64) -> Field {
    Field { value_integer: vec![value], ..typed(name, ValueType::Integer) }
}

pub fn integer_in(name: &str, unit: &str, value: i64) -> Field {
    Field { representation: Some(unit.to_owned()), ..integer(name, value) }
}

pub fn boolean(name: &str, value: bool) -> Field {
    Field { value_bool: vec![value], ..typed(name, ValueType::Bool) }
}

fn typed(name: &str, value_type: ValueType) -> Field {
    Field { name: name.to_owned(), value_type: Some(value_type.into()), ..Field::default() }
}

/// The first field of that name.
pub fn find<'m>(message: &'m Message, name: &str) -> Option<&'m Field> {
    message.fields.iter().find(|field| field.name == name)
}

/// Its text.
pub fn text<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    find(message, name)?.value_string.first().map(String::as_str)
}
