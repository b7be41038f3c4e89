//! Where the values of a document lie, as far as it is JSON.

use std::ops::Range;

/// What a value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`, `true`, `false`.
    Literal,
    /// A number.
    Number,
    /// A string.
    Text,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A value in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub value: Range<usize>,
    /// Its key with the quotes, where it is a member.
    pub key: Option<Range<usize>>,
}

impl Place {
    /// The member with its key, or the element.
    pub fn whole(&self) -> Range<usize> {
        self.key.as_ref().map_or(self.value.start, |key| key.start)..self.value.end
    }
}

/// Deeper values are not looked for: documents of the dialect end at 128.
const DEPTH_MAX: usize = 256;

/// The values of `text`, outer ones before inner ones, up to where it stops being JSON.
pub fn scan(text: &[u8]) -> Vec<Place> {
    let mut scanner = Scanner { text, at: 0, places: Vec::new() };
    scanner.value(None, 0);
    scanner.places
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    places: Vec<Place>,
}

impl Scanner<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn value(&mut self, key: Option<Range<usize>>, depth: usize) -> Option<()> {
        let first = self.peek()?;
        let (start, number) = (self.at, self.places.len());
        let kind = match first {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::Text,
            b'-' | b'0'..=b'9' => Kind::Number,
            _ => Kind::Literal,
        };
        if depth > DEPTH_MAX {
            return None;
        }
        self.places.push(Place { kind, value: start..start, key });
        let done = match kind {
            Kind::Object | Kind::Array => self.container(kind, depth),
            Kind::Text => self.string(),
            Kind::Number | Kind::Literal => self.word(),
        };
        if done.is_none() {
            self.places.truncate(number);
        } else {
            self.places[number].value.end = self.at;
        }
        done
    }

    fn container(&mut self, kind: Kind, depth: usize) -> Option<()> {
        let close = if kind == Kind::Object { b'}' } else { b']' };
        self.at += 1;
        if self.peek()? == close {
            self.at += 1;
            return Some(());
        }
        loop {
            let key = if kind == Kind::Object { Some(self.key()?) } else { None };
            self.value(key, depth + 1)?;
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b',' => {}
                _ if byte == close => return Some(()),
                _ => return None,
            }
        }
    }

    fn key(&mut self) -> Option<Range<usize>> {
        let start = (self.peek()? == b'"').then_some(self.at)?;
        self.string()?;
        let key = start..self.at;
        let colon = self.peek()? == b':';
        self.at += 1;
        colon.then_some(key)
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.text.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    fn word(&mut self) -> Option<()> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found() {
        let text = br#" {"a\"": [1, -2.5e3, "x]"], "b" : {"c":null}, "d":[]} "#;
        let found: Vec<_> = scan(text).iter().map(|place| String::from_utf8_lossy(&text[place.whole()]).into_owned()).collect();
        let whole = String::from_utf8_lossy(text).trim().to_owned();
        let expected =
            [whole.as_str(), r#""a\"": [1, -2.5e3, "x]"]"#, "1", "-2.5e3", r#""x]""#, r#""b" : {"c":null}"#, r#""c":null"#, r#""d":[]"#];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_broken_is_left_out() {
        for text in ["", "{", "{\"a\":", "[1,", "\"", "!", "[}", "{\"a\" 1}"] {
            let places = scan(text.as_bytes());
            assert!(places.iter().all(|place| place.value.end <= text.len()), "{text}");
        }
        assert!(scan("[".repeat(100_000).as_bytes()).is_empty());
    }
}
