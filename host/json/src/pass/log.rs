//! What the captures of a pass have found.

use crate::span::Span;
use crate::text::{compare_texts, hash_key};

/// Captured values: while reading a list in the order of the document, then grouped by pointer.
#[derive(Debug, Default)]
pub(super) struct Log {
    found: Vec<(u32, Span)>,
    grouped: Vec<Span>,
    /// Where the values of each pointer begin in `grouped`, and the end.
    begins: Vec<u32>,
}

/// A member of an object in which something may be captured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tracked {
    pub key: Span,
    pub value: Span,
}

impl Log {
    pub fn clear(&mut self) {
        self.found.clear();
        self.begins.clear();
    }

    #[inline]
    pub fn push(&mut self, pointers: &[u32], span: Span) {
        self.found.extend(pointers.iter().map(|&pointer| (pointer, span)));
    }

    /// Sorts what was found by pointer; the order within one stays that of the document.
    pub fn group(&mut self, pointers: usize) {
        self.begins.clear();
        self.begins.resize(pointers + 1, 0);
        for &(pointer, _) in &self.found {
            self.begins[pointer as usize + 1] += 1;
        }
        for pointer in 0..pointers {
            self.begins[pointer + 1] += self.begins[pointer];
        }
        self.grouped.clear();
        self.grouped.resize(self.found.len(), Span::default());
        // Filled from the back, each end moves down to its beginning, which is the next one's end.
        for &(pointer, span) in self.found.iter().rev() {
            let end = &mut self.begins[pointer as usize + 1];
            *end -= 1;
            self.grouped[*end as usize] = span;
        }
        self.begins.push(self.found.len() as u32);
        self.begins.remove(0);
    }

    pub fn captured(&self, pointer: usize) -> &[Span] {
        let (Some(&begin), Some(&end)) = (self.begins.get(pointer), self.begins.get(pointer + 1)) else { return &[] };
        &self.grouped[begin as usize..end as usize]
    }

    /// How much has been found so far; see [`Self::forget_duplicates`].
    pub fn mark(&self) -> usize {
        self.found.len()
    }

    /// Forgets what was found, since `mark`, in members of one object whose key comes again later in it.
    pub fn forget_duplicates(
        &mut self,
        mark: usize,
        members: &[Tracked],
        document: &[u8],
        text: &mut Vec<u8>,
        order: &mut Vec<(u64, u32)>,
    ) {
        if members.len() < 2 || self.found.len() == mark {
            return;
        }
        sort_by_key(members, document, text, order);
        // What is left of `order` are the members that do not count, in the order of the document.
        let key = |position: u32| members[position as usize].key.of(document);
        let mut kept = 0;
        for at in 1..order.len() {
            let ((earlier_hash, earlier), (hash, later)) = (order[at - 1], order[at]);
            if earlier_hash == hash && compare_texts(key(earlier), key(later)).is_eq() {
                order[kept] = (0, earlier);
                kept += 1;
            }
        }
        order.truncate(kept);
        if !order.is_empty() {
            order.sort_unstable_by_key(|&(_, position)| position);
            self.forget_within(mark, members, order);
        }
    }

    #[cold]
    fn forget_within(&mut self, mark: usize, members: &[Tracked], dead: &[(u64, u32)]) {
        let value = |position: u32| members[position as usize].value;
        let is_dead = |span: Span| {
            let next = dead.partition_point(|&(_, position)| value(position).start <= span.start);
            next.checked_sub(1).is_some_and(|last| span.end <= value(dead[last].1).end)
        };
        let mut kept = mark;
        for at in mark..self.found.len() {
            let found = self.found[at];
            if !is_dead(found.1) {
                self.found[kept] = found;
                kept += 1;
            }
        }
        self.found.truncate(kept);
    }
}

/// Fills `order` with the hashes and positions of the members: equal keys side by side, in the order of
/// the document. Keys that only their hash makes equal are told apart, so that nobody can make it slow
/// or wrong by choosing keys.
fn sort_by_key(members: &[Tracked], document: &[u8], text: &mut Vec<u8>, order: &mut Vec<(u64, u32)>) {
    order.clear();
    for (position, member) in (0..).zip(members) {
        order.push((hash_key(member.key.of(document), text), position));
    }
    let key = |position: u32| members[position as usize].key.of(document);
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| compare_texts(key(a.1), key(b.1))).then(a.1.cmp(&b.1)));
}
