//! Steps through a JSON document once, without a tree, for readers that say themselves what they want of it. The document was
//! checked before it came here; of one that was not, something arbitrary is read, but every step goes forward and ends.
//!
//! Most keys and values of a document are a few bytes long: 16 at a time are looked at where they stand, which costs less than
//! calling what searches 32 at a time.

use crate::block::{bracket_stops, string_stops};

/// A place in a document.
#[derive(Clone, Copy, Debug)]
pub struct Stepper<'d> {
    bytes: &'d [u8],
    at: usize,
}

/// A string as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<'d> {
    /// What is between the quotes.
    pub inside: &'d [u8],
    /// Whether there is a backslash in it.
    pub has_escapes: bool,
}

/// More digits than this may not fit into 64 bits.
const DIGITS_MAX: usize = 18;

impl<'d> Stepper<'d> {
    /// The beginning of a document.
    pub fn new(bytes: &'d [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes are behind it.
    #[inline(always)]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Goes on to the place that `read` answers for the document and this place. Whether that is another one.
    #[inline(always)]
    pub(crate) fn go_on(&mut self, read: impl FnOnce(&'d [u8], usize) -> usize) -> bool {
        let begin = self.at;
        self.at = read(self.bytes, begin).max(begin);
        self.at > begin
    }

    /// The next byte that is no blank.
    #[inline(always)]
    pub fn peek(&mut self) -> Option<u8> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte > b' ' => Some(*byte),
            _ => self.peek_behind_blanks(),
        }
    }

    #[cold]
    fn peek_behind_blanks(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Steps over this byte, if it is the next.
    #[inline(always)]
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The next key, with its colon behind it; `None` at the end of the object.
    #[inline(always)]
    pub fn key(&mut self) -> Option<Quoted<'d>> {
        self.eat(b',');
        match self.string() {
            Some(key) => self.eat(b':').then_some(key),
            None => {
                self.eat(b'}');
                None
            }
        }
    }

    /// The next value, if it is a string; else nothing happens.
    #[inline(always)]
    pub fn string(&mut self) -> Option<Quoted<'d>> {
        if self.peek()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let (end, has_escapes) = string_end(self.bytes, start);
        self.at = end;
        let inside = self.bytes.get(start..end.saturating_sub(1)).unwrap_or_default();
        Some(Quoted { inside, has_escapes })
    }

    /// The next value, if it is an integer of few digits, and not `-0`; else nothing happens.
    #[inline(always)]
    pub fn short_integer(&mut self) -> Option<i64> {
        let is_negative = self.peek()? == b'-';
        let start = self.at + usize::from(is_negative);
        let (mut at, mut value) = (start, 0_i64);
        while let Some(digit) = self.bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            if at - start == DIGITS_MAX {
                return None;
            }
            value = value * 10 + i64::from(digit);
            at += 1;
        }
        let is_whole = at > start && matches!(self.bytes.get(at), Some(b',' | b'}' | b']'));
        if !is_whole || (is_negative && value == 0) {
            return None;
        }
        self.at = at;
        Some(if is_negative { -value } else { value })
    }

    /// Whether another element follows; steps over the comma or the end of the array.
    #[inline(always)]
    pub fn has_element(&mut self) -> bool {
        self.eat(b',');
        self.peek().is_some() && !self.eat(b']')
    }

    /// The next value, if it is an integer of up to seven digits with nothing between it and what ends it; else nothing happens.
    #[inline(always)]
    pub(crate) fn few_digits(&mut self) -> Option<&'d [u8]> {
        let word = u64::from_le_bytes(*self.bytes.get(self.at..)?.first_chunk::<8>()?);
        // The high half of each byte is 0 where it is a digit: 6 more than `0` to `9` does not reach the next half.
        let mixed = word ^ eight(b'0');
        let others = (mixed | mixed.wrapping_add(eight(6))) & eight(0xf0);
        let length = others.trailing_zeros() as usize / 8;
        let end = self.at + length;
        let is_whole = (1..8).contains(&length) && matches!(self.bytes.get(end), Some(b',' | b'}' | b']'));
        is_whole.then(|| &self.bytes[std::mem::replace(&mut self.at, end)..end])
    }

    /// The next value; empty at the end of the document.
    #[inline]
    pub fn value(&mut self) -> &'d [u8] {
        let first = self.peek();
        let start = self.at;
        self.at = match first {
            Some(b'"') => string_end(self.bytes, start + 1).0,
            Some(b'{' | b'[') => container_end(self.bytes, start),
            Some(_) => scalar_end(self.bytes, start),
            None => start,
        };
        &self.bytes[start..self.at]
    }
}

const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The place of the first byte that `find` marks among 16, and the byte.
#[inline(always)]
fn search(bytes: &[u8], mut at: usize, find: impl Fn(&[u8; 16]) -> u32) -> Option<(usize, u8)> {
    loop {
        let rest = bytes.get(at..)?;
        let block = match rest.first_chunk::<16>() {
            Some(block) => block,
            None => &last_block(rest),
        };
        let found = find(block);
        if found != 0 {
            let place = found.trailing_zeros() as usize;
            return Some((at + place, block[place]));
        }
        at += 16;
    }
}

/// Zeros behind the last bytes are nothing that anybody looks for.
#[cold]
fn last_block(rest: &[u8]) -> [u8; 16] {
    let mut block = [0; 16];
    block[..rest.len()].copy_from_slice(rest);
    block
}

