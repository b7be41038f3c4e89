//! Reading single values that a pass or [`get`](crate::get) has found.
//!
//! The bytes given should be one value of a checked document, without whitespace around it. Others
//! give `None` or something arbitrary, never a panic.

use crate::pass::parse_number;
use crate::program::Number;
use crate::skip::container_len;
use crate::text::{compare_texts, decode_into, hash_key};

/// The number as an `i64`: written as an integer, or with a fraction or exponent and yet whole as the `f64` that it is then.
#[inline]
pub fn as_i64(value: &[u8]) -> Option<i64> {
    short_natural(value).or_else(|| any_i64(value))
}

/// What numbers mostly are: digits alone, fewer than could be too many.
#[inline]
fn short_natural(value: &[u8]) -> Option<i64> {
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value.iter().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + i64::from(digit))
    })
}

/// -2^63 to 2^63.
const INT64S: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;

fn any_i64(value: &[u8]) -> Option<i64> {
    match number(value)? {
        Number::Integer(value) => i64::try_from(value).ok(),
        Number::Real(value) => (value.fract() == 0.0 && INT64S.contains(&value)).then_some(value as i64),
    }
}

/// The number as an `f64`, rounded where it must be.
pub fn as_f64(value: &[u8]) -> Option<f64> {
    number(value).map(Number::to_f64)
}

/// The boolean.
pub fn as_bool(value: &[u8]) -> Option<bool> {
    match value {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Whether it is `null`.
pub fn is_null(value: &[u8]) -> bool {
    value == b"null"
}

/// Appends the text of the string to `out`; `false`, and nothing appended, where it is no string.
pub fn text_into(value: &[u8], out: &mut Vec<u8>) -> bool {
    let inside = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inside.is_some_and(|inside| decode_into(inside, out))
}

/// The elements of the array; none where it is no array.
pub fn elements(value: &[u8]) -> Elements<'_> {
    Elements::new(value)
}

/// The members of the object, as (key inside its quotes, value); of duplicate keys only the last.
/// None where it is no object. Allocates for the members.
pub fn entries(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut members: Vec<_> = Members::new(value).collect();
    let mut text = Vec::new();
    let mut hashes: Vec<u64> = members.iter().map(|(key, _)| hash_key(key, &mut text)).collect();
    hashes.sort_unstable();
    if hashes.windows(2).any(|pair| pair[0] == pair[1]) {
        members = without_duplicates(members);
    }
    members.into_iter()
}

type Entry<'d> = (&'d [u8], &'d [u8]);

#[cold]
fn without_duplicates(members: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    let mut members: Vec<(usize, Entry<'_>)> = members.into_iter().enumerate().collect();
    // Equal keys side by side, the last first, of which all but that are dropped.
    members.sort_unstable_by(|a, b| compare_texts(a.1.0, b.1.0).then(b.0.cmp(&a.0)));
    members.dedup_by(|later, earlier| compare_texts(later.1.0, earlier.1.0).is_eq());
    members.sort_unstable_by_key(|(position, _)| *position);
    members.into_iter().map(|(_, member)| member).collect()
}

/// The number that `value` is by the grammar of JSON.
fn number(value: &[u8]) -> Option<Number> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let is_number = digits.first()?.is_ascii_digit() && digits.iter().all(|byte| b"0123456789+-.eE".contains(byte));
    is_number.then(|| parse_number(value)).flatten()
}

/// The elements of an array; see [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'d> {
    rest: &'d [u8],
}

impl<'d> Elements<'d> {
    pub(crate) fn new(value: &'d [u8]) -> Self {
        Self { rest: value.strip_prefix(b"[").unwrap_or_default() }
    }
}

impl<'d> Iterator for Elements<'d> {
    type Item = &'d [u8];

    fn next(&mut self) -> Option<&'d [u8]> {
        let (value, rest) = take_value(self.rest)?;
        self.rest = skip_separator(rest);
        Some(value)
    }
}

/// The members of an object in order, duplicates included.
#[derive(Clone, Debug)]
pub(crate) struct Members<'d> {
    rest: &'d [u8],
}

