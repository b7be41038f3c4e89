//! Objects.

use super::log::Tracked;
use super::value::child;
use super::{Walk, choice, scalar};
use crate::DEPTH_MAX;
use crate::captures::{NOTHING, QUIET};
use crate::cursor::{self, Cursor, Text};
use crate::program::{Dependency, KeyWords, Node, OBJECT, ObjectRules, Property, Shape};
use crate::span::{Member, Span};
use crate::text::decode_into;

/// An object being read: what all its members have in common.
struct Frame<'n> {
    rules: Option<&'n ObjectRules>,
    state: u32,
    depth: u32,
    /// Whether something in it may be captured.
    is_tracked: bool,
    /// Whether its members are listed.
    is_indexed: bool,
}

/// Reads the object at `at` and checks it against `node`.
#[inline(always)]
pub(super) fn object<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, node: &Node, state: u32, depth: u32) -> Option<C> {
    if depth >= DEPTH_MAX {
        return walk.fail((at, "depth"));
    }
    if node.types & OBJECT == 0 {
        return walk.refuse();
    }
    let frame = Frame {
        rules: node.object.as_deref(),
        state,
        depth,
        is_tracked: state != NOTHING && state != QUIET,
        is_indexed: state != QUIET && depth < 2 && walk.has_members,
    };
    let mut tally = Tally::open(walk, frame.rules);
    let (tracked, mark) = (walk.scratch.tracked.len(), walk.results.log.mark());
    let end = members(walk, at, &frame, &mut tally)?;
    if frame.is_tracked {
        walk.forget_duplicates(tracked, mark);
    }
    match frame.rules {
        Some(rules) if !tally.close(walk, rules, at, end, depth) => walk.refuse(),
        _ => Some(end),
    }
}

/// Reads all members: the place behind the closing brace.
#[inline(always)]
fn members<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, at: C, frame: &Frame<'_>, tally: &mut Tally) -> Option<C> {
    let has_counts = frame.rules.is_some_and(|rules| rules.shape == Shape::Counts) && !(frame.is_tracked || frame.is_indexed);
    let mut here = at.accept::<b'{'>()?.skip_whitespace();
    if let Some(end) = here.accept::<b'}'>() {
        return Some(end);
    }
    loop {
        let Some(key) = here.accept::<b'"'>() else { return walk.fail((here, "token")) };
        let (after, counts) = if has_counts { key.skip_counts() } else { (key, 0) };
        tally.members += counts;
        let after = if counts > 0 { after } else { member(walk, key, frame, tally)? };
        let after = after.skip_whitespace();
        match after.accept::<b','>() {
            Some(next) => here = next.skip_whitespace(),
            None => return after.accept::<b'}'>().or_else(|| walk.fail((after, "token"))),
        }
    }
}

/// Reads the member whose key begins at `key`: the place behind its value.
#[inline(always)]
fn member<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, key: C, frame: &Frame<'_>, tally: &mut Tally) -> Option<C> {
    let (key, after) = match cursor::plain_string(key) {
        Ok(string) => string,
        Err(stop) => walk.escaped_key(key, stop)?,
    };
    let after = after.skip_whitespace();
    let Some(start) = after.accept::<b':'>() else { return walk.fail((after, "token")) };
    let start = start.skip_whitespace();
    let next = if frame.is_tracked { walk.member_state(frame.state, key) } else { frame.state };
    let listed = if frame.is_indexed { walk.open_member(key, start, frame.depth) } else { 0 };
    let node = match frame.rules {
        Some(rules) => member_node(walk, rules, tally, key, start, frame.depth)?,
        None => const { &Node::any() },
    };
    let end = child(walk, start, node, next, frame.depth + 1)?;
    if frame.is_indexed {
        walk.close_member(listed, end);
    }
    if frame.is_tracked {
        walk.track(next, key, start, end);
    }
    Some(end)
}

/// What has been seen of an object's keys.
struct Tally {
    members: u64,
    /// Presence bits of the first 64 slots; the others lie in [`super::Scratch::seen`] from `more`.
    seen: u64,
    more: usize,
}

