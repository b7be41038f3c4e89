//! Write Tidemill plugins: a struct, a list of columns and one function.
//!
//! ```
//! use tidemill_guest::analysis::*;
//!
//! /// Counts messages per channel and minute.
//! struct CountByChannel {
//!     time: Column<Timestamp, Required>,
//!     channel: Column<Text>,
//!     volume: Graph,
//! }
//!
//! impl Analysis for CountByChannel {
//!     fn open(_: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
//!         read.matcher("Type == 'validated'");
//!         Ok(Self {
//!             time: read.timestamp(),
//!             channel: read.column("Fields[normalizedChannel]"),
//!             volume: graphs.graph("messages by channel", GraphShape::DAY_OF_MINUTES),
//!         })
//!     }
//!
//!     fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
//!         let channel = row.get(self.channel).unwrap_or("none");
//!         out.graph(self.volume).add(row.get(self.time).seconds(), channel, 1.0);
//!         Ok(())
//!     }
//! }
//!
//! tidemill_guest::export_analysis!(CountByChannel);
//! ```
//!
//! There are three kinds of plugin, a module each: [`decoder`], [`analysis`] and [`output`]; a crate exports exactly one. The
//! types of the struct's [`Column`](subscription::Column)s are the list of columns: `Column<Int64>` reads whole numbers or
//! null, `Column<Text, Required>` never sees null, `Column<Int64, Entries>` walks a JSON object.
//!
//! The host calls with a batch of rows; the SDK calls `message` for each and hands everything back in one piece. A plugin must
//! give the same results however the rows are cut into batches: [`testing`] checks that natively, with `cargo test`.
//!
//! What is done for every row adds up. [`Findings::count_rows`](analysis::Findings::count_rows) and
//! [`Findings::add_rows`](analysis::Findings::add_rows) count and sum all rows of a call in one go, for which a plugin writes
//! `batch` in place of `message`. A long loop over bytes belongs in a function of its own, marked `#[inline(never)]`: it then has
//! the machine's registers for itself. Comparing texts with `==` looks at each byte; what is looked up by name for every row is
//! better found once, in `open`.
//!
//! A plugin has no clock, no randomness and no I/O. It may panic: the panic's text goes to the plugin's log, the host makes a
//! new instance and finds the row that did it.

#[doc(hidden)]
pub mod bindings;

pub mod analysis;
pub mod config;
pub mod decoder;
pub mod host;
pub mod json;
pub mod message;
pub mod output;
pub mod rows;
pub mod state;
pub mod subscription;

#[doc(hidden)]
pub mod export;
mod failure;
mod graph;
mod time;

#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use failure::Failure;
pub use time::Time;

pub(crate) use bindings::imports::tidemill::plugin::types as wire;
pub(crate) use bindings::with_dictionary::exports::tidemill::plugin::dictionary::Dictionaries;
