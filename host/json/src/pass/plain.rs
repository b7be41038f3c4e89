//! A value of which nothing is asked but that it is JSON.

use super::{Walk, scalar};
use crate::DEPTH_MAX;
use crate::cursor::{self, Cursor};

/// Reads any value at `at`, which lies in `depth` arrays and objects; see [`super::value`].
#[inline(always)]
pub(crate) fn plain<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, depth: u32) -> Option<C> {
    match at.peek() {
        b'{' => object(walk, at, depth),
        b'[' => array(walk, at, depth),
        _ => scalar::plain(walk, at),
    }
}

/// Reads a member or element: arrays and objects by recursion, scalars without a call.
#[inline(always)]
fn child<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, depth: u32) -> Option<C> {
    if at.peek() | 0x20 == b'{' { C::plain(walk, at, depth) } else { scalar::plain(walk, at) }
}

#[inline(always)]
fn object<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, depth: u32) -> Option<C> {
    if depth >= DEPTH_MAX {
        return walk.fail((at, "depth"));
    }
    let Some(mut at) = at.accept::<b'{'>().map(C::skip_whitespace) else { return walk.fail((at, "token")) };
    if let Some(end) = at.accept::<b'}'>() {
        return Some(end);
    }
    loop {
        let Some(key) = at.accept::<b'"'>() else { return walk.fail((at, "token")) };
        let after = match cursor::plain_string(key) {
            Ok((_, after)) => after.skip_whitespace(),
            Err(stop) => walk.escaped_string(key, stop)?.skip_whitespace(),
        };
        let Some(start) = after.accept::<b':'>() else { return walk.fail((after, "token")) };
        let end = child(walk, start.skip_whitespace(), depth + 1)?.skip_whitespace();
        match end.accept::<b','>() {
            Some(next) => at = next.skip_whitespace(),
            None => return end.accept::<b'}'>().or_else(|| walk.fail((end, "token"))),
        }
    }
}

#[inline(always)]
fn array<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, depth: u32) -> Option<C> {
    if depth >= DEPTH_MAX {
        return walk.fail((at, "depth"));
    }
    let Some(mut at) = at.accept::<b'['>().map(C::skip_whitespace) else { return walk.fail((at, "token")) };
    if let Some(end) = at.accept::<b']'>() {
        return Some(end);
    }
    loop {
        let end = child(walk, at, depth + 1)?.skip_whitespace();
        match end.accept::<b','>() {
            Some(next) => at = next.skip_whitespace(),
            None => return end.accept::<b']'>().or_else(|| walk.fail((end, "token"))),
        }
    }
}