impl Tally {
    #[inline(always)]
    fn open<'d, C: Cursor<'d>>(walk: &mut Walk<'d, '_, C>, rules: Option<&ObjectRules>) -> Self {
        let more = walk.scratch.seen.len();
        if let Some(rules) = rules.filter(|rules| rules.slots > 64) {
            walk.scratch.seen.resize(more + rules.slots as usize / 64, 0);
        }
        Self { members: 0, seen: 0, more }
    }

    #[inline(always)]
    fn note<'d, C: Cursor<'d>>(&mut self, walk: &mut Walk<'d, '_, C>, slot: u32) {
        if slot < 64 {
            self.seen |= 1 << slot;
        } else if slot != u32::MAX {
            walk.scratch.seen[self.more + slot as usize / 64 - 1] |= 1 << (slot % 64);
        }
    }

    fn has<'d, C: Cursor<'d>>(&self, walk: &Walk<'d, '_, C>, slot: u32) -> bool {
        let word = if slot < 64 { self.seen } else { walk.scratch.seen[self.more + slot as usize / 64 - 1] };
        word >> (slot % 64) & 1 != 0
    }

    /// Whether the object as a whole fulfils `rules`.
    #[inline(always)]
    fn close<'d, C: Cursor<'d>>(&self, walk: &mut Walk<'d, '_, C>, rules: &ObjectRules, at: C, end: C, depth: u32) -> bool {
        if self.seen & rules.required_mask != rules.required_mask
            || self.members < rules.min_properties
            || rules.max_properties < self.members
        {
            return false;
        }
        let is_rare = rules.slots > 64 || !rules.dependencies.is_empty() || rules.min_properties > 1;
        !is_rare || self.close_rare(walk, rules, at, end, depth)
    }

    #[inline(never)]
    fn close_rare<'d, C: Cursor<'d>>(&self, walk: &mut Walk<'d, '_, C>, rules: &ObjectRules, at: C, end: C, depth: u32) -> bool {
        let has_required = (64..rules.required).all(|slot| self.has(walk, slot));
        let is_accepted = (has_required && rules.dependencies.iter().all(|dependency| self.meets(walk, dependency, at, depth)))
            // A key that comes twice counts as one, which matters to a minimum only.
            && (rules.min_properties < 2 || !choice::has_duplicates(walk, at, end));
        walk.scratch.seen.truncate(self.more);
        is_accepted
    }

    /// Whether the object that begins at `at` has what one of its keys asks for.
    fn meets<'d, C: Cursor<'d>>(&self, walk: &mut Walk<'d, '_, C>, dependency: &Dependency, at: C, depth: u32) -> bool {
        let Dependency { when, needs, node } = dependency;
        let is_present = self.has(walk, *when);
        let has_needs = needs.iter().all(|&slot| self.has(walk, slot));
        !is_present || (has_needs && node.as_ref().is_none_or(|node| choice::accepts(walk, at, node, depth)))
    }
}

/// The node that a member's value has yet to be checked against; `None` where the schema refuses the
/// key, or the value by another node.
#[inline(always)]
fn member_node<'r, 'd, C: Cursor<'d>>(
    walk: &mut Walk<'d, '_, C>,
    rules: &'r ObjectRules,
    tally: &mut Tally,
    key: Text<C>,
    start: C,
    depth: u32,
) -> Option<&'r Node> {
    tally.members += 1;
    match rules.shape {
        Shape::Uniform => Some(&rules.additional),
        Shape::Named if !key.is_escaped => {
            let Some(number) = rules.keys.find_words(key.key_words(), key.bytes()) else { return Some(&rules.additional) };
            let property = &rules.properties[number];
            tally.note(walk, property.slot);
            Some(&property.node)
        }
        Shape::Digits | Shape::Counts if key.is_short_digits() => rules.patterns.first().map(|(_, node)| &**node),
        _ => rare_member_node(walk, rules, tally, key, start, depth),
    }
}

