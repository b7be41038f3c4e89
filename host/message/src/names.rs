//! Fields by name, found while a message is read.

use crate::field::{FieldHead, FieldRef, Value};
use crate::reader::field_of;

/// Names of fields that several readers of the same messages ask for: [`MessageRef::parse_with`](crate::MessageRef::parse_with)
/// finds the first field of each in the walk that checks the message, so that nobody has to walk again.
#[derive(Clone, Debug, Default)]
pub struct FieldNames {
    /// A bit for each [`bucket`] that a name falls into: most fields of a message are told apart by it.
    buckets: u64,
    /// [`summary`] of each name, in the order of `names`.
    summaries: Vec<u32>,
    names: Vec<Box<[u8]>>,
    /// Tells lists of names apart.
    fingerprint: u64,
}

impl FieldNames {
    /// The place of a name, added where it is new.
    pub fn add(&mut self, name: &[u8]) -> usize {
        let summary = summary(name);
        self.place_of(summary, name).unwrap_or_else(|| {
            self.buckets |= bucket(summary);
            self.summaries.push(summary);
            self.fingerprint = name.iter().fold(self.fingerprint.wrapping_add(u64::from(summary) + 1), |mixed, byte| {
                (mixed ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
            });
            self.names.push(name.into());
            self.names.len() - 1
        })
    }

    /// The name at a place, empty where there is none.
    pub(crate) fn name(&self, place: usize) -> &[u8] {
        self.names.get(place).map_or(&[], |name| name)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The place of a name; `None` where nobody asked for it.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        let summary = summary(name);
        if self.buckets & bucket(summary) == 0 {
            return None;
        }
        self.place_of(summary, name)
    }

    #[inline]
    fn place_of(&self, summary: u32, name: &[u8]) -> Option<usize> {
        let same = |(place, known): (usize, &u32)| (*known == summary && *self.names[place] == *name).then_some(place);
        self.summaries.iter().enumerate().find_map(same)
    }
}

/// The fields that one message has of some [`FieldNames`], and those that hold JSON; and memory for those of the next.
#[derive(Clone, Debug, Default)]
pub struct FoundFields<'m> {
    /// Those of earlier messages remain in their places.
    fields: Vec<Kept<'m>>,
    /// The number of the message, from 1.
    message: u64,
    json: Vec<FieldRef<'m>>,
    /// How many fields the message had so far.
    met: usize,
    /// How the fields of earlier messages began, in the order of the message, and of which names that is known.
    alike: Vec<Option<Alike>>,
    /// How many began otherwise.
    unlike: u32,
    fingerprint: u64,
}

/// A field of a message as [`FoundFields`] has it: nobody needs more of most.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoundField<'m> {
    /// Its first value, as [`FieldRef::first`] gives it.
    pub first: Option<Value<'m>>,
    /// Whether its representation is `json`.
    pub is_json: bool,
    record: &'m [u8],
}

impl<'m> FoundField<'m> {
    /// The whole field, read again.
    pub fn field(&self) -> Option<FieldRef<'m>> {
        field_of(self.record)
    }
}

impl<'m> From<FieldRef<'m>> for FoundField<'m> {
    fn from(field: FieldRef<'m>) -> Self {
        Self { first: field.first(), is_json: field.representation == JSON, record: field.raw() }
    }
}

/// A field, and the number of the message that it is of.
#[derive(Clone, Copy, Debug, Default)]
struct Kept<'m> {
    message: u64,
    field: FoundField<'m>,
}

/// How a field began, and what is known of all that begin so.
#[derive(Clone, Debug)]
struct Alike {
    head: FieldHead,
    place: Option<usize>,
    is_json: bool,
}

/// Fields of a message that may be remembered.
const ALIKE_MAX: usize = 64;
/// Of fields that begin otherwise than known one in so many is remembered instead: remembering costs more than reading.
const REMEMBERED: u32 = 16;

/// The representation of a field that holds JSON.
const JSON: &[u8] = b"json";

