//! The JSON pointers whose values a pass notes, compiled into one automaton.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use thiserror::Error;

use crate::program::KeyTable;

/// A pointer that cannot be captured.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PointerError {
    /// Neither empty nor beginning with a slash.
    #[error("JSON pointer `{0}` must be empty or begin with `/`")]
    NoSlash(String),
    /// A `~` that is not followed by 0 or 1.
    #[error("JSON pointer `{0}` has a `~` that is neither `~0` nor `~1`")]
    Escape(String),
    /// More segments than a document has levels.
    #[error("JSON pointer `{0}` has more than 128 segments")]
    Depth(String),
    /// The `*` of many pointers multiply.
    #[error("the pointers need more than {STATES_MAX} states together; use fewer `*` beside named segments")]
    States,
}

/// The most states that the pointers of one pass may need.
const STATES_MAX: usize = 4096;

/// The state in which nothing can be captured any more.
pub(crate) const NOTHING: u32 = 0;
/// The state of a value that is read once more, for a choice: neither captures nor members.
pub(crate) const QUIET: u32 = u32::MAX;
const ROOT: u32 = 1;

/// A compiled set of JSON pointers; the segment `*` stands for each member or element.
#[derive(Debug)]
pub struct Captures {
    states: Vec<State>,
    pointers: usize,
}

#[derive(Debug)]
struct State {
    keys: KeyTable,
    /// The next state by the number of the key.
    named: Vec<u32>,
    /// The next states of array elements that are named by position.
    elements: Vec<(u64, u32)>,
    other: u32,
    captured: Vec<u32>,
}

impl Captures {
    /// Compiles `pointers`; they are numbered in this order.
    ///
    /// # Errors
    /// A pointer is none, is too deep, or all together need over 4,096 states.
    pub fn new(pointers: &[&str]) -> Result<Self, PointerError> {
        let parsed = pointers.iter().map(|pointer| segments(pointer)).collect::<Result<Vec<_>, _>>()?;
        Compiler::compile(&parsed)
    }

    /// No pointers at all.
    pub fn none() -> Self {
        Self { states: Vec::new(), pointers: 0 }
    }

    /// How many pointers there are.
    pub fn len(&self) -> usize {
        self.pointers
    }

    /// Whether there are no pointers.
    pub fn is_empty(&self) -> bool {
        self.pointers == 0
    }

    pub(crate) fn root(&self) -> u32 {
        if self.is_empty() { NOTHING } else { ROOT }
    }

    /// The state below `state` at the member `key`, escapes resolved.
    #[inline]
    pub(crate) fn member(&self, state: u32, key: &[u8]) -> u32 {
        let Some(state) = self.states.get(state as usize) else { return NOTHING };
        state.keys.find(key).map_or(state.other, |number| state.named[number])
    }

    /// The state below `state` at the element `index`.
    #[inline]
    pub(crate) fn element(&self, state: u32, index: u64) -> u32 {
        let Some(state) = self.states.get(state as usize) else { return NOTHING };
        let named = state.elements.iter().find(|(named, _)| *named == index);
        named.map_or(state.other, |&(_, next)| next)
    }

    /// The pointers that end in `state`.
    #[inline]
    pub(crate) fn captured(&self, state: u32) -> &[u32] {
        self.states.get(state as usize).map_or(&[], |state| &state.captured)
    }
}

/// The segments of a pointer, escapes resolved; `None` is `*`.
pub(crate) fn segments(pointer: &str) -> Result<Vec<Option<String>>, PointerError> {
    let Some(inside) = pointer.strip_prefix('/') else {
        return if pointer.is_empty() { Ok(Vec::new()) } else { Err(PointerError::NoSlash(pointer.into())) };
    };
    let segments: Option<Vec<_>> = inside.split('/').map(segment).collect();
    let segments = segments.ok_or_else(|| PointerError::Escape(pointer.into()))?;
    if segments.len() > crate::DEPTH_MAX as usize {
        return Err(PointerError::Depth(pointer.into()));
    }
    Ok(segments)
}

/// A segment with its escapes resolved, the outer `None` where one is broken.
fn segment(raw: &str) -> Option<Option<String>> {
    if raw == "*" {
        return Some(None);
    }
    decode_segment(raw).map(Some)
}

