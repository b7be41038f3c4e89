//! JSON in one pass: parse, validate, capture and index without a tree or a tape.
//!
//! [`Pass::run`] walks a document once, driven by a compiled schema ([`Program`]): it checks each
//! token as it is read, notes where the subscribed values lie ([`Captures`]) and lists the members
//! of depth 1 and 2 ([`Member`]), all in memory that is reused from document to document.
//!
//! The dialect is the same everywhere: UTF-8, RFC 8259, depth at most [`DEPTH_MAX`]; lone surrogates
//! and numbers beyond `f64` are errors; integers beyond 64 bits are floats; of duplicate keys the
//! last counts.

mod block;
mod captures;
mod counts;
mod cursor;
mod each;
mod get;
pub mod index;
mod padded;
mod pass;
pub mod program;
mod skip;
mod span;
mod stepper;
mod text;
pub mod value;

pub use captures::{Captures, PointerError};
pub use each::{EachMemory, EachPointer};
pub use get::{check, get};
pub use padded::{PADDING, Padded};
pub use pass::{Backend, Pass};
pub use program::Program;
pub use span::{Deferred, Member, Refusal, Span};
pub use stepper::{Quoted, Stepper};
pub use text::{decode_into, text_equals};

/// The deepest nesting of arrays and objects that a document may have.
pub const DEPTH_MAX: u32 = 128;
