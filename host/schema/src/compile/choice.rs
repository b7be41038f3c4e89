//! `allOf`, `anyOf`, `oneOf`, `not` and conditions.

use std::sync::Arc;

use serde_json::{Map, Value};
use tidemill_json::program::{Choice, Conditional, Node};

use super::{Compiler, Draught, Place, Sub};
use crate::dialect::Dialect;

impl<'s> Compiler<'s> {
    pub(super) fn choices(&mut self, object: &'s Map<String, Value>, place: &Place, draught: &mut Draught) {
        let mut choices = Vec::new();
        if let Some((nodes, is_deferred)) = self.branches(object, "allOf", place) {
            // All of them have to accept in the end, so it does not matter when they are asked.
            draught.is_deferred |= is_deferred;
            choices.push(Choice::All(nodes));
        }
        if let Some(nodes) = self.settled(object, "anyOf", place, draught) {
            choices.push(Choice::Any(nodes));
        }
        if let Some(nodes) = self.settled(object, "oneOf", place, draught) {
            choices.push(Choice::One(nodes));
        }
        if let Some(node) = object.get("not").and_then(|schema| self.branch(schema, "not", place, draught)) {
            choices.push(Choice::Not(node));
        }
        choices.extend(self.conditional(object, place, draught));
        if !choices.is_empty() {
            draught.node.choices = Some(choices.into());
        }
    }

    fn branches(&mut self, object: &'s Map<String, Value>, keyword: &str, place: &Place) -> Option<(Box<[Arc<Node>]>, bool)> {
        let schemas = object.get(keyword)?.as_array()?;
        let place = place.child(keyword);
        let mut is_deferred = false;
        let nodes = schemas.iter().enumerate().map(|(n, schema)| {
            let sub = self.schema(schema, &place.child(&n.to_string()));
            is_deferred |= sub.is_deferred;
            sub.node
        });
        Some((nodes.collect(), is_deferred))
    }

    /// Branches whose verdicts the pass needs at once; where one is deferred, the whole node is.
    fn settled(&mut self, object: &'s Map<String, Value>, keyword: &str, place: &Place, draught: &mut Draught) -> Option<Box<[Arc<Node>]>> {
        match self.branches(object, keyword, place)? {
            (nodes, false) => Some(nodes),
            (_, true) => {
                draught.defer(format!("{keyword} with something deferred"));
                None
            }
        }
    }

    fn branch(&mut self, schema: &'s Value, keyword: &str, place: &Place, draught: &mut Draught) -> Option<Arc<Node>> {
        let Sub { node, is_deferred } = self.schema(schema, &place.child(keyword));
        if is_deferred {
            draught.defer(format!("{keyword} with something deferred"));
            return None;
        }
        Some(node)
    }

    fn conditional(&mut self, object: &'s Map<String, Value>, place: &Place, draught: &mut Draught) -> Option<Choice> {
        let condition = object.get("if").filter(|_| self.dialect == Dialect::Draft7)?;
        let condition = self.branch(condition, "if", place, draught)?;
        let mut arm = |keyword: &str| match object.get(keyword) {
            Some(schema) => self.branch(schema, keyword, place, draught),
            None => Some(Arc::new(Node::any())),
        };
        let (then, otherwise) = (arm("then")?, arm("else")?);
        Some(Choice::If(Conditional { condition, then, otherwise }))
    }
}
