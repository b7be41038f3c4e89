//! An analysis plugin that breaks one promise, chosen by its configuration, on the messages that its configuration chooses.
//!
//! | key | means |
//! |---|---|
//! | `evil` | which promise: the names in `act` and `answer` of this file; `none` keeps them all |
//! | `matcher` | what it subscribes to; default `Type == 'validated'` |
//! | `column` | a path read as int64; default `/n` |
//! | `every` | it acts when the column of a row is divisible by this; default 1: always |
//!
//! Its state is the number of messages of all calls that ended well, 8 bytes, little-endian; each call shows it as payload
//! `count` too. It works below the SDK's types, which would not let it lie.

#[cfg(target_arch = "wasm32")]
mod component;
