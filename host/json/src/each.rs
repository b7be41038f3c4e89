//! Every value that a pointer with `*` segments names, found in one walk over the document.

use crate::captures::{PointerError, segments};
use crate::counts::{Digits, counts};
use crate::stepper::{Quoted, Stepper};
use crate::text::{decode_into, hash, text_equals};
use crate::value::{as_i64, entries};

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
    found: Places,
    keys: Keys,
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
        let EachMemory { found, keys } = memory;
        found.list.clear();
        self.walk(document, keys, found);
        for (start, end) in &found.list {
            act(document.get(*start as usize..*end as usize).unwrap_or_default());
        }
        found.list.clear();
        found.list.shrink_to(KEPT_MAX);
    }

    /// Appends every value that the pointer names to `out`, as [`values`](Self::values) finds them, as an int64 of eight bytes, the
    /// lowest first; 0 where it is none.
    pub fn int64s(&self, document: &[u8], memory: &mut EachMemory, out: &mut Vec<[u8; 8]>) {
        let begin = out.len();
        let mut found = Int64s { list: &mut *out, has_duplicates: false };
        self.walk(document, &mut memory.keys, &mut found);
        if found.has_duplicates {
            out.truncate(begin);
            self.values(document, memory, |value| out.push(int64(value)));
        }
    }

    fn walk(&self, document: &[u8], keys: &mut Keys, found: &mut impl Found) {
        keys.codes.clear();
        Walk { at: Stepper::new(document), document, keys, found }.value(&self.segments);
        keys.codes.shrink_to(KEPT_MAX);
    }
}

/// What a walk leaves of the values that it finds.
trait Found {
    /// How many.
    fn len(&self) -> usize;
    /// Forgets all but the first.
    fn truncate(&mut self, len: usize);
    /// Another one, from `start` to `end` of the document.
    fn push(&mut self, document: &[u8], start: usize, end: usize);
    /// Another one, all digits.
    fn push_digits(&mut self, digits: Digits);
    /// Drops what was found, from the place `begin` on, in members of the object that a later one of the same key replaces. `object` is
    /// what was walked of it: of a broken document it may not end, and nothing behind is looked at again.
    fn keep_last(&mut self, document: &[u8], object: &[u8], begin: usize);
}

/// Where they are.
#[derive(Debug, Default)]
struct Places {
    list: Vec<(u32, u32)>,
}

impl Found for Places {
    fn len(&self) -> usize {
        self.list.len()
    }

    fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
    }

    #[inline(always)]
    fn push(&mut self, _: &[u8], start: usize, end: usize) {
        self.list.push((start as u32, end as u32));
    }

    #[inline(always)]
    fn push_digits(&mut self, digits: Digits) {
        self.list.push((digits.start as u32, (digits.start + digits.len) as u32));
    }

    /// Nothing is walked again: documents may repeat keys on every level.
    #[cold]
    fn keep_last(&mut self, document: &[u8], object: &[u8], begin: usize) {
        let list = &mut self.list;
        let (mut kept, mut at) = (begin, begin);
        for (_, member) in entries(object) {
            let start = (member.as_ptr() as usize).wrapping_sub(document.as_ptr() as usize) as u32;
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
}

/// What they are as numbers. Of those that a later member replaces it only knows that there are some.
struct Int64s<'o> {
    list: &'o mut Vec<[u8; 8]>,
    has_duplicates: bool,
}

impl Found for Int64s<'_> {
    fn len(&self) -> usize {
        self.list.len()
    }

    fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
    }

    #[inline(always)]
    fn push(&mut self, document: &[u8], start: usize, end: usize) {
        self.list.push(int64(document.get(start..end).unwrap_or_default()));
    }

    #[inline(always)]
    fn push_digits(&mut self, digits: Digits) {
        self.list.push(digits.number().to_le_bytes());
    }

    fn keep_last(&mut self, _: &[u8], _: &[u8], _: usize) {
        self.has_duplicates = true;
    }
}

fn int64(value: &[u8]) -> [u8; 8] {
    as_i64(value).unwrap_or_default().to_le_bytes()
}

struct Walk<'d, 'm, F> {
    document: &'d [u8],
    at: Stepper<'d>,
    keys: &'m mut Keys,
    found: &'m mut F,
}

impl<F: Found> Walk<'_, '_, F> {
    /// Steps over the next value and notes what the segments name in it. It goes as deep as the pointer has segments.
    #[inline]
    fn value(&mut self, segments: &[Segment]) {
        let Some((segment, behind)) = segments.split_first() else { return self.found() };
        match (self.at.peek(), segment) {
            (Some(b'{'), Segment::Each) => self.members(behind),
            (Some(b'{'), Segment::One { key, .. }) => self.member(key, behind),
            (Some(b'['), Segment::Each) => self.elements(|_| true, behind),
            (Some(b'['), Segment::One { position, .. }) => self.elements(|at| Some(at) == *position, behind),
            _ => self.pass_over(),
        }
    }

    /// Steps over the next value.
    #[inline(always)]
    fn pass_over(&mut self) {
        if self.at.few_digits().is_none() {
            self.at.value();
        }
    }

