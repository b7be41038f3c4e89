//! Protobuf primitives over byte slices.

use crate::error::{Fault, Problem};

/// Wire type of integers, booleans and enums.
pub(crate) const VARINT: u8 = 0;
/// Wire type of doubles.
pub(crate) const FIXED64: u8 = 1;
/// Wire type of strings, bytes, messages and packed numbers.
pub(crate) const BYTES: u8 = 2;

/// A varint has at most ten bytes of seven bits.
const VARINT_BYTES_MAX: usize = 10;

/// One element: its key and what follows it.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub tag: u32,
    pub wire_type: u8,
    /// Where the key begins.
    pub position: usize,
    pub content: Content<'a>,
}

impl Element<'_> {
    #[cold]
    pub(crate) fn fault(&self, problem: Problem) -> Fault {
        Fault { tag: self.tag, wire_type: self.wire_type, position: self.position, problem }
    }
}

/// What follows a key.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
}

/// Reads the varint at `at` and moves `at` behind it.
#[inline(always)]
pub(crate) fn read_varint(bytes: &[u8], at: &mut usize) -> Result<u64, Problem> {
    match bytes.get(*at) {
        Some(&byte) if byte < 0x80 => {
            *at += 1;
            Ok(u64::from(byte))
        }
        _ => read_long_varint(bytes, at),
    }
}

#[inline(never)]
fn read_long_varint(bytes: &[u8], at: &mut usize) -> Result<u64, Problem> {
    // Of two or three bytes, as most are: what is behind them may be nothing.
    if let [first, second, rest @ ..] = bytes.get(*at..).unwrap_or_default() {
        let low = u64::from(*first & 0x7f) | u64::from(*second & 0x7f) << 7;
        match (second, rest) {
            (0..0x80, _) => {
                *at += 2;
                return Ok(low);
            }
            (_, [third @ 0..0x80, ..]) => {
                *at += 3;
                return Ok(low | u64::from(*third) << 14);
            }
            _ => {}
        }
    }
    let (mut value, mut begin) = (0u64, 0);
    // Eight bytes at once: a time has nine.
    if let Some(window) = bytes.get(*at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*window);
        let ends = !word & 0x8080_8080_8080_8080;
        if ends != 0 {
            let end = ends.trailing_zeros();
            *at += end as usize / 8 + 1;
            return Ok(groups_of_seven(word & (u64::MAX >> (63 - end))));
        }
        (value, begin) = (groups_of_seven(word), 8);
    }
    for index in begin..VARINT_BYTES_MAX {
        let byte = *bytes.get(*at + index).ok_or(Problem::Truncated)?;
        // The tenth byte has room for the 64th bit only.
        if index == VARINT_BYTES_MAX - 1 && byte > 1 {
            return Err(Problem::Varint);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *at += index + 1;
            return Ok(value);
        }
    }
    Err(Problem::Varint)
}

/// The low seven bits of each byte, side by side.
#[inline]
fn groups_of_seven(word: u64) -> u64 {
    let word = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let word = word & 0x0000_3fff_0000_3fff | (word & 0x3fff_0000_3fff_0000) >> 2;
    word & 0x0fff_ffff | (word & 0x0fff_ffff_0000_0000) >> 4
}

/// Reads the element at `at` and moves `at` behind it. The caller checks that there is a byte at `at`.
///
/// Always inlined: as a call, element and fault go through memory, and parsing takes twice as long.
#[inline(always)]
pub(crate) fn read_element<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Element<'a>, Fault> {
    let position = *at;
    let broken_key = |problem| Fault { tag: 0, wire_type: 0, position, problem };
    let key = read_varint(bytes, at).map_err(broken_key)?;
    let wire_type = (key & 7) as u8;
    let tag = u32::try_from(key >> 3).map_err(|_| broken_key(Problem::UnknownTag))?;
    match read_content(bytes, at, wire_type) {
        Ok(content) => Ok(Element { tag, wire_type, position, content }),
        Err(problem) => Err(Fault { tag, wire_type, position, problem }),
    }
}

#[inline(always)]
fn read_content<'a>(bytes: &'a [u8], at: &mut usize, wire_type: u8) -> Result<Content<'a>, Problem> {
    match wire_type {
        VARINT => read_varint(bytes, at).map(Content::Varint),
        BYTES => {
            let length = read_varint(bytes, at)?;
            let rest = bytes.get(*at..).ok_or(Problem::Truncated)?;
            let length = usize::try_from(length).map_err(|_| Problem::Truncated)?;
            let content = rest.get(..length).ok_or(Problem::Truncated)?;
            *at += length;
            Ok(Content::Bytes(content))
        }
        FIXED64 => {
            let content = bytes.get(*at..).and_then(|rest| rest.first_chunk::<8>()).ok_or(Problem::Truncated)?;
            *at += content.len();
            Ok(Content::Fixed64(*content))
        }
        _ => Err(Problem::WireType),
    }
}

/// The key of an element, as a byte: all tags here are below 16.
pub(crate) const fn key(tag: u8, wire_type: u8) -> u8 {
    tag << 3 | wire_type
}

/// How many bytes the varint takes.
pub(crate) const fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// How many bytes key, length and content of a bytes element take.
pub(crate) const fn bytes_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}

/// Appends a varint.
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the key and the length of a bytes element whose content follows.
pub(crate) fn write_bytes_head(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(key(tag, BYTES));
    write_varint(out, length as u64);
}

/// Appends a bytes element.
pub(crate) fn write_bytes(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    write_bytes_head(out, tag, content.len());
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_keep_their_value_and_announce_their_length() {
        for value in (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            assert_eq!(bytes.len(), varint_len(value), "length of {value}");
            let mut at = 0;
            assert_eq!(read_varint(&bytes, &mut at), Ok(value));
            assert_eq!(at, bytes.len());
            assert_eq!(read_varint(&bytes[..bytes.len() - 1], &mut 0), Err(Problem::Truncated));
            let (len, mut at) = (bytes.len(), 0);
            bytes.extend([0xff; 8]);
            assert_eq!((read_varint(&bytes, &mut at), at), (Ok(value), len), "with more behind it");
        }
    }

    #[test]
    fn varints_beyond_64_bits_are_refused() {
        let mut bytes = vec![0xff; 9];
        bytes.push(2);
        assert_eq!(read_varint(&bytes, &mut 0), Err(Problem::Varint));
        assert_eq!(read_varint(&[0x80; 11], &mut 0), Err(Problem::Varint));
    }
}
