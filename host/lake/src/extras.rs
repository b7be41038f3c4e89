//! What no column holds: unknown properties and values that do not fit, with their paths, written as one JSON object that nests
//! them as the document did. Elements of arrays stand under their position, as in `{"addons": {"3": {"new": 1}}}`.

use std::ops::Range;
use tidemill_json::decode_into;

/// A step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment<'d> {
    /// A key inside its quotes, as it was written.
    Key(&'d [u8]),
    Position(usize),
}

#[derive(Debug)]
struct Extra<'d> {
    path: Range<usize>,
    value: &'d [u8],
    is_dropped: bool,
}

/// The extras of one document, in its order.
#[derive(Debug, Default)]
pub(crate) struct Extras<'d> {
    path: Vec<Segment<'d>>,
    segments: Vec<Segment<'d>>,
    entries: Vec<Extra<'d>>,
    misfits: u64,
}

impl<'d> Extras<'d> {
    pub(crate) fn enter_key(&mut self, key: &'d [u8]) {
        self.path.push(Segment::Key(key));
    }

    pub(crate) fn enter_position(&mut self, position: usize) {
        self.path.push(Segment::Position(position));
    }

    pub(crate) fn leave(&mut self) {
        self.path.pop();
    }

    /// The number of extras so far.
    pub(crate) fn mark(&self) -> usize {
        self.entries.len()
    }

    /// Keeps the value at the present path: it does not fit its column.
    pub(crate) fn misfit(&mut self, value: &'d [u8]) {
        self.misfits += 1;
        self.keep(value);
    }

    /// Keeps a member of the object at the present path that no column knows.
    pub(crate) fn unknown(&mut self, key: &'d [u8], value: &'d [u8]) {
        self.enter_key(key);
        self.keep(value);
        self.leave();
    }

    fn keep(&mut self, value: &'d [u8]) {
        if value.is_empty() {
            return;
        }
        let start = self.segments.len();
        self.segments.extend_from_slice(&self.path);
        self.entries.push(Extra { path: start..self.segments.len(), value, is_dropped: false });
    }

    /// Forgets what was kept between two marks: a later duplicate of a key took its place.
    pub(crate) fn drop_between(&mut self, range: Range<usize>) {
        for entry in self.entries.get_mut(range).unwrap_or_default() {
            entry.is_dropped = true;
        }
    }

    /// Of unknown members of the object at the present path, kept since `mark`, the last of each key counts.
    pub(crate) fn drop_duplicates(&mut self, mark: usize) {
        let depth = self.path.len() + 1;
        let text = |at: usize| {
            let mut text = Vec::new();
            if let Some(Segment::Key(key)) = self.segments[self.entries[at].path.clone()].last() {
                decode_into(key, &mut text);
            }
            text
        };
        let direct = (mark..self.entries.len()).filter(|at| self.entries[*at].path.len() == depth);
        let mut keys: Vec<(Vec<u8>, usize)> = direct.map(|at| (text(at), at)).collect();
        keys.sort_unstable();
        let superseded: Vec<usize> = keys.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].1).collect();
        superseded.into_iter().for_each(|at| self.entries[at].is_dropped = true);
    }

    /// How many values did not fit.
    pub(crate) fn misfits(&self) -> u64 {
        self.misfits
    }

    /// Appends the object; nothing, and `false`, where there are no extras.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> bool {
        let mut open: &[Segment<'_>] = &[];
        let mut is_first = true;
        for entry in self.entries.iter().filter(|entry| !entry.is_dropped) {
            let path = &self.segments[entry.path.clone()];
            let Some((last, parents)) = path.split_last() else {
                // The document itself is no object.
                out.extend_from_slice(entry.value);
                return true;
            };
            if is_first {
                out.push(b'{');
            }
            let common = open.iter().zip(parents).take_while(|(a, b)| a == b).count();
            out.extend(std::iter::repeat_n(b'}', open.len() - common));
            if !is_first {
                out.push(b',');
            }
            for parent in &parents[common..] {
                write_key(parent, out);
                out.push(b'{');
            }
            write_key(last, out);
            out.extend_from_slice(entry.value);
            open = parents;
            is_first = false;
        }
        if !is_first {
            out.extend(std::iter::repeat_n(b'}', open.len() + 1));
        }
        !is_first
    }
}

fn write_key(segment: &Segment<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    match segment {
        Segment::Key(key) => out.extend_from_slice(key),
        Segment::Position(position) => out.extend_from_slice(position.to_string().as_bytes()),
    }
    out.extend_from_slice(b"\":");
}
