//! Writing.

use std::io::Write;

/// Appends a text as JSON: quotes around it, and escaped what must be.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[start..at]);
        out.extend_from_slice(escape);
        if escape.is_empty() {
            write_control(out, byte);
        }
        start = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[start..]);
    out.push(b'"');
}

fn write_control(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u00");
    out.push(HEX[usize::from(byte >> 4)]);
    out.push(HEX[usize::from(byte & 15)]);
}

/// Whole numbers; writing to a `Vec` does not fail.
fn write_i64(out: &mut Vec<u8>, value: i64) {
    let _ = write!(out, "{value}");
}

/// Numbers; JSON has no NaN and no infinity, they become null.
fn write_f64(out: &mut Vec<u8>, value: f64) {
    let _ = if value.is_finite() { write!(out, "{value}") } else { write!(out, "null") };
}

/// Writes an object, member by member. Dropping it writes the closing brace.
#[derive(Debug)]
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    /// Opens the object.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        write_text(self.out, key);
        self.out.push(b':');
        self.out
    }

    /// A member that is text.
    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        write_text(self.key(key), value);
        self
    }

    /// A member that is a whole number.
    pub fn int(&mut self, key: &str, value: i64) -> &mut Self {
        write_i64(self.key(key), value);
        self
    }

    /// A member that is a number; null where it is not finite.
    pub fn float(&mut self, key: &str, value: f64) -> &mut Self {
        write_f64(self.key(key), value);
        self
    }

    /// A member that is true or false.
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// A member that is JSON already, such as the cell of a `json` column.
    pub fn raw(&mut self, key: &str, json: &[u8]) -> &mut Self {
        self.key(key).extend_from_slice(json);
        self
    }

    /// A member that is an object.
    pub fn object(&mut self, key: &str) -> Object<'_> {
        Object::new(self.key(key))
    }

    /// A member that is an array.
    pub fn array(&mut self, key: &str) -> Array<'_> {
        Array::new(self.key(key))
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

/// Writes an array, element by element. Dropping it writes the closing bracket.
#[derive(Debug)]
pub struct Array<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Array<'o> {
    /// Opens the array.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, first: true }
    }

    fn next(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out
    }

    /// An element that is text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        write_text(self.next(), value);
        self
    }

    /// An element that is a whole number.
    pub fn int(&mut self, value: i64) -> &mut Self {
        write_i64(self.next(), value);
        self
    }

    /// An element that is a number; null where it is not finite.
    pub fn float(&mut self, value: f64) -> &mut Self {
        write_f64(self.next(), value);
        self
    }

    /// An element that is JSON already.
    pub fn raw(&mut self, json: &[u8]) -> &mut Self {
        self.next().extend_from_slice(json);
        self
    }

    /// An element that is an object.
    pub fn object(&mut self) -> Object<'_> {
        Object::new(self.next())
    }
}

impl Drop for Array<'_> {
    fn drop(&mut self) {
        self.out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_objects_and_arrays() {
        let mut out = Vec::new();
        let mut object = Object::new(&mut out);
        object.text("a\"", "x\n\\\u{1}é").int("n", -5).float("f", 0.5).float("nan", f64::NAN).bool("b", true).raw("r", b"{\"k\": 1}");
        object.object("o").int("i", 1);
        object.array("l").text("t").int(2).float(1.0).raw(b"null").object();
        drop(object);
        let text = String::from_utf8(out).unwrap();
        let expected =
            concat!(r#"{"a\"":"x\n\\\u0001é","n":-5,"f":0.5,"nan":null,"b":true,"r":{"k": 1},"#, r#""o":{"i":1},"l":["t",2,1,null,{}]}"#);
        assert_eq!(text, expected);
    }
}
