//! Arrays.

use super::{Walk, choice};
use crate::DEPTH_MAX;
use crate::captures::{NOTHING, QUIET};
use crate::cursor::Cursor;
use crate::program::{ARRAY, ArrayRules, Node};

/// Reads the array at `at` and checks it against `node`.
#[inline(always)]
pub(super) fn array<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node, state: u32, depth: u32) -> Option<C> {
    if depth >= DEPTH_MAX {
        return walk.fail((at, "depth"));
    }
    if node.types & ARRAY == 0 {
        return walk.refuse();
    }
    let (end, count) = elements(walk, at, node.array.as_deref(), state, depth)?;
    if node.array.as_ref().is_some_and(|rules| count < rules.min_items || rules.max_items < count) {
        return walk.refuse();
    }
    Some(end)
}

/// Reads the elements: the place behind the closing bracket and their number.
#[inline(always)]
fn elements<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, rules: Option<&ArrayRules>, state: u32, depth: u32) -> Option<(C, u64)> {
    let Some(mut at) = at.accept::<b'['>().map(C::skip_whitespace) else { return walk.fail((at, "token")).zip(None) };
    let mut count = 0;
    let mut lacks = rules.and_then(|rules| rules.contains.as_deref());
    if let Some(end) = at.accept::<b']'>() {
        return if lacks.is_some() { walk.refuse().zip(None) } else { Some((end, 0)) };
    }
    loop {
        let end = element(walk, at, rules, state, depth, count)?;
        count += 1;
        if lacks.is_some_and(|node| choice::accepts(walk, at, node, depth + 1)) {
            lacks = None;
        }
        let end = end.skip_whitespace();
        match end.accept::<b','>() {
            Some(next) => at = next.skip_whitespace(),
            None if lacks.is_some() => return walk.refuse().zip(None),
            None => return end.accept::<b']'>().or_else(|| walk.fail((end, "token"))).map(|end| (end, count)),
        }
    }
}

#[inline(always)]
fn element<'d, C: Cursor<'d>>(
    walk: &mut Walk<'d, '_, C>,
    at: C,
    rules: Option<&ArrayRules>,
    state: u32,
    depth: u32,
    index: u64,
) -> Option<C> {
    let next = if state == NOTHING || state == QUIET { state } else { walk.captures.element(state, index) };
    let end = match rules {
        None => super::untyped(walk, at, next, depth + 1)?,
        Some(rules) => {
            let node = rules.prefix.get(index as usize).unwrap_or(&rules.rest);
            C::value(walk, at, node, next, depth + 1)?
        }
    };
    walk.capture(next, at, end);
    Some(end)
}
