//! Mutations that know nothing of what the bytes mean.

use crate::Random;

/// Bytes that mean something to many formats.
const NOTABLE: [u8; 24] = *b"\x00\x01\x07\x08\x0a\x1e\x1f\x22\x5c\x7f\x80\xbf\xc0\xc3\xe2\xed\xf0\xf4\xff{}[]0";

/// The longest document that a mutation makes of a shorter one.
const GROWN_BYTES_MAX: usize = 1 << 20;

/// Changes `bytes` in one place; `other` is a second input to take pieces from.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(12) {
        0 => change(bytes, at, |byte, random| byte ^ (1 << random.below(8)), random),
        1 => change(bytes, at, |_, random| random.any() as u8, random),
        2 => change(bytes, at, |_, random| NOTABLE[random.below(NOTABLE.len())], random),
        3 => change(bytes, at, |byte, random| byte.wrapping_add([1, 255][random.below(2)]), random),
        4 => bytes.insert(at, NOTABLE[random.below(NOTABLE.len())]),
        5 => bytes.insert(at, random.any() as u8),
        6 => drop(bytes.drain(at..end_of_piece(bytes, at, random))),
        7 => bytes.truncate(at),
        8 => repeat(bytes, at, random),
        9 => cross(bytes, at, other, random),
        10 => number(bytes, at, random),
        _ => swap(bytes, at, random),
    }
}

fn change(bytes: &mut [u8], at: usize, by: fn(u8, &mut Random) -> u8, random: &mut Random) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = by(*byte, random);
    }
}

/// Mostly short pieces, now and then up to the end.
fn end_of_piece(bytes: &[u8], at: usize, random: &mut Random) -> usize {
    let longest = if random.once_in(8) { bytes.len() } else { 16 };
    (at + 1 + random.below(longest)).min(bytes.len())
}

fn repeat(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let end = end_of_piece(bytes, at, random);
    let piece = bytes[at..end].to_vec();
    let times = if random.once_in(8) { random.below(200) } else { 1 };
    if bytes.len() + piece.len() * times < GROWN_BYTES_MAX {
        bytes.splice(at..at, piece.repeat(times));
    }
}

/// Puts a piece of `other` there, over what was there or before it.
fn cross(bytes: &mut Vec<u8>, at: usize, other: &[u8], random: &mut Random) {
    let from = random.below(other.len() + 1);
    let piece = &other[from..end_of_piece(other, from, random)];
    let end = if random.once_in(2) { (at + piece.len()).min(bytes.len()) } else { at };
    if bytes.len() + piece.len() < GROWN_BYTES_MAX {
        bytes.splice(at..end, piece.iter().copied());
    }
}

/// A number at a border, of one to eight bytes: lengths and offsets live there.
fn number(bytes: &mut [u8], at: usize, random: &mut Random) {
    let borders = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, u64::MAX, 1 << 63];
    let number = borders[random.below(borders.len())].wrapping_add(random.below(3) as u64).wrapping_sub(1);
    let width = [1, 2, 4, 8][random.below(4)];
    for (place, byte) in bytes.iter_mut().skip(at).take(width).zip(number.to_le_bytes()) {
        *place = byte;
    }
}

fn swap(bytes: &mut [u8], at: usize, random: &mut Random) {
    let with = random.below(bytes.len());
    if at < bytes.len() {
        bytes.swap(at, with);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_can_be_mutated_and_a_seed_decides_how() {
        for input in [&b""[..], b"a", b"{\"a\": 1}"] {
            let mutated = |seed| {
                let (mut bytes, mut random) = (input.to_vec(), Random::new(seed));
                (0..200).for_each(|_| mutate(&mut bytes, b"other", &mut random));
                bytes
            };
            assert_eq!(mutated(1), mutated(1));
            assert_ne!(mutated(1), mutated(2), "{input:?}");
            assert!(mutated(3).len() <= GROWN_BYTES_MAX);
        }
    }
}
