//! The `jsonschema` validators behind a compiled schema.

use jsonschema::{Draft, PatternOptions, Registry, ValidationOptions, Validator};
use serde_json::{Value, json};

/// How often a pattern with look-around may go back before it counts as no match.
const BACKTRACK_MAX: usize = 100_000;

/// A validator of `schema` by `draft`, which has to be valid by that draft's own schema.
///
/// Patterns are linear-time wherever they can be; formats are not asserted; nothing is fetched.
///
/// # Errors
/// What is wrong with the schema, in a sentence.
pub(crate) fn build(schema: &Value, draft: Draft) -> Result<Validator, String> {
    let schema = &without_declaration(schema, draft);
    build_with(schema, || jsonschema::options().with_draft(draft))
}

fn build_with<'r>(schema: &Value, options: impl Fn() -> ValidationOptions<'r>) -> Result<Validator, String> {
    let options = || options().offline().should_validate_formats(false);
    let linear = options().with_pattern_options(PatternOptions::regex()).build(schema);
    let validator =
        linear.or_else(|_| options().with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_MAX)).build(schema));
    validator.map_err(|error| format!("{error} (at {})", pointer_or_root(error.instance_path().as_str())))
}

/// `#` and a JSON pointer.
pub(crate) fn pointer_or_root(pointer: &str) -> String {
    format!("#{pointer}")
}

/// The schema as it is when evaluated by draft 4 although it declares another.
fn without_declaration(schema: &Value, draft: Draft) -> Value {
    let mut schema = schema.clone();
    if let (Draft::Draft4, Value::Object(object)) = (draft, &mut schema) {
        object.remove("$schema");
    }
    schema
}

/// Where a schema stands while a part of it is built.
const ROOT: &str = "json-schema:///tidemill";

/// A validator of the part of `root` at `pointer`, with all of `root` in reach of its references.
///
/// # Errors
/// As [`build`].
pub(crate) fn build_part(root: &Value, pointer: &str, draft: Draft) -> Result<Validator, String> {
    let root = draft.create_resource(without_declaration(root, draft));
    let builder = Registry::new().draft(draft).add(ROOT, root).map_err(|error| error.to_string())?;
    let registry = builder.prepare().map_err(|error| error.to_string())?;
    let part = json!({ "$ref": format!("{ROOT}#{}", percent_encode(pointer)) });
    build_with(&part, || jsonschema::options().with_draft(draft).with_registry(&registry))
}

fn percent_encode(pointer: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/~-_.!$&'()*+,;=:@".contains(&byte);
    pointer.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
