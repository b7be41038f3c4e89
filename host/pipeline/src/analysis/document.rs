//! The values of a validated message's document, wherever a decoder moved its sections: found once a message and pointer, for all
//! plugins together.
//!
//! A pointer `/environment/system/os/name` is looked for in the field `environment.system` (remaining `/os/name`), then in
//! `environment`, then in `submission`. The member index of the record (`tm-idx`) leads to the member of `submission`; absent or
//! wrong, the document is scanned. A pointer whose value is spread over fields (the whole document, a section of which parts were
//! moved, a `*` among the first two segments) is answered from the document put together again.

use crate::columns::Document;
use std::cell::{Cell, OnceCell, RefCell};
use tidemill_json::{EachMemory, EachPointer, decode_into, get, index::MemberIndex, value};
use tidemill_message::{FieldRef, MessageRef};

/// The field that holds what no decoder moved.
const SUBMISSION: &[u8] = b"submission";

/// The pointers that all plugins of a worker ask for, each once.
#[derive(Debug, Default)]
pub struct Pointers {
    all: Vec<Pointer>,
}

#[derive(Debug)]
struct Pointer {
    text: String,
    /// The names of the sections that may hold it: the dotted path of its first two segments, and of its first.
    two: Option<String>,
    one: Option<String>,
    /// What remains behind two segments, behind one.
    behind_two: String,
    behind_one: String,
    /// Its value may be spread over several fields whatever the message: the whole document, or a `*` early on.
    is_spread: bool,
    is_each: bool,
    /// The pointer, and what remains of it behind two segments and behind one; nothing where it names nothing.
    each: [Option<EachPointer>; 3],
}

impl Pointers {
    /// Whether nobody asks for a part of the document.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The place of a pointer, added where it is new.
    pub fn add(&mut self, text: &str) -> usize {
        self.all.iter().position(|known| known.text == text).unwrap_or_else(|| {
            self.all.push(Pointer::new(text));
            self.all.len() - 1
        })
    }
}

impl Pointer {
    fn new(text: &str) -> Self {
        let segments: Vec<_> = text.split('/').skip(1).collect();
        let plain = |segment: &&str| segment.replace("~1", "/").replace("~0", "~");
        let names: Vec<_> = segments.iter().take(2).map(plain).collect();
        let behind = |count: usize| segments.iter().skip(count).map(|segment| format!("/{segment}")).collect::<String>();
        let each_behind = |count: usize| EachPointer::new(&behind(count)).ok();
        Self {
            text: text.to_owned(),
            two: (names.len() == 2).then(|| names.join(".")),
            one: names.first().cloned(),
            behind_two: behind(2),
            behind_one: behind(1),
            is_spread: segments.is_empty() || segments.iter().take(2).any(|segment| *segment == "*"),
            is_each: segments.contains(&"*"),
            each: [0, 2, 1].map(each_behind),
        }
    }
}

/// Where a value was found: unknown yet, nowhere, or at these offsets of the message or of the document put together.
#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    Unknown,
    Nowhere,
    Message(u32, u32),
    Whole(u32, u32),
}

/// Memory for the places of one message after another.
#[derive(Debug, Default)]
pub struct Places {
    cells: Vec<Cell<Place>>,
    each: RefCell<EachMemory>,
}

/// The document of one message.
pub struct Located<'m> {
    pointers: &'m Pointers,
    /// The message's bytes.
    raw: &'m [u8],
    /// Its fields that hold JSON.
    parts: &'m [FieldRef<'m>],
    places: &'m Places,
    submission: Option<&'m [u8]>,
    index: Option<MemberIndex<'m>>,
    has_sections: bool,
    whole: OnceCell<Vec<u8>>,
}

