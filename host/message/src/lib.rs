//! The Heka message: reading and writing it, framing it, and matching it.
//!
//! * [`MessageRef`], [`FieldRef`], [`Value`]: a borrowing reader for the hot path. It allocates nothing and is strict: what it
//!   returns has been checked to the last value, so iteration cannot fail.
//! * [`FieldNames`], [`FoundFields`]: fields by name, for several readers, found while the message is read.
//! * [`MessageWriter`]: appends a message to a buffer, tags in ascending order.
//! * [`proto`]: the same message as owned structs, for cold code.
//! * [`framing`]: the stream format of Heka files and sockets.
//! * [`Matcher`], [`MatcherSet`]: message matcher expressions, alone and many at once.
#![forbid(unsafe_code)]

mod error;
mod field;
pub mod framing;
pub mod matcher;
mod names;
pub mod proto;
mod reader;
mod wire;
mod writer;

pub use error::{Fault, MessageError, Problem};
pub use field::{FieldRef, Value, Values};
pub use matcher::{Matcher, MatcherError, MatcherErrorKind, MatcherSet, Matches};
pub use names::{FieldNames, FoundFields};
pub use proto::ValueType;
pub use reader::{Fields, MessageRef, SEVERITY_DEFAULT};
pub use writer::MessageWriter;
