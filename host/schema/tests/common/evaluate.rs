//! JSON Schema once more, written to be read, which notes of each keyword whether it accepted and refused something.
//!
//! What a keyword has nothing to say about (a number for `maxLength`) does not count as accepted.

use std::collections::{BTreeMap, HashMap};

use regex::Regex;
use serde_json::{Map, Value};

/// What a keyword at a place of the schema did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    pub accepted: bool,
    pub refused: bool,
    /// It was the only reason why a document was refused.
    pub refused_alone: bool,
}

/// Evaluates documents by one schema.
pub struct Evaluator<'s> {
    root: &'s Value,
    has_draft6: bool,
    patterns: HashMap<String, Regex>,
    /// By JSON pointer of the keyword.
    pub deeds: BTreeMap<String, Deeds>,
    is_noting: bool,
}

/// Why a value is refused: the keywords, without those that only pass on what others say.
type Reasons = Vec<String>;

impl<'s> Evaluator<'s> {
    pub fn new(root: &'s Value, has_draft6: bool) -> Self {
        Self { root, has_draft6, patterns: HashMap::new(), deeds: BTreeMap::new(), is_noting: true }
    }

    /// Whether the document is valid; all keywords are noted.
    pub fn document(&mut self, document: &Value) -> bool {
        let reasons = self.check(self.root, "", document);
        if let [only] = reasons.as_slice() {
            self.deeds.entry(only.clone()).or_default().refused_alone = true;
        }
        reasons.is_empty()
    }

    /// Whether `schema` accepts `value`; nothing is noted.
    pub fn accepts(&mut self, schema: &Value, value: &Value) -> bool {
        let was_noting = std::mem::replace(&mut self.is_noting, false);
        let reasons = self.check(schema, "", value);
        self.is_noting = was_noting;
        reasons.is_empty()
    }

    fn note(&mut self, keyword: &str, is_accepted: bool) {
        if self.is_noting {
            let deeds = self.deeds.entry(keyword.to_owned()).or_default();
            *(if is_accepted { &mut deeds.accepted } else { &mut deeds.refused }) = true;
        }
    }

    /// The schema at a local reference.
    pub fn target(&self, reference: &str) -> (&'s Value, String) {
        let pointer = reference.strip_prefix('#').expect("a local reference").to_owned();
        (self.root.pointer(&pointer).expect("a part of the schema"), pointer)
    }

