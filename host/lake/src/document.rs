//! Puts a document together again: the sections that a decoder moved into fields of their own go back to their dotted path.

use std::collections::BTreeMap;
use tidemill_json::{text_equals, value};
use tidemill_message::{FieldRef, MessageRef};

/// The field that holds the document, or what decoders left of it.
const DOCUMENT_FIELD: &[u8] = b"submission";
/// The representation of documents and sections.
const JSON: &[u8] = b"json";
/// Steps of a dotted path; a name with more dots is one key.
const DEPTH_MAX: usize = 16;

/// A section, or the sections below one key.
enum Section<'a> {
    Value(&'a [u8]),
    Members(Sections<'a>),
}

type Sections<'a> = BTreeMap<&'a str, Section<'a>>;

/// The document of `message`, in `buffer` where it had to be put together; `None` where it has none. `is_key` tells whether the
/// documents have a top-level property of that name, so that a name with a dot is not taken for a path.
pub(crate) fn assemble<'a>(message: &MessageRef<'a>, is_key: impl Fn(&str) -> bool, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let mut base = None;
    let mut sections = Sections::new();
    for field in message.fields().filter(|field| field.representation == JSON) {
        match (field.name == DOCUMENT_FIELD, field.bytes()) {
            (true, found) => base = base.or(found),
            (false, Some(found)) => add(&field, found, &is_key, &mut sections),
            (false, None) => {}
        }
    }
    let is_object = |base: &[u8]| base.trim_ascii_start().first() == Some(&b'{');
    if sections.is_empty() || !base.is_none_or(is_object) {
        return base;
    }
    buffer.clear();
    write_merged(base.unwrap_or(b"{}"), &sections, buffer);
    Some(buffer)
}

fn add<'a>(field: &FieldRef<'a>, found: &'a [u8], is_key: &impl Fn(&str) -> bool, sections: &mut Sections<'a>) {
    let Ok(name) = std::str::from_utf8(field.name) else { return };
    if is_key(name) || name.split('.').count() > DEPTH_MAX {
        sections.insert(name, Section::Value(found));
        return;
    }
    let mut place = sections;
    let mut rest = name;
    while let Some((key, below)) = rest.split_once('.') {
        match place.entry(key).or_insert_with(|| Section::Members(Sections::new())) {
            Section::Members(members) => place = members,
            // The section above was moved as a whole; what lies below comes from elsewhere and has no place.
            Section::Value(_) => return,
        }
        rest = below;
    }
    place.insert(rest, Section::Value(found));
}

/// Writes the object `base` with the sections in their places; a section takes the place of a member of its name.
fn write_merged(base: &[u8], sections: &Sections<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    let start = out.len();
    let mut merged: Vec<&str> = Vec::new();
    for (key, member) in value::entries(base.trim_ascii()) {
        match sections.iter().find(|(name, _)| text_equals(key, name.as_bytes())) {
            None => write_member(key, start, out, |out| out.extend_from_slice(member)),
            Some((name, Section::Members(below))) if member.first() == Some(&b'{') => {
                write_member(key, start, out, |out| write_merged(member, below, out));
                merged.push(name);
            }
            Some(_) => {}
        }
    }
    for (name, section) in sections.iter().filter(|(name, _)| !merged.contains(name)) {
        write_member(&escaped(name), start, out, |out| match section {
            Section::Value(found) => out.extend_from_slice(found),
            Section::Members(below) => write_merged(b"{}", below, out),
        });
    }
    out.push(b'}');
}

fn write_member(key: &[u8], start: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if out.len() > start {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(key);
    out.extend_from_slice(b"\":");
    write(out);
}

/// The name as it stands between quotes.
fn escaped(name: &str) -> Vec<u8> {
    let quoted = serde_json::Value::from(name).to_string();
    quoted.as_bytes()[1..quoted.len() - 1].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_message::MessageWriter;

    fn check(fields: &[(&str, &str)], expected: Option<&str>) {
        let mut bytes = Vec::new();
        let mut writer = MessageWriter::new(&mut bytes, &[0; 16], 0);
        for (name, json) in fields {
            writer.field_bytes(name, "json", json.as_bytes());
        }
        writer.field_string("environment.text", b"{}");
        let message = MessageRef::parse(&bytes).expect("a message");
        let mut buffer = Vec::new();
        let document = assemble(&message, |name| name == "dotted.key", &mut buffer);
        assert_eq!(document.map(String::from_utf8_lossy).as_deref(), expected, "{fields:?}");
    }

    #[test]
    fn sections_go_back_to_their_places() {
        check(&[], None);
        check(&[("submission", r#" {"a": 1}"#)], Some(r#" {"a": 1}"#));
        check(&[("submission", "[1]"), ("a", "2")], Some("[1]"));
        check(&[("a.b", "2")], Some(r#"{"a":{"b":2}}"#));
        check(
            &[("submission", r#"{"x":1,"environment":{"y":2},"z":"s"}"#), ("environment.system", r#"{"os":1}"#), ("payload", "[3]")],
            Some(r#"{"x":1,"environment":{"y":2,"system":{"os":1}},"z":"s","payload":[3]}"#),
        );
        check(&[("submission", r#"{"a":1,"a":{}}"#), ("a.b", "2"), ("dotted.key", "3")], Some(r#"{"a":{"b":2},"dotted.key":3}"#));
        check(&[("submission", r#"{"a":1}"#), ("a", "2"), ("a.b", "3"), ("q\"", "4")], Some(r#"{"a":2,"q\"":4}"#));
    }
}
