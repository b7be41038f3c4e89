//! A value, checked against a node.

use super::{Walk, array, choice, object, scalar};
use crate::captures::{NOTHING, QUIET};
use crate::cursor::Cursor;
use crate::program::{ARRAY, Node, OBJECT};

/// Reads the value at `at`, which lies in `depth` arrays and objects, and returns the place behind it.
///
/// This is the body of the recursion; it is inlined into one function for each set of processor
/// features ([`Cursor::value`]), through which it calls itself.
#[inline(always)]
pub(crate) fn value<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node, state: u32, depth: u32) -> Option<C> {
    let end = match at.peek() {
        b'{' => {
            let is_plain = node.object.is_none() && node.types & OBJECT != 0 && walk.is_plain(state, depth);
            if is_plain { C::plain(walk, at, depth) } else { object::object(walk, at, node, state, depth) }
        }
        b'[' => {
            let is_plain = node.array.is_none() && node.types & ARRAY != 0 && walk.is_plain(state, depth);
            if is_plain { C::plain(walk, at, depth) } else { array::array(walk, at, node, state, depth) }
        }
        _ => scalar::scalar(walk, at, node),
    }?;
    if node.has_afterwork() && !choice::afterwork(walk, at, end, node, depth) {
        return None;
    }
    Some(end)
}

/// Reads a member or element: arrays and objects by recursion, scalars without a call.
#[inline(always)]
pub(super) fn child<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node, state: u32, depth: u32) -> Option<C> {
    // `{` and `[` differ from everything else a value can begin with in these bits.
    if at.peek() | 0x20 == b'{' || node.has_afterwork() {
        return C::value(walk, at, node, state, depth);
    }
    scalar::scalar(walk, at, node)
}

impl<'d, C: Cursor<'d>> Walk<'d, '_, C> {
    /// Whether nothing below a value is to be noted.
    #[inline(always)]
    fn is_plain(&self, state: u32, depth: u32) -> bool {
        state == QUIET || (state == NOTHING && (depth >= 2 || !self.has_members))
    }
}
