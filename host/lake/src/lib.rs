//! The lake: records of `validated` and `errors` as rows of Delta tables that foreign tools read.
//!
//! [`LakeStage`] is a member of group `lake`. Rows gather in memory by table and date ([`rows`]), become Parquet
//! ([`parquet_file`]) and are committed together with how far their sources came, as application transactions of the same Delta
//! commit; the group's positions move only after that. What is read again is therefore left out: a row is there once.
//!
//! [`columns`] and [`layout`] say what columns a table has, [`encode`] makes Parquet without a bus.
#![forbid(unsafe_code)]

mod alert;
mod builder;
pub mod columns;
mod commit;
mod compact;
mod document;
pub mod encode;
mod error;
mod extras;
mod identity;
pub mod layout;
mod local;
mod names;
mod options;
pub mod parquet_file;
mod route;
pub mod rows;
mod stage;
mod store;
mod table;
mod walk;

pub use error::LakeError;
pub use options::{LakeLimits, LakeOptions, LakeProgress, TableProgress};
pub use stage::{LakeHandle, LakeStage};
