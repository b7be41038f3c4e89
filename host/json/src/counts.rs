//! Objects whose members are counts, `"12":345`, as those of histograms' buckets are: several members at a time.

use crate::block::digit_stops;
use crate::cursor::digits_value;

/// Bytes that are looked at together.
const WINDOW: usize = 64;
/// The most digits of a key, which one word has with its length beside them.
const KEY_DIGITS_MAX: usize = 7;
/// The most digits of a value: one word.
const VALUE_DIGITS_MAX: usize = 8;

/// Digits of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digits {
    /// Where the first one is.
    pub start: usize,
    /// How many there are.
    pub len: usize,
    /// The eight bytes from the first one on.
    pub word: [u8; 8],
}

/// Calls `act` with the key (1 to 7 digits) and the value (1 to 8) of members of the form `"12":345`, from the one on whose opening
/// quote is at `at`. Answers where something else begins: a member of another form, the brace that closes the object, or the last
/// bytes of the document, too few to be looked at together.
#[inline(always)]
pub(crate) fn counts(bytes: &[u8], mut at: usize, mut act: impl FnMut(Digits, Digits)) -> usize {
    while let Some(window) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let read = counts_within(window, at, &mut act);
        at += read;
        if read == 0 || bytes[at] != b'"' {
            break;
        }
    }
    at
}

/// The same within a window, with the digits' places in the document; answers how many of its bytes were read.
#[inline(always)]
fn counts_within(window: &[u8; WINDOW + 8], origin: usize, act: &mut impl FnMut(Digits, Digits)) -> usize {
    let Some(looked_at) = window.first_chunk() else { return 0 };
    let stops = digit_stops(looked_at);
    // Two bytes that are no digits stand behind each key, `":`, and behind each value, `,"` or `}` and what follows. One alone, but
    // for the quote at the beginning, is part of neither: nothing is read from it on.
    let pairs = stops & stops >> 1;
    let alone = stops & !(pairs | pairs << 1 | 1);
    let mut ends = pairs & (alone & alone.wrapping_neg()).wrapping_sub(1);
    let digits = |start: usize, end: usize| {
        let word = *window.get(start..)?.first_chunk()?;
        Some(Digits { start: origin + start, len: end.wrapping_sub(start), word })
    };
    let two = |start: usize| window.get(start..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; 2]);
    let mut begin = 0;
    loop {
        let key_end = ends.trailing_zeros() as usize;
        ends &= ends.wrapping_sub(1);
        if ends == 0 {
            return begin;
        }
        let value_end = ends.trailing_zeros() as usize;
        ends &= ends - 1;
        let (Some(key), Some(value)) = (digits(begin + 1, key_end), digits(key_end + 2, value_end)) else { return begin };
        let is_count = (1..=KEY_DIGITS_MAX).contains(&key.len) && (1..=VALUE_DIGITS_MAX).contains(&value.len) && two(key_end) == *b"\":";
        if !is_count {
            return begin;
        }
        let behind = two(value_end);
        let is_last = behind[0] == b'}';
        if !is_last && behind != *b",\"" {
            return begin;
        }
        act(key, value);
        if is_last {
            return value_end;
        }
        begin = value_end + 1;
    }
}

impl Digits {
    /// Their value.
    #[inline(always)]
    pub fn number(self) -> u64 {
        digits_value(u64::from_le_bytes(self.word), self.len.min(VALUE_DIGITS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_up_to_the_first_of_another_form() {
        let read = |text: &str| {
            let mut found = Vec::new();
            let document = format!("{{{text}{}", " ".repeat(WINDOW + 8));
            let digits = |digits: Digits| document[digits.start..][..digits.len].to_owned();
            let end = counts(document.as_bytes(), 1, |key, value| {
                assert_eq!(digits(value), value.number().to_string());
                found.push((digits(key), digits(value)));
            });
            (found, document[end..].trim_end().to_owned())
        };
        // What stands before moves the last member through all places of the window.
        for before in 0..30 {
            let members: Vec<_> = (0..before).map(|number| (number.to_string(), (number * 37).to_string())).collect();
            let text: String = members.iter().map(|(key, value)| format!("\"{key}\":{value},")).collect();
            for last in ["\"1234567\":12345678", "\"1\":0"] {
                let (found, rest) = read(&format!("{text}{last}}},\"sum\":7"));
                assert_eq!((found.len(), found.starts_with(&members), &*rest), (before + 1, true, "},\"sum\":7"));
            }
            for last in [
                "\"12345678\":1}",
                "\"1\":123456789}",
                "\"\":1}",
                "\"1\":}",
                "\"1\": 1}",
                "\"1\":1.5}",
                "\"1\":-1}",
                "\"1\":1e5,\"2\":3}",
                "\"1\":1 }",
                "\"1.\":1}",
                "\"a\":1}",
                "\"1\":\"1\"}",
                "\"1\":[1]}",
                "\"1\":1",
            ] {
                assert_eq!(read(&format!("{text}{last}")), (members.clone(), last.to_owned()));
            }
        }
        assert_eq!(read("\"1\":1, \"2\":2}"), (vec![], "\"1\":1, \"2\":2}".to_owned()), "a blank behind it");
        assert_eq!(counts(b"{\"1\":1}", 1, |_, _| panic!("too near the end")), 1);
    }
}
