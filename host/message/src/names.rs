//! Fields by name, found while a message is read.

use crate::field::FieldRef;

/// Names of fields that several readers of the same messages ask for: [`MessageRef::parse_with`](crate::MessageRef::parse_with)
/// finds the first field of each in the walk that checks the message, so that nobody has to walk again.
#[derive(Clone, Debug, Default)]
pub struct FieldNames {
    /// A bit for each [`bucket`] that a name falls into: most fields of a message are told apart by it.
    buckets: u64,
    /// [`summary`] of each name, in the order of `names`.
    summaries: Vec<u32>,
    names: Vec<Box<[u8]>>,
}

impl FieldNames {
    /// The place of a name, added where it is new.
    pub fn add(&mut self, name: &[u8]) -> usize {
        let summary = summary(name);
        self.place_of(summary, name).unwrap_or_else(|| {
            self.buckets |= bucket(summary);
            self.summaries.push(summary);
            self.names.push(name.into());
            self.names.len() - 1
        })
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
    fields: Vec<Option<FieldRef<'m>>>,
    json: Vec<FieldRef<'m>>,
}

/// The representation of a field that holds JSON.
const JSON: &[u8] = b"json";

impl<'m> FoundFields<'m> {
    /// The first field of the name at this place.
    #[inline]
    pub fn get(&self, place: usize) -> Option<&FieldRef<'m>> {
        self.fields.get(place)?.as_ref()
    }

    /// All fields whose representation is `json`, in the order of the message.
    #[inline]
    pub fn json(&self) -> &[FieldRef<'m>] {
        &self.json
    }

    /// A message begins.
    pub(crate) fn begin(&mut self, names: &FieldNames) {
        self.fields.clear();
        self.json.clear();
        self.fields.resize(names.len(), None);
    }

    /// A field of the message.
    #[inline]
    pub(crate) fn meet(&mut self, names: &FieldNames, field: FieldRef<'m>) {
        if field.representation == JSON {
            self.json.push(field);
        }
        if let Some(place) = names.find(field.name)
            && let Some(first @ None) = self.fields.get_mut(place)
        {
            *first = Some(field);
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
            assert_eq!(found.get(a).and_then(FieldRef::integer), Some(number));
            assert_eq!(found.get(ab).and_then(FieldRef::bytes), Some(&b"first"[..]));
            assert!(found.get(none).is_none() && found.get(99).is_none());
            assert_eq!(found.get(empty).is_some(), number == 2);
            let json: Vec<_> = found.json().iter().map(|field| (field.name, field.bytes())).collect();
            assert_eq!(json, [(&b"part"[..], Some(&b"{}"[..])), (b"part", Some(b"[]"))][..number as usize]);
        }
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