/// A pointer's segment with `~0` and `~1` resolved; `None` where a `~` is followed by something else.
pub(crate) fn decode_segment(raw: &str) -> Option<String> {
    let is_broken = raw.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1']));
    (!is_broken).then(|| raw.replace("~1", "/").replace("~0", "~"))
}

/// The pointers alive at a place: (pointer, segments used).
type Alive = BTreeSet<(usize, usize)>;

struct Compiler<'p> {
    pointers: &'p [Vec<Option<String>>],
    numbers: HashMap<Alive, u32>,
    waiting: Vec<Alive>,
}

impl Compiler<'_> {
    fn compile(pointers: &[Vec<Option<String>>]) -> Result<Captures, PointerError> {
        let mut compiler = Compiler { pointers, numbers: HashMap::new(), waiting: Vec::new() };
        compiler.number(Alive::new());
        compiler.number((0..pointers.len()).map(|pointer| (pointer, 0)).collect());
        let mut states = Vec::new();
        while let Some(alive) = compiler.waiting.get(states.len()).cloned() {
            states.push(compiler.state(&alive));
            if compiler.waiting.len() > STATES_MAX {
                return Err(PointerError::States);
            }
        }
        Ok(Captures { states, pointers: pointers.len() })
    }

    fn number(&mut self, alive: Alive) -> u32 {
        let next = self.waiting.len() as u32;
        let waiting = &mut self.waiting;
        *self.numbers.entry(alive).or_insert_with_key(|alive| {
            waiting.push(alive.clone());
            next
        })
    }

    fn state(&mut self, alive: &Alive) -> State {
        let (mut by_key, mut by_any): (BTreeMap<&str, Alive>, Alive) = Default::default();
        let mut captured = Vec::new();
        for &(pointer, used) in alive {
            match self.pointers[pointer].get(used) {
                None => captured.push(pointer as u32),
                Some(None) => drop(by_any.insert((pointer, used + 1))),
                Some(Some(key)) => drop(by_key.entry(key).or_default().insert((pointer, used + 1))),
            }
        }
        let keys = KeyTable::new(by_key.keys().map(|key| key.as_bytes()));
        let mut named = Vec::new();
        let mut elements = Vec::new();
        for (key, mut alive) in by_key {
            alive.extend(&by_any);
            let next = self.number(alive);
            named.push(next);
            elements.extend(position(key).map(|position| (position, next)));
        }
        State { keys, named, elements, other: self.number(by_any), captured }
    }
}

/// The position that `key` names in an array: digits without leading zeros.
fn position(key: &str) -> Option<u64> {
    let position: u64 = key.parse().ok()?;
    (position.to_string() == key).then_some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_pointers_are_refused() {
        let check = |pointer: &str, expected: &str| {
            assert_eq!(Captures::new(&[pointer]).map(drop).unwrap_err().to_string(), expected);
        };
        check("a", "JSON pointer `a` must be empty or begin with `/`");
        check("/a~2", "JSON pointer `/a~2` has a `~` that is neither `~0` nor `~1`");
        let deep = "/a".repeat(129);
        check(&deep, &format!("JSON pointer `{deep}` has more than 128 segments"));
    }

    #[test]
    fn stars_that_multiply_are_refused() {
        let pointers: Vec<String> = (0..16).map(|n| (0..16).map(|m| if m == n { "/a" } else { "/*" }).collect()).collect();
        let pointers: Vec<&str> = pointers.iter().map(String::as_str).collect();
        assert_eq!(Captures::new(&pointers).map(drop), Err(PointerError::States));
    }

    #[test]
    fn a_named_segment_also_follows_the_star() {
        let captures = Captures::new(&["/a/b", "/*/c", ""]).unwrap();
        assert_eq!(captures.captured(captures.root()), [2]);
        let a = captures.member(captures.root(), b"a");
        assert_eq!(captures.captured(captures.member(a, b"b")), [0]);
        assert_eq!(captures.captured(captures.member(a, b"c")), [1]);
        let other = captures.member(captures.root(), b"x");
        assert_eq!(captures.member(other, b"b"), NOTHING);
        assert_eq!(captures.captured(captures.member(other, b"c")), [1]);
    }
}
