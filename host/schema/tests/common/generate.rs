//! Documents made from a schema: a small valid one, and for each keyword some that it should refuse and nothing else.

use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value, json};

use super::evaluate::{Evaluator, names};

/// Deeper schemas are not followed: references may be recursive.
const DEPTH_MAX: usize = 24;

/// Strings to try where a pattern asks for something.
const TEXTS: [&str; 8] = ["", "x", "0", "!", "a.b", "no such value", "\n", "A B"];

/// Makes documents of one schema.
pub struct Generator<'s> {
    root: &'s Value,
    evaluator: Evaluator<'s>,
}

impl<'s> Generator<'s> {
    pub fn new(root: &'s Value, has_draft6: bool) -> Self {
        Self { root, evaluator: Evaluator::new(root, has_draft6) }
    }

    /// Documents that are valid or wrong in one place.
    pub fn documents(&mut self) -> Vec<Value> {
        self.candidates(&self.root.clone(), 0)
    }

    fn resolved(&self, schema: &Value) -> Value {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.evaluator.target(reference).0.clone(),
            None => schema.clone(),
        }
    }

    /// A small value that the schema accepts.
    fn valid(&mut self, schema: &Value, depth: usize) -> Option<Value> {
        let schema = self.resolved(schema);
        if depth > DEPTH_MAX {
            return None;
        }
        for branch in branches(&schema) {
            for made in self.made(&branch, depth) {
                if self.evaluator.accepts(&schema, &made) {
                    return Some(made);
                }
            }
        }
        None
    }

    /// One value of each type that the schema, which has no choices, may accept.
    fn made(&mut self, schema: &Value, depth: usize) -> Vec<Value> {
        if let Some(listed) = schema.get("enum").and_then(Value::as_array) {
            return listed.clone();
        }
        if let Some(constant) = schema.get("const") {
            return vec![constant.clone()];
        }
        let types: Vec<String> = schema.get("type").into_iter().flat_map(names).map(str::to_owned).collect();
        let types = if types.is_empty() { ["object", "string", "integer", "array"].map(str::to_owned).to_vec() } else { types };
        types.iter().flat_map(|name| self.made_of_type(schema, name, depth)).collect()
    }

    fn made_of_type(&mut self, schema: &Value, name: &str, depth: usize) -> Vec<Value> {
        match name {
            "object" => self.object(schema, depth).into_iter().collect(),
            "array" => self.array(schema, depth).into_iter().collect(),
            "string" => self.texts(schema).into_iter().map(Value::String).collect(),
            "integer" | "number" => numbers(schema),
            "boolean" => vec![json!(true)],
            _ => vec![Value::Null],
        }
    }

    /// The required members and as many more as it must have.
    fn object(&mut self, schema: &Value, depth: usize) -> Option<Value> {
        let mut members = Map::new();
        for key in schema.get("required").into_iter().flat_map(names) {
            let value = self.member(schema, key, depth)?;
            members.insert(key.to_owned(), value);
        }
        let least = schema.get("minProperties").and_then(Value::as_u64).unwrap_or(0) as usize;
        self.fill(schema, &mut members, least, depth);
        Some(Value::Object(members))
    }

    /// Adds members until there are `count`, as far as the schema has any.
    fn fill(&mut self, schema: &Value, members: &mut Map<String, Value>, count: usize, depth: usize) {
        for key in self.keys(schema, count + 1) {
            if members.len() < count && !members.contains_key(&key) {
                members.extend(self.member(schema, &key, depth).map(|value| (key, value)));
            }
        }
    }

    /// Keys that an object may have: those it names, some for each pattern, some more.
    fn keys(&mut self, schema: &Value, count: usize) -> Vec<String> {
        let of = |keyword: &str| schema.get(keyword).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.clone());
        let mut keys: Vec<String> = of("properties").collect();
        keys.extend(of("patternProperties").flat_map(|pattern| samples(&pattern)));
        let numbered = (0..count + 2).flat_map(|n| [format!("{n}"), format!("k{n}"), format!("a.b{n}")]);
        keys.extend(numbered);
        let allowed = schema.get("propertyNames").cloned().unwrap_or(Value::Bool(true));
        keys.retain(|key| self.evaluator.accepts(&allowed, &Value::String(key.clone())));
        keys.dedup();
        keys
    }

    /// A valid value for that key.
    fn member(&mut self, schema: &Value, key: &str, depth: usize) -> Option<Value> {
        let sub = self.schema_of(schema, key);
        self.valid(&sub, depth + 1)
    }

    /// The schema that asks something of that key's value.
    fn schema_of(&mut self, schema: &Value, key: &str) -> Value {
        if let Some(named) = schema.get("properties").and_then(|named| named.get(key)) {
            return named.clone();
        }
        for (pattern, sub) in schema.get("patternProperties").and_then(Value::as_object).into_iter().flatten() {
            if self.evaluator.accepts(&json!({ "pattern": pattern }), &Value::String(key.to_owned())) {
                return sub.clone();
            }
        }
        schema.get("additionalProperties").cloned().unwrap_or(Value::Bool(true))
    }

    fn array(&mut self, schema: &Value, depth: usize) -> Option<Value> {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
        (0..least).map(|at| self.valid(&item_schema(schema, at), depth + 1)).collect::<Option<Vec<_>>>().map(Value::Array)
    }

    /// Texts that the schema may accept, the shortest first.
    fn texts(&self, schema: &Value) -> Vec<String> {
        let limit = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).map(|limit| limit as usize);
        let mut texts = schema.get("pattern").and_then(Value::as_str).map_or_else(|| vec!["x".into()], samples);
        if let Some(least) = limit("minLength") {
            texts.extend(texts.clone().iter().map(|text| text.clone() + &"x".repeat(least.saturating_sub(text.chars().count()))));
        }
        texts
    }

    /// Valid values and wrong ones, here and below.
    fn candidates(&mut self, schema: &Value, depth: usize) -> Vec<Value> {
        let schema = self.resolved(schema);
        let mut found: Vec<Value> = Vec::new();
        if depth > DEPTH_MAX || !schema.is_object() {
            return vec![json!(1)];
        }
        // Of each type, so that what is wrong may be a type's own keyword.
        found.extend([json!(null), json!(true), json!(1), json!(1.5), json!("x"), json!([]), json!({})]);
        for branch in branches(&schema) {
            found.extend(self.made(&branch, depth));
            self.wrong_texts(&branch, &mut found);
            found.extend(wrong_numbers(&branch));
            self.objects(&branch, depth, &mut found);
            self.arrays(&branch, depth, &mut found);
        }
        found
    }

    fn wrong_texts(&mut self, schema: &Value, found: &mut Vec<Value>) {
        let limit = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).map(|limit| limit as usize);
        let mut texts: Vec<String> = TEXTS.map(str::to_owned).to_vec();
        for text in self.texts(schema) {
            let last = text.chars().last().unwrap_or('x');
            for length in
                [limit("minLength").map(|least| least.saturating_sub(1)), limit("maxLength").map(|most| most + 1)].into_iter().flatten()
            {
                let mut text: String = text.chars().take(length).collect();
                text.extend(std::iter::repeat_n(last, length.saturating_sub(text.chars().count())));
                texts.push(text);
            }
        }
        if schema.get("type").is_none_or(|types| names(types).any(|name| name == "string")) {
            found.extend(texts.into_iter().map(Value::String));
        }
    }

    fn objects(&mut self, schema: &Value, depth: usize, found: &mut Vec<Value>) {
        if schema.get("type").is_some_and(|types| names(types).all(|name| name != "object")) {
            return;
        }
        let Some(Value::Object(base)) = self.object(schema, depth) else { return };
        self.wrong_objects(schema, &base, depth, found);
        self.wrong_keys(schema, &base, found);
        let mut keys: Vec<String> =
            schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.clone()).collect();
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        keys.extend(patterns.into_iter().flatten().flat_map(|(pattern, _)| samples(pattern).into_iter().next()));
        let named = keys.len();
        keys.extend(self.keys(schema, 1).into_iter().skip(named).take(3));
        for key in keys {
            let sub = self.schema_of(schema, &key);
            for value in self.candidates(&sub, depth + 1) {
                let mut members = base.clone();
                members.insert(key.clone(), value);
                found.push(Value::Object(members));
            }
        }
    }

    fn wrong_objects(&mut self, schema: &Value, base: &Map<String, Value>, depth: usize, found: &mut Vec<Value>) {
        let mut push = |change: &dyn Fn(&mut Map<String, Value>)| {
            let mut members = base.clone();
            change(&mut members);
            found.push(Value::Object(members));
        };
        base.keys().for_each(|key| push(&|members| drop(members.remove(key))));
        ["no such key", "!", "k0"].into_iter().for_each(|key| push(&|members| drop(members.insert(key.into(), json!(1)))));
        for (key, needs) in schema.get("dependencies").and_then(Value::as_object).into_iter().flatten() {
            let value = self.member(schema, key, depth).unwrap_or(Value::Null);
            let mut members = base.clone();
            members.insert(key.clone(), value);
            found.push(Value::Object(members.clone()));
            for need in names(needs) {
                let value = self.member(schema, need, depth).unwrap_or(Value::Null);
                members.insert(need.to_owned(), value);
            }
            found.push(Value::Object(members));
        }
        for keyword in ["minProperties", "maxProperties"] {
            let Some(limit) = schema.get(keyword).and_then(Value::as_u64).map(|limit| limit as usize) else { continue };
            for count in [limit.saturating_sub(1), limit, limit + 1] {
                let mut members = if count < base.len() { Map::new() } else { base.clone() };
                self.fill(schema, &mut members, count, depth);
                found.push(Value::Object(members));
            }
        }
    }

    /// Members whose keys `propertyNames` may refuse.
    fn wrong_keys(&mut self, schema: &Value, base: &Map<String, Value>, found: &mut Vec<Value>) {
        let Some(names) = schema.get("propertyNames") else { return };
        let mut keys = Vec::new();
        self.wrong_texts(names, &mut keys);
        for key in keys.iter().filter_map(Value::as_str) {
            let mut members = base.clone();
            members.insert(key.to_owned(), json!(1));
            found.push(Value::Object(members));
        }
    }

    fn arrays(&mut self, schema: &Value, depth: usize, found: &mut Vec<Value>) {
        if schema.get("type").is_some_and(|types| names(types).all(|name| name != "array")) {
            return;
        }
        let limit = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).map(|limit| limit as usize);
        let prefix = schema.get("items").and_then(Value::as_array).map_or(0, Vec::len);
        let mut items = |count: usize| (0..count).map_while(|at| self.valid(&item_schema(schema, at), depth + 1)).collect::<Vec<_>>();
        let lengths =
            [Some(0), limit("minItems").map(|least| least.saturating_sub(1)), limit("minItems"), limit("maxItems").map(|most| most + 1)];
        let lengths = lengths.into_iter().flatten().chain([1, 2, prefix, prefix + 1]);
        let made: Vec<_> = lengths.map(&mut items).collect();
        found.extend(made.into_iter().map(Value::Array));
        for at in 0..=prefix {
            let base = (0..at.max(limit("minItems").unwrap_or(0).saturating_sub(1)))
                .map_while(|at| self.valid(&item_schema(schema, at), depth + 1));
            let base: Vec<Value> = base.collect();
            for value in self.candidates(&item_schema(schema, at), depth + 1) {
                let mut items = base.clone();
                items.insert(at.min(items.len()), value);
                found.push(Value::Array(items));
            }
        }
    }
}

