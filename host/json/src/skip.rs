//! Skipping arrays and objects, 64 bytes at a time and without recursion.

/// One bit for each of 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Masks {
    quotes: u64,
    backslashes: u64,
    opens: u64,
    closes: u64,
}

/// The length of the array or object that `bytes`, checked before, begins with; everything where it has
/// no end.
pub(crate) fn container_len(bytes: &[u8]) -> usize {
    let mut skipper = Skipper { depth: 0, in_string: 0, is_escaped: 0 };
    let (blocks, tail) = bytes.as_chunks::<64>();
    for (number, block) in blocks.iter().enumerate() {
        if let Some(len) = skipper.end_within(masks(block)) {
            return number * 64 + len;
        }
    }
    let mut last = [0; 64];
    last[..tail.len()].copy_from_slice(tail);
    let len = skipper.end_within(masks(&last)).unwrap_or(tail.len());
    blocks.len() * 64 + len.min(tail.len())
}

/// What one block leaves to the next.
struct Skipper {
    depth: u64,
    /// All ones within a string, else 0.
    in_string: u64,
    /// 1 where the next byte is escaped.
    is_escaped: u64,
}

impl Skipper {
    /// The length up to the bracket that closes the outermost array or object, if it is in this block.
    #[inline(always)]
    fn end_within(&mut self, masks: Masks) -> Option<usize> {
        let quotes = masks.quotes & !self.escaped(masks.backslashes);
        let strings = prefix_xor(quotes) ^ self.in_string;
        self.in_string = 0_u64.wrapping_sub(strings >> 63);
        let (opens, closes) = (masks.opens & !strings, masks.closes & !strings);
        let (opened, closed) = (u64::from(opens.count_ones()), u64::from(closes.count_ones()));
        if closed < self.depth || closes == 0 {
            self.depth = self.depth + opened - closed;
            return None;
        }
        self.closing_bracket(opens, closes)
    }

    #[inline(always)]
    fn closing_bracket(&mut self, opens: u64, closes: u64) -> Option<usize> {
        let mut left = closes;
        let mut closed = 0;
        while left != 0 {
            let at = left.trailing_zeros();
            let opened = u64::from((opens & ((1 << at) - 1)).count_ones());
            closed += 1;
            if self.depth + opened <= closed {
                return Some(at as usize + 1);
            }
            left &= left - 1;
        }
        self.depth = self.depth + u64::from(opens.count_ones()) - closed;
        None
    }

    /// The bytes that a backslash escapes. Blocks with backslashes are rare, so they are looked at one by
    /// one.
    #[inline(always)]
    fn escaped(&mut self, backslashes: u64) -> u64 {
        if backslashes == 0 {
            return std::mem::take(&mut self.is_escaped);
        }
        let (mut escaped, mut is_escaped) = (0, self.is_escaped);
        for at in 0..64 {
            escaped |= is_escaped << at;
            is_escaped = (backslashes >> at) & 1 & !is_escaped;
        }
        self.is_escaped = is_escaped;
        escaped
    }
}

/// Each bit the parity of the bits up to and including it.
#[inline(always)]
fn prefix_xor(bits: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].into_iter().fold(bits, |bits, shift| bits ^ bits << shift)
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn masks(block: &[u8; 64]) -> Masks {
    #[expect(unsafe_code, reason = "SSE2, with `safe_masks` as its twin")]
    // SAFETY: every x86-64 has SSE2.
    unsafe {
        sse2_masks(block)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn masks(block: &[u8; 64]) -> Masks {
    safe_masks(block)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn sse2_masks(block: &[u8; 64]) -> Masks {
    use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
    let mut masks = Masks { quotes: 0, backslashes: 0, opens: 0, closes: 0 };
    for (part, bytes) in block.as_chunks::<16>().0.iter().enumerate() {
        #[expect(unsafe_code, reason = "a load of 16 bytes")]
        // SAFETY: `bytes` are 16 bytes.
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast::<__m128i>()) };
        // `[` and `]` differ from `{` and `}` in this bit only, and nothing else falls together.
        let folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
        let shift = part * 16;
        let bits = |bytes, byte: u8| u64::from(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))) as u32) << shift;
        masks.quotes |= bits(bytes, b'"');
        masks.backslashes |= bits(bytes, b'\\');
        masks.opens |= bits(folded, b'{');
        masks.closes |= bits(folded, b'}');
    }
    masks
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn safe_masks(block: &[u8; 64]) -> Masks {
    let bits = |is: fn(u8) -> bool| (0..).zip(block).fold(0, |bits, (at, &byte)| bits | u64::from(is(byte)) << at);
    Masks {
        quotes: bits(|byte| byte == b'"'),
        backslashes: bits(|byte| byte == b'\\'),
        opens: bits(|byte| matches!(byte, b'{' | b'[')),
        closes: bits(|byte| matches!(byte, b'}' | b']')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_masks_are_those_of_the_twin() {
        let mut block = [0; 64];
        for round in 0..256_usize {
            for (at, byte) in block.iter_mut().enumerate() {
                *byte = (round + at * 5) as u8;
            }
            assert_eq!(masks(&block), safe_masks(&block), "{block:?}");
        }
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        let check = |container: &str| {
            for before in 0..70 {
                let container = container.replacen('~', &"x".repeat(before), 1);
                for behind in ["", "]", ",\"a\":[", &"}".repeat(100)] {
                    let text = format!("{container}{behind}");
                    assert_eq!(container_len(text.as_bytes()), container.len(), "{text}");
                }
            }
        };
        check("[]");
        check(r#"["~"]"#);
        check(r#"["~\\",{"}":["\"]"]},"\\\"]"]"#);
        check(r#"{"~":{"a":[[[]],{}]},"b\\":"\\\\"}"#);
        check(&format!("{}~{}", "[".repeat(100), "]".repeat(100)));
    }

    #[test]
    fn what_has_no_end_is_skipped_whole() {
        for text in ["[", "{\"a", "[[]", "[\"]", "[\"\\"] {
            assert_eq!(container_len(text.as_bytes()), text.len(), "{text}");
        }
        let long = "[".repeat(1000);
        assert_eq!(container_len(long.as_bytes()), 1000);
    }
}
