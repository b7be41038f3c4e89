//! The wide cursor: 16 or 32 bytes at a time over a padded document.
//!
//! Everything unsafe about the pass is here. The argument, once: a [`Wide`] points into the document
//! of the [`Padded`] it was made from, or at the zero byte behind it, because it only ever moves
//! over bytes that were seen not to be zero. So `PADDING` (64) bytes from it can be read.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm_sub_epi8,
    _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_sub_epi8,
};
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::{Cursor, digits_value, escape_len, leading_digits};
use crate::padded::{PADDING, Padded};
use crate::pass::{self, Walk};
use crate::program::{KeyWords, Node};

/// A set of processor features and the kernels that use it.
pub(crate) trait Level: Copy {
    /// How many bytes a kernel looks at.
    const WIDTH: usize;

    /// A bit for each of the [`Self::WIDTH`] bytes at `at` that is a quote, backslash or control
    /// character.
    ///
    /// # Safety
    /// The processor has the features; `at` is readable for [`Self::WIDTH`] bytes.
    unsafe fn string_stops(at: *const u8) -> u32;

    /// A bit for each of the [`Self::WIDTH`] bytes at `at` that is no whitespace.
    ///
    /// # Safety
    /// As above.
    unsafe fn blank_stops(at: *const u8) -> u32;

    /// A bit for each of the [`Self::WIDTH`] bytes at `at` that is no digit.
    ///
    /// # Safety
    /// As above.
    unsafe fn digit_stops(at: *const u8) -> u32;

    /// [`pass::value`] compiled for the features.
    ///
    /// # Safety
    /// The processor has the features.
    unsafe fn value<'d>(
        walk: &mut Walk<'d, '_, Wide<'d, Self>>,
        at: Wide<'d, Self>,
        node: &Node,
        state: u32,
        depth: u32,
    ) -> Option<Wide<'d, Self>>;

    /// [`pass::plain`] compiled for the features.
    ///
    /// # Safety
    /// The processor has the features.
    unsafe fn plain<'d>(walk: &mut Walk<'d, '_, Wide<'d, Self>>, at: Wide<'d, Self>, depth: u32) -> Option<Wide<'d, Self>>;
}

/// SSE2, which every x86-64 has.
#[derive(Clone, Copy)]
pub(crate) struct Sse2;

/// AVX2 with BMI.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// A place in a padded document. Only made by [`Wide::start`] with the features of `L` present.
pub(crate) struct Wide<'d, L> {
    at: NonNull<u8>,
    document: PhantomData<(&'d [u8], L)>,
}

impl<L> Clone for Wide<'_, L> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Wide<'_, L> {}

impl<'d> Wide<'d, Sse2> {
    /// The start of `document`.
    pub fn sse2(document: &'d Padded) -> Self {
        Self::start(document)
    }
}

impl<'d> Wide<'d, Avx2> {
    /// The start of `document`, if this processor has AVX2 and BMI.
    pub fn avx2(document: &'d Padded) -> Option<Self> {
        let has_features = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        has_features.then(|| Self::start(document))
    }
}

impl<'d, L: Level> Wide<'d, L> {
    fn start(document: &'d Padded) -> Self {
        Self { at: NonNull::from(document.with_padding()).cast(), document: PhantomData }
    }

    #[inline(always)]
    fn pointer(self) -> *const u8 {
        self.at.as_ptr()
    }

    /// The place `count` bytes on.
    ///
    /// # Safety
    /// None of these bytes is zero.
    #[inline(always)]
    unsafe fn forward(self, count: usize) -> Self {
        // SAFETY: bytes that are not zero lie before the end of the document (see the module).
        Self { at: unsafe { self.at.add(count) }, ..self }
    }

    /// Moves by whole widths while `stops` finds nothing, then to what it found.
    #[inline(always)]
    fn seek(self, stops: impl Fn(*const u8) -> u32) -> Self {
        let mut here = self;
        loop {
            let found = stops(here.pointer());
            if found != 0 {
                // SAFETY: a zero byte is a stop, so there is none before the first stop.
                return unsafe { here.forward(found.trailing_zeros() as usize) };
            }
            // SAFETY: no stop, hence no zero byte, among these bytes.
            here = unsafe { here.forward(L::WIDTH) };
        }
    }
}

