//! Lua patterns on a linear-time engine.
//!
//! Only the existence of a match matters, so lazy and greedy repetition are the same and captures can be left out. What Lua
//! repeats is always a single character, so a pattern is a list of byte sets with a repetition each.

use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};
use std::fmt::Write;

use crate::matcher::error::MatcherErrorKind;
use crate::matcher::limits::PATTERN_BYTES_MAX;

/// A text without any of these is literal.
const SPECIAL: &[u8] = b"^$*+?.[%-";

/// A compiled Lua pattern.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// Boxed: it is large, and the nodes of a program lie side by side.
    Contains(Box<memmem::Finder<'static>>),
    Starts(Box<[u8]>),
    Ends(Box<[u8]>),
    Equals(Box<[u8]>),
    Regex(Regex),
}

impl Pattern {
    /// Literal text.
    pub(crate) fn literal(text: &[u8]) -> Self {
        Pattern::Contains(Box::new(memmem::Finder::new(text).into_owned()))
    }

    /// A Lua pattern, or literal text where it has no special character.
    pub(crate) fn lua(text: &[u8]) -> Result<Self, MatcherErrorKind> {
        if !text.iter().any(|byte| SPECIAL.contains(byte)) {
            return Ok(Self::literal(text));
        }
        let pattern = LuaPattern::parse(text)?;
        match pattern.literal() {
            Some(literal) => Ok(Self::anchored(literal, pattern.at_start, pattern.at_end)),
            None => pattern.regex().map(Pattern::Regex),
        }
    }

    fn anchored(literal: Vec<u8>, at_start: bool, at_end: bool) -> Self {
        match (at_start, at_end) {
            (false, false) => Self::literal(&literal),
            (true, false) => Pattern::Starts(literal.into()),
            (false, true) => Pattern::Ends(literal.into()),
            (true, true) => Pattern::Equals(literal.into()),
        }
    }

    /// Whether it is found in the text.
    #[inline]
    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        match self {
            Pattern::Contains(finder) => finder.find(text).is_some(),
            Pattern::Starts(literal) => text.starts_with(literal),
            Pattern::Ends(literal) => text.ends_with(literal),
            Pattern::Equals(literal) => *text == **literal,
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }
}

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ByteSet([bool; 256]);

impl ByteSet {
    fn of(contains: impl Fn(u8) -> bool) -> Self {
        Self(std::array::from_fn(|byte| contains(byte as u8)))
    }

    fn single(byte: u8) -> Self {
        Self::of(|other| other == byte)
    }

    fn insert_range(&mut self, first: u8, last: u8) {
        for byte in first..=last {
            self.0[usize::from(byte)] = true;
        }
    }

    fn insert_all(&mut self, other: &ByteSet) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }

    fn complement(self) -> Self {
        Self(self.0.map(|contains| !contains))
    }

    /// Its only byte.
    fn only(&self) -> Option<u8> {
        let mut bytes = (0..=u8::MAX).filter(|byte| self.0[usize::from(*byte)]);
        bytes.next().filter(|_| bytes.next().is_none())
    }

    /// The set as a class of a regular expression.
    fn write_class(&self, out: &mut String) {
        // An empty class is written as the complement of everything.
        let empty = !self.0.contains(&true);
        out.push_str(if empty { r"[^\x00-\xFF" } else { "[" });
        let mut byte = 0;
        while byte < 256 {
            let end = byte + self.0[byte..].iter().take_while(|contains| **contains).count();
            if end > byte {
                // Writing to a String cannot fail.
                let _ = write!(out, r"\x{byte:02X}-\x{:02X}", end - 1);
            }
            byte = end + 1;
        }
        out.push(']');
    }
}

/// A single character and how often it is repeated: `""`, `"*"`, `"+"` or `"?"`.
#[derive(Debug)]
struct Item {
    set: ByteSet,
    repetition: &'static str,
}

#[derive(Debug)]
struct LuaPattern {
    items: Vec<Item>,
    at_start: bool,
    at_end: bool,
}

impl LuaPattern {
    fn parse(text: &[u8]) -> Result<Self, MatcherErrorKind> {
        let at_start = text.first() == Some(&b'^');
        let mut scanner = Scanner { text, at: usize::from(at_start), open_captures: 0 };
        let mut items = Vec::new();
        let mut at_end = false;
        while let Some(byte) = scanner.peek() {
            match byte {
                b'(' | b')' => scanner.capture(byte)?,
                b'$' if scanner.at + 1 == text.len() => {
                    at_end = true;
                    scanner.at += 1;
                }
                _ => items.push(scanner.item()?),
            }
        }
        if scanner.open_captures > 0 {
            return Err(scanner.problem("a capture '(' is not closed; write '%(' for the character"));
        }
        Ok(Self { items, at_start, at_end })
    }

