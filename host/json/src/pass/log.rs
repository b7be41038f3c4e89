//! What the captures of a pass have found.

use crate::span::Span;
use crate::text::{decode_into, text_equals};

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

    /// Forgets what was found in members whose key comes again later in the same object.
    pub fn forget_duplicates(&mut self, members: &[Tracked], document: &[u8], text: &mut Vec<u8>, keys: &mut Vec<(u64, Span)>) {
        if members.len() < 2 || self.found.is_empty() {
            return;
        }
        hash_keys(members, document, text, keys);
        for pair in keys.windows(2) {
            let (earlier, later) = (pair[0], pair[1]);
            if earlier.0 == later.0 {
                self.forget_if_duplicate(members, document, text, (earlier.1, later.1));
            }
        }
    }

    #[cold]
    fn forget_if_duplicate(&mut self, members: &[Tracked], document: &[u8], text: &mut Vec<u8>, (earlier, later): (Span, Span)) {
        text.clear();
        decode_into(later.of(document), text);
        let value = members.iter().find(|member| member.key == earlier).map(|member| member.value);
        if let Some(value) = value.filter(|_| text_equals(earlier.of(document), text)) {
            self.found.retain(|(_, span)| span.end <= value.start || value.end < span.end || span.start < value.start);
        }
    }
}

/// Fills `keys` with the hashes and places of the members' keys, sorted.
fn hash_keys(members: &[Tracked], document: &[u8], text: &mut Vec<u8>, keys: &mut Vec<(u64, Span)>) {
    keys.clear();
    for member in members {
        keys.push((hash_key(member.key.of(document), text), member.key));
    }
    keys.sort_unstable_by_key(|&(hash, key)| (hash, key.start));
}

/// A hash of a key's text.
pub(super) fn hash_key(inside: &[u8], text: &mut Vec<u8>) -> u64 {
    if !inside.contains(&b'\\') {
        return hash(inside);
    }
    text.clear();
    decode_into(inside, text);
    hash(text)
}

/// FNV-1a over words; a collision costs a comparison, nothing more.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    let chunks = bytes.chunks_exact(8);
    let rest = chunks.remainder().iter().fold(bytes.len() as u64, |hash, &byte| step(hash, byte.into()));
    chunks.fold(rest ^ 0xcbf2_9ce4_8422_2325, |hash, chunk| step(hash, u64::from_le_bytes(chunk.try_into().unwrap_or_default())))
}