/// The schema of the element at that place.
fn item_schema(schema: &Value, at: usize) -> Value {
    match schema.get("items") {
        Some(Value::Array(prefix)) if at < prefix.len() => prefix[at].clone(),
        Some(Value::Array(_)) => schema.get("additionalItems").cloned().unwrap_or(Value::Bool(true)),
        other => other.cloned().unwrap_or(Value::Bool(true)),
    }
}

/// The schema without choices, once for each way to take them.
fn branches(schema: &Value) -> Vec<Value> {
    let mut found = vec![schema.clone()];
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let Some(choices) = schema.get(keyword).and_then(Value::as_array) else { continue };
        let taken = found.iter().flat_map(|base| {
            if keyword == "allOf" {
                return vec![choices.iter().fold(base.clone(), |base, choice| merged(&base, choice))];
            }
            choices.iter().map(|choice| merged(base, choice)).collect()
        });
        found = taken.collect();
    }
    found
}

/// What both ask, as far as members and lists of names go; else what the second asks.
fn merged(base: &Value, more: &Value) -> Value {
    let (Value::Object(base), Value::Object(more)) = (base, more) else { return base.clone() };
    let mut both = base.clone();
    for (keyword, argument) in more {
        match (keyword.as_str(), both.get_mut(keyword), argument) {
            ("properties" | "patternProperties", Some(Value::Object(known)), Value::Object(new)) => {
                for (key, schema) in new {
                    let schema = known.get(key).map_or_else(|| schema.clone(), |known| merged(known, schema));
                    known.insert(key.clone(), schema);
                }
            }
            ("required", Some(Value::Array(known)), Value::Array(new)) => known.extend(new.iter().cloned()),
            _ => drop(both.insert(keyword.clone(), argument.clone())),
        }
    }
    Value::Object(both)
}