impl<'d> Members<'d> {
    pub(crate) fn new(value: &'d [u8]) -> Self {
        Self { rest: value.strip_prefix(b"{").unwrap_or_default() }
    }
}

impl<'d> Iterator for Members<'d> {
    type Item = (&'d [u8], &'d [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let inside = skip_blanks(self.rest).strip_prefix(b"\"")?;
        let (key, rest) = inside.split_at(string_len(inside));
        let rest = skip_blanks(rest.strip_prefix(b"\"")?).strip_prefix(b":")?;
        let (value, rest) = take_value(rest)?;
        self.rest = skip_separator(rest);
        Some((key, value))
    }
}

/// The value that `bytes` begins with after whitespace, and what follows it.
fn take_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let bytes = skip_blanks(bytes);
    let len = match bytes.first()? {
        b'"' => string_len(&bytes[1..]) + 2,
        b'{' | b'[' => container_len(bytes),
        _ => bytes.iter().position(|byte| b",]} \t\r\n".contains(byte)).unwrap_or(bytes.len()),
    };
    (len > 0).then(|| bytes.split_at_checked(len)).flatten()
}

/// The length of the string whose inside `bytes` begins with.
pub(crate) fn string_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match bytes.get(at..).and_then(|rest| rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))) {
            Some(stop) if bytes[at + stop] == b'\\' => at += stop + 2,
            Some(stop) => return at + stop,
            None => return bytes.len(),
        }
    }
}

fn skip_separator(bytes: &[u8]) -> &[u8] {
    skip_blanks(bytes).strip_prefix(b",").unwrap_or_default()
}

pub(crate) fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    &bytes[blanks..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_dialect_says() {
        let check = |text: &str, integer: Option<i64>, real: Option<f64>| {
            assert_eq!((as_i64(text.as_bytes()), as_f64(text.as_bytes())), (integer, real), "{text}");
        };
        check("12", Some(12), Some(12.0));
        check("-9223372036854775808", Some(i64::MIN), Some(-9_223_372_036_854_775_808.0));
        check("9223372036854775808", None, Some(9_223_372_036_854_775_808.0));
        check("-9223372036854775808.0", Some(i64::MIN), Some(-9_223_372_036_854_775_808.0));
        check("9223372036854775807.0", None, Some(9_223_372_036_854_775_808.0));
        check("1.0", Some(1), Some(1.0));
        check("1e3", Some(1000), Some(1000.0));
        check("1.5", None, Some(1.5));
        check("9007199254740993", Some(9_007_199_254_740_993), Some(9_007_199_254_740_992.0));
        check("1e999", None, None);
        for text in ["", "-", "null", "NaN", "inf", "+1", "\"1\"", "1 2"] {
            check(text, None, None);
        }
    }

    #[test]
    fn elements_and_entries_are_whole_values() {
        let elements: Vec<_> = elements(br#"[ 1 ,"a,]\"", [2,[3]] , {"x":[]},null ]"#).collect();
        assert_eq!(elements, [&b"1"[..], br#""a,]\"""#, b"[2,[3]]", br#"{"x":[]}"#, b"null"]);
        let entries: Vec<_> = entries(br#"{"a":1,"b" : {"a":2},"a":3, "\u0062":4}"#).collect();
        assert_eq!(entries, [(&b"a"[..], &b"3"[..]), (br"\u0062", b"4")]);
    }

    #[test]
    fn what_is_no_container_is_empty() {
        for value in ["", "1", "\"[\"", "[", "{", "{1}", "[]", "{}", "{\"a\"", "{\"a\":", "[\"", "]"] {
            assert_eq!(elements(value.as_bytes()).count(), 0, "{value}");
            assert_eq!(entries(value.as_bytes()).count(), 0, "{value}");
        }
    }

    #[test]
    fn text_is_decoded_once() {
        let mut out = b"x".to_vec();
        assert!(text_into(br#""a\n\ud83d\ude00""#, &mut out));
        assert_eq!(out, "xa\n😀".as_bytes());
        assert!(!text_into(br#""\ud83d""#, &mut out) && !text_into(b"1", &mut out));
        assert_eq!(out, "xa\n😀".as_bytes());
    }
}
