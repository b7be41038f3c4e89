//! A compiled schema: what the pass is driven by.
//!
//! The crate `schema` builds these nodes from JSON Schema; the pass only reads them. A node says
//! which types it takes and, by type, what else must hold. Everything here is decided when a schema
//! is compiled, so that the pass looks nothing up by name but the document's own keys.

mod keys;
mod node;
mod number;
mod pattern;
mod sequence;

pub use keys::KeyTable;
pub(crate) use keys::KeyWords;
pub(crate) use node::Shape;
pub use node::{
    ARRAY, ArrayRules, BOOLEAN, Choice, Conditional, Dependency, EVERY_TYPE, INTEGER, NULL, Node, OBJECT, ObjectRules, ObjectRulesBuilder,
    Property, REAL, STRING, StringRules,
};
pub use number::{Bound, Number, NumberRules};
pub use pattern::{Pattern, PatternError};

use std::sync::Arc;

/// A compiled schema, ready to drive a [`Pass`](crate::Pass).
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) root: Arc<Node>,
    pub(crate) whole_reals_are_integers: bool,
}

impl Program {
    /// A program that checks documents against `root`.
    ///
    /// `whole_reals_are_integers` decides whether `1.0` is an integer (from draft 6 on it is; in
    /// draft 4 only numbers written without fraction and exponent are, and those beyond 64 bits).
    pub fn new(root: Arc<Node>, whole_reals_are_integers: bool) -> Self {
        Self { root, whole_reals_are_integers }
    }

    /// A program that accepts every document of the dialect.
    pub fn any() -> Self {
        Self::new(Arc::new(Node::any()), true)
    }
}
