//! A plugin's own refusal.

use std::fmt;

use crate::wire;

/// A plugin's own refusal: in `open` it refuses the configuration, in a call it fails the batch as a panic would.
///
/// The text is a sentence for the author: what, where and what to do. The host keeps 4 KiB of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The plugin's own number; the host only shows it.
    pub code: u32,
    /// What, where and what to do.
    pub text: String,
}

impl Failure {
    /// A failure with code 0.
    pub fn new(text: impl Into<String>) -> Self {
        Self { code: 0, text: text.into() }
    }

    /// The same failure with a number of the plugin's own.
    #[must_use]
    pub fn code(self, code: u32) -> Self {
        Self { code, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Failure> for wire::Failure {
    fn from(failure: Failure) -> Self {
        Self { code: failure.code, text: failure.text }
    }
}
