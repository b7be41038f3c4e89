//! What is done once the end of a value is known: choices, which read it once more for each branch,
//! and checks that are left to outside validators.

use super::Walk;
use crate::captures::QUIET;
use crate::cursor::Cursor;
use crate::program::{Choice, Node};
use crate::span::{Deferred, Refusal};
use crate::text::hash_key;
use crate::value::{skip_blanks, string_len};

/// Whether the value from `at` to `end` is accepted by what `node` asks besides types and rules.
#[inline(never)]
pub(super) fn afterwork<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, end: C, node: &Node, depth: u32) -> bool {
    if let Some(validator) = node.deferred {
        let span = walk.span(at, end);
        walk.results.deferred.push(Deferred { validator, span });
    }
    let choices = node.choices.as_deref().unwrap_or_default();
    let is_accepted =
        choices.iter().all(|choice| accepts_choice(walk, at, choice, depth) && (choice.is_monotone() || !has_duplicates(walk, at, end)));
    if !is_accepted {
        walk.refusal = Refusal::Schema;
    }
    is_accepted
}

fn accepts_choice<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, choice: &Choice, depth: u32) -> bool {
    match choice {
        Choice::All(nodes) => nodes.iter().all(|node| accepts(walk, at, node, depth)),
        Choice::Any(nodes) => nodes.iter().any(|node| accepts(walk, at, node, depth)),
        Choice::One(nodes) => nodes.iter().filter(|node| accepts(walk, at, node, depth)).take(2).count() == 1,
        Choice::Not(node) => !accepts(walk, at, node, depth),
        Choice::If(choice) => {
            let is_met = accepts(walk, at, &choice.condition, depth);
            accepts(walk, at, if is_met { &choice.then } else { &choice.otherwise }, depth)
        }
    }
}

/// Reads the value at `at` for its verdict only.
pub(super) fn accepts<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node, depth: u32) -> bool {
    C::value(walk, at, node, QUIET, depth).is_some()
}

/// Whether some object in the value from `at` to `end`, which is JSON, has a key twice.
///
/// It may say so by a collision of hashes; whoever asks then leaves the document to another validator.
pub(super) fn has_duplicates<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, end: C) -> bool {
    let value = walk.span(at, end).of(walk.document);
    let super::Scratch { text, open, hashes, .. } = &mut *walk.scratch;
    open.clear();
    hashes.clear();
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' => open.push(hashes.len()),
            b'}' if has_equal(hashes, open.pop().unwrap_or(0)) => return true,
            b'"' => {
                let inside = &rest[..string_len(rest)];
                rest = rest.get(inside.len() + 1..).unwrap_or_default();
                if skip_blanks(rest).starts_with(b":") {
                    hashes.push(hash_key(inside, text));
                }
            }
            _ => {}
        }
    }
    false
}

/// Whether two of the hashes from `start` on are equal; takes these off.
fn has_equal(hashes: &mut Vec<u64>, start: usize) -> bool {
    let own = &mut hashes[start..];
    own.sort_unstable();
    let has_equal = own.windows(2).any(|pair| pair[0] == pair[1]);
    hashes.truncate(start);
    has_equal
}