    /// Steps over the next value and notes it.
    #[inline(always)]
    fn found(&mut self) {
        // Buckets are counts, and most counts are small.
        let value = self.at.few_digits().unwrap_or_else(|| self.at.value());
        let end = self.at.position();
        self.found.push(self.document, end - value.len(), end);
    }

    /// Of each member of the object, of duplicate keys of the last.
    fn members(&mut self, behind: &[Segment]) {
        let object = self.at.position();
        let (found, codes) = (self.found.len(), self.keys.codes.len());
        let mut order = Order::default();
        self.at.eat(b'{');
        let mut has_counts = behind.is_empty();
        loop {
            if has_counts {
                has_counts = self.counts(&mut order);
            }
            let Some(key) = self.at.key() else { break };
            self.keys.push(key, self.document, &mut order);
            if behind.is_empty() { self.found() } else { self.value(behind) }
        }
        if !order.is_ascending() && self.keys.have_equal(codes) {
            let object = self.document.get(object..self.at.position()).unwrap_or_default();
            self.found.keep_last(self.document, object, found);
        }
        self.keys.codes.truncate(codes);
    }

    /// Notes the members from here on that are counts. Whether there are any.
    #[inline(always)]
    fn counts(&mut self, order: &mut Order) -> bool {
        let Self { at, keys, found, .. } = self;
        at.go_on(|bytes, at| {
            counts(bytes, at, |key, value| {
                keys.push_code(Code::of_word(key.word, key.len), order);
                found.push_digits(value);
            })
        })
    }

    /// Of the last member of this key.
    fn member(&mut self, wanted: &[u8], behind: &[Segment]) {
        let found = self.found.len();
        self.at.eat(b'{');
        while let Some(key) = self.at.key() {
            let is_wanted = if key.has_escapes { text_equals(key.inside, wanted) } else { key.inside == wanted };
            match is_wanted {
                true => {
                    self.found.truncate(found);
                    self.value(behind);
                }
                false => self.pass_over(),
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
                false => self.pass_over(),
            }
            position += 1;
        }
    }
}

/// The keys of the objects that are walked through.
#[derive(Debug, Default)]
struct Keys {
    /// [`Code::by_length`] of each.
    codes: Vec<u64>,
    text: Vec<u8>,
}

/// Two numbers for a key, by which equal ones are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Code {
    /// Equal for equal keys, different for different ones of up to seven bytes, and greater for a longer one or one of as many bytes
    /// that comes behind it. Never 0.
    by_length: u64,
    /// Greater for a key that comes behind it as texts do, if they differ within seven bytes; equal for equal keys.
    by_text: u64,
}

/// Whether keys ascend: then they are all different, and need not be compared. Those of buckets do, as numbers or as texts.
#[derive(Debug)]
struct Order {
    last: Code,
    is_by_length: bool,
    is_by_text: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self { last: Code { by_length: 0, by_text: 0 }, is_by_length: true, is_by_text: true }
    }
}

impl Order {
    #[inline(always)]
    fn meet(&mut self, code: Code) {
        self.is_by_length &= code.by_length > self.last.by_length;
        self.is_by_text &= code.by_text > self.last.by_text;
        self.last = code;
    }

    fn is_ascending(&self) -> bool {
        self.is_by_length || self.is_by_text
    }
}

impl Code {
    /// Of a key of one to seven bytes with which the word begins.
    #[inline(always)]
    fn of_word(word: [u8; 8], len: usize) -> Self {
        let (word, behind) = (u64::from_be_bytes(word), 64 - 8 * len as u32);
        let bytes = word.checked_shr(behind).unwrap_or(0);
        Self { by_length: bytes | (len as u64 + 1) << 56, by_text: bytes.checked_shl(behind).unwrap_or(0) | len as u64 }
    }

    fn of_text(text: &[u8]) -> Self {
        let mut word = [0; 8];
        let len = text.len().min(word.len());
        word[..len].copy_from_slice(&text[..len]);
        match len {
            0..8 => Self::of_word(word, len),
            _ => Self { by_length: hash(text) | 0xff << 56, by_text: u64::from_be_bytes(word) | 0xff },
        }
    }
}

impl Keys {
    /// Another key, one of the document's.
    #[inline]
    fn push(&mut self, key: Quoted<'_>, document: &[u8], order: &mut Order) {
        // Together with what follows it, a short key is one word to load.
        let at = (key.inside.as_ptr() as usize).wrapping_sub(document.as_ptr() as usize);
        let word = document.get(at..).and_then(|rest| rest.first_chunk());
        let code = match (key.inside.len(), word) {
            (len @ 1..=7, Some(word)) if !key.has_escapes => Code::of_word(*word, len),
            _ if key.has_escapes => {
                self.text.clear();
                decode_into(key.inside, &mut self.text);
                Code::of_text(&self.text)
            }
            _ => Code::of_text(key.inside),
        };
        self.push_code(code, order);
    }

    #[inline(always)]
    fn push_code(&mut self, code: Code, order: &mut Order) {
        order.meet(code);
        self.codes.push(code.by_length);
    }