impl<'m> FoundFields<'m> {
    /// The first field of the name at this place.
    #[inline]
    pub fn get(&self, place: usize) -> Option<&FoundField<'m>> {
        self.fields.get(place).filter(|kept| kept.message == self.message).map(|kept| &kept.field)
    }

    /// All fields whose representation is `json`, in the order of the message.
    #[inline]
    pub fn json(&self) -> &[FieldRef<'m>] {
        &self.json
    }

    /// A message begins.
    pub(crate) fn begin(&mut self, names: &FieldNames) {
        self.message += 1;
        self.json.clear();
        self.met = 0;
        if self.fingerprint != names.fingerprint || self.fields.len() != names.len() {
            self.fingerprint = names.fingerprint;
            self.alike.clear();
            self.fields.clear();
            self.fields.resize(names.len(), Kept::default());
        }
    }

    /// The next field of the message, if it begins as that of the message before did.
    #[inline(always)]
    pub(crate) fn meet_alike(&mut self, record: &'m [u8]) -> bool {
        let Some(Some(alike)) = self.alike.get(self.met) else { return false };
        let Some(value) = alike.head.read(record) else { return false };
        let (place, is_json) = (alike.place, alike.is_json);
        if is_json {
            self.json.extend(alike.head.field(record));
        }
        self.keep(FoundField { first: Some(value), is_json, record }, place);
        true
    }

    /// The next field of the message, as it was read with care.
    #[inline(never)]
    pub(crate) fn meet(&mut self, names: &FieldNames, field: FieldRef<'m>, first: Option<Value<'m>>) {
        let (place, is_json) = (names.find(field.name), field.representation == JSON);
        self.unlike = self.unlike.wrapping_add(1);
        if self.met < ALIKE_MAX && (self.alike.len() <= self.met || self.unlike.is_multiple_of(REMEMBERED)) {
            if self.alike.len() <= self.met {
                self.alike.resize(self.met + 1, None);
            }
            self.alike[self.met] = FieldHead::of(&field).map(|head| Alike { head, place, is_json });
        }
        if is_json {
            self.json.push(field);
        }
        self.keep(FoundField { first, is_json, record: field.raw() }, place);
    }

    #[inline(always)]
    fn keep(&mut self, field: FoundField<'m>, place: Option<usize>) {
        self.met += 1;
        if let Some(place) = place
            && let Some(kept) = self.fields.get_mut(place)
            && kept.message != self.message
        {
            *kept = Kept { message: self.message, field };
        }
    }
}

/// Length, first and last byte of a name: equal names have equal summaries.
#[inline]
fn summary(name: &[u8]) -> u32 {
    let first = name.first().copied().unwrap_or_default();
    let last = name.last().copied().unwrap_or_default();
    (name.len() as u32 & 0xffff) << 16 | u32::from(first) << 8 | u32::from(last)
}

