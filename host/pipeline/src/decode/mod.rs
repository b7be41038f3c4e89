//! The decode stage: every record of `raw` becomes exactly one record of `validated` or `errors`.

mod body;
mod failure;
mod known;
mod uri;

pub use failure::{ErrorType, Failure, PluginFailure};
pub use uri::{Form, Uri, UriError};