    fn check(&mut self, schema: &Value, place: &str, value: &Value) -> Reasons {
        let object = match schema {
            Value::Bool(true) => return Vec::new(),
            Value::Object(object) => object,
            _ => return vec![place.to_owned()],
        };
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let (schema, target) = self.target(reference);
            let reasons = self.check(schema, &target, value);
            self.note(&format!("{place}/$ref"), reasons.is_empty());
            return reasons;
        }
        let mut reasons = Vec::new();
        for (keyword, argument) in object {
            let place = format!("{place}/{keyword}");
            let found = match self.leaf(object, keyword, argument, value) {
                Some(true) => Some(Vec::new()),
                Some(false) => Some(vec![place.clone()]),
                None => self.applied(object, keyword, argument, &place, value),
            };
            if let Some(found) = found {
                self.note(&place, found.is_empty());
                reasons.extend(found);
            }
        }
        reasons
    }

    /// What a keyword says that looks at the value alone; `None` where it says nothing.
    fn leaf(&mut self, object: &Map<String, Value>, keyword: &str, argument: &Value, value: &Value) -> Option<bool> {
        let exclusive = |keyword: &str| !self.has_draft6 && object.get(keyword) == Some(&Value::Bool(true));
        let limit = argument.as_f64().unwrap_or(0.0);
        Some(match (keyword, value) {
            ("type", _) => names(argument).any(|name| self.is_type(value, name)),
            ("enum", _) => argument.as_array()?.iter().any(|listed| equal(listed, value)),
            ("const", _) if self.has_draft6 => equal(argument, value),
            ("minimum", Value::Number(_)) if exclusive("exclusiveMinimum") => value.as_f64()? > limit,
            ("minimum", Value::Number(_)) => value.as_f64()? >= limit,
            ("maximum", Value::Number(_)) if exclusive("exclusiveMaximum") => value.as_f64()? < limit,
            ("maximum", Value::Number(_)) => value.as_f64()? <= limit,
            ("exclusiveMinimum", Value::Number(_)) if argument.is_number() && self.has_draft6 => value.as_f64()? > limit,
            ("exclusiveMaximum", Value::Number(_)) if argument.is_number() && self.has_draft6 => value.as_f64()? < limit,
            ("multipleOf", Value::Number(_)) => (value.as_f64()? / limit).fract() == 0.0,
            ("minLength", Value::String(text)) => text.chars().count() as f64 >= limit,
            ("maxLength", Value::String(text)) => text.chars().count() as f64 <= limit,
            ("pattern", Value::String(text)) => self.pattern(argument.as_str()?).is_match(text),
            ("minItems", Value::Array(items)) => items.len() as f64 >= limit,
            ("maxItems", Value::Array(items)) => items.len() as f64 <= limit,
            ("uniqueItems", Value::Array(items)) => {
                argument != &Value::Bool(true) || (1..items.len()).all(|at| !items[..at].iter().any(|other| equal(other, &items[at])))
            }
            ("minProperties", Value::Object(members)) => members.len() as f64 >= limit,
            ("maxProperties", Value::Object(members)) => members.len() as f64 <= limit,
            ("required", Value::Object(members)) => names(argument).all(|name| members.contains_key(name)),
            _ => return None,
        })
    }

    /// What a keyword says that asks other schemas; `None` where it is none or they are not asked.
    fn applied(&mut self, object: &Map<String, Value>, keyword: &str, argument: &Value, place: &str, value: &Value) -> Option<Reasons> {
        match (keyword, value) {
            ("allOf" | "anyOf" | "oneOf", _) => Some(self.choice(keyword, argument.as_array()?, place, value)),
            ("not", _) => Some(if self.check(argument, place, value).is_empty() { vec![place.to_owned()] } else { Vec::new() }),
            ("properties" | "patternProperties" | "additionalProperties", Value::Object(members)) => {
                self.members(object, keyword, place, members)
            }
            ("propertyNames", Value::Object(members)) if self.has_draft6 => {
                let keys = members.keys().map(|key| Value::String(key.clone()));
                self.each(keys.map(|key| (argument, place.to_owned(), key)).collect::<Vec<_>>(), place)
            }
            ("dependencies", Value::Object(members)) => self.dependencies(argument.as_object()?, place, members),
            ("items" | "additionalItems", Value::Array(items)) => {
                let prefix = object.get("items").and_then(Value::as_array);
                let asked: Vec<_> = match (keyword, prefix) {
                    ("items", None) => items.iter().map(|item| (argument, place.to_owned(), item.clone())).collect(),
                    ("items", Some(prefix)) => {
                        let pairs = prefix.iter().zip(items).enumerate();
                        pairs.map(|(at, (schema, item))| (schema, format!("{place}/{at}"), item.clone())).collect()
                    }
                    (_, prefix) => {
                        let rest = items.iter().skip(prefix?.len());
                        rest.map(|item| (argument, place.to_owned(), item.clone())).collect()
                    }
                };
                // That nothing is additional is what `false` accepts.
                let is_closed = keyword == "additionalItems" && argument == &Value::Bool(false);
                self.each(asked, place).or_else(|| is_closed.then(Vec::new))
            }
            _ => None,
        }
    }

    /// All of these schemas on their values. A schema that is `false` refuses in the name of its keyword.
    fn each(&mut self, asked: Vec<(&Value, String, Value)>, place: &str) -> Option<Reasons> {
        if asked.is_empty() {
            return None;
        }
        let mut reasons = Vec::new();
        for (schema, at, value) in asked {
            let found = self.check(schema, &at, &value);
            reasons.extend(if schema.is_boolean() && !found.is_empty() { vec![place.to_owned()] } else { found });
        }
        Some(reasons)
    }

    fn members(&mut self, object: &Map<String, Value>, keyword: &str, place: &str, members: &Map<String, Value>) -> Option<Reasons> {
        let own = |keyword: &str| object.get(keyword).and_then(Value::as_object);
        let (named, patterns) = (own("properties"), own("patternProperties"));
        let mut asked = Vec::new();
        for (key, value) in members {
            let mut is_known = named.is_some_and(|named| named.contains_key(key));
            if let ("properties", Some(schema)) = (keyword, named.and_then(|named| named.get(key))) {
                asked.push((schema, format!("{place}/{}", escaped(key)), value.clone()));
            }
            for (pattern, schema) in patterns.into_iter().flatten() {
                if self.pattern(pattern).is_match(key) {
                    is_known = true;
                    if keyword == "patternProperties" {
                        asked.push((schema, format!("{place}/{}", escaped(pattern)), value.clone()));
                    }
                }
            }
            if keyword == "additionalProperties" && !is_known {
                asked.push((&object[keyword], place.to_owned(), value.clone()));
            }
        }
        let is_closed = keyword == "additionalProperties" && object[keyword] == Value::Bool(false);
        self.each(asked, place).or_else(|| is_closed.then(Vec::new))
    }

    fn dependencies(&mut self, dependencies: &Map<String, Value>, place: &str, members: &Map<String, Value>) -> Option<Reasons> {
        let present: Vec<_> = dependencies.iter().filter(|(key, _)| members.contains_key(*key)).collect();
        let mut reasons = Vec::new();
        for (key, needs) in &present {
            if needs.is_array() {
                reasons.extend(names(needs).any(|name| !members.contains_key(name)).then(|| place.to_owned()));
            } else {
                reasons.extend(self.check(needs, &format!("{place}/{}", escaped(key)), &Value::Object(members.clone())));
            }
        }
        (!present.is_empty()).then_some(reasons)
    }

    fn choice(&mut self, keyword: &str, schemas: &[Value], place: &str, value: &Value) -> Reasons {
        let asked = schemas.iter().enumerate();
        let found: Vec<_> = asked.map(|(at, schema)| self.check(schema, &format!("{place}/{at}"), value)).collect();
        let accepted = found.iter().filter(|reasons| reasons.is_empty()).count();
        let is_accepted = match keyword {
            "allOf" => return found.concat(),
            "anyOf" => accepted > 0,
            _ => accepted == 1,
        };
        if is_accepted { Vec::new() } else { vec![place.to_owned()] }
    }

    fn is_type(&self, value: &Value, name: &str) -> bool {
        match (name, value) {
            ("null", Value::Null) | ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => true,
            ("string", Value::String(_)) | ("array", Value::Array(_)) | ("object", Value::Object(_)) => true,
            // Integers beyond 64 bits are held as reals.
            ("integer", Value::Number(number)) => {
                let real = number.as_f64().unwrap_or(0.5);
                !number.is_f64() || (self.has_draft6 && real.fract() == 0.0) || real.abs() >= 9_223_372_036_854_775_808.0
            }
            _ => false,
        }
    }

    fn pattern(&mut self, pattern: &str) -> Regex {
        let compile = || Regex::new(&jsonschema_regex::to_rust_regex(pattern).expect("a pattern")).expect("a pattern");
        self.patterns.entry(pattern.to_owned()).or_insert_with(compile).clone()
    }
}

/// A name, or several.
pub fn names(argument: &Value) -> impl Iterator<Item = &str> {
    let listed = argument.as_array().into_iter().flatten().filter_map(Value::as_str);
    argument.as_str().into_iter().chain(listed)
}

pub fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Equal as JSON Schema has it: numbers by their value.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b))),
        _ => a == b,
    }
}