impl<'m> Located<'m> {
    /// Begins a message whose fields with JSON are `parts`; `index` is the record's header `tm-idx`.
    pub fn new(
        pointers: &'m Pointers,
        message: &MessageRef<'m>,
        parts: &'m [FieldRef<'m>],
        index: Option<&'m [u8]>,
        places: &'m mut Places,
    ) -> Self {
        places.cells.resize(pointers.all.len(), Cell::default());
        places.cells.iter().for_each(|cell| cell.set(Place::Unknown));
        let (mut submission, mut has_sections) = (None, false);
        for part in parts {
            match part.name == SUBMISSION {
                true => submission = submission.or(part.bytes()),
                false => has_sections = true,
            }
        }
        let index = index.and_then(MemberIndex::parse);
        Self { pointers, raw: message.raw(), parts, places, submission, index, has_sections, whole: OnceCell::new() }
    }

    /// The same document for a plugin whose pointers have these places.
    pub fn of_plugin<'d>(&'d self, places: &'d [usize]) -> PluginDocument<'d, 'm> {
        PluginDocument { document: self, places }
    }

    fn value(&self, place: usize) -> Option<&[u8]> {
        let cell = self.places.cells.get(place)?;
        if matches!(cell.get(), Place::Unknown) {
            cell.set(self.find(&self.pointers.all[place]));
        }
        match cell.get() {
            Place::Unknown | Place::Nowhere => None,
            Place::Message(start, end) => self.raw.get(start as usize..end as usize),
            Place::Whole(start, end) => self.whole().get(start as usize..end as usize),
        }
    }

    fn find(&self, pointer: &Pointer) -> Place {
        if self.is_spread(pointer) {
            let whole = self.whole();
            return match get(whole, &pointer.text).and_then(|found| offsets(whole, found)) {
                Some((start, end)) => Place::Whole(start, end),
                None => Place::Nowhere,
            };
        }
        let found = self.find_in_section(pointer).or_else(|| self.find_in_submission(pointer));
        match found.and_then(|found| offsets(self.raw, found)) {
            Some((start, end)) => Place::Message(start, end),
            None => Place::Nowhere,
        }
    }

    /// Whether parts of the value lie in several fields of this message.
    fn is_spread(&self, pointer: &Pointer) -> bool {
        if !self.has_sections {
            return false;
        }
        let is_top = pointer.two.is_none();
        pointer.is_spread || (is_top && pointer.one.as_ref().is_some_and(|top| self.sections().any(|field| is_within(field.name, top))))
    }

    fn sections(&self) -> impl Iterator<Item = &'m FieldRef<'m>> {
        self.parts.iter().filter(|part| part.name != SUBMISSION)
    }

    fn section(&self, name: &str) -> Option<&'m [u8]> {
        self.sections().find(|field| field.name == name.as_bytes()).and_then(|field| field.bytes())
    }

    fn find_in_section(&self, pointer: &Pointer) -> Option<&'m [u8]> {
        if !self.has_sections {
            return None;
        }
        if let Some(section) = pointer.two.as_ref().and_then(|name| self.section(name)) {
            return get(section, &pointer.behind_two);
        }
        let section = pointer.one.as_ref().and_then(|name| self.section(name))?;
        get(section, &pointer.behind_one)
    }

    fn find_in_submission(&self, pointer: &Pointer) -> Option<&'m [u8]> {
        let document = self.submission?;
        let indexed = self.index.as_ref().and_then(|index| index.find(document, &pointer.text));
        match indexed.and_then(|span| document.get(span.start as usize..span.end as usize)) {
            // An index knows two segments; where the pointer has only one it found the member itself.
            Some(member) if pointer.two.is_some() => get(member, &pointer.behind_two),
            Some(member) => get(member, &pointer.behind_one),
            None => get(document, &pointer.text),
        }
    }

    /// The document put together again.
    fn whole(&self) -> &[u8] {
        self.whole.get_or_init(|| {
            let sections: Vec<_> = self.sections().filter_map(|field| Some((field.name, field.bytes()?))).collect();
            assemble(self.submission.unwrap_or(b"{}"), &sections)
        })
    }

    /// The part of the document that has all values of a pointer with `*`, and what of the pointer remains there.
    fn each(&self, place: usize) -> Option<(&[u8], &EachPointer)> {
        let pointer = self.pointers.all.get(place)?;
        let [whole, behind_two, behind_one] = &pointer.each;
        let (part, pointer) = if self.is_spread(pointer) {
            (self.whole(), whole)
        } else if let Some(section) = pointer.two.as_ref().and_then(|name| self.section(name)) {
            (section, behind_two)
        } else if let Some(section) = pointer.one.as_ref().and_then(|name| self.section(name)) {
            (section, behind_one)
        } else {
            (self.submission.unwrap_or_default(), whole)
        };
        Some((part, pointer.as_ref()?))
    }
}

/// A section's name that lies within the top-level member `top`.
fn is_within(name: &[u8], top: &str) -> bool {
    name.strip_prefix(top.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'.'))
}

