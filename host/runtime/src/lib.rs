//! The only crate that knows wasmtime: loads plugins, calls them within limits, and checks what they answer.
//!
//! ```text
//! Runtime -- load(component) --> Plugin -- open(config, limits) --> Instance -- decode/process/write(Batch) --> checked answer
//! ```
//!
//! An [`Instance`] is one wasmtime Store: the unit of failure. After a [`CallError`] that poisons it, drop it and open a new
//! one from the same [`Plugin`]. Nothing that comes from a guest leaves this crate unchecked.

mod admission;
mod bindings;
mod builder;
mod cache;
mod call;
mod columns;
mod declared;
mod decoded;
mod delivery;
mod engine;
mod error;
mod findings;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod imports;
mod instance;
mod limits;
mod messages;
mod plan;
mod plan_check;
mod plugin;
mod report;
mod runtime;
mod shared;
mod store;

pub use admission::{Arithmetic, Available, Demand, HOST_BYTES_PER_INSTANCE, MAPPINGS_PER_INSTANCE, MAPPINGS_RESERVED, Refusal, admission};
pub use builder::ColumnsBuilder;
pub use columns::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, Batch, Columns, Dictionaries};
pub use decoded::{Cell, Decoded, Rejection};
pub use delivery::{Delivery, Target};
pub use engine::{CONFIG_LABEL, WASMTIME_VERSION};
pub use error::{CallError, CallErrorKind};
pub use findings::{Aggregation, Alert, AlertRule, AlertTest, Findings, Graph, GraphCell, GraphColumn, Payload};
pub use instance::Instance;
pub use limits::{COLUMNS_MAX, LimitExceeded, Limits};
pub use messages::{Messages, NewMessage, TIMER_ROW};
pub use plan::{ColumnKind, ColumnRequest, Fate, Field, Kind, Plan, Scope, Section, Shape, Subscription};
pub use plugin::Plugin;
pub use report::{CallReport, Level, LogLine, Metric};
pub use runtime::{COMPONENT_BYTES_MAX, Runtime, RuntimeError, RuntimeOptions, compile};
pub use shared::{CellRef, SharedColumn};
