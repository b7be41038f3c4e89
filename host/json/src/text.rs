//! The text of JSON strings: escapes resolved.

use std::cmp::Ordering;

/// Appends the text of a string's inside (between its quotes) to `out`, escapes resolved.
///
/// Returns `false`, with `out` as it was, when an escape is broken or a surrogate stands alone.
pub fn decode_into(inside: &[u8], out: &mut Vec<u8>) -> bool {
    let mark = out.len();
    let mut rest = inside;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        match decode_escape(&rest[at..]) {
            Some((character, used)) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[at + used..];
            }
            None => {
                out.truncate(mark);
                return false;
            }
        }
    }
    out.extend_from_slice(rest);
    true
}

/// Whether the text of a string's inside is `text`; allocates nothing.
pub fn text_equals(inside: &[u8], text: &[u8]) -> bool {
    if inside.contains(&b'\\') { bytes(inside).eq(text.iter().copied()) } else { inside == text }
}

/// How the texts of two strings' insides compare, byte by byte; allocates nothing.
pub(crate) fn compare_texts(a: &[u8], b: &[u8]) -> Ordering {
    if a.contains(&b'\\') || b.contains(&b'\\') { bytes(a).cmp(bytes(b)) } else { a.cmp(b) }
}

/// The bytes of a string's text. What is no escape after a backslash is itself.
fn bytes(inside: &[u8]) -> impl Iterator<Item = u8> {
    let (mut rest, mut character, mut pending) = (inside, [0; 4], 0..0);
    std::iter::from_fn(move || {
        if let Some(at) = pending.next() {
            return Some(character[at]);
        }
        let (&byte, after) = rest.split_first()?;
        let escape = if byte == b'\\' { decode_escape(rest) } else { None };
        let Some((decoded, used)) = escape else {
            rest = after;
            return Some(byte);
        };
        rest = rest.get(used..).unwrap_or_default();
        pending = 1..decoded.encode_utf8(&mut character).len();
        Some(character[0])
    })
}

/// The character of the escape that `bytes` begins with, and the bytes that it takes.
fn decode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let character = match bytes.get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return decode_unicode(bytes),
        _ => return None,
    };
    Some((character, 2))
}

fn decode_unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = hex4(bytes.get(2..6)?)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    let low = hex4(bytes.get(6..12)?.strip_prefix(b"\\u")?)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00))?, 12))
}

/// The value of four hexadecimal digits.
fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

/// How many bytes a valid escape at the start of `bytes` takes.
pub(crate) fn escape_len(bytes: &[u8]) -> Option<usize> {
    decode_escape(bytes).map(|(_, len)| len)
}

/// A hash of the text of a key, given its inside; `text` is scratch memory.
pub(crate) fn hash_key(inside: &[u8], text: &mut Vec<u8>) -> u64 {
    if !inside.contains(&b'\\') {
        return hash(inside);
    }
    text.clear();
    decode_into(inside, text);
    hash(text)
}

/// FNV-1a over words, the last of which begins eight bytes before the end; a collision costs a comparison, nothing more.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: [u8; 8]| (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    let begin = bytes.len() as u64 ^ 0xcbf2_9ce4_8422_2325;
    let Some(last) = bytes.last_chunk() else {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        return step(begin, word);
    };
    let words = bytes[..bytes.len() - 1].as_chunks().0;
    step(words.iter().fold(begin, |hash, word| step(hash, *word)), *last)
}

/// The number of code points in UTF-8 `text`.
pub(crate) fn code_points(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_compare_however_they_are_escaped() {
        let check = |a: &str, b: &str, expected: Ordering| {
            assert_eq!(compare_texts(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
            assert_eq!(compare_texts(b.as_bytes(), a.as_bytes()), expected.reverse(), "{b} {a}");
            let mut decoded = Vec::new();
            assert!(decode_into(b.as_bytes(), &mut decoded));
            assert_eq!(text_equals(a.as_bytes(), &decoded), expected.is_eq(), "{a} {b}");
        };
        check("", "", Ordering::Equal);
        check("ab", r"\u0061b", Ordering::Equal);
        check(r"\ud83d\ude00", "😀", Ordering::Equal);
        check(r"\u00e9x", "é", Ordering::Greater);
        check(r"\n", r"\t", Ordering::Greater);
        check("a", r"a\\", Ordering::Less);
    }
}
