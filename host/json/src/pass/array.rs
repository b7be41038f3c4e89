//! Arrays.

use super::value::child;
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
    let first = at.accept::<b'['>()?.skip_whitespace();
    let rules = node.array.as_deref().unwrap_or(const { &ArrayRules::NONE });
    let mut lacks = rules.contains.as_deref();
    let mut count = 0;
    let mut here = first;
    let end = match first.accept::<b']'>() {
        Some(end) => end,
        None => loop {
            let node = rules.prefix.get(count as usize).map_or(rules.rest(), |node| node);
            let next = if state == NOTHING || state == QUIET { state } else { walk.captures.element(state, count) };
            let after = child(walk, here, node, next, depth + 1)?;
            walk.capture(next, here, after);
            if lacks.is_some_and(|node| choice::accepts(walk, here, node, depth + 1)) {
                lacks = None;
            }
            count += 1;
            let after = after.skip_whitespace();
            if let Some(next) = after.accept::<b','>() {
                here = next.skip_whitespace();
            } else if let Some(end) = after.accept::<b']'>() {
                break end;
            } else {
                return walk.fail((after, "token"));
            }
        },
    };
    if count < rules.min_items || rules.max_items < count || lacks.is_some() {
        return walk.refuse();
    }
    Some(end)
}