/// Numbers that the schema may accept.
fn numbers(schema: &Value) -> Vec<Value> {
    let limits =
        ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"].into_iter().filter_map(|keyword| schema.get(keyword));
    let near = limits.filter(|limit| limit.is_number()).flat_map(around);
    near.chain([json!(0), json!(1), json!(1.5), json!(-1)]).collect()
}

/// Numbers that a limit may refuse, and others.
fn wrong_numbers(schema: &Value) -> Vec<Value> {
    let has_numbers = schema.get("type").is_none_or(|types| names(types).any(|name| matches!(name, "integer" | "number")));
    if has_numbers { numbers(schema) } else { Vec::new() }
}

fn around(limit: &Value) -> Vec<Value> {
    let reals = limit.as_f64().into_iter().flat_map(|limit| [limit - 1.0, limit + 0.5]).map(|real| json!(real));
    let whole = limit.as_i64().into_iter().flat_map(|limit| [limit - 1, limit, limit + 1]).map(|whole| json!(whole));
    whole.chain(reals).chain([limit.clone()]).collect()
}

/// Texts in which the pattern is found: the shortest, and a longer one.
pub fn samples(pattern: &str) -> Vec<String> {
    let translated = jsonschema_regex::to_rust_regex(pattern).expect("a pattern");
    let Ok(hir) = regex_syntax::parse(&translated) else { return Vec::new() };
    let mut shortest = String::new();
    sample(&hir, &mut shortest, 0);
    let mut longer = String::new();
    sample(&hir, &mut longer, 1);
    vec![shortest, longer]
}

fn sample(hir: &Hir, out: &mut String, more: u32) {
    match hir.kind() {
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(Class::Unicode(class)) => out.extend(class.ranges().iter().map(|range| range.end()).find(char::is_ascii_graphic)),
        HirKind::Class(Class::Bytes(class)) => out.extend(class.ranges().first().map(|range| char::from(range.start()))),
        HirKind::Repetition(repetition) => {
            let count = (repetition.min + more).min(repetition.max.unwrap_or(u32::MAX));
            (0..count).for_each(|_| sample(&repetition.sub, out, more));
        }
        HirKind::Capture(capture) => sample(&capture.sub, out, more),
        HirKind::Concat(parts) => parts.iter().for_each(|part| sample(part, out, more)),
        HirKind::Alternation(parts) => {
            let part = parts.get(more as usize).or(parts.first());
            part.into_iter().for_each(|part| sample(part, out, more));
        }
        HirKind::Empty | HirKind::Look(_) => {}
    }
}
