//! Message matcher expressions, such as `Type == 'validated' && Fields[docType] =~ '^ma'`.
//!
//! # Grammar
//! ```text
//! match  = or END          or = and ('||' and)*       and = one ('&&' one)*       one = test | '(' or ')'
//! test   = TRUE | FALSE
//!        | Uuid (order string | like)
//!        | Timestamp order (number | quoted RFC 3339)
//!        | (Type|Logger|Hostname|EnvVersion|Payload) (order string | like | equal NIL)
//!        | Severity order number      | Pid (order number | equal NIL)
//!        | Fields[name][index]?[index]? (order (string | number) | like | equal (TRUE | FALSE | NIL))
//! order  = equal | >= | > | <= | <     equal = == | !=        like = (=~ | !~) string '%'?
//! string = '..' or "..", with \\ and the escaped quote; any other backslash stands for itself
//! ```
//! The first index counts the fields of that name, the second the values of that field; both default to 0.
//!
//! # Meaning
//! | case | verdict |
//! |---|---|
//! | strings | by bytes; a prefix is smaller. Bytes fields are strings too |
//! | header missing | `==` false, `!=` true, `<` `<=` true, `>` `>=` false, `=~` false, `!~` true |
//! | field, or that value of it, missing | **false** for every operator, also `!=` and `!~`; only `== NIL` is true |
//! | field of another type than the literal | **false** for every operator |
//! | `== TRUE`, `== FALSE` | on bool, integer and double: compares to 1, to 0. `== 1` works on bools too |
//! | Severity, Pid, Timestamp, integers | compared as doubles (a Timestamp to about 256 ns) |
//! | Severity missing | is 7 |
//! | Uuid | the 16 raw bytes; a literal in the 36-character form stands for its 16 bytes |
//!
//! So `Fields[a] != 'x'` drops messages without the field: write `(Fields[a] == NIL || Fields[a] != 'x')`.
//!
//! `=~` searches for a Lua pattern. It runs on a linear-time engine, so back references, `%b` and `%f` are refused.
//! Captures group nothing in Lua and are ignored. With the suffix `%`, or without any of `^$*+?.[%-`, it is literal text.
//!
//! # Differences to the original
//! Parentheses nest correctly (`a && (b) || c` was `a && (b || c)`); all indices from 0 to 255 work; a date's offset may have
//! a colon and is *subtracted* as RFC 3339 says; dates do not depend on the local time zone; impossible dates are refused.

mod block;
mod date;
mod error;
mod parser;
mod pattern;
mod program;
mod set;
mod test;

pub use block::{BLOCK_MESSAGES_MAX, MatchBlock, NUMBER_CODE};
pub use error::{MatcherError, MatcherErrorKind};
pub use set::{MatcherSet, Matches};

use crate::reader::MessageRef;
use program::Program;

/// The limits of an expression.
pub mod limits {
    /// Tests in one expression.
    pub const TESTS_MAX: usize = 128;
    /// Bytes of a string literal, after its escapes are resolved.
    pub const STRING_BYTES_MAX: usize = 255;
    /// Parentheses within each other.
    pub const DEPTH_MAX: usize = 64;
    /// The greatest index of a field or value.
    pub const INDEX_MAX: u32 = 255;
    /// Bytes of a compiled pattern.
    pub const PATTERN_BYTES_MAX: usize = 4 << 20;
}

/// A compiled matcher expression. To evaluate several over the same messages use [`MatcherSet`].
///
/// ```
/// # use tidemill_message::{Matcher, MessageRef, MessageWriter};
/// let mut bytes = Vec::new();
/// MessageWriter::new(&mut bytes, &[0; 16], 0).type_(b"validated").field_string("docType", b"main");
/// let matcher = Matcher::parse("Type == 'validated' && Fields[docType] == 'main'")?;
/// assert!(matcher.matches(&MessageRef::parse(&bytes)?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Matcher {
    program: Program,
}

impl Matcher {
    /// Compiles an expression; the grammar is the one of [this module](self).
    ///
    /// # Errors
    /// What is wrong and where, with what was expected there; see [`limits`] for the limits.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        parser::parse(text).map(|expression| Self { program: Program::compile(&expression) })
    }

    /// Matches what both match. The limits of [`limits`] hold for each of the two.
    #[must_use]
    pub fn and(&self, other: &Matcher) -> Matcher {
        Matcher { program: self.program.and(&other.program) }
    }

    /// Whether the message matches. Allocates nothing.
    pub fn matches(&self, message: &MessageRef<'_>) -> bool {
        self.program.run(message)
    }
}

impl std::str::FromStr for Matcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, MatcherError> {
        Self::parse(text)
    }
}
