//! Types, strings, numbers and enumerations.

use serde_json::{Map, Value};
use tidemill_json::program::{
    ARRAY, BOOLEAN, Bound, EVERY_TYPE, INTEGER, KeyTable, NULL, Number, NumberRules, OBJECT, REAL, STRING, StringRules,
};

use super::{Compiler, Draught, count};

/// The largest divisor that the pass and the validator agree on.
const DIVISOR_MAX: f64 = 9_007_199_254_740_992.0;

impl<'s> Compiler<'s> {
    pub(super) fn types(&self, object: &Map<String, Value>, draught: &mut Draught) {
        draught.node.types = match object.get("type") {
            None => EVERY_TYPE,
            Some(Value::String(name)) => type_mask(name),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(type_mask).fold(0, |a, b| a | b),
            Some(_) => return draught.defer("type"),
        };
    }

    pub(super) fn strings(&self, object: &Map<String, Value>, draught: &mut Draught) {
        let mut rules = StringRules::default();
        let mut has_rules = false;
        for (keyword, limit) in [("minLength", &mut rules.min_length), ("maxLength", &mut rules.max_length)] {
            if let Some(value) = object.get(keyword).and_then(|value| count(value, self.dialect)) {
                *limit = value;
                has_rules = true;
            }
        }
        if let Some(pattern) = object.get("pattern").and_then(Value::as_str) {
            rules.pattern = self.pattern(pattern, draught);
            has_rules = true;
        }
        if has_rules {
            draught.node.string = Some(Box::new(rules));
        }
        // Asserted by the validator from draft 6 on, by nobody before.
        if self.dialect.has_draft6() && ["contentEncoding", "contentMediaType"].iter().any(|key| object.contains_key(*key)) {
            draught.defer("content");
        }
    }

    pub(super) fn numbers(&self, object: &Map<String, Value>, draught: &mut Draught) {
        let lower = self.bounds(object, "minimum", "exclusiveMinimum");
        let upper = self.bounds(object, "maximum", "exclusiveMaximum");
        let multiple_of = object.get("multipleOf").and_then(Value::as_f64);
        let divisor = multiple_of.filter(|divisor| divisor.fract() == 0.0 && (1.0..=DIVISOR_MAX).contains(divisor));
        if multiple_of != divisor {
            draught.defer("multipleOf");
        }
        if !lower.is_empty() || !upper.is_empty() || divisor.is_some() {
            let rules = NumberRules::new(lower, upper, divisor.map(|divisor| divisor as u64), None);
            draught.node.number = Some(Box::new(rules));
        }
    }

    /// In draft 4 `exclusive` is a boolean that sharpens `inclusive`, later a limit of its own.
    fn bounds(&self, object: &Map<String, Value>, inclusive: &str, exclusive: &str) -> Vec<Bound> {
        let sharpens = !self.dialect.has_draft6() && object.get(exclusive) == Some(&Value::Bool(true));
        let limit = |keyword: &str| object.get(keyword).and_then(number);
        let inclusive = limit(inclusive).map(|value| Bound { value, is_exclusive: sharpens });
        let own = limit(exclusive).filter(|_| self.dialect.has_draft6());
        inclusive.into_iter().chain(own.map(|value| Bound { value, is_exclusive: true })).collect()
    }

    pub(super) fn enumerations(&self, object: &Map<String, Value>, draught: &mut Draught) {
        let constant = object.get("const").filter(|_| self.dialect.has_draft6()).map(std::slice::from_ref);
        let listed = object.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        match (constant, listed) {
            (Some(_), Some(_)) => draught.defer("const beside enum"),
            (None, None) => {}
            (Some(values), None) | (None, Some(values)) => restrict(values, draught),
        }
    }
}

/// Restricts a node to `values`.
fn restrict(values: &[Value], draught: &mut Draught) {
    let (mut types, mut booleans, mut numbers, mut strings) = (0, 0, Vec::new(), Vec::new());
    for value in values {
        types |= match value {
            Value::Null => NULL,
            Value::Bool(value) => {
                booleans |= if *value { 2 } else { 1 };
                BOOLEAN
            }
            Value::Number(_) => {
                numbers.extend(number(value));
                INTEGER | REAL
            }
            Value::String(text) => {
                strings.push(text.as_bytes());
                STRING
            }
            Value::Array(_) => ARRAY,
            Value::Object(_) => OBJECT,
        };
    }
    if types & (ARRAY | OBJECT) != 0 {
        draught.defer("enum of arrays or objects");
    }
    let node = &mut draught.node;
    node.types &= types;
    node.booleans = booleans;
    if types & STRING != 0 {
        node.string.get_or_insert_default().allowed = Some(KeyTable::new(strings));
    }
    if types & INTEGER == 0 {
        return;
    }
    let range = node.number.take();
    let allowed = numbers.into_iter().filter(|number| range.as_ref().is_none_or(|range| range.accepts(*number)));
    node.number = Some(Box::new(NumberRules::new(Vec::new(), Vec::new(), None, Some(allowed.collect()))));
}

fn type_mask(name: &str) -> u8 {
    match name {
        "null" => NULL,
        "boolean" => BOOLEAN,
        "integer" => INTEGER,
        "number" => INTEGER | REAL,
        "string" => STRING,
        "array" => ARRAY,
        "object" => OBJECT,
        _ => 0,
    }
}

/// A number of a schema.
fn number(value: &Value) -> Option<Number> {
    let integer = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    integer.map(Number::Integer).or_else(|| value.as_f64().map(Number::Real))
}
