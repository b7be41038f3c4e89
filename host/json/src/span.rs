//! What a pass returns: places in the document and refusals.

use thiserror::Error;

/// The bytes `start..end` of a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of this span; empty where the span does not lie within `document`.
    pub fn of<'d>(&self, document: &'d [u8]) -> &'d [u8] {
        document.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A member of the top-level object (depth 1) or of an object in it (depth 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// 1 or 2.
    pub depth: u8,
    /// The key inside its quotes, escapes not resolved.
    pub key: Span,
    /// Offset of the value's first byte.
    pub start: u32,
    /// Offset behind the value's last byte.
    pub end: u32,
    /// For depth 2, the position of the depth-1 member it lies in; for depth 1, its own position.
    pub parent: u32,
}

impl Member {
    /// The span of the member's value.
    pub fn value(&self) -> Span {
        Span { start: self.start, end: self.end }
    }
}

/// A value whose check the pass leaves to a validator outside (`validator` is its number in the
/// [`Program`](crate::Program)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// The number given by [`program::Node::deferred`](crate::program::Node::deferred).
    pub validator: u32,
    /// The value to check.
    pub span: Span,
}

/// Why a pass refused a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It is not JSON of the dialect.
    #[error("not JSON: {detail} at byte {offset}")]
    Json {
        /// Where it was noticed.
        offset: usize,
        /// `depth`, `utf8`, `number`, `string` (a control character), `escape`, `token`, `trailing` or `size`.
        detail: &'static str,
    },
    /// It is JSON as far as it was read, and the schema did not accept it. Another validator says why;
    /// where keys are duplicated it may even accept the document (see [`Pass::run`](crate::Pass::run)).
    #[error("refused by the schema")]
    Schema,
}