/// As [`member_node`], with patterns, names or escapes in the key.
#[inline(never)]
fn rare_member_node<'r, 'd, C: Cursor<'d>>(
    walk: &mut Walk<'d, '_, C>,
    rules: &'r ObjectRules,
    tally: &mut Tally,
    key: Text<C>,
    start: C,
    depth: u32,
) -> Option<&'r Node> {
    let node = if key.is_escaped {
        let mut text = std::mem::take(&mut walk.scratch.text);
        text.clear();
        decode_into(key.bytes(), &mut text);
        let node = keyed_node(walk, rules, tally, &text, start, depth);
        walk.scratch.text = text;
        node
    } else {
        keyed_node(walk, rules, tally, key.bytes(), start, depth)
    };
    if node.is_none() {
        walk.refuse();
    }
    node
}

fn keyed_node<'r, 'd, C: Cursor<'d>>(
    walk: &mut Walk<'d, '_, C>,
    rules: &'r ObjectRules,
    tally: &mut Tally,
    key: &[u8],
    start: C,
    depth: u32,
) -> Option<&'r Node> {
    if rules.names.as_deref().is_some_and(|names| !scalar::accepts_name(names, key)) {
        return None;
    }
    if let Some(number) = rules.keys.find_words(KeyWords::of(key), key) {
        let Property { node, slot, also } = &rules.properties[number];
        tally.note(walk, *slot);
        let is_accepted = also.iter().all(|node| choice::accepts(walk, start, node, depth + 1));
        return is_accepted.then_some(node);
    }
    let mut matching = rules.patterns.iter().filter(|(pattern, _)| pattern.is_match(key)).map(|(_, node)| node);
    let node = matching.next().unwrap_or(&rules.additional);
    matching.all(|node| choice::accepts(walk, start, node, depth + 1)).then_some(node)
}

impl<'d, C: Cursor<'d>> Walk<'d, '_, C> {
    /// A key with escapes, of which `stop` is the first.
    #[inline(never)]
    fn escaped_key(&mut self, start: C, stop: C) -> Option<(Text<C>, C)> {
        match cursor::escaped_string(start, stop) {
            Ok(key) => Some(key),
            Err(fault) => {
                self.fail(fault);
                None
            }
        }
    }

    /// The state below `state` at a key.
    fn member_state(&mut self, state: u32, key: Text<C>) -> u32 {
        if !key.is_escaped {
            return self.captures.member(state, key.bytes());
        }
        let text = &mut self.scratch.text;
        text.clear();
        decode_into(key.bytes(), text);
        self.captures.member(state, text)
    }

    fn key_span(&self, key: Text<C>) -> Span {
        Span { start: key.start_from(self.start) as u32, end: key.end_from(self.start) as u32 }
    }

    /// Lists a member whose value is about to be read, and returns its position.
    fn open_member(&mut self, key: Text<C>, start: C, depth: u32) -> usize {
        let position = self.results.members.len();
        if depth == 0 {
            self.parent = position as u32;
        }
        let start = start.offset_from(self.start) as u32;
        let (key, parent) = (self.key_span(key), self.parent);
        self.results.members.push(Member { depth: depth as u8 + 1, key, start, end: start, parent });
        position
    }

    fn close_member(&mut self, position: usize, end: C) {
        self.results.members[position].end = end.offset_from(self.start) as u32;
    }

    /// Captures a member's value, and remembers the member in case its key comes again.
    fn track(&mut self, state: u32, key: Text<C>, start: C, end: C) {
        if state != NOTHING {
            self.capture(state, start, end);
            self.scratch.tracked.push(Tracked { key: self.key_span(key), value: self.span(start, end) });
        }
    }

    fn forget_duplicates(&mut self, tracked_from: usize, mark: usize) {
        let super::Scratch { text, tracked, order, .. } = &mut *self.scratch;
        self.results.log.forget_duplicates(mark, &tracked[tracked_from..], self.document, text, order);
        tracked.truncate(tracked_from);
    }
}
