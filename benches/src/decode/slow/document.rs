//! A document as text: its members where they stand, what is left of it without some of them, and the index of that.

use anyhow::{Context, ensure};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{collections::BTreeSet, fmt, ops::Range};

/// The most members that an index describes.
const INDEX_MEMBERS_MAX: usize = 4096;

/// A member of an object: its key with the quotes and its value, both as they stand in the text.
#[derive(Clone, Copy)]
pub struct Member<'t> {
    key: &'t str,
    value: &'t str,
}

/// A document without its sections.
pub struct Cut {
    /// The sections by dotted name, in the order in which they were asked for.
    pub moved: Vec<(String, Vec<u8>)>,
    /// What is left.
    pub rest: String,
}

/// Takes the sections, each a member of a member, out of a document. The comma before a section goes with it, or the one behind it
/// where it was first; everything else stays as it is.
///
/// # Errors
/// A key is there twice: this has no rule for that, and no corpus has such a document.
pub fn cut(document: &str, sections: &[(&str, &str)]) -> anyhow::Result<Cut> {
    let mut moved = Vec::new();
    for (parent, name) in sections {
        let parent_value = find(document, parent)?.unwrap_or_default();
        moved.extend(find(parent_value, name)?.map(|value| (format!("{parent}.{name}"), value.as_bytes().to_vec())));
    }
    let rest = rebuild(document, |parent, value| {
        let is_section = |name: &str| sections.contains(&(parent, name));
        rebuild(value, |name, value| Ok((!is_section(name)).then(|| value.to_owned()))).map(Some)
    })?;
    Ok(Cut { moved, rest })
}

/// The index of the members at depth 1 and 2: the format 1, then as LEB128 the document's length, the number of its members, and of each
/// how far its key begins behind the value before, how long the key is, how far the value begins behind it, how long that is, and
/// the bytes of the same for the value's own members. `None` where there are too many.
///
/// # Errors
/// As [`cut`].
pub fn index(document: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let outer = members(document)?;
    let mut out = vec![1];
    leb128(document.len(), &mut out);
    leb128(outer.len(), &mut out);
    let (mut before, mut count) = (0, outer.len());
    for member in outer {
        let inner = members(member.value)?;
        let place = place(document, member.value);
        let mut described = Vec::new();
        inner.iter().fold(place.start, |before, inner| describe(document, inner, before, &mut described));
        before = describe(document, &member, before, &mut out);
        leb128(described.len(), &mut out);
        out.extend(described);
        count += inner.len();
    }
    Ok((count <= INDEX_MEMBERS_MAX).then_some(out))
}

/// Appends where a member stands behind `before`; answers where it ends.
fn describe(document: &str, member: &Member<'_>, before: usize, out: &mut Vec<u8>) -> usize {
    let (quoted, value) = (place(document, member.key), place(document, member.value));
    let key = quoted.start + 1..quoted.end - 1;
    let numbers = [key.start - before, key.len(), value.start - key.end, value.len()];
    numbers.into_iter().for_each(|number| leb128(number, out));
    value.end
}

fn leb128(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 & 0x7f | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The text of an object with the values that `keep` makes of its own; without the members that it makes none of.
fn rebuild(text: &str, keep: impl Fn(&str, &str) -> anyhow::Result<Option<String>>) -> anyhow::Result<String> {
    let members = members(text)?;
    let Some(first) = members.first() else { return Ok(text.to_owned()) };
    let mut end = place(text, first.key).start;
    let (mut out, mut has_one) = (text[..end].to_owned(), false);
    for member in &members {
        let (key, value) = (place(text, member.key), place(text, member.value));
        if let Some(kept) = keep(&member.name()?, member.value)? {
            let separator = if has_one { &text[end..key.start] } else { "" };
            out.extend([separator, &text[key.start..value.start], &kept]);
            has_one = true;
        }
        end = value.end;
    }
    Ok(out + &text[end..])
}

fn find<'t>(object: &'t str, name: &str) -> anyhow::Result<Option<&'t str>> {
    for member in members(object)? {
        if member.name()? == name {
            return Ok(Some(member.value));
        }
    }
    Ok(None)
}

/// The members of an object; none of another value.
fn members(text: &str) -> anyhow::Result<Vec<Member<'_>>> {
    if !text.trim_ascii_start().starts_with('{') {
        return Ok(Vec::new());
    }
    let Members(members) = serde_json::from_str(text).context("an object's members")?;
    let names = members.iter().map(Member::name).collect::<anyhow::Result<BTreeSet<_>>>()?;
    ensure!(names.len() == members.len(), "a key is there twice");
    Ok(members)
}

/// Where a part of a text lies in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

impl Member<'_> {
    fn name(&self) -> anyhow::Result<String> {
        serde_json::from_str(self.key).context("a key")
    }
}

struct Members<'t>(Vec<Member<'t>>);

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<Member<'de>>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push(Member { key: key.get(), value: value.get() });
                }
                Ok(members)
            }
        }
        from.deserialize_map(Object).map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_taken_out_with_one_comma() {
        let document = r#"{ "a" : {"x": 1 , "\u0079":[2], "z":3} ,"b":4, "c":{"x" :5 } }"#;
        let cut = cut(document, &[("a", "x"), ("a", "y"), ("b", "x"), ("c", "x")]).unwrap();
        assert_eq!(cut.rest, r#"{ "a" : {"z":3} ,"b":4, "c":{ } }"#);
        let moved: Vec<_> = cut.moved.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        assert_eq!(moved, [("a.x", &b"1"[..]), ("a.y", b"[2]"), ("c.x", b"5")]);
    }

    #[test]
    fn an_index_says_how_far_things_are_apart() {
        let document = r#"{"a":{"b": 1},"c":2}"#;
        assert_eq!(index(document).unwrap(), Some(vec![1, 20, 2, 2, 1, 2, 8, 4, 2, 1, 3, 1, 2, 1, 2, 1, 0]));
    }
}