impl<'d, L: Level> Cursor<'d> for Wide<'d, L> {
    #[inline(always)]
    fn peek(self) -> u8 {
        // SAFETY: one byte is readable (see the module).
        unsafe { self.pointer().read() }
    }

    #[inline(always)]
    fn word(self) -> u64 {
        // SAFETY: eight bytes are readable (see the module).
        u64::from_le(unsafe { self.pointer().cast::<u64>().read_unaligned() })
    }

    #[inline(always)]
    fn offset_from(self, origin: Self) -> usize {
        self.pointer().addr().wrapping_sub(origin.pointer().addr())
    }

    #[inline(always)]
    fn accept<const BYTE: u8>(self) -> Option<Self> {
        const { assert!(BYTE != 0) };
        // SAFETY: the byte stepped over is `BYTE`, which is not zero.
        (self.peek() == BYTE).then(|| unsafe { self.forward(1) })
    }

    #[inline(always)]
    fn accept_literal<const N: usize>(self, literal: &[u8; N]) -> Option<Self> {
        const { assert!(N <= 8) };
        let word = self.word().to_le_bytes();
        let is_equal = literal.iter().zip(word).all(|(&expected, byte)| expected == byte && byte != 0);
        // SAFETY: the bytes stepped over were just compared with zero.
        is_equal.then(|| unsafe { self.forward(N) })
    }

    #[inline(always)]
    fn skip_whitespace(self) -> Self {
        if self.peek() > b' ' {
            return self;
        }
        // SAFETY: `L::WIDTH` bytes are readable; `L`'s features are present (see `Wide`).
        self.seek(|at| unsafe { L::blank_stops(at) })
    }

    #[inline(always)]
    fn string_stop(self) -> Self {
        // SAFETY: `L::WIDTH` bytes are readable; `L`'s features are present (see `Wide`).
        self.seek(|at| unsafe { L::string_stops(at) })
    }

    #[inline(always)]
    fn digits(self) -> (Self, usize, u64) {
        let word = self.word();
        let count = leading_digits(word);
        // SAFETY: digits are not zero bytes.
        (unsafe { self.forward(count) }, count, digits_value(word, count))
    }

    #[inline(always)]
    fn skip_counts(self) -> (Self, u64) {
        // SAFETY: `L::WIDTH` bytes are readable; `L`'s features are present (see `Wide`).
        let mut stops = unsafe { L::digit_stops(self.pointer()) };
        let (mut here, mut end, mut members) = (self, self, 0);
        loop {
            let key = stops.trailing_zeros();
            // The bits of the value; where the key fills the window there are none and no value.
            let values = stops.checked_shr(key + 2).unwrap_or(0);
            let value = values.trailing_zeros();
            if key == 0 || value == 0 || values == 0 || value > 18 {
                return (end, members);
            }
            let (key, value) = (key as usize, value as usize);
            // SAFETY: `key + 2 + value` is the position of a stop within the window of at most 32 bytes,
            // `here` lies less than that behind `self`: all these bytes are readable.
            let (colon, digit, after) = unsafe {
                let value_at = here.pointer().add(key + 2);
                (
                    here.pointer().add(key).cast::<u16>().read_unaligned(),
                    value_at.read(),
                    value_at.add(value).cast::<u16>().read_unaligned(),
                )
            };
            let is_number = (digit != b'0' || value == 1) && !matches!(after as u8, b'.' | b'e' | b'E');
            if u16::from_le(colon) != u16::from_le_bytes(*b"\":") || !is_number {
                return (end, members);
            }
            members += 1;
            // SAFETY: digits, a quote and a colon are not zero bytes.
            end = unsafe { here.forward(key + 2 + value) };
            stops = values.checked_shr(value as u32 + 2).unwrap_or(0);
            if u16::from_le(after) != u16::from_le_bytes(*b",\"") || stops == 0 {
                return (end, members);
            }
            // SAFETY: neither are a comma and a quote.
            here = unsafe { end.forward(2) };
        }
    }

    #[inline]
    fn skip_escape(self) -> Option<Self> {
        const { assert!(PADDING >= 12) };
        // SAFETY: twelve bytes are readable (see the module); an escape is no longer than that.
        let bytes = unsafe { std::slice::from_raw_parts(self.pointer(), 12) };
        // SAFETY: no byte of an escape is zero.
        escape_len(bytes).map(|len| unsafe { self.forward(len) })
    }

    #[inline(always)]
    fn slice_from(self, start: Self) -> &'d [u8] {
        // SAFETY: only `Text` calls this, whose ends are of one document and in order.
        unsafe { std::slice::from_raw_parts(start.pointer(), self.offset_from(start)) }
    }

    #[inline(always)]
    fn key_words(self, start: Self) -> KeyWords {
        let len = self.offset_from(start);
        let first = start.word();
        if len < 8 {
            let mask = (1_u64 << (8 * len)) - 1;
            return KeyWords { first: first & mask, last: 0, len: len as u32 };
        }
        // SAFETY: only `Text` calls this: the eight bytes before here lie within the text.
        let last = u64::from_le(unsafe { self.pointer().sub(8).cast::<u64>().read_unaligned() });
        KeyWords { first, last, len: len as u32 }
    }

    #[inline(always)]
    fn value(walk: &mut Walk<'d, '_, Self>, at: Self, node: &Node, state: u32, depth: u32) -> Option<Self> {
        // SAFETY: `L`'s features are present (see `Wide`).
        unsafe { L::value(walk, at, node, state, depth) }
    }

    #[inline(always)]
    fn plain(walk: &mut Walk<'d, '_, Self>, at: Self, depth: u32) -> Option<Self> {
        // SAFETY: `L`'s features are present (see `Wide`).
        unsafe { L::plain(walk, at, depth) }
    }
}

