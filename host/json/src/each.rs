//! Every value that a pointer with `*` segments names, found in one walk over the document.

use crate::captures::{PointerError, segments};
use crate::stepper::{Quoted, Stepper};
use crate::text::{decode_into, hash, text_equals};
use crate::value::entries;

/// A pointer whose segments `*` stand for each member or element.
#[derive(Clone, Debug)]
pub struct EachPointer {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
enum Segment {
    Each,
    One { key: Box<[u8]>, position: Option<usize> },
}

/// Memory that one walk after another uses.
#[derive(Debug, Default)]
pub struct EachMemory {
    /// Where the values lie that were found.
    found: Vec<(u32, u32)>,
    /// [Codes](code) of the keys of the objects that are walked through.
    codes: Vec<u64>,
    text: Vec<u8>,
}

/// Places and codes whose memory is kept for the next walk; one document of 10 MiB can have millions.
const KEPT_MAX: usize = 1 << 16;

impl EachPointer {
    /// Compiles a pointer.
    ///
    /// # Errors
    /// It is none, or has more segments than a document has levels.
    pub fn new(pointer: &str) -> Result<Self, PointerError> {
        let segment = |segment: Option<String>| match segment {
            None => Segment::Each,
            Some(key) => {
                let position = key.parse().ok().filter(|position: &usize| position.to_string() == key);
                Segment::One { key: key.into_bytes().into(), position }
            }
        };
        Ok(Self { segments: segments(pointer)?.into_iter().map(segment).collect() })
    }

    /// Calls `act` with every value that the pointer names, in the order of the document; of duplicate keys the last counts.
    ///
    /// The document should have passed [`check`](crate::check) or a [`Pass`](crate::Pass): of one that has not, anything or
    /// nothing is found, but never a panic.
    pub fn values(&self, document: &[u8], memory: &mut EachMemory, mut act: impl FnMut(&[u8])) {
        memory.found.clear();
        memory.codes.clear();
        let mut walk = Walk { at: Stepper::new(document), document, memory };
        walk.value(&self.segments);
        for (start, end) in &memory.found {
            act(document.get(*start as usize..*end as usize).unwrap_or_default());
        }
        memory.found.clear();
        memory.found.shrink_to(KEPT_MAX);
        memory.codes.shrink_to(KEPT_MAX);
    }
}

struct Walk<'d, 'm> {
    document: &'d [u8],
    at: Stepper<'d>,
    memory: &'m mut EachMemory,
}

impl<'d> Walk<'d, '_> {
    /// Steps over the next value and notes what the segments name in it. It goes as deep as the pointer has segments.
    #[inline]
    fn value(&mut self, segments: &[Segment]) {
        let Some((segment, behind)) = segments.split_first() else { return self.found() };
        match (self.at.peek(), segment) {
            (Some(b'{'), Segment::Each) => self.members(behind),
            (Some(b'{'), Segment::One { key, .. }) => self.member(key, behind),
            (Some(b'['), Segment::Each) => self.elements(|_| true, behind),
            (Some(b'['), Segment::One { position, .. }) => self.elements(|at| Some(at) == *position, behind),
            _ => drop(self.at.value()),
        }
    }

    /// Steps over the next value and notes it.
    #[inline(always)]
    fn found(&mut self) {
        // Buckets are counts, and most counts are small.
        let value = self.at.few_digits().unwrap_or_else(|| self.at.value());
        let end = self.at.position();
        self.memory.found.push(((end - value.len()) as u32, end as u32));
    }

    /// Of each member of the object, of duplicate keys of the last.
    fn members(&mut self, behind: &[Segment]) {
        let begin = self.at;
        let (found, codes) = (self.memory.found.len(), self.memory.codes.len());
        let (mut last, mut is_ascending) = (0, true);
        self.at.eat(b'{');
        while let Some(key) = self.at.key() {
            let code = code_of(key, self.document, &mut self.memory.text);
            is_ascending &= code > last;
            last = code;
            self.memory.codes.push(code);
            if behind.is_empty() { self.found() } else { self.value(behind) }
        }
        // Keys that ascend, as those of buckets do, are all different.
        if !is_ascending && has_equal(&mut self.memory.codes[codes..]) {
            self.keep_last(begin, found);
        }
        self.memory.codes.truncate(codes);
    }

