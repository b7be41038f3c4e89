//! The fast validator against the slow path: serde_json, the naive checker of the dialect, and `jsonschema`.

use tidemill_json::{Backend, Captures, Deferred, Member, Padded, Pass, Refusal, Span};
use tidemill_schema::{InvalidKind, Schema};

use super::dialect;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Valid,
    /// JSON that its schema does not accept.
    Refused,
    /// No JSON of the dialect, and what kind of wrong.
    NotJson(&'static str),
}

/// The memory of all backends, and pointers that make the pass take its other ways.
pub struct Checker {
    passes: Vec<Pass>,
    captures: Captures,
    document: Padded,
}

impl Checker {
    pub fn new() -> Self {
        let backends = [Backend::Safe, Backend::Sse2, Backend::Avx2].into_iter().filter(|backend| backend.is_available());
        let pointers = ["/payload/*", "/type", "/environment/*/*", "/payload/histograms/*/sum", "/version", "/*/*/0", "/items/1/*"];
        Self {
            passes: backends.map(Pass::with_backend).collect(),
            captures: Captures::new(&pointers).expect("pointers"),
            document: Padded::new(),
        }
    }

    /// The verdict on `document`, on which everything agrees.
    ///
    /// # Errors
    /// Who does not agree, in a sentence.
    pub fn check(&mut self, schema: &Schema, document: &[u8]) -> Result<Verdict, String> {
        let expected = slow_verdict(schema, document)?;
        self.document.set(document);
        let mut first = None;
        for pass in &mut self.passes {
            let verdict = fast_verdict(schema, pass, &self.captures, &self.document);
            if verdict != expected {
                return Err(format!("{pass:?} says {verdict:?}, the slow path {expected:?}").chars().take(400).collect());
            }
            let found = Found::of(schema, pass, &self.captures, &self.document);
            if *first.get_or_insert_with(|| found.clone()) != found {
                return Err("the backends find different captures, members or deferred values".to_owned());
            }
        }
        Ok(expected)
    }
}

/// What one backend finds in one pass with the schema.
#[derive(Clone, PartialEq)]
struct Found {
    verdict: Result<(), Refusal>,
    members: Vec<Member>,
    deferred: Vec<Deferred>,
    captured: Vec<Vec<Span>>,
}

impl Found {
    fn of(schema: &Schema, pass: &mut Pass, captures: &Captures, document: &Padded) -> Self {
        let verdict = pass.run(schema.program(), captures, document);
        if verdict.is_err() {
            return Self { verdict, members: Vec::new(), deferred: Vec::new(), captured: Vec::new() };
        }
        let captured = (0..captures.len()).map(|pointer| pass.captured(pointer).to_vec()).collect();
        Self { verdict, members: pass.members().to_vec(), deferred: pass.deferred().to_vec(), captured }
    }
}

fn fast_verdict(schema: &Schema, pass: &mut Pass, captures: &Captures, document: &Padded) -> Verdict {
    match schema.validate(pass, captures, document) {
        Ok(()) => Verdict::Valid,
        Err(invalid) if invalid.kind == InvalidKind::Schema => Verdict::Refused,
        Err(invalid) => {
            let detail: serde_json::Value = serde_json::from_str(&invalid.detail).expect("a report is JSON");
            let kinds = ["depth", "utf8", "number", "string", "escape", "token", "trailing", "size"];
            let kind = kinds.into_iter().find(|kind| detail["detail"] == *kind);
            Verdict::NotJson(kind.unwrap_or("of no known kind"))
        }
    }
}

/// By serde_json and `jsonschema`; the naive checker says what is wrong where it is not JSON.
fn slow_verdict(schema: &Schema, document: &[u8]) -> Result<Verdict, String> {
    match dialect::check(document) {
        Ok(()) => match super::deep_tree(document) {
            Some(tree) if schema.is_valid_tree(&tree) => Ok(Verdict::Valid),
            Some(_) => Ok(Verdict::Refused),
            None => Err("serde_json does not take what is of the dialect".to_owned()),
        },
        // serde_json's own bound lies just as deep; without it a deep document would overflow its stack.
        Err(kind) if super::tree(document).is_none() => Ok(Verdict::NotJson(kind)),
        Err(kind) => Err(format!("serde_json takes what is not of the dialect: {kind}")),
    }
}

/// What may be interesting to put into a document of this schema: its keys, enumerated values, numbers and their neighbours, as JSON.
pub fn words(schema: &serde_json::Value) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    collect(schema, &mut words);
    words.sort();
    words.dedup();
    words
}

fn collect(value: &serde_json::Value, words: &mut Vec<Vec<u8>>) {
    use serde_json::Value;
    match value {
        Value::String(_) => words.push(value.to_string().into_bytes()),
        Value::Number(number) => {
            words.push(number.to_string().into_bytes());
            let whole = number.as_i64().into_iter().flat_map(|number| [number.saturating_sub(1), number.saturating_add(1)]);
            words.extend(whole.map(|number| number.to_string().into_bytes()));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, words)),
        Value::Object(members) => {
            for (key, value) in members {
                words.push(Value::String(key.clone()).to_string().into_bytes());
                collect(value, words);
            }
        }
        Value::Null | Value::Bool(_) => words.push(value.to_string().into_bytes()),
    }
}
