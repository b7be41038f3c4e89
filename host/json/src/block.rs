//! What is looked for among 16 or 64 bytes at a time, with a bit for each byte in the answer, the first one the lowest.

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use safe::{bracket_stops, digit_stops, string_stops};
#[cfg(target_arch = "x86_64")]
pub(crate) use sse2::{bracket_stops, digit_stops, string_stops};

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "SSE2, which every x86-64 has; `safe` is its twin")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm_sub_epi8,
    };

    /// Quotes and backslashes.
    #[inline(always)]
    pub(crate) fn string_stops(block: &[u8; 16]) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe {
            let bytes = load(block);
            bits(_mm_or_si128(equal(bytes, b'"'), equal(bytes, b'\\')))
        }
    }

    /// Quotes, brackets and braces.
    #[inline(always)]
    pub(crate) fn bracket_stops(block: &[u8; 16]) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe {
            let bytes = load(block);
            // `[` and `]` differ from `{` and `}` in this bit only, and nothing else falls together.
            let braces = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
            bits(_mm_or_si128(equal(bytes, b'"'), _mm_or_si128(equal(braces, b'{'), equal(braces, b'}'))))
        }
    }

    /// What is no digit.
    #[inline(always)]
    pub(crate) fn digit_stops(block: &[u8; 64]) -> u64 {
        let mut digits = 0;
        for (part, bytes) in block.as_chunks::<16>().0.iter().enumerate() {
            // SAFETY: every x86-64 has SSE2.
            let are_digits = unsafe {
                let distance = _mm_sub_epi8(load(bytes), _mm_set1_epi8(b'0' as i8));
                bits(_mm_cmpeq_epi8(_mm_min_epu8(distance, _mm_set1_epi8(9)), distance))
            };
            digits |= u64::from(are_digits) << (part * 16);
        }
        !digits
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(block: &[u8; 16]) -> __m128i {
        // SAFETY: these are 16 bytes.
        unsafe { _mm_loadu_si128(block.as_ptr().cast::<__m128i>()) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn equal(bytes: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits(marks: __m128i) -> u32 {
        _mm_movemask_epi8(marks) as u32
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod safe {
    pub(crate) fn string_stops(block: &[u8; 16]) -> u32 {
        bits(block, |byte| matches!(byte, b'"' | b'\\')) as u32
    }

    pub(crate) fn bracket_stops(block: &[u8; 16]) -> u32 {
        bits(block, |byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']')) as u32
    }

    pub(crate) fn digit_stops(block: &[u8; 64]) -> u64 {
        bits(block, |byte| !byte.is_ascii_digit())
    }

    fn bits(block: &[u8], is: impl Fn(u8) -> bool) -> u64 {
        (0..).zip(block).fold(0, |bits, (at, byte)| bits | u64::from(is(*byte)) << at)
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_the_twin() {
        let mut block = [0; 64];
        for round in 0..256_usize {
            for (at, byte) in block.iter_mut().enumerate() {
                *byte = (round + at * 5) as u8;
            }
            assert_eq!(sse2::digit_stops(&block), safe::digit_stops(&block), "{block:?}");
            for block in block.as_chunks().0 {
                assert_eq!(sse2::string_stops(block), safe::string_stops(block), "{block:?}");
                assert_eq!(sse2::bracket_stops(block), safe::bracket_stops(block), "{block:?}");
            }
        }
    }
}
