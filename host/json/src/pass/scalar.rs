//! Strings, numbers and literals.
//!
//! What is hot here returns in registers: a structure that goes through memory costs a failed store
//! forwarding for each token, which is a third of the whole pass (measured).

use super::Walk;
use crate::cursor::{self, Cursor, Text};
use crate::program::{BOOLEAN, Choice, INTEGER, NULL, Node, Number, NumberRules, REAL, STRING, StringRules};
use crate::text::{code_points, decode_into};

/// Reads the scalar at `at` and checks it against `node`.
#[inline(always)]
pub(super) fn scalar<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node) -> Option<C> {
    let byte = at.peek();
    if byte == b'"' {
        return string(walk, at, node);
    }
    if byte == b'-' || byte.wrapping_sub(b'0') < 10 {
        return number(walk, at, node);
    }
    literal(walk, at, node)
}

/// Reads the scalar at `at`.
#[inline(always)]
pub(super) fn plain<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C) -> Option<C> {
    if let Some(start) = at.accept::<b'"'>() {
        return match cursor::plain_string(start) {
            Ok((_, after)) => Some(after),
            Err(stop) => walk.escaped_string(start, stop),
        };
    }
    if at.peek() != b'-' && at.peek().wrapping_sub(b'0') >= 10 {
        return any_literal(walk, at);
    }
    match small_integer(at) {
        Some((_, end)) => Some(end),
        None => plain_number(walk, at),
    }
}

#[inline(never)]
fn any_literal<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C) -> Option<C> {
    let end = at.accept_literal(b"true").or(at.accept_literal(b"null")).or(at.accept_literal(b"false"));
    end.or_else(|| walk.fail((at, "token")))
}

#[inline(always)]
fn literal<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node) -> Option<C> {
    let (end, type_, boolean) = match at.peek() {
        b't' => (at.accept_literal(b"true"), BOOLEAN, 2),
        b'f' => (at.accept_literal(b"false"), BOOLEAN, 1),
        _ => (at.accept_literal(b"null"), NULL, 0),
    };
    if end.is_none() {
        return walk.fail((at, "token"));
    }
    if node.types & type_ == 0 || node.booleans & boolean != boolean {
        return walk.refuse();
    }
    end
}

#[inline(always)]
fn string<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node) -> Option<C> {
    let start = at.accept::<b'"'>()?;
    let Ok((text, end)) = cursor::plain_string(start) else { return rare_string(walk, start, node) };
    if node.types & STRING == 0 {
        return walk.refuse();
    }
    match node.string.as_deref() {
        Some(rules) if !accepts_text(rules, text.bytes()) => walk.refuse(),
        _ => Some(end),
    }
}

/// A string with escapes, or none.
#[inline(never)]
fn rare_string<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, start: C, node: &Node) -> Option<C> {
    let (text, end) = match cursor::escaped_string(start, start.string_stop()) {
        Ok(string) => string,
        Err(fault) => return walk.fail(fault),
    };
    match node.string.as_deref() {
        _ if node.types & STRING == 0 => walk.refuse(),
        Some(rules) if !accepts_escaped(walk, rules, text) => walk.refuse(),
        _ => Some(end),
    }
}

fn accepts_escaped<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, rules: &StringRules, text: Text<C>) -> bool {
    let decoded = &mut walk.scratch.text;
    decoded.clear();
    decode_into(text.bytes(), decoded) && accepts_text(rules, decoded)
}

#[inline(never)]
fn accepts_text(rules: &StringRules, text: &[u8]) -> bool {
    let StringRules { min_length, max_length, pattern, allowed } = rules;
    has_length(text, *min_length, *max_length)
        && pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
        && allowed.as_ref().is_none_or(|allowed| allowed.find(text).is_some())
}

/// Whether `node` accepts a key, whose text is `name`.
pub(super) fn accepts_name(node: &Node, name: &[u8]) -> bool {
    node.types & STRING != 0
        && node.string.as_ref().is_none_or(|rules| accepts_text(rules, name))
        && node.choices.as_ref().is_none_or(|choices| choices.iter().all(|choice| choice_accepts_name(choice, name)))
}

fn choice_accepts_name(choice: &Choice, name: &[u8]) -> bool {
    match choice {
        Choice::All(nodes) => nodes.iter().all(|node| accepts_name(node, name)),
        Choice::Any(nodes) => nodes.iter().any(|node| accepts_name(node, name)),
        Choice::One(nodes) => nodes.iter().filter(|node| accepts_name(node, name)).count() == 1,
        Choice::Not(node) => !accepts_name(node, name),
        Choice::If(choice) if accepts_name(&choice.condition, name) => accepts_name(&choice.then, name),
        Choice::If(choice) => accepts_name(&choice.otherwise, name),
    }
}

