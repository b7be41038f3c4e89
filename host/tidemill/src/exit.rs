//! Exit codes, and errors that carry one.

use std::fmt::Display;

/// Done.
pub const DONE: u8 = 0;
/// The answer is no: verification failed, drift found.
pub const NO: u8 = 1;
/// Wrong use or configuration.
pub const USE: u8 = 2;
/// The surroundings: cannot bind, connect or write; a newer disk format.
pub const SURROUNDINGS: u8 = 3;

/// An error of a command: a sentence and the exit code.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub text: String,
}

/// What a command ends with.
pub type Outcome = Result<u8, Failure>;

/// Wrong use or configuration.
pub fn wrong_use(text: impl Display) -> Failure {
    Failure { code: USE, text: text.to_string() }
}

/// The surroundings do not play along.
pub fn surroundings(text: impl Display) -> Failure {
    Failure { code: SURROUNDINGS, text: text.to_string() }
}
