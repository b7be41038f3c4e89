//! CRC-32C: the checksum of everything in the log.
//!
//! A reader pays for it on every byte, so large buffers take carry-less multiplications of 512 bits where the processor has them:
//! 256 bytes a turn of the loop, where the crate `crc32c` has 24 (three interleaved `crc32` instructions).
//! Everywhere else, and for what is short, it is that crate.

/// The CRC of these bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_append(0, bytes)
}

/// The CRC of bytes whose beginning has this CRC, and that go on with these.
pub(crate) fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= folding::BYTES_MIN && folding::is_supported() {
        let (folded, rest) = bytes.split_at(bytes.len() - bytes.len() % folding::STRIDE);
        // SAFETY: the processor has what the function is compiled for.
        #[expect(unsafe_code, reason = "a function that is compiled for some processors only")]
        let crc = unsafe { folding::append(crc, folded) };
        return ::crc32c::crc32c_append(crc, rest);
    }
    ::crc32c::crc32c_append(crc, bytes)
}

/// Folding, after "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Gopal et al., 2009): what lies in a
/// register is carried over a distance of bits by two multiplications and added to what lies there.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "instructions of some processors only")]
mod folding {
    use std::arch::x86_64::{
        __m128i, __m512i, _mm_clmulepi64_si128, _mm_crc32_u64, _mm_cvtsi32_si128, _mm_extract_epi64, _mm_set_epi64x, _mm_xor_si128,
        _mm512_broadcast_i32x4, _mm512_clmulepi64_epi128, _mm512_extracti32x4_epi32, _mm512_loadu_si512, _mm512_ternarylogic_epi64,
        _mm512_xor_si512, _mm512_zextsi128_si512,
    };

    /// Four registers at a time.
    pub(super) const STRIDE: usize = 4 * REGISTER;
    /// What is shorter is quicker without.
    pub(super) const BYTES_MIN: usize = 2 * STRIDE;
    const REGISTER: usize = 64;

    /// Castagnoli's polynomial without its highest term, the highest degree first.
    const POLYNOMIAL: u32 = 0x1edc_6f41;

    /// What folds 128 bits over this distance: for the low half and for the high one, each with its lowest degree first.
    const fn multipliers(distance_bits: u32) -> (i64, i64) {
        (power(distance_bits + 31).reverse_bits() as i64, power(distance_bits - 33).reverse_bits() as i64)
    }

    /// x to this power, modulo the polynomial.
    const fn power(exponent: u32) -> u32 {
        let (mut power, mut done) = (1_u32, 0);
        while done < exponent {
            let carried = power >> 31 == 1;
            power <<= 1;
            if carried {
                power ^= POLYNOMIAL;
            }
            done += 1;
        }
        power
    }

