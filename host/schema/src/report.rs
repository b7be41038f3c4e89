//! Why a document is invalid, for people and for programs.

use std::fmt;

use jsonschema::ValidationError;
use serde_json::json;
use tidemill_json::Refusal;

use crate::oracle::pointer_or_root;
use crate::schema::SchemaName;

/// The most bytes that [`Invalid::detail`] takes.
pub const DETAIL_BYTES_MAX: usize = 4096;

/// The most bytes of one text within a report: a path or a description may quote the document.
const PART_BYTES_MAX: usize = 800;

/// What kind of invalid a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKind {
    /// Not JSON of the dialect.
    Json,
    /// Not accepted by its schema.
    Schema,
}

/// Why a document is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What kind.
    pub kind: InvalidKind,
    /// One sentence.
    pub message: String,
    /// A JSON object of at most [`DETAIL_BYTES_MAX`] bytes: `offset` and `detail` for
    /// [`InvalidKind::Json`]; `keyword`, `schemaRef`, `instanceRef` and `text` for
    /// [`InvalidKind::Schema`].
    pub detail: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Invalid {}

impl Invalid {
    /// The document is not JSON.
    pub fn json(offset: usize, detail: &str) -> Self {
        Self {
            kind: InvalidKind::Json,
            message: format!("not JSON: {detail} at byte {offset}"),
            detail: json!({"detail": detail, "offset": offset}).to_string(),
        }
    }

    /// The schema `name` could be read once and not again, so nobody can say why the pass refused the document.
    pub(crate) fn undecided(name: &SchemaName) -> Self {
        let SchemaName { namespace, doctype, version } = name;
        let message = format!("namespace: {namespace} schema: {doctype} version: {version} error: its validator cannot be made");
        Self { kind: InvalidKind::Schema, message, detail: json!({}).to_string() }
    }

    /// The schema `name` does not accept the document.
    pub(crate) fn schema(name: &SchemaName, error: &ValidationError<'_>) -> Self {
        let SchemaName { namespace, doctype, version } = name;
        let keyword = error.kind().keyword();
        let schema_path = bounded(&pointer_or_root(parent(error.schema_path().as_str())));
        let instance_path = bounded(&pointer_or_root(error.instance_path().as_str()));
        let text = bounded(&error.to_string());
        let message = format!(
            "namespace: {namespace} schema: {doctype} version: {version} error: \
             SchemaURI: {schema_path} Keyword: {keyword} DocumentURI: {instance_path}"
        );
        let detail = json!({"instanceRef": instance_path, "keyword": keyword, "schemaRef": schema_path, "text": text});
        Self { kind: InvalidKind::Schema, message, detail: detail.to_string() }
    }
}

impl From<Refusal> for Invalid {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Json { offset, detail } => Self::json(offset, detail),
            Refusal::Schema => Self { kind: InvalidKind::Schema, message: refusal.to_string(), detail: json!({}).to_string() },
        }
    }
}

/// The path of the schema that a keyword's path ends in.
fn parent(pointer: &str) -> &str {
    pointer.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// `text`, cut at a character boundary where it is too long. Even with each byte escaped as six, the
/// three texts of a report stay far below its limit only if escapes are rare; so those count six.
fn bounded(text: &str) -> String {
    let mut cost = 0;
    let cut = text.char_indices().find(|(_, character)| {
        cost += if character.is_control() || matches!(character, '"' | '\\') { 6 } else { character.len_utf8() };
        cost > PART_BYTES_MAX
    });
    cut.map_or_else(|| text.to_owned(), |(at, _)| format!("{}…", &text[..at]))
}