/// One of 64 bits.
#[inline]
fn bucket(summary: u32) -> u64 {
    1 << (summary.wrapping_mul(0x9e37_79b1) >> 26)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MessageRef, MessageWriter};

    #[test]
    fn the_first_field_of_each_name_is_found_while_a_message_is_read() {
        let mut names = FieldNames::default();
        let [a, ab, none, empty] = [&b"a"[..], b"a-b", b"none", b""].map(|name| names.add(name));
        assert_eq!((names.add(b"a-b"), names.len()), (ab, 4));
        let message_of = |number| {
            let mut bytes = Vec::new();
            let mut writer = MessageWriter::new(&mut bytes, &[7; 16], 1);
            // A name with the same ends and length, and a second field of a name.
            writer.field_string("axb", b"x").field_integer("a", "", number).field_string("a-b", b"first").field_string("a-b", b"second");
            for part in &[b"{}", b"[]"][..number as usize] {
                writer.field_bytes("part", "json", *part);
            }
            if number == 2 {
                writer.field_bool("", true);
            }
            bytes
        };
        let messages = [0, 1, 2].map(message_of);
        let mut found = FoundFields::default();
        for (number, bytes) in (0..).zip(&messages) {
            let message = MessageRef::parse_with(bytes, &names, &mut found).unwrap();
            assert_eq!(message.fields().count(), [4, 5, 7][number as usize]);
            assert_eq!(found.get(a).and_then(|field| field.field()?.integer()), Some(number));
            assert_eq!(found.get(ab).and_then(|field| field.field()?.bytes()), Some(&b"first"[..]));
            assert!(found.get(none).is_none() && found.get(99).is_none());
            assert_eq!(found.get(empty).is_some(), number == 2);
            let json: Vec<_> = found.json().iter().map(|field| (field.name, field.bytes())).collect();
            assert_eq!(json, [(&b"part"[..], Some(&b"{}"[..])), (b"part", Some(b"[]"))][..number as usize]);
        }
    }

    #[test]
    fn fields_that_begin_alike_are_found_as_those_that_do_not() {
        let mut names = FieldNames::default();
        for name in ["text", "number", "double", "flag", "json", ""] {
            names.add(name.as_bytes());
        }
        let message_of = |number: i64| {
            let mut bytes = Vec::new();
            let mut writer = MessageWriter::new(&mut bytes, &[7; 16], number << 40);
            let text = "x".repeat(number as usize * 13 % 200);
            // Every third message leaves a field out, so that those behind it begin otherwise.
            if number % 3 != 0 {
                writer.field_string("text", text.as_bytes());
            }
            writer.field_integer("number", "ms", number << (number % 60)).field_double("double", "", number as f64 / 7.0);
            writer.field_bytes("json", if number % 5 == 0 { "text" } else { "json" }, text.as_bytes());
            writer.field_integers("number", "", &[1, 2]).field_string("a name that is longer than what is remembered", b"");
            writer.field_bool("flag", number % 2 == 0).field_string("", b"");
            bytes
        };
        let mut messages: Vec<_> = (0..200).map(message_of).collect();
        // Bytes that are changed anywhere, also where what is remembered begins.
        for turn in 0..2_000 {
            let mut bytes = message_of(turn % 200);
            let (at, byte) = (turn as usize * 7_919 % bytes.len(), [0, 1, 2, 8, 0x52, 0x80, 0xff][turn as usize % 7]);
            bytes[at] = byte;
            messages.push(bytes);
        }
        let mut found = FoundFields::default();
        let parts = |field: &FieldRef<'_>| (field.raw().to_vec(), field.name.to_vec(), field.representation.to_vec(), field.value_type());
        for bytes in &messages {
            let message = MessageRef::parse_with(bytes, &names, &mut found).map_err(|error| error.to_string());
            assert_eq!(message.is_ok(), MessageRef::parse(bytes).is_ok());
            let Ok(message) = message else { continue };
            for place in 0..names.len() {
                let first = message.fields_named(&names.names[place]).next();
                assert_eq!(found.get(place).and_then(FoundField::field).as_ref().map(parts), first.as_ref().map(parts));
                assert_eq!(
                    found.get(place).map(|field| format!("{:?}", field.first)),
                    first.map(|field| format!("{:?}", field.values().next()))
                );
                let is_json = message.fields_named(&names.names[place]).next().map(|field| field.representation == JSON);
                assert_eq!(found.get(place).map(|field| field.is_json), is_json);
            }
            let json: Vec<_> = message.fields().filter(|field| field.representation == JSON).map(|field| parts(&field)).collect();
            assert_eq!(found.json().iter().map(parts).collect::<Vec<_>>(), json);
        }
        let mut others = FieldNames::default();
        others.add(b"flag");
        MessageRef::parse_with(&messages[1], &others, &mut found).unwrap();
        assert_eq!(
            found.get(0).and_then(FoundField::field).map(|field| field.name),
            Some(&b"flag"[..]),
            "what is remembered is of other names"
        );
    }

    #[test]
    fn the_first_of_many_packed_values_is_the_first() {
        let mut bytes = Vec::new();
        let mut writer = MessageWriter::new(&mut bytes, &[7; 16], 1);
        writer.field_doubles("doubles", "", &[2.5; 40]).field_integers("integers", "", &[77; 200]);
        let message = MessageRef::parse(&bytes).unwrap();
        assert_eq!(message.field("doubles").and_then(|field| field.double()), Some(2.5));
        assert_eq!(message.field("integers").and_then(|field| field.integer()), Some(77));
    }

    #[test]
    fn a_message_that_is_none_is_refused_all_the_same() {
        let mut bytes = Vec::new();
        MessageWriter::new(&mut bytes, &[7; 16], 1).field_string("a", b"x");
        let mut names = FieldNames::default();
        names.add(b"a");
        for end in 0..bytes.len() {
            let expected = MessageRef::parse(&bytes[..end]).map(drop);
            assert_eq!(MessageRef::parse_with(&bytes[..end], &names, &mut FoundFields::default()).map(drop), expected, "cut at {end}");
        }
    }
}
