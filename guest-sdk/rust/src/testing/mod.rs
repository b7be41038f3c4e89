//! Testing a plugin natively, with `cargo test`: rows in, results out, without a host.
//!
//! ```
//! use tidemill_guest::testing;
//! # use tidemill_guest::analysis::*;
//! # struct Count { time: Column<Timestamp, Required>, os: Column<Text>, volume: Graph }
//! # impl Analysis for Count {
//! #     fn open(_: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
//! #         let volume = graphs.graph("volume", GraphShape::DAY_OF_MINUTES);
//! #         Ok(Self { time: read.timestamp(), os: read.column("/environment/os"), volume })
//! #     }
//! #     fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
//! #         out.graph(self.volume).add(row.get(self.time).seconds(), row.get(self.os).unwrap_or("none"), 1.0);
//! #         Ok(())
//! #     }
//! # }
//! let rows = [
//!     testing::Row::document(r#"{"environment": {"os": "Linux"}}"#).set("Timestamp", 60_000_000_000_i64),
//!     testing::Row::document(r#"{"environment": {}}"#).set("Timestamp", 61_000_000_000_i64),
//! ];
//! let found = testing::Analysis::<Count>::open("{}")?.feed(&rows)?;
//! assert_eq!(found.cell("volume", "Linux", 60), Some(1.0));
//! testing::assert_analysis_invariant::<Count>("{}", &rows);
//! # Ok::<(), Failure>(())
//! ```
//!
//! A row is what the host would make of a message: the columns that the plugin subscribed, taken from a JSON document or set one
//! by one. The matcher is not evaluated: every row counts as selected. Rows in which a required column is null are left out, as
//! the host does.

mod analysis;
mod columns;
mod decoder;
mod derived;
mod output;
pub(crate) mod recorder;
mod row;

pub use analysis::{Alert, Analysis, Found, GraphCells, assert_analysis_invariant, assert_analysis_state_invariant};
pub use decoder::{DecodedRow, Decoder, assert_decoder_invariant};
pub use derived::Derived;
pub use output::{Delivered, Output, assert_output_invariant};
pub use recorder::{log_lines, metrics};
pub use row::{Cell, Row};

/// The batch sizes with which the invariance checks feed: one by one, by seven, and all at once.
fn batch_sizes(rows: usize) -> [usize; 3] {
    [1, 7, rows.max(1)]
}