    /// Drops what was found, from the place `found` on, in members that a later one of the same key replaces. Nothing is walked
    /// again: documents may repeat keys on every level.
    #[cold]
    fn keep_last(&mut self, mut object: Stepper<'d>, found: usize) {
        let list = &mut self.memory.found;
        let (mut kept, mut at) = (found, found);
        for (_, member) in entries(object.value()) {
            let start = (member.as_ptr() as usize).wrapping_sub(self.document.as_ptr() as usize) as u32;
            let end = start + member.len() as u32;
            // Members and places are in the order of the document.
            while list.get(at).is_some_and(|place| place.0 < start) {
                at += 1;
            }
            while let Some(place) = list.get(at).copied().filter(|place| place.0 < end) {
                list[kept] = place;
                (kept, at) = (kept + 1, at + 1);
            }
        }
        list.truncate(kept);
    }

    /// Of the last member of this key.
    fn member(&mut self, wanted: &[u8], behind: &[Segment]) {
        let found = self.memory.found.len();
        self.at.eat(b'{');
        while let Some(key) = self.at.key() {
            let is_wanted = if key.has_escapes { text_equals(key.inside, wanted) } else { key.inside == wanted };
            match is_wanted {
                true => {
                    self.memory.found.truncate(found);
                    self.value(behind);
                }
                false => drop(self.at.value()),
            }
        }
    }

    /// Of the elements of the array at wanted positions.
    fn elements(&mut self, is_wanted: impl Fn(usize) -> bool, behind: &[Segment]) {
        self.at.eat(b'[');
        let mut position = 0;
        while self.at.has_element() {
            match is_wanted(position) {
                true => self.value(behind),
                false => drop(self.at.value()),
            }
            position += 1;
        }
    }
}

/// A number that is equal for equal keys, different for different ones of up to seven bytes, and greater for a longer one or one
/// of as many bytes that comes behind it. Never 0. The key is one of the document's.
#[inline]
fn code_of(key: Quoted<'_>, document: &[u8], text: &mut Vec<u8>) -> u64 {
    if key.has_escapes {
        text.clear();
        decode_into(key.inside, text);
        return code(text);
    }
    // Together with what follows it, a short key is one word to load.
    let at = (key.inside.as_ptr() as usize).wrapping_sub(document.as_ptr() as usize);
    let word = document.get(at..).and_then(|rest| rest.first_chunk::<8>());
    match (key.inside.len(), word) {
        (length @ 1..=7, Some(word)) => u64::from_be_bytes(*word) >> (64 - 8 * length) | (length as u64 + 1) << 56,
        _ => code(key.inside),
    }
}

fn code(key: &[u8]) -> u64 {
    match key.len() {
        length @ 0..=7 => key.iter().fold(0, |code, byte| code << 8 | u64::from(*byte)) | (length as u64 + 1) << 56,
        _ => hash(key) | 0xff << 56,
    }
}

