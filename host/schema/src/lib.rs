//! Document schemas: loading a repository of them, compiling each for the one pass, and explaining
//! why a document is invalid.
//!
//! A [`Schema`] is JSON Schema twice: compiled to a [`tidemill_json::Program`], which decides almost
//! every document in the pass that reads it, and as a `jsonschema` validator, which checks what the
//! compiler does not take, decides where duplicate keys make the pass too strict, and makes the report.

mod check;
mod compile;
mod dialect;
mod document;
mod oracle;
mod registry;
mod report;
mod schema;

pub use check::{CheckError, CheckResult, Expectation, check_paths};
pub use dialect::DraftRule;
pub use registry::{BrokenSchema, LoadReport, Registry, SchemaError};
pub use report::{DETAIL_BYTES_MAX, Invalid, InvalidKind};
pub use schema::{Schema, SchemaName, Uncompiled};
