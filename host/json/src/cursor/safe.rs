//! The safe cursor: any slice, every access checked, eight bytes at a time.

use super::{Cursor, digits_value, escape_len, leading_digits};
use crate::pass::{self, Walk};
use crate::program::{KeyWords, Node};

/// A place in a slice. Invariant: `at <= bytes.len()`.
#[derive(Clone, Copy)]
pub(crate) struct Safe<'d> {
    bytes: &'d [u8],
    at: usize,
}

impl<'d> Safe<'d> {
    /// The start of `bytes`.
    pub fn new(bytes: &'d [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The bytes from here to the end.
    pub fn rest(self) -> &'d [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// A place `count` bytes on, or the end.
    pub fn skip(self, count: usize) -> Self {
        Self { at: (self.at + count).min(self.bytes.len()), ..self }
    }
}

impl<'d> Cursor<'d> for Safe<'d> {
    #[inline]
    fn peek(self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn word(self) -> u64 {
        let mut word = [0; 8];
        match self.bytes.get(self.at..self.at + 8) {
            Some(bytes) => word.copy_from_slice(bytes),
            None => word[..self.rest().len()].copy_from_slice(self.rest()),
        }
        u64::from_le_bytes(word)
    }

    #[inline]
    fn offset_from(self, origin: Self) -> usize {
        self.at - origin.at
    }

    #[inline]
    fn accept<const BYTE: u8>(self) -> Option<Self> {
        (self.bytes.get(self.at) == Some(&BYTE)).then_some(Self { at: self.at + 1, ..self })
    }

    #[inline]
    fn accept_literal<const N: usize>(self, literal: &[u8; N]) -> Option<Self> {
        self.rest().starts_with(literal).then(|| self.skip(N))
    }

    #[inline]
    fn skip_whitespace(self) -> Self {
        let count = self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
        Self { at: self.at + count, ..self }
    }

    #[inline]
    fn string_stop(self) -> Self {
        let mut here = self;
        loop {
            let count = stops(here.word());
            here = here.skip(count);
            if count < 8 {
                return here;
            }
        }
    }

    #[inline]
    fn digits(self) -> (Self, usize, u64) {
        let word = self.word();
        let count = leading_digits(word);
        (self.skip(count), count, digits_value(word, count))
    }

    fn skip_escape(self) -> Option<Self> {
        escape_len(self.rest()).map(|len| self.skip(len))
    }

    #[inline]
    fn slice_from(self, start: Self) -> &'d [u8] {
        self.bytes.get(start.at..self.at).unwrap_or_default()
    }

    #[inline]
    fn key_words(self, start: Self) -> KeyWords {
        KeyWords::of(self.slice_from(start))
    }

    fn value(walk: &mut Walk<'d, '_, Self>, at: Self, node: &Node, state: u32, depth: u32) -> Option<Self> {
        pass::value(walk, at, node, state, depth)
    }

    fn plain(walk: &mut Walk<'d, '_, Self>, at: Self, depth: u32) -> Option<Self> {
        pass::plain(walk, at, depth)
    }
}

/// How many bytes of `word`, from the lowest, come before a quote, backslash or control character.
#[inline]
fn stops(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The lowest flag set by each test is exact; higher ones may be false.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let equals = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let flags = below(word, 0x20) | equals(b'"') | equals(b'\\');
    flags.trailing_zeros() as usize / 8
}