/// Where a part of `bytes` lies in them.
fn offsets(bytes: &[u8], part: &[u8]) -> Option<(u32, u32)> {
    let start = (part.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    let end = start + part.len();
    (end <= bytes.len()).then_some((start as u32, end as u32))
}

/// A document out of what is left of it and the sections that were moved out, by their dotted names. A section of two segments
/// goes back into its top-level member, which is made where nothing is left of it.
fn assemble(rest: &[u8], sections: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len() + sections.iter().map(|(name, json)| name.len() + json.len() + 8).sum::<usize>());
    let mut done = vec![false; sections.len()];
    out.push(b'{');
    let mut key = Vec::new();
    for (inside, json) in value::entries(rest) {
        key.clear();
        decode_into(inside, &mut key);
        member(&mut out, inside, |out| {
            let parts = mark_parts(sections, &key, &mut done);
            if parts.is_empty() || json.first() != Some(&b'{') { out.extend_from_slice(json) } else { extend(out, json, &parts) }
        });
    }
    for place in 0..sections.len() {
        if std::mem::replace(&mut done[place], true) {
            continue;
        }
        let (name, json) = sections[place];
        match name.iter().position(|byte| *byte == b'.') {
            None => member(&mut out, &escaped(name), |out| out.extend_from_slice(json)),
            Some(dot) => {
                done[place] = false;
                let parts = mark_parts(sections, &name[..dot], &mut done);
                member(&mut out, &escaped(&name[..dot]), |out| extend(out, b"{}", &parts));
            }
        }
    }
    out.push(b'}');
    out
}

/// The sections within a top-level member, by the rest of their names; they are done then.
fn mark_parts<'s>(sections: &[(&'s [u8], &'s [u8])], top: &[u8], done: &mut [bool]) -> Vec<(&'s [u8], &'s [u8])> {
    let mut parts = Vec::new();
    for ((name, json), done) in sections.iter().zip(done) {
        if let Some(inner) = name.strip_prefix(top).and_then(|rest| rest.strip_prefix(b".")).filter(|_| !*done) {
            parts.push((inner, *json));
            *done = true;
        }
    }
    parts
}

/// An object with more members.
fn extend(out: &mut Vec<u8>, object: &[u8], parts: &[(&[u8], &[u8])]) {
    out.push(b'{');
    value::entries(object).for_each(|(inside, json)| member(out, inside, |out| out.extend_from_slice(json)));
    parts.iter().for_each(|(name, json)| member(out, &escaped(name), |out| out.extend_from_slice(json)));
    out.push(b'}');
}

fn member(out: &mut Vec<u8>, inside: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(inside);
    out.extend_from_slice(b"\":");
    write(out);
}

/// A name as it stands inside the quotes of a key.
fn escaped(name: &[u8]) -> Vec<u8> {
    let text = serde_json::to_string(&String::from_utf8_lossy(name)).unwrap_or_default();
    text.as_bytes().get(1..text.len().saturating_sub(1)).unwrap_or_default().to_vec()
}

/// A document as one plugin's column plan numbers its pointers.
pub struct PluginDocument<'d, 'm> {
    document: &'d Located<'m>,
    places: &'d [usize],
}

impl Document for PluginDocument<'_, '_> {
    fn value(&self, pointer: usize) -> Option<&[u8]> {
        let place = *self.places.get(pointer)?;
        if self.document.pointers.all.get(place)?.is_each { None } else { self.document.value(place) }
    }

    fn each(&self, pointer: usize, act: &mut dyn FnMut(&[u8])) {
        if let Some((part, pointer)) = self.places.get(pointer).and_then(|place| self.document.each(*place)) {
            pointer.values(part, &mut self.document.places.each.borrow_mut(), act);
        }
    }

