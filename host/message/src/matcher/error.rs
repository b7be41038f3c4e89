//! Why an expression is not a matcher.

/// Why an expression is not a matcher, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at {position}: {kind}")]
pub struct MatcherError {
    /// Byte offset into the expression.
    pub position: usize,
    /// What is wrong there.
    pub kind: MatcherErrorKind,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatcherErrorKind {
    /// Something else stands there.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// Too many tests.
    #[error("more than {limit} tests")]
    TooManyTests {
        /// The limit.
        limit: usize,
    },
    /// Too many parentheses within each other.
    #[error("more than {limit} parentheses within each other")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A string literal is too long.
    #[error("a string of {size} bytes, the limit is {limit}")]
    StringTooLong {
        /// Its size without escapes.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A string literal holds a NUL.
    #[error("a string cannot hold a NUL character")]
    Nul,
    /// An index is out of range.
    #[error("an index is at most {limit}")]
    Index {
        /// The limit.
        limit: u32,
    },
    /// Not a date.
    #[error("expected a date such as '2024-02-29T12:00:00.5Z' or with an offset such as +01:00, found '{found}'")]
    Date {
        /// What stands between the quotes.
        found: String,
    },
    /// Not a Lua pattern, or one that is not supported.
    #[error("in the pattern, at its byte {offset}: {problem}")]
    Pattern {
        /// Byte offset into the pattern, after its escapes are resolved.
        offset: usize,
        /// What is wrong there, and what to do.
        problem: &'static str,
    },
    /// The pattern needs too much memory.
    #[error("the pattern compiles to more than {limit} bytes: make it shorter")]
    PatternTooLarge {
        /// The limit.
        limit: usize,
    },
}
