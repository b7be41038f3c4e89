//! Patterns that are a plain sequence of counted ASCII classes, such as
//! `^[0-9]{4}-[0-9]{2}$`: matched by one loop over the bytes, without going back.

/// A set of ASCII bytes.
type Class = u128;

#[derive(Clone, Copy, Debug)]
struct Item {
    class: Class,
    min: usize,
    max: usize,
}

/// A sequence of items, in which every item of variable length is followed by one it has no byte in
/// common with (or by nothing), so that taking as many bytes as there are is always right.
#[derive(Debug)]
pub(crate) struct Sequence {
    items: Box<[Item]>,
    at_start: bool,
    at_end: bool,
}

impl Sequence {
    /// The sequence that `pattern` is, if it is one.
    pub fn parse(pattern: &str) -> Option<Self> {
        let (at_start, rest) = strip(pattern.as_bytes(), b"^");
        let (items, at_end) = parse_items(rest)?;
        let sequence = Self { items: items.into(), at_start, at_end };
        (pattern.is_ascii() && sequence.needs_no_way_back()).then_some(sequence)
    }

    /// Whether the sequence is found in `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        if self.at_start {
            return self.matches_from(text);
        }
        (0..=text.len()).any(|start| self.matches_from(&text[start..]))
    }

    fn matches_from(&self, text: &[u8]) -> bool {
        let mut rest = text;
        for item in &self.items {
            let taken = rest.iter().take(item.max).take_while(|&&byte| contains(item.class, byte)).count();
            if taken < item.min {
                return false;
            }
            rest = &rest[taken..];
        }
        !self.at_end || rest.is_empty()
    }

    /// An unanchored start is retried at each byte, so its items must be of fixed length for the
    /// whole to stay linear.
    fn needs_no_way_back(&self) -> bool {
        let is_fixed = |item: &Item| item.min == item.max;
        let is_distinct = |pair: &[Item]| is_fixed(&pair[0]) || pair[0].class & pair[1].class == 0;
        let length: usize = self.items.iter().map(|item| item.min).sum();
        self.items.windows(2).all(is_distinct) && (self.at_start || self.items.iter().all(is_fixed) && length <= 64 && !self.at_end)
    }
}

#[inline(always)]
fn contains(class: Class, byte: u8) -> bool {
    byte < 128 && class >> byte & 1 != 0
}

fn strip<'p>(pattern: &'p [u8], prefix: &[u8]) -> (bool, &'p [u8]) {
    pattern.strip_prefix(prefix).map_or((false, pattern), |rest| (true, rest))
}

/// The items up to the end of the pattern, and whether a `$` ends it.
fn parse_items(pattern: &[u8]) -> Option<(Vec<Item>, bool)> {
    let (mut items, mut rest) = (Vec::new(), pattern);
    while !rest.is_empty() {
        if rest == b"$" {
            return Some((items, true));
        }
        let (class, after) = parse_class(rest)?;
        let (min, max, after) = parse_count(after)?;
        items.push(Item { class, min, max });
        rest = after;
    }
    Some((items, false))
}

/// A set in brackets, an escaped punctuation mark or a letter that stands for itself.
fn parse_class(pattern: &[u8]) -> Option<(Class, &[u8])> {
    match pattern {
        [b'[', b'^', ..] => None,
        [b'[', rest @ ..] => parse_set(rest),
        [b'\\', byte, rest @ ..] if byte.is_ascii_punctuation() => Some((1 << byte, rest)),
        [byte, ..] if b"\\^$.|?*+()[]{}".contains(byte) || !byte.is_ascii() => None,
        [byte, rest @ ..] => Some((1 << byte, rest)),
        [] => None,
    }
}

fn parse_set(pattern: &[u8]) -> Option<(Class, &[u8])> {
    let (mut class, mut rest) = (0, pattern);
    loop {
        match rest {
            [b']', after @ ..] if class != 0 => return Some((class, after)),
            [first, b'-', last, after @ ..] if is_plain(*first) && is_plain(*last) && first <= last => {
                class |= (*first..=*last).fold(0, |class, byte| class | 1 << byte);
                rest = after;
            }
            [byte, after @ ..] if is_plain(*byte) => {
                class |= 1 << byte;
                rest = after;
            }
            _ => return None,
        }
    }
}

/// Whether a byte in a set means itself and nothing else.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_ .,:;/@#%=!".contains(&byte)
}

/// The count that `pattern` begins with; once where it has none.
fn parse_count(pattern: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (min, max, rest) = match pattern {
        [b'+', rest @ ..] => (1, usize::MAX, rest),
        [b'*', rest @ ..] => (0, usize::MAX, rest),
        [b'?', rest @ ..] => (0, 1, rest),
        [b'{', rest @ ..] => parse_braces(rest)?,
        rest => return Some((1, 1, rest)),
    };
    let is_plain = !matches!(rest, [b'?' | b'+' | b'*' | b'{', ..]);
    (is_plain && min <= max).then_some((min, max, rest))
}

fn parse_braces(pattern: &[u8]) -> Option<(usize, usize, &[u8])> {
    let end = pattern.iter().position(|&byte| byte == b'}')?;
    let text = std::str::from_utf8(&pattern[..end]).ok()?;
    let number = |text: &str| text.parse::<u16>().ok().map(usize::from);
    let (min, max) = match text.split_once(',') {
        None => (number(text)?, number(text)?),
        Some((min, "")) => (number(min)?, usize::MAX),
        Some((min, max)) => (number(min)?, number(max)?),
    };
    Some((min, max, &pattern[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, texts: &[&str]) {
        let sequence = Sequence::parse(pattern).unwrap_or_else(|| panic!("{pattern} is a sequence"));
        let regex = regex::Regex::new(pattern).expect("a regular expression too");
        for text in texts {
            assert_eq!(sequence.is_match(text.as_bytes()), regex.is_match(text), "{pattern} {text:?}");
        }
    }

    #[test]
    fn sequences_agree_with_the_expression() {
        let id = "a2036f3c-1fa7-439b-925a-b3ba149e9538";
        let texts =
            ["", "1", "12.", "123.4", "1234.", "2017-11-20", "x2017-11-20y", "2017-11-2", id, &id[1..], "{}", "a_1", "1a", "é", "a\n"];
        check("^[a-fA-F0-9]{8}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{4}-[a-fA-F0-9]{12}$", &texts);
        check("^[0-9]{2,3}\\.", &texts);
        check("^[0-9]{10}", &texts);
        check("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", &texts);
        check("[0-9]{4}-[0-9]{2}-[0-9]{2}", &texts);
        check("^[a-z_][a-z0-9_]*$", &texts);
        check("[a-f0-9]{4}", &texts);
        check("^\\{[0-9]?\\}$", &texts);
        check("^a", &texts);
        check("", &texts);
    }

    #[test]
    fn what_is_no_sequence_is_left_to_the_expression() {
        for pattern in ["^\\S+$", "a|b", "(ab)+", "^[^a]$", ".", "^[0-9]+[0-9]$", "[0-9]+x", "^\\d$", "a+?", "x$", "^é$", "[a-]"] {
            assert!(Sequence::parse(pattern).is_none(), "{pattern}");
        }
    }
}