fn has_equal(codes: &mut [u64]) -> bool {
    // Few codes all have bits of their own in a map of 4,096.
    let mut seen = [0_u64; 64];
    let is_new = |code: &u64| {
        let bit = code.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        let (word, mask) = (&mut seen[bit as usize / 64], 1 << (bit % 64));
        let is_new = *word & mask == 0;
        *word |= mask;
        is_new
    };
    if codes.iter().all(is_new) {
        return false;
    }
    codes.sort_unstable();
    codes.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pointer: &str, document: &str, expected: &[&str]) {
        let pointer = EachPointer::new(pointer).expect("a pointer");
        let mut memory = EachMemory::default();
        for _ in 0..2 {
            let mut found = Vec::new();
            pointer.values(document.as_bytes(), &mut memory, |value| found.push(String::from_utf8_lossy(value).into_owned()));
            assert_eq!(found, expected, "{pointer:?} in {document}");
        }
    }

    #[test]
    fn every_value_is_found_in_the_order_of_the_document() {
        let document = r#" { "a" : {"x": {"v":{"0":1, "2" :2}, "w":3}, "y":[], "z":{"v":{"1":[4, 5]}}} , "l":[[1,2],{"b":6},7]}"#;
        check("/a/*/v/*", document, &["1", "2", "[4, 5]"]);
        check("/a/*/v", document, &[r#"{"0":1, "2" :2}"#, r#"{"1":[4, 5]}"#]);
        check("/l/*", document, &["[1,2]", r#"{"b":6}"#, "7"]);
        check("/l/*/*", document, &["1", "2", "6"]);
        check("/l/*/1", document, &["2"]);
        check("/*/1/b", document, &["6"]);
        check("/l/01/*", document, &[]);
        check("/nowhere/*", document, &[]);
        check("", "  5 ", &["5"]);
        check("/*", "5", &[]);
    }

    #[test]
    fn of_duplicate_keys_the_last_counts() {
        check("/*", r#"{"a":1,"b":2,"a":3}"#, &["2", "3"]);
        check("/*", r#"{"a":1,"\u0061":3,"b":[2]}"#, &["3", "[2]"]);
        check("/*", r#"{"a much longer key":1,"b":2,"a much longer key":3}"#, &["2", "3"]);
        check("/*/x", r#"{"b":{"x":1},"a":{"x":2},"b":{"y":3}}"#, &["2"]);
        check("/*/*", r#"{"b":{"x":1,"x":4},"a":{"x":2},"b":{"y":3,"y":5}}"#, &["2", "5"]);
        check("/a/*", r#"{"a":{"x":1},"a":{"y":2}}"#, &["2"]);
        check("/a/*", r#"{"a":{"x":1},"a":7}"#, &[]);
        check("/*/*", r#"{"a":{"x":1,"y":2},"b":{"x":3},"a":5,"b":{"z":[6,7],"y":8}}"#, &["[6,7]", "8"]);
        check("/*/*", r#"{"a":[1,2],"b":[3],"a":[]}"#, &["3"]);
        check("/~1~0/*", r#"{"/~":{"\u0061":1,"a\u0061":2}}"#, &["1", "2"]);
    }

    #[test]
    fn keys_that_repeat_on_every_level_are_walked_through_once() {
        const LEVELS: usize = 100;
        let document = r#"{"a":0,"a":"#.repeat(LEVELS) + "7" + &"}".repeat(LEVELS);
        check(&"/*".repeat(LEVELS), &document, &["7"]);
    }

    #[test]
    fn codes_are_equal_for_equal_keys_only() {
        let mut text = Vec::new();
        let mut code = |inside: &str, behind: &str| {
            let document = format!("{inside}{behind}");
            let key = Quoted { inside: &document.as_bytes()[..inside.len()], has_escapes: inside.contains('\\') };
            code_of(key, document.as_bytes(), &mut text)
        };
        for behind in ["", "\":1}", "\":{\"a\":2}}"] {
            let ascending = ["", "\0", "0", "9", "00", "10", "99", "100", "zzzzzzz"].map(|key| code(key, behind));
            assert!(ascending.is_sorted_by(|a, b| a < b) && ascending[0] > 0, "{ascending:x?}");
            assert_eq!(ascending[5], code("10", ""));
            assert_eq!(code("\\u0061", behind), code("a", ""));
            assert_eq!(code("\\u0061bcdefghi", behind), code("abcdefghi", ""));
        }
    }

    #[test]
    fn broken_documents_end() {
        let memory = &mut EachMemory::default();
        for pointer in ["/*", "/*/*", "/a/*", "/a/*/b/*", "/0/*"] {
            let pointer = EachPointer::new(pointer).expect("a pointer");
            for text in
                ["", "{", "[", "{\"a", "{\"a\":", "{\"a\":{", "{\"a\":{\"", "[[", "[,]", "{\"a\":}", "{{{{", "[:::]", "{\"a\":1,\"a\":"]
            {
                pointer.values(text.as_bytes(), memory, |_| ());
            }
        }
    }
}
