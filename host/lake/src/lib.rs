//! The lake: records of `validated` and `errors` as rows of Delta tables that foreign tools read.
#![forbid(unsafe_code)]

mod builder;
pub mod columns;
mod cursor;
mod document;
pub mod encode;
mod error;
mod extras;
mod identity;
pub mod layout;
mod names;
pub mod parquet_file;
pub mod rows;
mod walk;

pub use error::LakeError;
