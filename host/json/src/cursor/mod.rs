//! Cursors: how the pass looks at a document.
//!
//! A cursor is a place in a document that moves forward over bytes it has seen to be part of a
//! token, never over the zero byte behind the end. The pass is written once against [`Cursor`] and
//! safe throughout; [`Safe`] walks any slice with checked accesses, [`simd::Wide`] walks a
//! [`Padded`](crate::Padded) document with unchecked wide loads, and the tests hold both equal.

mod safe;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "wide loads over padded documents; the safe cursor is its twin")]
pub(crate) mod simd;

pub(crate) use safe::Safe;

use crate::program::Node;
use crate::text;

use crate::pass::Walk;
use crate::program::KeyWords;

/// What is wrong with a token, as [`Refusal::Json`](crate::Refusal::Json) names it.
pub(crate) type Fault = &'static str;

/// A place in a document; see the module's documentation.
pub(crate) trait Cursor<'d>: Copy {
    /// The byte here; 0 at the end.
    fn peek(self) -> u8;

    /// The next eight bytes, the first in the lowest place; 0 behind the end.
    fn word(self) -> u64;

    /// Bytes from `origin`, an earlier place in the same document, to here.
    fn offset_from(self, origin: Self) -> usize;

    /// The place behind the byte here, if that is `BYTE` (not 0).
    fn accept<const BYTE: u8>(self) -> Option<Self>;

    /// The place behind the `N` (at most 8) bytes here, if they are `literal` (without a 0).
    fn accept_literal<const N: usize>(self, literal: &[u8; N]) -> Option<Self>;

    /// The first place from here that is no space, tab or line break.
    fn skip_whitespace(self) -> Self;

    /// The first place from here with a quote, a backslash or a control character (0 included).
    fn string_stop(self) -> Self;

    /// The place behind up to eight digits, how many there are, and their value.
    fn digits(self) -> (Self, usize, u64);

    /// Skips members of the form `digits":digits` from the first digit of a key on, separated by `,"`:
    /// the place behind the last value and how many there were; here and 0 where there is none, or where
    /// this cursor knows no shortcut. Values have at most 18 digits, no odd zero, and a byte behind them
    /// that is not part of a number.
    #[inline(always)]
    fn skip_counts(self) -> (Self, u64) {
        (self, 0)
    }

    /// The place behind the escape that begins here; `None` where it is broken.
    fn skip_escape(self) -> Option<Self>;

    /// The bytes from `start`, an earlier place in the same document, to here; for [`Text`] only.
    fn slice_from(self, start: Self) -> &'d [u8];

    /// The words of the key from `start`, an earlier place in the same document, to here; for
    /// [`Text`] only.
    fn key_words(self, start: Self) -> KeyWords;

    /// [`pass::value`](crate::pass::value), compiled for this cursor's processor features.
    fn value(walk: &mut Walk<'d, '_, Self>, at: Self, node: &Node, state: u32, depth: u32) -> Option<Self>;

    /// [`pass::plain`](crate::pass::plain), compiled for this cursor's processor features.
    fn plain(walk: &mut Walk<'d, '_, Self>, at: Self, depth: u32) -> Option<Self>;
}

/// A stretch of one document: made only here, so that both ends are of the same document and in order.
#[derive(Clone, Copy)]
pub(crate) struct Text<C> {
    start: C,
    end: C,
    /// Whether it contains a backslash.
    pub is_escaped: bool,
}

/// The inside of the string whose opening quote lies before `start` and the place behind its closing
/// quote, if it has no escapes; else where it has something else than a plain character.
#[inline(always)]
pub(crate) fn plain_string<'d, C: Cursor<'d>>(start: C) -> Result<(Text<C>, C), C> {
    let end = start.string_stop();
    let Some(after) = end.accept::<b'"'>() else { return Err(end) };
    Ok((Text { start, end, is_escaped: false }, after))
}

/// As [`plain_string`] for a string with escapes, of which `stop` is the first.
///
/// # Errors
/// The place of a control character or broken escape, and what is wrong there.
pub(crate) fn escaped_string<'d, C: Cursor<'d>>(start: C, stop: C) -> Result<(Text<C>, C), (C, Fault)> {
    let mut end = stop;
    loop {
        if let Some(after) = end.accept::<b'"'>() {
            return Ok((Text { start, end, is_escaped: true }, after));
        }
        if end.peek() != b'\\' {
            return Err((end, "string"));
        }
        end = end.skip_escape().ok_or((end, "escape"))?.string_stop();
    }
}

/// The token of a number that begins at `start`, and the place behind it.
///
/// # Errors
/// The place where the grammar is left.
pub(crate) fn number<'d, C: Cursor<'d>>(start: C) -> Result<(Text<C>, C), (C, Fault)> {
    let first = start.accept::<b'-'>().unwrap_or(start);
    let whole_end = some_digits(first)?;
    if first.peek() == b'0' && whole_end.offset_from(first) > 1 {
        return Err((start, "number"));
    }
    let mut end = whole_end;
    if let Some(fraction) = end.accept::<b'.'>() {
        end = some_digits(fraction)?;
    }
    if let Some(exponent) = end.accept::<b'e'>().or(end.accept::<b'E'>()) {
        end = some_digits(exponent.accept::<b'+'>().or(exponent.accept::<b'-'>()).unwrap_or(exponent))?;
    }
    Ok((Text { start, end, is_escaped: false }, end))
}

/// The place behind the digits here, of which there is at least one.
#[inline]
fn some_digits<'d, C: Cursor<'d>>(start: C) -> Result<C, (C, Fault)> {
    let (mut at, mut count, _) = start.digits();
    if count == 0 {
        return Err((start, "number"));
    }
    while count == 8 {
        (at, count, _) = at.digits();
    }
    Ok(at)
}

impl<'d, C: Cursor<'d>> Text<C> {
    /// The bytes.
    #[inline(always)]
    pub fn bytes(self) -> &'d [u8] {
        self.end.slice_from(self.start)
    }

    /// The words of the bytes, taken as a key.
    #[inline(always)]
    pub fn key_words(self) -> KeyWords {
        self.end.key_words(self.start)
    }

    /// Whether it is one to eight digits.
    #[inline(always)]
    pub fn is_short_digits(self) -> bool {
        let len = self.end.offset_from(self.start);
        len.wrapping_sub(1) < 8 && leading_digits(self.start.word()) >= len
    }

    /// The first byte's offset from `origin`.
    #[inline(always)]
    pub fn start_from(self, origin: C) -> usize {
        self.start.offset_from(origin)
    }

    /// The offset behind the last byte from `origin`.
    #[inline(always)]
    pub fn end_from(self, origin: C) -> usize {
        self.end.offset_from(origin)
    }
}

/// How many of the eight bytes of `word`, from the lowest, are digits.
#[inline(always)]
fn leading_digits(word: u64) -> usize {
    let distance = word ^ 0x3030_3030_3030_3030;
    let others = (distance.wrapping_add(0x7676_7676_7676_7676) | distance) & 0x8080_8080_8080_8080;
    others.trailing_zeros() as usize / 8
}

/// The value of the `count` digits that `word` begins with.
#[inline(always)]
pub(crate) fn digits_value(word: u64, count: usize) -> u64 {
    if count == 0 {
        return 0;
    }
    let digits = (word ^ 0x3030_3030_3030_3030) << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// The length of the escape at the start of `bytes`, as all cursors see it.
#[inline(always)]
fn escape_len(bytes: &[u8]) -> Option<usize> {
    text::escape_len(bytes)
}