    /// Whether the processor has what [`append`] is compiled for.
    pub(super) fn is_supported() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("vpclmulqdq")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("sse4.2")
    }

    #[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq,sse4.2")]
    fn wide(distance_bits: (i64, i64)) -> __m512i {
        _mm512_broadcast_i32x4(_mm_set_epi64x(distance_bits.1, distance_bits.0))
    }

    /// Carries `from` over the distance and adds it to `to`.
    #[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq,sse4.2")]
    fn fold(from: __m512i, by: __m512i, to: __m512i) -> __m512i {
        let (low, high) = (_mm512_clmulepi64_epi128::<0x00>(from, by), _mm512_clmulepi64_epi128::<0x11>(from, by));
        _mm512_ternarylogic_epi64::<0x96>(low, high, to)
    }

    #[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq,sse4.2")]
    fn fold_lane(from: __m128i, by: (i64, i64), to: __m128i) -> __m128i {
        let by = _mm_set_epi64x(by.1, by.0);
        let (low, high) = (_mm_clmulepi64_si128::<0x00>(from, by), _mm_clmulepi64_si128::<0x11>(from, by));
        _mm_xor_si128(_mm_xor_si128(low, high), to)
    }

    #[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq,sse4.2")]
    fn load(stride: &[u8; STRIDE]) -> [__m512i; 4] {
        let at = |register: usize| stride[register * REGISTER..].as_ptr().cast();
        // SAFETY: each load is of `REGISTER` bytes that lie within the stride; it needs no alignment.
        unsafe { [_mm512_loadu_si512(at(0)), _mm512_loadu_si512(at(1)), _mm512_loadu_si512(at(2)), _mm512_loadu_si512(at(3))] }
    }

    /// As [`super::crc32c_append`], of whole strides and at least one.
    #[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq,sse4.2")]
    pub(super) fn append(crc: u32, bytes: &[u8]) -> u32 {
        const OVER_STRIDE: (i64, i64) = multipliers(8 * STRIDE as u32);
        const OVER_REGISTER: (i64, i64) = multipliers(8 * REGISTER as u32);
        let (strides, rest) = bytes.as_chunks::<STRIDE>();
        let Some((first, strides)) = strides.split_first().filter(|_| rest.is_empty()) else { return ::crc32c::crc32c_append(crc, bytes) };
        let [mut a, mut b, mut c, mut d] = load(first);
        a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((!crc).cast_signed())));
        let by = wide(OVER_STRIDE);
        for stride in strides {
            let next = load(stride);
            (a, b, c, d) = (fold(a, by, next[0]), fold(b, by, next[1]), fold(c, by, next[2]), fold(d, by, next[3]));
        }
        let by = wide(OVER_REGISTER);
        reduce(fold(fold(fold(a, by, b), by, c), by, d))
    }

    /// The CRC that the register's bytes have as a whole message.
    #[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq,sse4.2")]
    fn reduce(register: __m512i) -> u32 {
        const LANE: (i64, i64) = multipliers(128);
        let lanes = [
            _mm512_extracti32x4_epi32::<0>(register),
            _mm512_extracti32x4_epi32::<1>(register),
            _mm512_extracti32x4_epi32::<2>(register),
            _mm512_extracti32x4_epi32::<3>(register),
        ];
        let folded = fold_lane(fold_lane(fold_lane(lanes[0], LANE, lanes[1]), LANE, lanes[2]), LANE, lanes[3]);
        let low = _mm_crc32_u64(0, _mm_extract_epi64::<0>(folded).cast_unsigned());
        !(_mm_crc32_u64(low, _mm_extract_epi64::<1>(folded).cast_unsigned()) as u32)
    }

    #[cfg(test)]
    mod tests {
        /// The two distances whose multipliers are printed in many places.
        #[test]
        fn multipliers_are_those_of_the_literature() {
            assert_eq!(super::multipliers(128), (0xf20c_0dfe, 0x493c_7d27));
            assert_eq!(super::multipliers(512), (0x740e_ef02, 0x9e4a_ddf8));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes without a pattern that folding could hide.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn it_is_what_the_crate_says_for_every_length_and_place() {
        let bytes = noise(3_000);
        for start in 0..70 {
            for end in (start..bytes.len()).step_by(if start < 3 { 1 } else { 61 }) {
                let (part, before) = (&bytes[start..end], start as u32 * 77_777);
                assert_eq!(crc32c_append(before, part), ::crc32c::crc32c_append(before, part), "{start}..{end}");
            }
        }
        assert_eq!(crc32c(b"123456789"), 0xe306_9283, "the check value of the standard");
    }

    #[test]
    fn parts_put_together_have_the_crc_of_the_whole() {
        let bytes = noise(100_000);
        for cut in [0, 1, 511, 512, 513, 65_536, 99_999, 100_000] {
            assert_eq!(crc32c_append(crc32c(&bytes[..cut]), &bytes[cut..]), ::crc32c::crc32c(&bytes), "cut at {cut}");
        }
    }
}
