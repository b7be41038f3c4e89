//! Arrays.

use std::sync::Arc;

use serde_json::{Map, Value};
use tidemill_json::program::{ArrayRules, Node};

use super::{Compiler, Draught, Place, Sub, count};

impl<'s> Compiler<'s> {
    pub(super) fn arrays(&mut self, object: &'s Map<String, Value>, place: &Place, draught: &mut Draught) {
        let limit = |keyword: &str| object.get(keyword).and_then(|value| count(value, self.dialect));
        let (min_items, max_items) = (limit("minItems").unwrap_or(0), limit("maxItems").unwrap_or(u64::MAX));
        let (prefix, rest) = self.items(object, place, draught);
        let contains = self.contains(object, place, draught);
        let rules = ArrayRules { min_items, max_items, prefix, rest: Some(rest).filter(|rest| !rest.is_any()), contains };
        let asks_nothing = rules.prefix.is_empty() && rules.rest.is_none() && rules.contains.is_none();
        if !asks_nothing || min_items > 0 || max_items < u64::MAX {
            draught.node.array = Some(Box::new(rules));
        }
        if object.get("uniqueItems") == Some(&Value::Bool(true)) {
            draught.defer("uniqueItems");
        }
    }

    /// Nodes of the first elements and of the rest.
    fn items(&mut self, object: &'s Map<String, Value>, place: &Place, draught: &mut Draught) -> (Vec<Arc<Node>>, Arc<Node>) {
        let place = &place.child("items");
        match object.get("items") {
            None => (Vec::new(), Arc::new(Node::any())),
            Some(Value::Array(schemas)) => {
                let subs = schemas.iter().enumerate();
                let prefix = subs.map(|(n, schema)| draught.take(self.schema(schema, &place.child(&n.to_string()))));
                (prefix.collect(), self.additional_items(object, place, draught))
            }
            Some(schema) => (Vec::new(), draught.take(self.schema(schema, place))),
        }
    }

    fn additional_items(&mut self, object: &'s Map<String, Value>, items: &Place, draught: &mut Draught) -> Arc<Node> {
        let pointer = items.pointer.trim_end_matches("items").to_owned() + "additionalItems";
        let place = Place { pointer, depth: items.depth };
        let schema = object.get("additionalItems");
        schema.map_or_else(|| Arc::new(Node::any()), |schema| draught.take(self.schema(schema, &place)))
    }

    fn contains(&mut self, object: &'s Map<String, Value>, place: &Place, draught: &mut Draught) -> Option<Arc<Node>> {
        let schema = object.get("contains").filter(|_| self.dialect.has_draft6())?;
        let Sub { node, is_deferred } = self.schema(schema, &place.child("contains"));
        if is_deferred {
            draught.defer("contains with something deferred");
            return None;
        }
        Some(node)
    }
}
