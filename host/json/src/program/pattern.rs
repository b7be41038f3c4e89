//! Patterns: common ones as loops over bytes, the rest as linear-time regular expressions.

use super::sequence::Sequence;
use thiserror::Error;

/// A pattern that the pass cannot match in linear time (look-around, back-references) or at all.
#[derive(Debug, Error)]
#[error("pattern `{pattern}` is not one that can be matched in linear time: {reason}; rewrite it without look-around")]
pub struct PatternError {
    pattern: String,
    reason: String,
}

/// A pattern to be found in a string, anchored only where it says so.
#[derive(Debug)]
pub struct Pattern(Kind);

#[derive(Debug)]
enum Kind {
    /// `^[0-9]+$`: the keys of every histogram.
    Digits,
    Sequence(Sequence),
    Regex(regex::bytes::Regex),
}

/// The memory that a compiled expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl Pattern {
    /// Compiles `ecma`, a pattern as schemas write it; `translated` is the same in the syntax of
    /// crate `regex`.
    ///
    /// # Errors
    /// The pattern is broken or needs look-around, back-references or over 1 MiB.
    pub fn new(ecma: &str, translated: &str) -> Result<Self, PatternError> {
        if ecma == "^[0-9]+$" {
            return Ok(Self(Kind::Digits));
        }
        if let Some(sequence) = Sequence::parse(ecma) {
            return Ok(Self(Kind::Sequence(sequence)));
        }
        let regex = regex::bytes::RegexBuilder::new(translated).size_limit(REGEX_BYTES_MAX).build();
        let refuse = |error: regex::Error| PatternError { pattern: ecma.into(), reason: error.to_string() };
        Ok(Self(Kind::Regex(regex.map_err(refuse)?)))
    }

    /// Whether the pattern is found in `text`, which is UTF-8.
    #[inline]
    pub fn is_match(&self, text: &[u8]) -> bool {
        match &self.0 {
            Kind::Digits => !text.is_empty() && text.iter().all(u8::is_ascii_digit),
            Kind::Sequence(sequence) => sequence.is_match(text),
            Kind::Regex(regex) => regex.is_match(text),
        }
    }

    /// Whether this is `^[0-9]+$`, which the pass checks while it looks for the end of a key.
    #[inline(always)]
    pub(crate) fn is_digits(&self) -> bool {
        matches!(self.0, Kind::Digits)
    }
}
