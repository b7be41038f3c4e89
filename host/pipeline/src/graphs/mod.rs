//! Circular-buffer graphs: what instances publish, how it merges, the alert rules, and the stage that does it.

pub mod codec;
mod delta;
mod merge;
mod ring;
mod rules;
mod shape;

pub use delta::{Cell, Declared, DeclaredGraph, Delta, GraphDelta, PENDING_CELLS_MAX, Pending, SourcePartition};
pub use merge::{Dropped, Graph, PluginGraphs, Raised, SourceTime};
pub use ring::{BLOCK_ROWS, Column, Landing, Ring};
pub use rules::Firing;
pub use shape::{Aggregation, ColumnShape, GraphShape, RuleShape, Test};
