//! Checked documents as trees, for what the pass leaves to others.

use serde::Deserialize as _;
use serde_json::Value;

/// The tree of `text`, which a pass has found to be JSON of the dialect: so its depth is bounded and
/// serde_json's own, lower limit can be off. Of duplicate keys the last counts here too.
///
/// # Errors
/// A sentence, if serde_json disagrees with the pass.
pub(crate) fn parse(text: &[u8]) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    deserializer.disable_recursion_limit();
    Value::deserialize(&mut deserializer).map_err(|error| error.to_string())
}
