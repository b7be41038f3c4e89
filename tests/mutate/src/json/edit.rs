//! One change of a document.

use std::ops::Range;

use super::scan::{Kind, Place, scan};
use super::{TOKENS, WRONG_TOKENS};
use crate::Random;

/// The bytes `at` become `with`.
pub(super) struct Edit {
    pub at: Range<usize>,
    pub with: Vec<u8>,
}

/// Looks for something to change.
pub(super) struct Editor<'e> {
    text: &'e [u8],
    places: Vec<Place>,
    other: &'e [u8],
    words: &'e [Vec<u8>],
    random: &'e mut Random,
}

impl<'e> Editor<'e> {
    pub fn new(text: &'e [u8], other: &'e [u8], words: &'e [Vec<u8>], random: &'e mut Random) -> Self {
        Self { text, places: scan(text), other, words, random }
    }

    pub fn edit(&mut self) -> Edit {
        let Some(place) = self.random.pick(&self.places).cloned() else {
            return Edit { at: 0..self.text.len(), with: self.token() };
        };
        match self.random.below(16) {
            0 => self.replace(&place, Self::token),
            1 | 2 => self.replace(&place, Self::word),
            3 => self.replace(&place, Self::foreign),
            4 | 5 => self.respell(&place),
            6 | 7 => self.remove(&place),
            8 => self.duplicate(&place),
            9 => self.escape_key(&place),
            10 => self.rename(&place),
            11 => self.swap(&place),
            12 => self.nest(&place),
            13 => self.add(&place),
            14 => self.blank(&place),
            _ => self.grow(&place),
        }
    }

    fn bytes(&self, range: Range<usize>) -> Vec<u8> {
        self.text[range].to_vec()
    }

    fn replace(&mut self, place: &Place, by: fn(&mut Self) -> Vec<u8>) -> Edit {
        Edit { at: place.value.clone(), with: by(self) }
    }

    fn token(&mut self) -> Vec<u8> {
        let tokens: &[&str] = if self.random.once_in(20) { &WRONG_TOKENS } else { &TOKENS };
        self.random.pick(tokens).map_or_else(Vec::new, |token| token.as_bytes().to_vec())
    }

    /// A value that the schema speaks of.
    fn word(&mut self) -> Vec<u8> {
        self.random.pick(self.words).cloned().unwrap_or_else(|| self.token())
    }

    /// A value of the other document, or another one of this.
    fn foreign(&mut self) -> Vec<u8> {
        let own = self.random.once_in(2);
        let (text, places) = if own { (self.text, self.places.clone()) } else { (self.other, scan(self.other)) };
        self.random.pick(&places).map_or_else(|| self.token(), |place| text[place.value.clone()].to_vec())
    }

    /// A key with its quotes: of the schema, of this document or of the other one.
    fn key(&mut self) -> Vec<u8> {
        let foreign = if self.random.once_in(2) { self.word() } else { self.foreign_key() };
        if foreign.first() == Some(&b'"') { foreign } else { b"\"key\"".to_vec() }
    }

    fn foreign_key(&mut self) -> Vec<u8> {
        let places = scan(self.other);
        let keys: Vec<_> = places.iter().filter_map(|place| place.key.clone()).collect();
        self.random.pick(&keys).map_or_else(Vec::new, |key| self.other[key.clone()].to_vec())
    }

    /// The same kind of value, written or valued a little differently.
    fn respell(&mut self, place: &Place) -> Edit {
        let text = self.bytes(place.value.clone());
        let with = match place.kind {
            Kind::Number => self.number(&text),
            Kind::Text => self.string(text),
            Kind::Literal => [&b"true"[..], b"false", b"null"][self.random.below(3)].to_vec(),
            Kind::Array => b"[]".to_vec(),
            Kind::Object => b"{}".to_vec(),
        };
        Edit { at: place.value.clone(), with }
    }

    fn number(&mut self, text: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(text).into_owned();
        let is_whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let value: i128 = text.parse().unwrap_or(7);
        match self.random.below(9) {
            0 => (value - 1).to_string(),
            1 => (value + 1).to_string(),
            2 if is_whole => format!("{text}.0"),
            3 if is_whole => format!("{text}.5"),
            4 if is_whole => format!("{text}e0"),
            5 if is_whole => format!("{text}000000000000"),
            6 => text.strip_prefix('-').map_or(format!("-{text}"), str::to_owned),
            7 if is_whole => format!("{text}0e-1"),
            _ => format!("{text}{}", self.random.below(10)),
        }
        .into_bytes()
    }

    /// Inside the quotes: an escape for a character, a character more, fewer or another, or many.
    fn string(&mut self, mut text: Vec<u8>) -> Vec<u8> {
        const PIECES: [&str; 12] =
            ["é", "😀", "\\n", "\\u0000", "\\ud83d\\ude00", "\\\\", "\\\"", " ", "0", "\u{7f}", "\\u00e9", "a.b_c-1"];
        let inside: Vec<usize> = (1..text.len().saturating_sub(1)).filter(|&at| text[at].is_ascii_alphanumeric()).collect();
        let at = self.random.pick(&inside).copied().unwrap_or(1).min(text.len());
        // A letter of an escape stays, else what is meant to be text breaks.
        let is_free = inside.contains(&at) && !text[..at].contains(&b'\\');
        match self.random.below(6) {
            0 if is_free => drop(text.splice(at..=at, format!("\\u{:04x}", text[at]).into_bytes())),
            1 if is_free => drop(text.remove(at)),
            2 if is_free => text[at] = b"0aZ_-./"[self.random.below(7)],
            3 => drop(text.splice(1..1, "x".repeat(self.random.below(300)).into_bytes())),
            _ => drop(text.splice(1..1, PIECES[self.random.below(PIECES.len())].bytes())),
        }
        text
    }

