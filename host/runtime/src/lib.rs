//! The only crate that knows wasmtime: loads plugins, calls them within limits, and checks what they answer.
//!
//! ```text
//! Runtime -- load(component) --> Plugin -- open(config, limits) --> Instance -- decode/process/write(Batch) --> checked answer
//! ```
//!
//! An [`Instance`] is one wasmtime Store: the unit of failure. After a [`CallError`] that poisons it, drop it and open a new
//! one from the same [`Plugin`]. Nothing that comes from a guest leaves this crate unchecked.

mod bindings;
mod builder;
mod columns;
mod declared;
mod decoded;
mod delivery;
mod error;
mod findings;
mod limits;
mod messages;
mod plan;
mod plan_check;
mod report;

pub use builder::ColumnsBuilder;
pub use columns::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Batch, Columns};
pub use decoded::{Cell, Decoded, Rejection};
pub use delivery::{Delivery, Target};
pub use error::{CallError, CallErrorKind};
pub use findings::{Aggregation, Alert, AlertRule, AlertTest, Findings, Graph, GraphCell, GraphColumn, Payload};
pub use limits::{LimitExceeded, Limits};
pub use messages::{Messages, NewMessage, TIMER_ROW};
pub use plan::{ColumnKind, ColumnRequest, Fate, Field, Kind, Plan, Scope, Section, Shape, Subscription};
pub use report::{CallReport, Level, LogLine, Metric};