impl Level for Sse2 {
    const WIDTH: usize = 16;

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn string_stops(at: *const u8) -> u32 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm_loadu_si128(at.cast::<__m128i>()) };
        let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), controls)) as u32
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn blank_stops(at: *const u8) -> u32 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm_loadu_si128(at.cast::<__m128i>()) };
        let is = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
        let blanks = _mm_or_si128(_mm_or_si128(is(b' '), is(b'\n')), _mm_or_si128(is(b'\r'), is(b'\t')));
        !(_mm_movemask_epi8(blanks) as u32) & 0xffff
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    unsafe fn digit_stops(at: *const u8) -> u32 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm_loadu_si128(at.cast::<__m128i>()) };
        let distance = _mm_sub_epi8(bytes, _mm_set1_epi8(b'0' as i8));
        !(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(distance, _mm_set1_epi8(9)), distance)) as u32) & 0xffff
    }

    unsafe fn value<'d>(
        walk: &mut Walk<'d, '_, Wide<'d, Self>>,
        at: Wide<'d, Self>,
        node: &Node,
        state: u32,
        depth: u32,
    ) -> Option<Wide<'d, Self>> {
        pass::value(walk, at, node, state, depth)
    }

    unsafe fn plain<'d>(walk: &mut Walk<'d, '_, Wide<'d, Self>>, at: Wide<'d, Self>, depth: u32) -> Option<Wide<'d, Self>> {
        pass::plain(walk, at, depth)
    }
}

impl Level for Avx2 {
    const WIDTH: usize = 32;

    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn string_stops(at: *const u8) -> u32 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm256_loadu_si256(at.cast::<__m256i>()) };
        let quotes = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'"' as i8));
        let backslashes = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\\' as i8));
        let controls = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
        _mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(quotes, backslashes), controls)) as u32
    }

    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn blank_stops(at: *const u8) -> u32 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm256_loadu_si256(at.cast::<__m256i>()) };
        let is = |byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8));
        let blanks = _mm256_or_si256(_mm256_or_si256(is(b' '), is(b'\n')), _mm256_or_si256(is(b'\r'), is(b'\t')));
        !(_mm256_movemask_epi8(blanks) as u32)
    }

    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn digit_stops(at: *const u8) -> u32 {
        // SAFETY: the caller's promise.
        let bytes = unsafe { _mm256_loadu_si256(at.cast::<__m256i>()) };
        let distance = _mm256_sub_epi8(bytes, _mm256_set1_epi8(b'0' as i8));
        !(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(distance, _mm256_set1_epi8(9)), distance)) as u32)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn value<'d>(
        walk: &mut Walk<'d, '_, Wide<'d, Self>>,
        at: Wide<'d, Self>,
        node: &Node,
        state: u32,
        depth: u32,
    ) -> Option<Wide<'d, Self>> {
        pass::value(walk, at, node, state, depth)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn plain<'d>(walk: &mut Walk<'d, '_, Wide<'d, Self>>, at: Wide<'d, Self>, depth: u32) -> Option<Wide<'d, Self>> {
        pass::plain(walk, at, depth)
    }
}