    /// Takes a member or element out, with the comma that follows or comes before.
    fn remove(&mut self, place: &Place) -> Edit {
        let Range { start, end } = place.whole();
        let after = self.text[end..].iter().position(|byte| !byte.is_ascii_whitespace()).map(|count| end + count);
        let before = self.text[..start].iter().rposition(|byte| !byte.is_ascii_whitespace());
        let at = match (after, before) {
            (Some(comma), _) if self.text[comma] == b',' => start..comma + 1,
            (_, Some(comma)) if self.text[comma] == b',' => comma..end,
            _ => start..end,
        };
        Edit { at, with: Vec::new() }
    }

    /// A member with the same key, or an element, before or behind it; its key may be spelt with an escape.
    fn duplicate(&mut self, place: &Place) -> Edit {
        let value = match self.random.below(3) {
            0 => self.bytes(place.value.clone()),
            1 => self.token(),
            _ => self.foreign(),
        };
        let key = place.key.clone().map_or_else(Vec::new, |key| {
            let key = self.bytes(key);
            let key = if self.random.once_in(3) { escaped(&key, self.random) } else { key };
            [&key[..], b":"].concat()
        });
        let whole = place.whole();
        if place.value.start == self.places[0].value.start {
            return Edit { at: whole.start..whole.start, with: Vec::new() };
        }
        if self.random.once_in(2) {
            return Edit { at: whole.start..whole.start, with: [&key[..], &value, b","].concat() };
        }
        Edit { at: whole.end..whole.end, with: [b",", &key[..], &value].concat() }
    }

    fn escape_key(&mut self, place: &Place) -> Edit {
        match place.key.clone() {
            Some(key) => Edit { with: escaped(&self.text[key.clone()], self.random), at: key },
            None => self.respell(place),
        }
    }

    fn rename(&mut self, place: &Place) -> Edit {
        match place.key.clone() {
            Some(at) if self.random.once_in(2) => Edit { at, with: self.key() },
            Some(at) => Edit { with: self.string(self.text[at.clone()].to_vec()), at },
            None => self.respell(place),
        }
    }

    /// Exchanges two values that do not lie in each other.
    fn swap(&mut self, place: &Place) -> Edit {
        let second = self.random.pick(&self.places).map_or(place.value.clone(), |place| place.value.clone());
        let (first, second) = if place.value.start < second.start { (place.value.clone(), second) } else { (second, place.value.clone()) };
        if first.end > second.start {
            return Edit { at: first.clone(), with: self.bytes(first) };
        }
        let between = &self.text[first.end..second.start];
        Edit { with: [&self.text[second.clone()], between, &self.text[first.clone()]].concat(), at: first.start..second.end }
    }

    /// Around a value: arrays or objects, a few or up to the deepest that is allowed, or one more.
    fn nest(&mut self, place: &Place) -> Edit {
        let depth = self.random.pick(&[1, 1, 2, 8, 64, 120, 125, 126, 127, 128, 129, 400]).copied().unwrap_or(1);
        let (open, close) = [("[", "]"), ("{\"a\":", "}"), ("[{\"b\":", "}]")][self.random.below(3)];
        let value = self.bytes(place.value.clone());
        Edit { at: place.value.clone(), with: [open.repeat(depth).as_bytes(), &value, close.repeat(depth).as_bytes()].concat() }
    }

    /// A member or element more at the front of a container.
    fn add(&mut self, place: &Place) -> Edit {
        let value = match self.random.below(3) {
            0 => self.token(),
            1 => self.word(),
            _ => self.foreign(),
        };
        let at = place.value.start + 1;
        let is_empty = self.text[at..].trim_ascii_start().first().is_some_and(|byte| b"]}".contains(byte));
        let comma: &[u8] = if is_empty { b"" } else { b"," };
        match place.kind {
            Kind::Object => Edit { at: at..at, with: [&self.key()[..], b":", &value, comma].concat() },
            Kind::Array => Edit { at: at..at, with: [&value[..], comma].concat() },
            _ => self.respell(place),
        }
    }

    /// Whitespace before or behind a value or a key.
    fn blank(&mut self, place: &Place) -> Edit {
        let blanks = [" ", "\n", "\t\r\n ", "                                                                   "][self.random.below(4)];
        let whole = place.whole();
        let at = [whole.start, place.value.start, place.value.end][self.random.below(3)];
        Edit { at: at..at, with: blanks.as_bytes().to_vec() }
    }

    /// Many elements, or many members of numbered keys, in place of a value.
    fn grow(&mut self, place: &Place) -> Edit {
        let (count, value) = (self.random.below(200), self.bytes(place.value.clone()));
        if value.len() * count > 100_000 {
            return self.respell(place);
        }
        let value = String::from_utf8_lossy(&value).into_owned();
        let with = if self.random.once_in(2) {
            let members: Vec<_> = (0..count).map(|n| format!("\"{n}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        } else {
            format!("[{}]", vec![value; count].join(","))
        };
        Edit { at: place.value.clone(), with: with.into_bytes() }
    }
}

/// A key, quotes included, with one character as an escape.
fn escaped(key: &[u8], random: &mut Random) -> Vec<u8> {
    let plain: Vec<usize> = (0..key.len()).filter(|&at| key[at].is_ascii_alphanumeric()).collect();
    let Some(&at) = random.pick(&plain).filter(|_| !key.contains(&b'\\')) else { return key.to_vec() };
    let mut key = key.to_vec();
    key.splice(at..=at, format!("\\u{:04x}", key[at]).into_bytes());
    key
}