    /// Whether two keys from this place on may be equal.
    fn have_equal(&mut self, from: usize) -> bool {
        let codes = self.codes.get_mut(from..).unwrap_or_default();
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
            let mut numbers = vec![[9; 8]];
            pointer.int64s(document.as_bytes(), &mut memory, &mut numbers);
            let expected: Vec<_> = std::iter::once([9; 8]).chain(expected.iter().map(|value| int64(value.as_bytes()))).collect();
            assert_eq!(numbers, expected, "{pointer:?} in {document}");
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
    fn counts_are_found_whatever_stands_between_them() {
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let others = ["-1", "1.5", "2e3", "123456789", "[7,8]", "{\"1\":2}", "\"3\"", "null", " 4", "5 ", "", "1234567890123456789"];
        for round in 0..3_000 {
            let (odd_keys, odd_values) = (random(12), random(12));
            let (keys, values) = ([12, 400, 20_000_000][random(3)], [10, 100_000, 2_000_000_000][random(3)]);
            let members: Vec<_> = (0..random(60))
                .map(|number| {
                    let key = match (random(100) < odd_keys, round % 3) {
                        (true, _) => ["", "a", "12345678", "\\u0031", "1a", "-1"][random(6)].to_owned(),
                        (false, 0) => number.to_string(),
                        (false, _) => random(keys).to_string(),
                    };
                    let value = match random(100) < odd_values {
                        true => others[random(others.len())].to_owned(),
                        false => random(values).to_string(),
                    };
                    (key, if value.is_empty() { "0".to_owned() } else { value })
                })
                .collect();
            let text = |key: &str| key.replace("\\u0031", "1");
            let is_last = |at: usize| members[at + 1..].iter().all(|later| text(&later.0) != text(&members[at].0));
            let expected: Vec<_> = (0..members.len()).filter(|at| is_last(*at)).map(|at| members[at].1.trim()).collect();
            let object: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            let object = format!("{{{}}}", object.join(if round % 7 == 0 { " , " } else { "," }));
            check("/*", &object, &expected);
            check("/v/*", &format!("{{\"u\":{object},\"v\":{object}}}"), &expected);
        }
    }

    #[test]
    fn codes_are_equal_for_equal_keys_only() {
        let mut keys = Keys::default();
        let mut code = |inside: &str, behind: &str| {
            let (document, mut order) = (format!("{inside}{behind}"), Order::default());
            let key = Quoted { inside: &document.as_bytes()[..inside.len()], has_escapes: inside.contains('\\') };
            keys.push(key, document.as_bytes(), &mut order);
            order.last
        };
        for behind in ["", "\":1}", "\":{\"a\":2}}"] {
            let by_length = ["", "\0", "0", "9", "00", "10", "99", "100", "zzzzzzz"].map(|key| code(key, behind).by_length);
            assert!(by_length.is_sorted_by(|a, b| a < b) && by_length[0] > 0, "{by_length:x?}");
            let by_text =
                ["\0", "\0\0", "0", "00", "10", "100", "9", "99", "abcdefg", "abcdefgh", "abcdeg"].map(|key| code(key, behind).by_text);
            assert!(by_text.is_sorted_by(|a, b| a < b) && by_text[0] > 0, "{by_text:x?}");
            assert_eq!(code("10", behind), code("10", ""));
            assert_eq!(code("\\u0061", behind), code("a", ""));
            assert_eq!(code("\\u0061bcdefghi", behind), code("abcdefghi", ""));
            assert_ne!(code("abcdefgh1", behind).by_length, code("abcdefgh2", "").by_length);
        }
    }

    #[test]
    fn keys_in_order_are_all_different() {
        let order = |keys: &[&str]| {
            let mut order = Order::default();
            keys.iter().for_each(|key| order.meet(Code::of_text(key.as_bytes())));
            (order.is_by_length, order.is_by_text)
        };
        assert_eq!(order(&["1", "2", "10", "11"]), (true, false));
        assert_eq!(order(&["1", "10", "11", "2"]), (false, true));
        assert_eq!(order(&["1", "2", "10", "2"]), (false, false));
        assert_eq!(order(&["1", "1"]), (false, false));
        assert_eq!(order(&["abcdefgh", "abcdefgh"]), (false, false));
        assert!(!order(&["abcdefgh", "abcdefgi"]).1, "they differ too far behind");
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
                pointer.int64s(text.as_bytes(), memory, &mut Vec::new());
            }
        }
    }

    /// Nothing is walked again for each object that does not end: of these there are 100,000, and that would take minutes.
    #[test]
    fn many_objects_that_do_not_end_are_walked_once() {
        let memory = &mut EachMemory::default();
        for (pointer, begin, unit) in [("/*/*", '[', r#"{"a":1,"a":1,"#), ("/a/*", '{', r#""a":{"x":1,"x":1,,"#)] {
            let document = begin.to_string() + &unit.repeat(100_000);
            let mut numbers = Vec::new();
            EachPointer::new(pointer).expect("a pointer").int64s(document.as_bytes(), memory, &mut numbers);
            assert!(numbers.len() <= 100_000, "{}", numbers.len());
        }
    }
}
