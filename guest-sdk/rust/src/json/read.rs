//! Reading.

use std::borrow::Cow;
use std::fmt;

/// How deep arrays and objects may nest. The host lets documents nest 128 deep.
const DEPTH_MAX: usize = 128;

/// A JSON value that borrows from its text. Numbers stay text until somebody asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it is written.
    Number(&'a str),
    /// Text, escapes resolved.
    Text(Cow<'a, str>),
    /// An array's elements.
    Array(Vec<Value<'a>>),
    /// An object's members in the order of the text, duplicate keys included.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// Why a text is not JSON, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// The byte at which reading stopped.
    pub offset: usize,
    /// What was wrong there.
    pub what: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

impl std::error::Error for Error {}

impl<'a> Value<'a> {
    /// Reads one value; nothing but white space may follow it.
    ///
    /// # Errors
    /// Text that is not UTF-8 or not RFC 8259, a lone surrogate, or a depth beyond 128.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(text).map_err(|error| Error { offset: error.valid_up_to(), what: "broken UTF-8" })?;
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err(reader.error("more text after the value")) }
    }

    /// The member of that name; of several the last one.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().rev().find(|member| member.0 == key).map(|member| &member.1),
            _ => None,
        }
    }

    /// The elements; none unless it is an array.
    pub fn elements(&self) -> &[Self] {
        match self {
            Self::Array(elements) => elements,
            _ => &[],
        }
    }

    /// Text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A number without fraction and exponent that fits 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(text) => parse_i64(text.as_bytes()),
            _ => None,
        }
    }

    /// Any number. Asking links the standard library's decimal tables, about 10 KB.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
            _ => None,
        }
    }
}

/// The members of an object as keys and the JSON text of their values, in the order of the text; of several of the same name
/// the last one only. `None` unless the text is an object.
pub fn members(object: &[u8]) -> Option<Vec<(Cow<'_, str>, &[u8])>> {
    let mut members: Vec<(Cow<'_, str>, &[u8])> = Vec::new();
    walk(object, b'{', |key, value| {
        members.retain(|member| Some(&member.0) != key.as_ref());
        members.push((key.unwrap_or_default(), value));
    })?;
    Some(members)
}

/// The elements of an array as JSON text. `None` unless the text is an array.
pub fn elements(array: &[u8]) -> Option<Vec<&[u8]>> {
    let mut elements = Vec::new();
    walk(array, b'[', |_, value| elements.push(value))?;
    Some(elements)
}

/// Calls for every member or element with its text.
fn walk<'a>(text: &'a [u8], open: u8, mut each: impl FnMut(Option<Cow<'a, str>>, &'a [u8])) -> Option<()> {
    let mut reader = Reader { text: std::str::from_utf8(text).ok()?, at: 0 };
    let close = if open == b'{' { b'}' } else { b']' };
    reader.space();
    if !reader.take(open) {
        return None;
    }
    reader.space();
    if reader.take(close) {
        return Some(());
    }
    loop {
        let key = if open == b'{' { Some(reader.key().ok()?) } else { None };
        reader.space();
        let start = reader.at;
        reader.value(1).ok()?;
        each(key, text.get(start..reader.at)?);
        reader.space();
        if reader.take(close) {
            return Some(());
        }
        if !reader.take(b',') {
            return None;
        }
    }
}

/// A whole number in decimal digits, as JSON writes it: no leading `+`.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    if text.first() == Some(&b'+') {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, what: &'static str) -> Error {
        Error { offset: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// A piece of the text. Indexing would link the formatting of a panic that cannot happen, about 4 KB.
    fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes a byte if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        if depth > DEPTH_MAX {
            return Err(self.error("nested more than 128 deep"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.error("expected a value")),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Error> {
        if !self.slice(self.at, self.at + word.len()).eq(word) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        self.at += 1;
        let mut members = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            let key = self.key()?;
            members.push((key, self.value(depth + 1)?));
            self.space();
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            if !self.take(b',') {
                return Err(self.error("expected `,` or `}`"));
            }
        }
    }

    /// A member's key and the colon after it.
    fn key(&mut self) -> Result<Cow<'a, str>, Error> {
        self.space();
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a key"));
        }
        let key = self.string()?;
        self.space();
        if self.take(b':') { Ok(key) } else { Err(self.error("expected `:`")) }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        self.at += 1;
        let mut elements = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(Value::Array(elements));
            }
            if !self.take(b',') {
                return Err(self.error("expected `,` or `]`"));
            }
        }
    }

    fn number(&mut self) -> Result<Value<'a>, Error> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(Value::Number(self.slice(start, self.at)))
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.error("expected a digit")) }
    }

    /// Text between quotes: borrowed unless it has escapes.
    fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        self.at += 1;
        let mut owned = String::new();
        let mut start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let rest = self.slice(start, self.at);
                    self.at += 1;
                    return Ok(if owned.is_empty() { Cow::Borrowed(rest) } else { Cow::Owned(owned + rest) });
                }
                Some(b'\\') => {
                    owned.push_str(self.slice(start, self.at));
                    owned.push(self.escape()?);
                    start = self.at;
                }
                Some(0..0x20) => return Err(self.error("control character in text")),
                Some(_) => self.at += 1,
                None => return Err(self.error("text without end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        self.at += 1;
        let byte = self.peek().ok_or_else(|| self.error("text without end"))?;
        let char = match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.error("unknown escape")),
        };
        self.at += 1;
        Ok(char)
    }

    /// `uXXXX`, and where it is the first half of a pair the second one too.
    fn unicode(&mut self) -> Result<char, Error> {
        let high = self.hex4()?;
        if !(0xD800..0xDC00).contains(&high) {
            return char::from_u32(high).ok_or_else(|| self.error("lone surrogate"));
        }
        if !(self.take(b'\\') && self.peek() == Some(b'u')) {
            return Err(self.error("lone surrogate"));
        }
        let low = self.hex4()?;
        if !(0xDC00..0xE000).contains(&low) {
            return Err(self.error("lone surrogate"));
        }
        char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).ok_or_else(|| self.error("lone surrogate"))
    }

    fn hex4(&mut self) -> Result<u32, Error> {
        self.at += 1;
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or_else(|| self.error("text without end"))?;
        let mut code = 0;
        for &digit in digits {
            let value = (digit as char).to_digit(16).ok_or_else(|| self.error("expected four hex digits"))?;
            code = code * 16 + value;
        }
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests;