    /// Its text, if it is nothing but text.
    fn literal(&self) -> Option<Vec<u8>> {
        let byte = |item: &Item| item.set.only().filter(|_| item.repetition.is_empty());
        self.items.iter().map(byte).collect()
    }

    fn regex(&self) -> Result<Regex, MatcherErrorKind> {
        let mut text = String::from(if self.at_start { "^" } else { "" });
        for item in &self.items {
            item.set.write_class(&mut text);
            text.push_str(item.repetition);
        }
        text.push_str(if self.at_end { "$" } else { "" });
        RegexBuilder::new(&text)
            .unicode(false)
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .map_err(|_| MatcherErrorKind::PatternTooLarge { limit: PATTERN_BYTES_MAX })
    }
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    open_captures: usize,
}

impl Scanner<'_> {
    fn problem(&self, problem: &'static str) -> MatcherErrorKind {
        MatcherErrorKind::Pattern { offset: self.at, problem }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Captures group nothing in Lua; they only have to be balanced.
    fn capture(&mut self, byte: u8) -> Result<(), MatcherErrorKind> {
        let closed = self.open_captures.checked_sub(1);
        self.open_captures = match (byte, closed) {
            (b'(', _) => self.open_captures + 1,
            (_, Some(closed)) => closed,
            _ => return Err(self.problem("a ')' closes no capture; write '%)' for the character")),
        };
        self.at += 1;
        Ok(())
    }

    fn item(&mut self) -> Result<Item, MatcherErrorKind> {
        let set = self.single()?;
        let repetition = match self.peek() {
            Some(b'*' | b'-') => "*",
            Some(b'+') => "+",
            Some(b'?') => "?",
            _ => "",
        };
        self.at += repetition.len();
        Ok(Item { set, repetition })
    }

    /// A character, a class or a set.
    fn single(&mut self) -> Result<ByteSet, MatcherErrorKind> {
        match self.peek() {
            Some(b'.') => {
                self.at += 1;
                Ok(ByteSet::of(|_| true))
            }
            Some(b'[') => self.set(),
            Some(b'%') => self.escape(),
            Some(byte) => {
                self.at += 1;
                Ok(ByteSet::single(byte))
            }
            None => Err(self.problem("the pattern ends too early")),
        }
    }

    /// `%` and what follows it.
    fn escape(&mut self) -> Result<ByteSet, MatcherErrorKind> {
        let Some(&byte) = self.text.get(self.at + 1) else {
            return Err(self.problem("a '%' at the end; write '%%' for the character"));
        };
        let set = match byte {
            b'b' => return Err(self.problem("'%b' (balanced text) is not supported: it has no linear-time equivalent")),
            b'f' => return Err(self.problem("'%f' (frontier) is not supported: match the characters around it instead")),
            b'0'..=b'9' => return Err(self.problem("back references are not supported: they have no linear-time equivalent")),
            _ if byte.is_ascii_alphabetic() => class(byte)
                .ok_or_else(|| self.problem("no such character class; there are %a %c %d %l %p %s %u %w %x %z and their capitals"))?,
            _ => ByteSet::single(byte),
        };
        self.at += 2;
        Ok(set)
    }

    /// `[...]`; a `]` directly behind the beginning is a character.
    fn set(&mut self) -> Result<ByteSet, MatcherErrorKind> {
        let begin = self.at;
        self.at += 1;
        let negated = self.peek() == Some(b'^');
        self.at += usize::from(negated);
        let mut set = ByteSet::of(|_| false);
        let first = self.at;
        loop {
            match self.peek() {
                None => {
                    self.at = begin;
                    return Err(self.problem("a set '[' is not closed; write '%[' for the character"));
                }
                Some(b']') if self.at > first => break,
                Some(b'%') => set.insert_all(&self.escape()?),
                Some(byte) => self.range(byte, &mut set),
            }
        }
        self.at += 1;
        Ok(if negated { set.complement() } else { set })
    }

    /// `a-z`, or a single character; a `-` before the closing bracket is a character.
    fn range(&mut self, byte: u8, set: &mut ByteSet) {
        match self.text.get(self.at + 1..) {
            Some(&[b'-', last, ..]) if last != b']' => {
                set.insert_range(byte, last);
                self.at += 3;
            }
            _ => {
                set.insert_range(byte, byte);
                self.at += 1;
            }
        }
    }
}

