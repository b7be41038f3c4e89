//! The decode stage: every message of `raw` becomes exactly one record of `validated` or `errors`.
//!
//! ```text
//! raw record -> Heka message -> path -> body (gunzip, bounded) -> one pass (JSON, schema, captures) -> place -> decoder plugins -> record
//! ```
//!
//! * [`Decoder`] does all of it for a batch of records and needs no bus; it makes no allocation a message in steady state.
//! * [`Worker`] is a member of the group `decode`: it collects steps and commits them, and starts again where one fails.
//! * [`DecodeStage`] runs workers on threads of their own.
//! * [`Fence`] keeps a message that kills the process from doing so for ever.
//!
//! A document id is kept as it was sent; keys are its lower-case form. An error record has the raw message's Uuid and time; bytes
//! that are no message get a Uuid made from their source. An address ends here: it is looked up and never copied.
//!
//! Duplicates are told behind the plugins, where a message is written: the one place where it is known to be valid and messages still
//! have their order. The message of another Uuid with a document that was seen within a day leaves a record of Type `duplicate` in
//! `errors`; the same message once more leaves nothing, nor does a refused one.

mod body;
mod check;
mod counters;
mod decoder;
mod documents;
mod duplicates;
mod failure;
mod fence;
mod hunt;
mod known;
mod plugin;
mod sections;
mod settings;
mod stage;
mod uri;
mod worker;
mod write;

#[cfg(test)]
mod tests;

pub use check::VersionPointers;
pub use decoder::{Aborted, Decoder, DecoderError};
pub use duplicates::{DedupeOptions, Duplicates, DuplicatesParts};
pub use failure::{ErrorType, Failure, PluginFailure};
pub use fence::{Care, Fence, Note, SourceRange};
pub use plugin::{DecoderPlugin, DeployError, DeployReason};
pub use sections::SectionError;
pub use settings::{DecodeLimits, DecodeSettings, DecodeTopics};
pub use stage::{DecodeStage, GROUP, StageError, StageOptions};
pub use uri::{Form, Uri, UriError};
pub use worker::{StepLimits, Worker, WorkerParts};
