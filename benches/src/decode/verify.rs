//! The stage's outputs against the slow path: flate2, `serde_json` and jsonschema, for every message of a corpus.
//!
//! Compared are which topic a message went to and with which error, its id and its place in the input, and, of valid ones, the whole
//! document: `submission` with the sections that a decoder moved out put back is the tree that `serde_json` makes of the body.

use super::{baseline::Naive, stage::Stage};
use crate::corpus::Corpus;
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tidemill_bus::{RecordRef, Step};
use tidemill_message::MessageRef;
use tidemill_pipeline::source::Source;

/// What a valid message is expected to be.
const OK: &str = "ok";

/// So many messages of which none has a fault.
pub fn all_valid(count: usize) -> Vec<String> {
    vec![OK.to_owned(); count]
}

/// Decodes the corpus and compares everything; answers the digest of the outputs.
///
/// # Errors
/// The first message that differs, or is missing.
pub fn against_slow_path(corpus: &Corpus, expected: &[String]) -> anyhow::Result<u64> {
    let mut verifier = Verifier { corpus, expected, naive: Naive::new(&corpus.schema), seen: vec![false; corpus.len()] };
    let mut stage = Stage::new(&corpus.registry)?;
    let mut outcome = Ok(());
    stage.decode(&corpus.batches, |step| {
        if outcome.is_ok() {
            outcome = verifier.step(step);
        }
    })?;
    outcome?;
    let missing = verifier.seen.iter().filter(|seen| !**seen).count();
    ensure!(missing == 0, "{missing} messages did not come out");
    Ok(stage.run(&corpus.batches)?.digest)
}

struct Verifier<'c> {
    corpus: &'c Corpus,
    expected: &'c [String],
    naive: Naive,
    seen: Vec<bool>,
}

impl Verifier<'_> {
    fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        for (to, records) in &step.publish {
            for record in records.iter() {
                let source = record.header("tm-src").and_then(Source::parse).context("a record without tm-src")?;
                let number = source.offset as usize;
                self.record(&to.topic, &record, number).with_context(|| format!("message {number}"))?;
                ensure!(!std::mem::replace(&mut self.seen[number], true), "message {number} came out twice");
            }
        }
        Ok(())
    }

    fn record(&mut self, topic: &str, record: &RecordRef<'_>, number: usize) -> anyhow::Result<()> {
        let message = MessageRef::parse(record.value)?;
        let body = &self.corpus.bodies[number];
        match (self.expected[number].as_str(), topic) {
            (OK | "duplicate", "validated") => self.valid(&message, body),
            (fault, "errors") => self.refused(&message, fault, body),
            (expected, topic) => bail!("it went to {topic} and is {expected}"),
        }
    }

    fn valid(&mut self, message: &MessageRef<'_>, body: &[u8]) -> anyhow::Result<()> {
        let tree = self.naive.parse(body)?;
        ensure!(self.corpus.schema.is_valid_tree(&tree), "it went to validated and is not valid");
        ensure!(document(message)? == tree, "its document is another one");
        Ok(())
    }

    fn refused(&mut self, message: &MessageRef<'_>, fault: &str, body: &[u8]) -> anyhow::Result<()> {
        let fault = if fault == "gzip" { "gunzip" } else { fault };
        let error = message.field("DecodeErrorType").and_then(|field| field.bytes()).unwrap_or_default();
        ensure!(error == fault.as_bytes(), "it is refused as {} and its fault is {fault}", String::from_utf8_lossy(error));
        let tree = self.naive.parse(body);
        match fault {
            "schema" => ensure!(tree.is_ok_and(|tree| !self.corpus.schema.is_valid_tree(&tree)), "it is refused and is valid"),
            "json" | "gunzip" => ensure!(tree.is_err(), "it is refused and can be read"),
            _ => {}
        }
        Ok(())
    }
}

/// The document with every section where it was.
fn document(message: &MessageRef<'_>) -> anyhow::Result<Value> {
    let json = |name: &str| message.field(name).and_then(|field| field.bytes()).with_context(|| format!("it has no field {name}"));
    let mut document: Value = serde_json::from_slice(json("submission")?).context("submission")?;
    for field in message.fields() {
        let name = std::str::from_utf8(field.name).context("a field's name")?;
        let Some((parent, key)) = name.split_once('.').filter(|_| field.representation == b"json") else { continue };
        let section = serde_json::from_slice(field.bytes().unwrap_or_default()).with_context(|| name.to_owned())?;
        ensure!(document[parent].get(key).is_none(), "{name} is in the document and a field of its own");
        document[parent][key] = section;
    }
    Ok(document)
}