/// A code point takes one to four bytes, so most lengths are decided without counting.
fn has_length(text: &[u8], min: u64, max: u64) -> bool {
    let bytes = text.len() as u64;
    if bytes <= max && bytes >= min.saturating_mul(4) {
        return true;
    }
    (min..=max).contains(&(code_points(text) as u64))
}

/// The integer at `at`, if it has at most 15 digits and is not `-0`, and the place behind it.
#[inline(always)]
fn small_integer<'d, C: Cursor<'d>>(at: C) -> Option<(i64, C)> {
    let minus = at.accept::<b'-'>();
    let first = minus.unwrap_or(at);
    let (mut end, mut count, mut value) = first.digits();
    if count == 8 {
        let (more_end, more, low) = end.digits();
        end = more_end;
        count += more;
        value = value * POWERS_OF_TEN[more] + low;
    }
    let has_odd_zero = first.peek() == b'0' && (count > 1 || minus.is_some());
    if count == 0 || count == 16 || has_odd_zero || matches!(end.peek(), b'.' | b'e' | b'E') {
        return None;
    }
    let value = value as i64;
    Some((if minus.is_some() { -value } else { value }, end))
}

const POWERS_OF_TEN: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

#[inline(always)]
fn number<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node) -> Option<C> {
    let Some((value, end)) = small_integer(at) else { return rare_number(walk, at, node) };
    if node.types & INTEGER == 0 {
        return walk.refuse();
    }
    match node.number.as_deref() {
        Some(rules) if !rules.accepts_small(value) => walk.refuse(),
        _ => Some(end),
    }
}

/// Reals, integers of more than 15 digits, `-0`, and what is no number.
#[inline(never)]
fn rare_number<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node) -> Option<C> {
    let (token, end) = match cursor::number(at) {
        Ok((token, end)) => (token.bytes(), end),
        Err(fault) => return walk.fail(fault),
    };
    let accepts_both = node.types & (INTEGER | REAL) == INTEGER | REAL;
    if accepts_both && node.number.is_none() && is_finite(token) {
        return Some(end);
    }
    let Some(number) = parse_number(token) else { return walk.fail((at, "number")) };
    let type_ = if is_integer(number, walk.whole_reals_are_integers) { INTEGER } else { REAL };
    let accepts = |rules: &NumberRules| rules.accepts(number);
    if node.types & type_ == 0 || !node.number.as_deref().is_none_or(accepts) {
        return walk.refuse();
    }
    Some(end)
}

#[inline(never)]
fn plain_number<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C) -> Option<C> {
    match cursor::number(at) {
        Ok((token, end)) if is_finite(token.bytes()) => Some(end),
        Ok(_) => walk.fail((at, "number")),
        Err(fault) => walk.fail(fault),
    }
}

/// Without fraction and exponent beyond 64 bits a number counts as an integer in every draft.
fn is_integer(number: Number, whole_reals_are_integers: bool) -> bool {
    match number {
        Number::Integer(_) => true,
        Number::Real(value) if whole_reals_are_integers => value.fract() == 0.0,
        Number::Real(value) => value.abs() >= 9_223_372_036_854_775_808.0,
    }
}

/// The number that `token`, which fulfils the grammar of numbers, means; `None` where it is beyond
/// `f64`. `-0` is a real, as it is for serde_json.
pub(crate) fn parse_number(token: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(token).ok()?;
    if text != "-0" {
        let unsigned = || text.parse::<u64>().ok().map(i128::from);
        if let Some(integer) = text.parse::<i64>().ok().map(i128::from).or_else(unsigned) {
            return Some(Number::Integer(integer));
        }
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Number::Real)
}

/// Whether a token is within `f64`: that of a long one or one with an exponent has to be tried.
fn is_finite(token: &[u8]) -> bool {
    let has_exponent = token.iter().any(|byte| matches!(byte, b'e' | b'E'));
    (!has_exponent && token.len() < 300) || parse_number(token).is_some()
}

impl<'d, C: Cursor<'d>> Walk<'d, '_, C> {
    /// The place behind the string that begins behind the quote before `start` and has, at `stop`, an
    /// escape or a fault.
    #[inline(never)]
    pub(super) fn escaped_string(&mut self, start: C, stop: C) -> Option<C> {
        match cursor::escaped_string(start, stop) {
            Ok((_, end)) => Some(end),
            Err(fault) => self.fail(fault),
        }
    }
}