    fn each_int64(&self, pointer: usize, out: &mut Vec<[u8; 8]>) {
        if let Some((part, pointer)) = self.places.get(pointer).and_then(|place| self.document.each(*place)) {
            pointer.int64s(part, &mut self.document.places.each.borrow_mut(), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_message::{FieldNames, FoundFields, MessageWriter};

    const DOCUMENT: &str = r#"{"a": {"b": {"c": 1}, "d": [{"e": 2}, {"e": 3}]}, "f": "g", "h/i": {"~": 4}}"#;

    fn message(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = MessageWriter::new(&mut bytes, &[7; 16], 1);
        writer.type_(b"validated").field_string("docType", b"main").field_string("a", b"not a section");
        for (name, json) in fields {
            writer.field_bytes(name, "json", json.as_bytes()).field_string("x", b"y");
        }
        bytes
    }

    #[track_caller]
    fn check(fields: &[(&str, &str)], pointer: &str, expected: Option<&str>) {
        let bytes = message(fields);
        let mut pointers = Pointers::default();
        pointers.add("/never/asked");
        let place = pointers.add(pointer);
        let (mut places, mut fields) = (Places::default(), FoundFields::default());
        let message = MessageRef::parse_with(&bytes, &FieldNames::default(), &mut fields).unwrap();
        let located = Located::new(&pointers, &message, fields.json(), Some(b"\x01broken index"), &mut places);
        let document = located.of_plugin(std::slice::from_ref(&place));
        for turn in 0..2 {
            let found = document.value(0).map(String::from_utf8_lossy);
            assert_eq!(found.as_deref(), expected, "{pointer} of {fields:?}, turn {turn}");
        }
    }

    #[track_caller]
    fn check_each(fields: &[(&str, &str)], pointer: &str, expected: &[&str]) {
        let bytes = message(fields);
        let mut pointers = Pointers::default();
        let place = pointers.add(pointer);
        let (mut places, mut fields) = (Places::default(), FoundFields::default());
        let message = MessageRef::parse_with(&bytes, &FieldNames::default(), &mut fields).unwrap();
        let located = Located::new(&pointers, &message, fields.json(), None, &mut places);
        let mut found = Vec::new();
        located.of_plugin(&[place]).each(0, &mut |value| found.push(String::from_utf8_lossy(value).into_owned()));
        assert_eq!(found, expected, "{pointer} of {fields:?}");
        let mut numbers = Vec::new();
        located.of_plugin(&[place]).each_int64(0, &mut numbers);
        let expected: Vec<_> = expected.iter().map(|value| value::as_i64(value.as_bytes()).unwrap_or_default().to_le_bytes()).collect();
        assert_eq!(numbers, expected, "{pointer} of {fields:?}");
    }

    #[test]
    fn values_are_found_wherever_their_section_is() {
        let split: [&[(&str, &str)]; 4] = [
            &[("submission", DOCUMENT)],
            &[("a", r#"{"b": {"c": 1}, "d": [{"e": 2}, {"e": 3}]}"#), ("submission", r#"{"f": "g", "h/i": {"~": 4}}"#)],
            &[("submission", r#"{"a": {"d": [{"e": 2}, {"e": 3}]}, "f": "g"}"#), ("a.b", r#"{"c": 1}"#), ("h/i", r#"{"~": 4}"#)],
            &[("a.b", r#"{"c": 1}"#), ("a.d", r#"[{"e": 2}, {"e": 3}]"#), ("f", r#""g""#), ("h/i.~", "4"), ("submission", "{}")],
        ];
        for fields in split {
            check(fields, "/a/b/c", Some("1"));
            check(fields, "/a/b", Some(r#"{"c": 1}"#));
            check(fields, "/a/d/1/e", Some("3"));
            check(fields, "/f", Some("\"g\""));
            check(fields, "/h~1i/~0", Some("4"));
            check(fields, "/a/x", None);
            check(fields, "/docType", None);
            check_each(fields, "/a/d/*/e", &["2", "3"]);
            check_each(fields, "/a/b/*", &["1"]);
        }
        check_each(split[0], "/*/b/c", &["1"]);
        check_each(split[2], "/*/b/c", &["1"]);
        check_each(split[3], "/a/*/c", &["1"]);
    }

    #[test]
    fn a_spread_value_is_put_together() {
        check(&[("submission", DOCUMENT)], "", Some(DOCUMENT));
        let fields = [("submission", r#"{"a": {"d": []}, "f": 1}"#), ("a.b", "2"), ("k.l", "3"), ("k.m", "4"), ("n", "5")];
        check(&fields, "", Some(r#"{"a":{"d":[],"b":2},"f":1,"k":{"l":3,"m":4},"n":5}"#));
        check(&fields, "/a", Some(r#"{"d":[],"b":2}"#));
        check(&fields, "/k", Some(r#"{"l":3,"m":4}"#));
        check(&[], "/a/b", None);
        check(&[], "", None);
    }
}