/// A class of the C locale; a capital letter is the complement.
fn class(letter: u8) -> Option<ByteSet> {
    let set = match letter.to_ascii_lowercase() {
        b'a' => ByteSet::of(|byte| byte.is_ascii_alphabetic()),
        b'c' => ByteSet::of(|byte| byte.is_ascii_control()),
        b'd' => ByteSet::of(|byte| byte.is_ascii_digit()),
        b'l' => ByteSet::of(|byte| byte.is_ascii_lowercase()),
        b'p' => ByteSet::of(|byte| byte.is_ascii_punctuation()),
        b's' => ByteSet::of(|byte| matches!(byte, b' ' | b'\t'..=b'\r')),
        b'u' => ByteSet::of(|byte| byte.is_ascii_uppercase()),
        b'w' => ByteSet::of(|byte| byte.is_ascii_alphanumeric()),
        b'x' => ByteSet::of(|byte| byte.is_ascii_hexdigit()),
        b'z' => ByteSet::single(0),
        _ => return None,
    };
    Some(if letter.is_ascii_uppercase() { set.complement() } else { set })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, found_in: &[&str], not_in: &[&str]) {
        let compiled = Pattern::lua(pattern.as_bytes()).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        for text in found_in {
            assert!(compiled.is_match(text.as_bytes()), "{pattern} in {text:?}");
        }
        for text in not_in {
            assert!(!compiled.is_match(text.as_bytes()), "{pattern} not in {text:?}");
        }
    }

    #[test]
    fn patterns_mean_what_they_mean_in_lua() {
        check("main", &["main", "domains"], &["Main", "mai", ""]);
        check("", &["", "a"], &[]);
        check("^ma", &["ma", "main"], &["ama", "MA"]);
        check("in$", &["in", "main"], &["ina"]);
        check("^main$", &["main"], &["mains", "amain"]);
        check("^$", &[""], &["a"]);
        check("a^b$c", &["a^b$c"], &["ab"]);
        check("^*a", &["*a"], &["a"]);
        check("ab*c", &["ac", "abbbc"], &["adc"]);
        check("ab+c", &["abc", "abbc"], &["ac"]);
        check("ab?c", &["ac", "abc"], &["abbc"]);
        check("ab-c", &["ac", "abbc"], &["ab"]);
        check("a.c", &["abc", "a\nc", "a\u{0}c"], &["ac"]);
        check("a%.c", &["a.c"], &["abc"]);
        check("%%", &["50%"], &["50"]);
        check("id: %w+", &["id: x1;"], &["id: ;"]);
        check("^%a%d%s%u%l%x$", &["a1 Aaf", "Z9\u{b}Zz0"], &["11 Aaf", "a1_Aaf"]);
        check("^%A%D%S%W$", &["1ab-"], &["aab-", "11b-", "1a -", "1abz"]);
        check("^%p%c%z$", &["!\u{1}\u{0}"], &["a\u{1}\u{0}"]);
        check("[Mm]ain", &["Main", "main"], &["ain"]);
        check("^[^%d_]+$", &["abc"], &["ab1", "a_b", ""]);
        check("^[a-c-]+$", &["abc-"], &["d"]);
        check("^[]x]+$", &["]x]"], &["a"]);
        check("^[^]]$", &["a"], &["]"]);
        check("^[%]%-a]+$", &["]-a"], &["b"]);
        check("^[z-a]$", &[], &["z", "a", "m"]);
        check("[%w%W]", &["a", "-"], &[""]);
        check("^[^%w%W]$", &[], &["a", "-", ""]);
        check("(a)(b)*", &["ab*"], &["ab", "abb"]);
        check("()a.", &["ab"], &["a"]);
        check("a(b", &["a(b"], &["ab"]);
        check("\u{e9}.", &["\u{e9}!"], &["e!"]);
    }

    #[test]
    fn patterns_that_cannot_be_are_refused_with_the_reason() {
        let check = |pattern: &str, text: &str| {
            let error = Pattern::lua(pattern.as_bytes()).expect_err(pattern);
            assert_eq!(error.to_string(), format!("in the pattern, at its byte {text}"), "{pattern}");
        };
        check("a%b()", "1: '%b' (balanced text) is not supported: it has no linear-time equivalent");
        check("%f[%w]a", "0: '%f' (frontier) is not supported: match the characters around it instead");
        check("(.)%1", "3: back references are not supported: they have no linear-time equivalent");
        check("%q", "0: no such character class; there are %a %c %d %l %p %s %u %w %x %z and their capitals");
        check("ab%", "2: a '%' at the end; write '%%' for the character");
        check("ab[c", "2: a set '[' is not closed; write '%[' for the character");
        check("[]", "0: a set '[' is not closed; write '%[' for the character");
        check("(a.", "3: a capture '(' is not closed; write '%(' for the character");
        check("a.)", "2: a ')' closes no capture; write '%)' for the character");
    }

    #[test]
    fn plain_text_needs_no_engine() {
        for (pattern, plain) in [("ab", true), ("a%.b", true), ("^ab", true), ("ab$", true), ("^ab$", true), ("a.b", false)] {
            let compiled = Pattern::lua(pattern.as_bytes()).expect(pattern);
            assert_eq!(!matches!(compiled, Pattern::Regex(_)), plain, "{pattern}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let text = vec![b'a'; 1 << 20];
        let pattern = Pattern::lua(b"a*a*a*a*a*a*a*a*a*a*b").expect("pattern");
        assert!(!pattern.is_match(&text));
    }
}
