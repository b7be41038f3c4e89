//! Recorded pings: reading them from their folders and posting them as a real client would.

mod fixtures;
mod send;

pub use fixtures::{Fixture, FixtureError, Verdict, load};
pub use send::{Answers, SendOptions, Sender, compress, path_of};
