//! A value, checked against a node.

use super::{Walk, array, choice, object, scalar};
use crate::captures::{NOTHING, QUIET};
use crate::cursor::Cursor;
use crate::program::Node;

/// Reads the value at `at`, which lies in `depth` arrays and objects, and returns the place behind it.
///
/// This is the body of the recursion; it is inlined into one function for each set of processor
/// features ([`Cursor::value`]), through which it calls itself.
#[inline(always)]
pub(crate) fn value<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node, state: u32, depth: u32) -> Option<C> {
    let is_indexed = depth < 2 && walk.has_members;
    if (state == NOTHING || state == QUIET) && !is_indexed && node.is_any() {
        return C::plain(walk, at, depth);
    }
    let end = match at.peek() {
        b'{' => object::object(walk, at, node, state, depth),
        b'[' => array::array(walk, at, node, state, depth),
        _ => scalar::scalar(walk, at, node),
    }?;
    if node.has_afterwork() && !choice::afterwork(walk, at, end, node, state, depth) {
        return None;
    }
    Some(end)
}

/// Reads a value that no node describes.
#[inline(always)]
pub(crate) fn untyped<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, state: u32, depth: u32) -> Option<C> {
    let is_indexed = depth < 2 && walk.has_members;
    if (state == NOTHING || state == QUIET) && !is_indexed {
        return C::plain(walk, at, depth);
    }
    let any = const { &Node::any() };
    C::value(walk, at, any, state, depth)
}
