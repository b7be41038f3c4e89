//! Why a message ends in `errors`.

use crate::decode::uri::UriError;

/// The value of `DecodeErrorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorType {
    /// The path has neither form.
    Uri,
    /// The body looks like gzip and is not.
    Gunzip,
    /// The document, or what it became, is over its limit.
    TooLarge,
    /// The document is not JSON of the dialect.
    Json,
    /// There is no schema for the document.
    SchemaNotFound,
    /// The document breaks its schema.
    Schema,
    /// A decoder plugin refused the document.
    PluginRejected,
    /// A decoder plugin trapped on the document.
    PluginTrap,
    /// A decoder plugin ran out of fuel on the document.
    PluginFuel,
    /// A decoder plugin ran out of memory on the document.
    PluginMemory,
    /// A decoder plugin gave a broken answer for the document.
    PluginOutput,
    /// The host itself failed.
    Internal,
}

impl ErrorType {
    /// All types, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Uri,
        Self::Gunzip,
        Self::TooLarge,
        Self::Json,
        Self::SchemaNotFound,
        Self::Schema,
        Self::PluginRejected,
        Self::PluginTrap,
        Self::PluginFuel,
        Self::PluginMemory,
        Self::PluginOutput,
        Self::Internal,
    ];

    /// The text in the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uri => "uri",
            Self::Gunzip => "gunzip",
            Self::TooLarge => "too_large",
            Self::Json => "json",
            Self::SchemaNotFound => "schema_not_found",
            Self::Schema => "schema",
            Self::PluginRejected => "plugin_rejected",
            Self::PluginTrap => "plugin_trap",
            Self::PluginFuel => "plugin_fuel",
            Self::PluginMemory => "plugin_memory",
            Self::PluginOutput => "plugin_output",
            Self::Internal => "internal",
        }
    }
}

/// Why a message ends in `errors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `DecodeErrorType`.
    pub kind: ErrorType,
    /// `DecodeError`: a sentence.
    pub text: String,
    /// `DecodeErrorDetail`: a report; empty for none.
    pub detail: String,
    /// The plugin that failed.
    pub plugin: Option<Box<PluginFailure>>,
}

/// What the record says of a plugin that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFailure {
    /// `plugin`
    pub name: String,
    /// `plugin_version`
    pub version: String,
    /// `fuel`: what the call used; `None` where there was no call.
    pub fuel: Option<u64>,
    /// `backtrace`: the guest's; empty for none.
    pub backtrace: String,
}

impl Failure {
    /// A failure without detail.
    pub fn new(kind: ErrorType, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), detail: String::new(), plugin: None }
    }

    /// The same with a detail.
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}

impl From<UriError> for Failure {
    fn from(error: UriError) -> Self {
        Self::new(ErrorType::Uri, error.to_string()).with_detail(error.detail().unwrap_or_default())
    }
}

/// `text` cut to at most `bytes_max`, between characters.
pub fn bounded(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(bounded("aé", 3), "aé");
        assert_eq!(bounded("aé", 2), "a");
        assert_eq!(bounded("é", 0), "");
    }

    #[test]
    fn every_type_has_its_own_number_and_text() {
        for (number, kind) in ErrorType::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            assert_eq!(ErrorType::ALL.iter().filter(|other| other.as_str() == kind.as_str()).count(), 1);
        }
    }
}
