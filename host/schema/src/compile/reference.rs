//! `$ref`: followed where it leads to another part of the same schema and does not come back.

use serde_json::Value;

use super::{Compiler, Place, Sub};
use crate::dialect::Dialect;

impl<'s> Compiler<'s> {
    pub(super) fn reference(&mut self, reference: &'s Value, place: &Place) -> Sub {
        let target = reference.as_str().and_then(|reference| self.target(reference));
        let Some((pointer, schema)) = target else {
            return self.defer_only(place, "$ref to another document or an identifier");
        };
        if self.resolving.contains(&pointer) || is_within(&place.pointer, &pointer) {
            return self.defer_only(place, "recursive $ref");
        }
        if let Some(sub) = self.resolved.get(&pointer) {
            return sub.clone();
        }
        self.resolving.push(pointer.clone());
        let sub = self.schema(schema, &Place { pointer: pointer.clone(), depth: place.depth + 1 });
        self.resolving.pop();
        self.resolved.insert(pointer, sub.clone());
        sub
    }

    /// The pointer and the schema that a local reference means.
    fn target(&self, reference: &str) -> Option<(String, &'s Value)> {
        let fragment = reference.strip_prefix('#').filter(|_| !self.has_inner_ids)?;
        let pointer = percent_decode(fragment)?;
        let schema = self.root.pointer(&pointer)?;
        Some((pointer, schema))
    }
}

/// Whether the schema at `inner` lies in that at `outer`, or is it.
fn is_within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn percent_decode(fragment: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut rest = fragment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        (decoded, rest) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                decoded.push((digit(high)? << 4 | digit(low)?) as u8);
                (decoded, after)
            }
            _ => {
                decoded.push(byte);
                (decoded, after)
            }
        };
    }
    String::from_utf8(decoded).ok()
}

/// Whether something below the top looks like a schema with an identifier of its own. Property names
/// do not count, since their values are schemas, not strings; enumerated objects may, to no harm.
pub(super) fn has_inner_ids(root: &Value, dialect: Dialect) -> bool {
    let keyword = if dialect == Dialect::Draft4 { "id" } else { "$id" };
    let mut waiting = children(root);
    while let Some(value) = waiting.pop() {
        if value.get(keyword).is_some_and(Value::is_string) {
            return true;
        }
        waiting.extend(children(value));
    }
    false
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(object) => object.values().collect(),
        Value::Array(array) => array.iter().collect(),
        _ => Vec::new(),
    }
}
