//! A small JSON reader and writer, so that a plugin needs no further crate for its configuration, for `json` columns and for
//! what it sends.

mod read;
mod write;

pub use read::{Error, Value, elements, members, parse_i64};
pub use write::{Array, Object, write_text};
