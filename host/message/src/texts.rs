//! Texts that repeat, told apart by numbers.

/// Places of the table by which texts are found again: twice the texts that a block of messages has at most.
const TABLE: usize = 1_024;
/// A place of the table where no text is.
const NO_TEXT: u16 = u16::MAX;
/// Places that are looked at: a text that is found at none of them is there once more.
const PROBES: usize = 4;
/// Texts after which those that hardly repeat are no longer told apart.
const TEXTS_TO_JUDGE: usize = 64;

/// Texts in the order in which they appeared. One that repeats is there once, as a rule; where few do, nobody looks for them.
#[derive(Debug, Default)]
pub struct Texts<'m> {
    list: Vec<&'m [u8]>,
    bytes: usize,
    /// How often one was asked for.
    asked: usize,
    /// Places of texts by their hash; `None` where texts are not told apart.
    table: Option<Box<[u16; TABLE]>>,
}

impl<'m> Texts<'m> {
    /// None yet. Where they are not told apart each is there as often as it is asked for.
    pub fn new(tells_apart: bool) -> Self {
        Self { table: tells_apart.then(|| Box::new([NO_TEXT; TABLE])), ..Self::default() }
    }

    /// The number of a text that `is_valid`, which is asked once for one that repeats. For one that is not it is that of an empty one.
    #[inline]
    pub fn code(&mut self, text: &'m [u8], is_valid: impl FnOnce(&[u8]) -> bool) -> (u16, bool) {
        self.asked += 1;
        let Some(table) = &self.table else { return self.push(text, is_valid) };
        let begin = hash(text);
        for probe in 0..PROBES {
            let place = begin.wrapping_add(probe) % TABLE;
            let code = table[place];
            if code == NO_TEXT {
                return self.push_at(place, text, is_valid);
            }
            if is_same(self.list[usize::from(code)], text) {
                return (code, true);
            }
        }
        self.push(text, is_valid)
    }

    /// A text that is new.
    #[inline(never)]
    fn push_at(&mut self, place: usize, text: &'m [u8], is_valid: impl FnOnce(&[u8]) -> bool) -> (u16, bool) {
        let (code, is_valid) = self.push(text, is_valid);
        // What is not valid is not found again: it is there as an empty text.
        if let Some(table) = self.table.as_mut().filter(|_| is_valid) {
            table[place] = code;
        }
        (code, is_valid)
    }

    /// The same without looking for it: it is there once more.
    pub fn push(&mut self, text: &'m [u8], is_valid: impl FnOnce(&[u8]) -> bool) -> (u16, bool) {
        let is_valid = is_valid(text);
        let text = if is_valid { text } else { &[] };
        self.list.push(text);
        self.bytes += text.len();
        (self.list.len() as u16 - 1, is_valid)
    }

    /// By their numbers.
    #[inline]
    pub fn list(&self) -> &[&'m [u8]] {
        &self.list
    }

    /// Bytes of all of them.
    pub fn byte_len(&self) -> usize {
        self.bytes
    }

    /// Forgets them, keeps the memory.
    pub fn clear(&mut self) {
        if self.asked >= TEXTS_TO_JUDGE && self.list.len() * 2 > self.asked {
            self.table = None;
        }
        if let Some(table) = &mut self.table {
            table.fill(NO_TEXT);
        }
        self.list.clear();
        (self.bytes, self.asked) = (0, 0);
    }
}

/// Of the length and up to 32 bytes: the ends of a text, and what lies between a quarter and three quarters. Texts that differ elsewhere
/// only share a place, and are soon not told apart.
#[inline]
fn hash(text: &[u8]) -> usize {
    let len = text.len();
    let word = |at: usize| text.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word));
    let (ends, middle) = match len {
        0..4 => (text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
        4..8 => (ends_of_four(text), 0),
        8..=16 => (word(0), word(len - 8)),
        _ => (
            fold(word(0) ^ 0xd6e8_feb8_6659_fd93, word(len - 8) ^ 0x9e37_79b9_7f4a_7c15),
            word(len / 4).rotate_left(32) ^ word(len / 4 * 3 - 8),
        ),
    };
    fold(ends ^ len as u64 ^ 0x9e37_79b9_7f4a_7c15, middle ^ 0xd6e8_feb8_6659_fd93) as usize
}

/// Whether they are the same. Most are short, and a call for each, or a turn of a loop for each word, would cost more than the
/// comparison: both ends are compared, which overlap.
#[inline]
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    match one.len() {
        len if len != other.len() => false,
        0..4 => one.iter().zip(other).all(|(one, other)| one == other),
        4..8 => ends_of_four(one) == ends_of_four(other),
        8..=16 => is_same_at_ends::<8>(one, other),
        17..=32 => is_same_at_ends::<16>(one, other),
        33..=64 => is_same_at_ends::<32>(one, other),
        _ => one == other,
    }
}

#[inline]
fn is_same_at_ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
    one.first_chunk::<N>() == other.first_chunk() && one.last_chunk::<N>() == other.last_chunk()
}

/// The first and the last four bytes.
#[inline]
fn ends_of_four(text: &[u8]) -> u64 {
    let word = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)));
    word(text.first_chunk()) << 32 | word(text.last_chunk())
}

#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes<'m>(texts: &mut Texts<'m>, all: &[&'m [u8]]) -> Vec<(u16, bool)> {
        all.iter().map(|text| texts.code(text, |text| text != b"bad")).collect()
    }

    #[test]
    fn texts_that_repeat_are_there_once() {
        let mut texts = Texts::new(true);
        let long: &[u8] = b"a longer one, of more than sixteen bytes";
        for _ in 0..2 {
            let all: [&[u8]; 8] = [b"a", b"", b"a", b"bad", b"bad", long, b"", long];
            let want = [(0, true), (1, true), (0, true), (2, false), (3, false), (4, true), (1, true), (4, true)];
            assert_eq!(codes(&mut texts, &all), want);
            assert_eq!(texts.list(), [b"a", &b""[..], b"", b"", long]);
            assert_eq!(texts.byte_len(), 1 + long.len());
            texts.clear();
        }
    }

    #[test]
    fn texts_are_the_same_byte_for_byte() {
        let text: Vec<u8> = (0..80).collect();
        for len in 0..80 {
            let (one, copy) = (&text[..len], text[..len].to_vec());
            assert!(is_same(one, &copy) && !is_same(one, &text[..len + 1]));
            for at in 0..len {
                let mut other = copy.clone();
                other[at] ^= 0x80;
                assert!(!is_same(one, &other), "byte {at} of {len}");
            }
        }
    }

    #[test]
    fn texts_that_do_not_repeat_are_not_told_apart_any_more() {
        let all: Vec<_> = (0..2 * TABLE).map(|number| format!("text {number}").into_bytes()).collect();
        let all: Vec<_> = all.iter().map(Vec::as_slice).collect();
        let mut texts = Texts::new(true);
        for turn in 0..2 {
            let found = codes(&mut texts, &all);
            let same = |(text, (code, is_valid)): (&&[u8], &(u16, bool))| *is_valid && texts.list()[usize::from(*code)] == *text;
            assert!(all.iter().zip(&found).all(same), "also more than the table has places, turn {turn}");
            texts.clear();
        }
        assert_eq!(codes(&mut texts, &[b"x", b"x"]), [(0, true), (1, true)]);
    }
}
