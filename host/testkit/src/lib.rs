//! Recorded pings: reading them from their folders, posting them as a real client would, and feeding them to one plugin.

mod fixtures;
pub mod run;
mod send;

pub use fixtures::{Fixture, FixtureError, Verdict, load};
pub use send::{Answers, SendOptions, Sender, compress, path_of};
