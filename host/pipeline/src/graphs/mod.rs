//! Circular-buffer graphs: what instances publish, how it merges, the alert rules, and the stage that does it.

mod alert;
pub mod codec;
mod delta;
mod follow;
mod merge;
mod ring;
mod rules;
mod save;
mod shape;
mod stage;
#[cfg(test)]
mod stage_tests;

pub use alert::{ALERT_TYPE, Alert, Measured};
pub use delta::{Cell, Declared, DeclaredGraph, Delta, GraphDelta, PENDING_CELLS_MAX, Pending, SourcePartition};
pub use follow::{follow_alerts, follow_graphs};
pub use merge::{Dropped, Evaluated, Graph, PluginGraphs, Raised, SourceTime};
pub use ring::{BLOCK_ROWS, Column, Landing, Ring};
pub use rules::Firing;
pub use shape::{Aggregation, ColumnShape, GraphShape, RuleShape, Test};
pub use stage::{ALERTS, GRAPHS, GraphsOptions, GraphsWork, graphs_worker};