/// Behind the closing quote of the string whose inside begins at `at`, and whether there is a backslash in it.
#[inline(always)]
fn string_end(bytes: &[u8], mut at: usize) -> (usize, bool) {
    let mut has_escapes = false;
    while let Some((stop, byte)) = search(bytes, at, string_stops) {
        if byte == b'"' {
            return (stop + 1, has_escapes);
        }
        has_escapes = true;
        at = stop + 2;
    }
    (bytes.len(), has_escapes)
}

fn container_end(bytes: &[u8], mut at: usize) -> usize {
    let mut open = 0_usize;
    while let Some((stop, byte)) = search(bytes, at, bracket_stops) {
        at = stop + 1;
        match byte {
            b'"' => at = string_end(bytes, at).0,
            b'{' | b'[' => open += 1,
            _ => {
                open = open.saturating_sub(1);
                if open == 0 {
                    return at;
                }
            }
        }
    }
    bytes.len()
}

/// At least one byte further, so that a stray byte cannot hold a loop up.
#[inline]
fn scalar_end(bytes: &[u8], at: usize) -> usize {
    // Numbers and words have no byte below `!` in them, and of the three ends none is in them either.
    let length = bytes[at..].iter().position(|byte| *byte <= b' ' || matches!(byte, b',' | b']' | b'}'));
    at + length.unwrap_or(bytes.len() - at).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_stepped_through() {
        let mut stepper = Stepper::new(br#" { "a\"" : [1, "x]" ,{"b":[]}] ,"c":null} "#);
        assert!(stepper.eat(b'{'));
        assert_eq!(stepper.key(), Some(Quoted { inside: br#"a\""#, has_escapes: true }));
        assert!(stepper.eat(b'['));
        let mut elements = Vec::new();
        while stepper.has_element() {
            elements.push(stepper.value());
        }
        assert_eq!(elements, [&b"1"[..], br#""x]""#, br#"{"b":[]}"#]);
        let key = stepper.key().map(|key| (key.inside, key.has_escapes));
        assert_eq!((key, stepper.value(), stepper.key()), (Some((&b"c"[..], false)), &b"null"[..], None));
    }

    #[test]
    fn values_of_every_length_end_where_they_end() {
        for length in 0..40 {
            let text = "x".repeat(length);
            for (value, has_escapes) in [(text.clone(), false), (format!("{text}\\\""), true), (format!("\\u00e9{text}"), true)] {
                for document in [format!("\"{value}\""), format!("\"{value}\" , 1]"), format!("\"{value}\":[{{\"a\":2}}]}}")] {
                    let mut stepper = Stepper::new(document.as_bytes());
                    assert_eq!(stepper.string(), Some(Quoted { inside: value.as_bytes(), has_escapes }), "{document}");
                    assert_eq!(Stepper::new(document.as_bytes()).value(), format!("\"{value}\"").as_bytes(), "{document}");
                }
            }
            let container = format!("[{{\"a]}}\\\"\":\"{text}\"}},[{}],{{}}]", "1,".repeat(length) + "2");
            for behind in ["", ",", "]}", ":[]{}\"\""] {
                let document = container.clone() + behind;
                assert_eq!(Stepper::new(document.as_bytes()).value(), container.as_bytes(), "{document}");
            }
        }
    }

    #[test]
    fn short_integers_are_read_and_everything_else_is_left_alone() {
        let check = |text: &str, expected: Option<i64>| {
            let document = format!("{text},");
            let mut stepper = Stepper::new(document.as_bytes());
            assert_eq!(stepper.short_integer(), expected, "{text}");
            assert_eq!(stepper.at > 0, expected.is_some(), "{text}");
        };
        for number in [0, 7, -1, 999_999_999_999_999_999, -999_999_999_999_999_999] {
            check(&number.to_string(), Some(number));
        }
        for text in ["1000000000000000000", "-0", "1.0", "1e3", "-", "", "\"1\"", "null", "1 ", "[1]"] {
            check(text, None);
        }
        assert_eq!(Stepper::new(b"12").short_integer(), None, "nobody knows what comes behind");
    }

    #[test]
    fn few_digits_are_digits_alone() {
        for byte in 0..=255 {
            for length in 0..9 {
                let mut document = b"12345678"[..length].to_vec();
                document.push(byte);
                document.extend_from_slice(b"}       ");
                let mut stepper = Stepper::new(&document);
                let digits = length + usize::from(byte.is_ascii_digit());
                let is_whole = byte.is_ascii_digit() || b",}]".contains(&byte);
                let expected = (is_whole && (1..8).contains(&digits)).then(|| &document[..digits]);
                assert_eq!(stepper.few_digits(), expected, "{document:?}");
                assert_eq!(stepper.at, expected.map_or(0, <[u8]>::len));
            }
        }
        assert_eq!(Stepper::new(b"12}").few_digits(), None, "too near the end to be looked at");
    }

    #[test]
    fn broken_documents_end() {
        for text in ["", "{", "[", "{\"", "{\"a", "{\"a\"", "{\"a\":", "[1", "[1,", "[,]", "[}", "{]", "\"\\", "{\"a\":}", "]]]]", "[:::]"]
        {
            let mut stepper = Stepper::new(text.as_bytes());
            stepper.eat(b'{');
            let mut steps = 0;
            while stepper.key().is_some() || stepper.has_element() {
                stepper.value();
                steps += 1;
                assert!(steps < 20, "{text}");
            }
        }
    }
}
