//! Strings, numbers and literals.

use super::Walk;
use crate::cursor::{self, Cursor, NumberToken, Text};
use crate::program::{BOOLEAN, Choice, INTEGER, NULL, Node, Number, NumberRules, REAL, STRING, StringRules};
use crate::text::{code_points, decode_into};

/// Reads the scalar at `at` and checks it against `node`.
#[inline(always)]
pub(super) fn scalar<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node) -> Option<C> {
    match at.peek() {
        b'"' => string(walk, at, node),
        b'-' | b'0'..=b'9' => number(walk, at, node),
        _ => literal(walk, at, node),
    }
}

/// Reads the scalar at `at`.
#[inline(always)]
pub(super) fn plain<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C) -> Option<C> {
    if let Some(start) = at.accept::<b'"'>() {
        return match cursor::string(start) {
            Ok((_, after)) => Some(after),
            Err(fault) => walk.fail(fault),
        };
    }
    if !matches!(at.peek(), b'-' | b'0'..=b'9') {
        return any_literal(walk, at);
    }
    match cursor::number(at) {
        Ok((token, end)) if token.is_small || is_finite(&token) => Some(end),
        Ok(_) => walk.fail((at, "number")),
        Err(fault) => walk.fail(fault),
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
    let Some(end) = end else { return walk.fail((at, "token")) };
    if node.types & type_ == 0 || node.booleans & boolean != boolean {
        return walk.refuse();
    }
    Some(end)
}

#[inline(always)]
fn string<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node) -> Option<C> {
    let Some(start) = at.accept::<b'"'>() else { return walk.fail((at, "token")) };
    let (text, end) = match cursor::string(start) {
        Ok(string) => string,
        Err(fault) => return walk.fail(fault),
    };
    if node.types & STRING == 0 || !node.string.as_ref().is_none_or(|rules| accepts_string(walk, rules, text)) {
        return walk.refuse();
    }
    Some(end)
}

/// Whether a string fulfils its rules.
#[inline(never)]
pub(super) fn accepts_string<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, rules: &StringRules, text: Text<C>) -> bool {
    if !text.is_escaped {
        return accepts_text(rules, text.bytes());
    }
    let decoded = &mut walk.scratch.text;
    decoded.clear();
    decode_into(text.bytes(), decoded) && accepts_text(rules, decoded)
}

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

#[inline(always)]
fn number<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node) -> Option<C> {
    let (token, end) = match cursor::number(at) {
        Ok(number) => number,
        Err(fault) => return walk.fail(fault),
    };
    if !token.is_small {
        return large_number(walk, at, node, token, end);
    }
    let magnitude = token.magnitude as i64;
    let value = if token.is_negative { -magnitude } else { magnitude };
    if node.types & INTEGER == 0 || !node.number.as_ref().is_none_or(|rules| rules.accepts_small(value)) {
        return walk.refuse();
    }
    Some(end)
}

/// Reals, integers of more than 18 digits, `-0`.
#[inline(never)]
fn large_number<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node, token: NumberToken<C>, end: C) -> Option<C> {
    let accepts_both = node.types & (INTEGER | REAL) == INTEGER | REAL;
    if accepts_both && node.number.is_none() && is_finite(&token) {
        return Some(end);
    }
    let Some(number) = parse(&token) else { return walk.fail((at, "number")) };
    let type_ = if is_integer(number, walk.whole_reals_are_integers) { INTEGER } else { REAL };
    let accepts = |rules: &NumberRules| rules.accepts(number);
    if node.types & type_ == 0 || !node.number.as_deref().is_none_or(accepts) {
        return walk.refuse();
    }
    Some(end)
}

/// Without fraction and exponent beyond 64 bits a number counts as an integer in every draft.
fn is_integer(number: Number, whole_reals_are_integers: bool) -> bool {
    match number {
        Number::Integer(_) => true,
        Number::Real(value) if whole_reals_are_integers => value.fract() == 0.0,
        Number::Real(value) => value.abs() >= 9_223_372_036_854_775_808.0,
    }
}

/// The number that a token means; `None` where it is beyond `f64`. `-0` is a real, as it is for serde_json.
fn parse<'d, C: Cursor<'d>>(token: &NumberToken<C>) -> Option<Number> {
    parse_number(token.bytes(), token.is_real)
}

/// See [`parse`]; `token` fulfils the grammar of numbers.
pub(crate) fn parse_number(token: &[u8], is_real: bool) -> Option<Number> {
    let text = std::str::from_utf8(token).ok()?;
    if !is_real && text != "-0" {
        let unsigned = || text.parse::<u64>().ok().map(i128::from);
        if let Some(integer) = text.parse::<i64>().ok().map(i128::from).or_else(unsigned) {
            return Some(Number::Integer(integer));
        }
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Number::Real)
}

/// Whether a token is within `f64`: that of a long one or one with an exponent has to be tried.
fn is_finite<'d, C: Cursor<'d>>(token: &NumberToken<C>) -> bool {
    let bytes = token.bytes();
    let has_exponent = token.is_real && bytes.iter().any(|byte| matches!(byte, b'e' | b'E'));
    (!has_exponent && bytes.len() < 300) || parse(token).is_some()
}
