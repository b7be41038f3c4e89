//! The Heka message: reading and writing it, framing it, and matching it.
//!
//! * [`MessageRef`], [`FieldRef`], [`Value`]: a borrowing reader for the hot path. It allocates nothing and is strict: what it
//!   returns has been checked to the last value, so iteration cannot fail.
//! * [`FieldNames`], [`FoundFields`]: fields by name, for several readers, found while the message is read.
//! * [`MessageWriter`]: appends a message to a buffer, tags in ascending order.
//! * [`proto`]: the same message as owned structs, for cold code.
//! * [`framing`]: the stream format of Heka files and sockets.
//! * [`Matcher`], [`MatcherSet`], [`MatchBlock`]: message matcher expressions, alone, many at once, and many over many messages.
//! * [`Texts`]: texts that repeat, told apart by numbers.
#![forbid(unsafe_code)]

mod error;
mod field;
pub mod framing;
pub mod matcher;
mod names;
pub mod proto;
mod reader;
mod texts;
mod wire;
mod writer;

pub use error::{Fault, MessageError, Problem};
pub use field::{FieldRef, Value, Values};
pub use matcher::{BLOCK_MESSAGES_MAX, MatchBlock, Matcher, MatcherError, MatcherErrorKind, MatcherSet, Matches, NUMBER_CODE};
pub use names::{FieldNames, FoundField, FoundFields};
pub use proto::ValueType;
pub use reader::{Fields, MessageRef, SEVERITY_DEFAULT};
pub use texts::Texts;
pub use writer::MessageWriter;
