//! Mutations that keep a document JSON (most of them; a few overstep the dialect's limits on purpose).

mod edit;
mod scan;

pub use scan::{Kind, Place, scan};

use crate::Random;
use edit::Editor;

/// Values of every kind and at every border.
pub const TOKENS: [&str; 44] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "1.0",
    "-0.0",
    "0.1",
    "1e0",
    "1e3",
    "1E+2",
    "100e-2",
    "1e-400",
    "1e308",
    "1.7976931348623157e308",
    "123456789012345",
    "999999999999999",
    "1000000000000000",
    "9999999999999999",
    "9007199254740991",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "\"\"",
    "\"x\"",
    "\"0\"",
    "\"\\u0061\"",
    "\"\\ud83d\\ude00\"",
    "\"é😀\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    "\"2017-01-02T03:04:05.678Z\"",
    "{}",
    "[]",
    "[1]",
    "[[],{}]",
    "{\"a\":1}",
    "{\"\":null}",
    "{\"1\":2,\"3\":4}",
];

/// Values that are no JSON of the dialect.
const WRONG_TOKENS: [&str; 10] = ["1e999", "-1e400", "01", "1.", "\"\\ud800\"", "\"\\udc00x\"", "\"\\x\"", "NaN", "tru", "\"\u{1}\""];

/// Changes the document in one place. `other` is a second document to take members from, `words` are JSON values that matter to
/// whoever reads it: those of its schema.
pub fn mutate(text: &mut Vec<u8>, other: &[u8], words: &[Vec<u8>], random: &mut Random) {
    let edit = Editor::new(text, other, words, random).edit();
    text.splice(edit.at, edit.with);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_mutated_documents_are_still_json() {
        let document = br#"{"a": [1, 2.5, "text", {"b": null}], "c": {"d": true, "e": []}, "f": "x"}"#;
        let (mut random, mut whole) = (Random::new(5), 0);
        for _ in 0..2000 {
            let mut text = document.to_vec();
            mutate(&mut text, br#"{"g": {"h": 1}}"#, &[b"\"word\"".to_vec()], &mut random);
            let places = scan(&text);
            whole += usize::from(places.first().is_some_and(|place| place.value.end == text.trim_ascii_end().len()));
        }
        assert!(whole > 1800, "{whole} of 2000");
    }

    #[test]
    fn what_is_not_json_is_mutated_too() {
        for text in ["", "{", "!", "\"\u{e9}"] {
            for seed in 0..100 {
                let mut bytes = text.as_bytes().to_vec();
                mutate(&mut bytes, b"", &[], &mut Random::new(seed));
            }
        }
    }
}
