//! Steps through a JSON document once, without a tree. The document was checked before it came here; of one that was not,
//! something arbitrary is read, but every step goes forward and ends.

/// A place in a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'d> {
    bytes: &'d [u8],
    at: usize,
}

impl<'d> Cursor<'d> {
    pub(crate) fn new(bytes: &'d [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte that is no blank.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Steps over this byte, if it is the next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The next key, inside its quotes, with its colon behind it; `None` at the end of the object.
    pub(crate) fn key(&mut self) -> Option<&'d [u8]> {
        self.eat(b',');
        if self.peek()? != b'"' {
            self.eat(b'}');
            return None;
        }
        let start = self.at + 1;
        self.at = string_end(self.bytes, start);
        let key = self.bytes.get(start..self.at.saturating_sub(1))?;
        self.eat(b':').then_some(key)
    }

    /// Whether another element follows; steps over the comma or the end of the array.
    pub(crate) fn has_element(&mut self) -> bool {
        self.eat(b',');
        self.peek().is_some() && !self.eat(b']')
    }

    /// The next value; empty at the end of the document.
    pub(crate) fn value(&mut self) -> &'d [u8] {
        let first = self.peek();
        let start = self.at;
        self.at = match first {
            Some(b'"') => string_end(self.bytes, start + 1),
            Some(b'{' | b'[') => container_end(self.bytes, start),
            Some(_) => scalar_end(self.bytes, start),
            None => start,
        };
        &self.bytes[start..self.at]
    }
}

/// Behind the closing quote of the string whose inside begins at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(rest) = bytes.get(at..) {
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(stop) if rest[stop] == b'"' => return at + stop + 1,
            Some(stop) => at += stop + 2,
            None => break,
        }
    }
    bytes.len()
}

fn container_end(bytes: &[u8], mut at: usize) -> usize {
    let mut open = 0_usize;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(bytes, at),
            b'{' | b'[' => open += 1,
            b'}' | b']' => {
                open = open.saturating_sub(1);
                if open == 0 {
                    break;
                }
            }
            _ => {}
        }
    }
    at.min(bytes.len())
}

/// At least one byte further, so that a stray byte cannot hold a loop up.
fn scalar_end(bytes: &[u8], at: usize) -> usize {
    let length = bytes[at..].iter().position(|byte| b",]} \t\r\n".contains(byte)).unwrap_or(bytes.len() - at);
    at + length.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_stepped_through() {
        let mut cursor = Cursor::new(br#" { "a\"" : [1, "x]" ,{"b":[]}] ,"c":null} "#);
        assert!(cursor.eat(b'{'));
        assert_eq!(cursor.key(), Some(&br#"a\""#[..]));
        assert!(cursor.eat(b'['));
        let mut elements = Vec::new();
        while cursor.has_element() {
            elements.push(cursor.value());
        }
        assert_eq!(elements, [&b"1"[..], br#""x]""#, br#"{"b":[]}"#]);
        assert_eq!((cursor.key(), cursor.value(), cursor.key()), (Some(&b"c"[..]), &b"null"[..], None));
    }

    #[test]
    fn broken_documents_end() {
        for text in ["", "{", "[", "{\"", "{\"a", "{\"a\"", "{\"a\":", "[1", "[1,", "[,]", "[}", "{]", "\"\\", "{\"a\":}", "]]]]", "[:::]"]
        {
            let mut cursor = Cursor::new(text.as_bytes());
            cursor.eat(b'{');
            let mut steps = 0;
            while cursor.key().is_some() || cursor.has_element() {
                cursor.value();
                steps += 1;
                assert!(steps < 20, "{text}");
            }
        }
    }
}
