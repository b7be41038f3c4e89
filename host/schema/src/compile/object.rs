//! Objects.

use std::sync::Arc;

use serde_json::{Map, Value};
use tidemill_json::program::{Node, ObjectRulesBuilder, Pattern};

use super::{Compiler, Draught, Place, Sub, count};

impl<'s> Compiler<'s> {
    pub(super) fn objects(&mut self, object: &'s Map<String, Value>, place: &Place, draught: &mut Draught) {
        let limit = |keyword: &str| object.get(keyword).and_then(|value| count(value, self.dialect));
        let (min_properties, max_properties) = (limit("minProperties").unwrap_or(0), limit("maxProperties").unwrap_or(u64::MAX));
        let rules = ObjectRulesBuilder {
            min_properties,
            max_properties,
            properties: self.properties(object, place, draught),
            patterns: self.pattern_properties(object, place, draught),
            additional: self.additional(object, place, draught),
            names: self.names(object, place, draught),
            required: strings(object.get("required")),
            dependencies: self.dependencies(object, place, draught),
        };
        let asks_nothing = (rules.properties.is_empty() && rules.patterns.is_empty() && rules.additional.is_any())
            && (rules.names.is_none() && rules.required.is_empty() && rules.dependencies.is_empty())
            && (min_properties == 0 && max_properties == u64::MAX);
        if !asks_nothing {
            draught.node.object = Some(Box::new(rules.build()));
        }
    }

    fn properties(&mut self, object: &'s Map<String, Value>, place: &Place, draught: &mut Draught) -> Vec<(String, Arc<Node>)> {
        let place = place.child("properties");
        let schemas = object.get("properties").and_then(Value::as_object).into_iter().flatten();
        schemas.map(|(key, schema)| (key.clone(), draught.take(self.schema(schema, &place.child(key))))).collect()
    }

    fn pattern_properties(&mut self, object: &'s Map<String, Value>, place: &Place, draught: &mut Draught) -> Vec<(Pattern, Arc<Node>)> {
        let place = place.child("patternProperties");
        let mut patterns = Vec::new();
        for (key, schema) in object.get("patternProperties").and_then(Value::as_object).into_iter().flatten() {
            let node = draught.take(self.schema(schema, &place.child(key)));
            patterns.extend(self.pattern(key, draught).map(|pattern| (pattern, node)));
        }
        patterns
    }

    /// Without its patterns an object cannot tell which keys are additional.
    fn additional(&mut self, object: &'s Map<String, Value>, place: &Place, draught: &mut Draught) -> Arc<Node> {
        match object.get("additionalProperties") {
            Some(schema) if draught.reason.is_none() => draught.take(self.schema(schema, &place.child("additionalProperties"))),
            _ => Arc::new(Node::any()),
        }
    }

    fn names(&mut self, object: &'s Map<String, Value>, place: &Place, draught: &mut Draught) -> Option<Arc<Node>> {
        let schema = object.get("propertyNames").filter(|_| self.dialect.has_draft6())?;
        let Sub { node, is_deferred } = self.schema(schema, &place.child("propertyNames"));
        if is_deferred {
            draught.defer("propertyNames with something deferred");
            return None;
        }
        Some(node)
    }

    fn dependencies(
        &mut self,
        object: &'s Map<String, Value>,
        place: &Place,
        draught: &mut Draught,
    ) -> Vec<(String, Vec<String>, Option<Arc<Node>>)> {
        let place = place.child("dependencies");
        let mut dependencies = Vec::new();
        for (key, needs) in object.get("dependencies").and_then(Value::as_object).into_iter().flatten() {
            if needs.is_array() {
                dependencies.push((key.clone(), strings(Some(needs)), None));
            } else {
                let node = draught.take(self.schema(needs, &place.child(key)));
                dependencies.push((key.clone(), Vec::new(), Some(node)));
            }
        }
        dependencies
    }
}

/// The strings of an array.
fn strings(value: Option<&Value>) -> Vec<String> {
    let values = value.and_then(Value::as_array).into_iter().flatten();
    values.filter_map(Value::as_str).map(str::to_owned).collect()
}
