//! The member index that travels with a document: where the members of depth 1 and 2 lie.
//!
//! Layout: format byte 1, then numbers as LEB128: the document's length, the number of depth-1 members, and for each of them
//! the distance of its key from the end of the value before (for the first: from the start), the
//! key's length, the distance of the value from the key, the value's length and the size in bytes of
//! what follows for its own members, which are written the same way without that size (the first
//! distance from the start of the value they lie in). A reader thus skips members it does not
//! want, and the key itself stands in the document: nothing is stored twice and nothing is trusted,
//! since every hit is compared with the document.

use crate::captures::decode_segment;
use crate::span::{Member, Span};
use crate::text::text_equals;

/// The most members that an index describes; a document with more has none.
pub const MEMBERS_MAX: usize = 4096;

const FORMAT: u8 = 1;

/// Appends the index of a document to `out`. Returns `false`, with `out` as it was, when there are
/// more than [`MEMBERS_MAX`] members.
pub fn encode(members: &[Member], document: &[u8], out: &mut Vec<u8>) -> bool {
    if members.len() > MEMBERS_MAX {
        return false;
    }
    out.push(FORMAT);
    put(out, document.len() as u32);
    put(out, members.iter().filter(|member| member.depth == 1).count() as u32);
    let (mut before, mut first) = (0, 0);
    while let Some(member) = members.get(first) {
        let inner = members[first + 1..].iter().take_while(|member| member.depth == 2).count();
        put_member(out, member, before);
        put_inner(out, member, &members[first + 1..=first + inner]);
        before = member.end;
        first += inner + 1;
    }
    true
}

fn put_inner(out: &mut Vec<u8>, parent: &Member, inner: &[Member]) {
    // The size is not known before; most are under 128 bytes, so one byte is set aside for it.
    let mark = out.len();
    out.push(0);
    let mut before = parent.start;
    for member in inner {
        put_member(out, member, before);
        before = member.end;
    }
    let size = (out.len() - mark - 1) as u32;
    if size < 0x80 {
        out[mark] = size as u8;
    } else {
        let (mut bytes, mut len) = ([0; 5], 0);
        put_with(size, |byte| {
            bytes[len] = byte;
            len += 1;
        });
        out.splice(mark..=mark, bytes[..len].iter().copied());
    }
}

fn put_member(out: &mut Vec<u8>, member: &Member, before: u32) {
    put(out, member.key.start - before);
    put(out, member.key.end - member.key.start);
    put(out, member.start - member.key.end);
    put(out, member.end - member.start);
}

fn put(out: &mut Vec<u8>, number: u32) {
    put_with(number, |byte| out.push(byte));
}

fn put_with(mut number: u32, mut push: impl FnMut(u8)) {
    while number >= 0x80 {
        push(number as u8 | 0x80);
        number >>= 7;
    }
    push(number as u8);
}

/// A member index as it was read from a header.
#[derive(Clone, Copy, Debug)]
pub struct MemberIndex<'i> {
    document_len: u32,
    count: u32,
    members: &'i [u8],
}

impl<'i> MemberIndex<'i> {
    /// Reads the head of an index; `None` where it is none of this format.
    pub fn parse(bytes: &'i [u8]) -> Option<Self> {
        let (&format, mut rest) = bytes.split_first()?;
        let (document_len, count) = (take(&mut rest)?, take(&mut rest)?);
        (format == FORMAT).then_some(Self { document_len, count, members: rest })
    }

    /// Where in `document` the value lies that the first two segments of `pointer` name (or the only
    /// one), found by this index and verified against the document.
    ///
    /// `None` means that the index cannot tell: the value may be absent or the index wrong, so the
    /// caller scans ([`get`](crate::get)). Also `None` for the empty pointer.
    pub fn find(&self, document: &[u8], pointer: &str) -> Option<Span> {
        if self.document_len as usize != document.len() {
            return None;
        }
        let mut segments = pointer.strip_prefix('/')?.split('/');
        let (outer, inner) = (decode_segment(segments.next()?)?, segments.next());
        let (member, within) = last(Entries::outer(self), document, &outer)?;
        match inner {
            None => verified(document, member),
            Some(inner) => {
                verified(document, member)?;
                let entries = Entries::inner(within, member.start);
                verified(document, last(entries, document, &decode_segment(inner)?)?.0)
            }
        }
    }
}

/// The last of `entries` whose key is `key` in the document; `None` where there is none or the index
/// is broken.
fn last<'i>(mut entries: Entries<'i>, document: &[u8], key: &str) -> Option<(Member, &'i [u8])> {
    let mut found = None;
    while !entries.is_done() {
        let entry = entries.take()?;
        if text_equals(entry.0.key.of(document), key.as_bytes()) {
            found = Some(entry);
        }
    }
    found
}

/// The value of `member`, if the document has a key with its colon just before it and an end of a
/// member just behind.
fn verified(document: &[u8], member: Member) -> Option<Span> {
    let before = document.get(..member.key.start as usize)?;
    let between = document.get(member.key.end as usize..member.start as usize)?;
    let after = document.get(member.end as usize..)?.trim_ascii_start();
    let colon = between.strip_prefix(b"\"").map(<[u8]>::trim_ascii);
    let is_member = before.ends_with(b"\"") && colon == Some(b":") && after.starts_with(b",") | after.starts_with(b"}");
    (is_member && member.start < member.end).then_some(member.value())
}

struct Entries<'i> {
    rest: &'i [u8],
    before: u32,
    /// How many depth-1 members are still to come; depth-2 ones end where their bytes end.
    outer_left: Option<u32>,
}

impl<'i> Entries<'i> {
    fn outer(index: &MemberIndex<'i>) -> Self {
        Self { rest: index.members, before: 0, outer_left: Some(index.count) }
    }

    fn inner(rest: &'i [u8], before: u32) -> Self {
        Self { rest, before, outer_left: None }
    }

    fn is_done(&self) -> bool {
        self.outer_left.unwrap_or_default() == 0 && self.rest.is_empty()
    }

    /// The next member and the bytes of its own members; `None` where the index is broken.
    fn take(&mut self) -> Option<(Member, &'i [u8])> {
        let key_start = self.before.checked_add(take(&mut self.rest)?)?;
        let key_end = key_start.checked_add(take(&mut self.rest)?)?;
        let start = key_end.checked_add(take(&mut self.rest)?)?;
        let end = start.checked_add(take(&mut self.rest)?)?;
        let mut within: &[u8] = &[];
        if let Some(left) = &mut self.outer_left {
            *left = left.checked_sub(1)?;
            let size = take(&mut self.rest)?;
            (within, self.rest) = self.rest.split_at_checked(size as usize)?;
        }
        self.before = end;
        let depth = if self.outer_left.is_some() { 1 } else { 2 };
        Some((Member { depth, key: Span { start: key_start, end: key_end }, start, end, parent: 0 }, within))
    }
}

/// Takes a number off the front of `bytes`.
fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return (shift < 28 || byte < 16).then_some(number);
        }
    }
    None
}
