//! The stage's outputs against the [slow path](super::slow), for every message of a corpus.

use super::{
    slow::{self, Record, SlowPath, text},
    stage::{Digest, Stage, number_of},
};
use crate::corpus::Corpus;
use anyhow::{Context, bail, ensure};
use prost::Message as _;
use std::collections::BTreeMap;
use tidemill_bus::{FetchedBatch, RecordRef, Step, TopicPartition};
use tidemill_message::proto::Message;
use tidemill_pipeline::source::Source;

/// What a valid message is expected to be; `duplicate` is one too, because the stage alone remembers nothing.
const OK: &str = "ok";
/// The texts that the slow path does not make of every error.
const TEXTS: [&str; 2] = ["DecodeError", "DecodeErrorDetail"];

/// So many bytes before and behind a difference are shown.
const SHOWN_BYTES: usize = 40;

/// What the outputs were that are as they should be.
#[derive(Clone, Copy)]
pub struct Checked {
    /// The hash of all records in their order.
    pub digest: u64,
    /// The sum of their [numbers](number_of).
    pub records: u64,
}

/// So many messages of which none has a fault.
pub fn all_valid(count: usize) -> Vec<String> {
    vec![OK.to_owned(); count]
}

/// Decodes the corpus and compares every record with that of the slow path: topic, partition, time, key, headers, and the bytes of the
/// message: its headers, every field in its order, each section, and what is left of the document. Whether a message is valid, and which
/// error it is, must also be what the corpus' generator says.
///
/// Two fields are not made a second time, and only where a body is not JSON: `DecodeError` and `DecodeErrorDetail` say where and why
/// the stage stopped to read, in its own words, so the record's own texts stand in for them.
///
/// # Errors
/// The first message that differs, or is missing.
pub fn against_slow_path(corpus: &Corpus, expected: &[String]) -> anyhow::Result<Checked> {
    let raw = corpus.batches.iter().flat_map(FetchedBatch::iter).map(|(_, record)| record.value).collect();
    let slow = SlowPath::new(corpus)?;
    let (last, seen) = (BTreeMap::new(), vec![false; corpus.len()]);
    let mut verifier = Verifier { raw, expected, slow, last, seen, digest: Digest::default(), records: 0 };
    let mut outcome = Ok(());
    Stage::new(&corpus.registry)?.decode(&corpus.batches, |step| {
        if outcome.is_ok() {
            outcome = verifier.step(step);
        }
    })?;
    outcome?;
    let missing = verifier.seen.iter().filter(|seen| !**seen).count();
    ensure!(missing == 0, "{missing} messages did not come out");
    Ok(Checked { digest: verifier.digest.finish(), records: verifier.records })
}

struct Verifier<'c> {
    raw: Vec<&'c [u8]>,
    expected: &'c [String],
    slow: SlowPath,
    /// The last message in each partition.
    last: BTreeMap<TopicPartition, usize>,
    seen: Vec<bool>,
    digest: Digest,
    records: u64,
}

impl Verifier<'_> {
    fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        for (to, records) in &step.publish {
            self.digest.add(to, records.bytes());
            for record in records.iter() {
                let source = record.header("tm-src").and_then(Source::parse).context("a record without tm-src")?;
                let number = source.offset as usize;
                self.record(to, &record, number).with_context(|| format!("message {number}"))?;
                ensure!(self.last.insert(to.clone(), number) < Some(number), "message {number} is not in its order");
                ensure!(!std::mem::replace(&mut self.seen[number], true), "message {number} came out twice");
                self.records = self.records.wrapping_add(number_of(to, &record));
            }
        }
        Ok(())
    }

    fn record(&self, to: &TopicPartition, found: &RecordRef<'_>, number: usize) -> anyhow::Result<()> {
        let mut made = self.slow.record(self.raw[number], number)?;
        let (expected, fault) = (self.expected[number].as_str(), made.error_type.unwrap_or(OK));
        let is_expected = fault == expected || matches!((fault, expected), (OK, "duplicate") | ("gunzip", "gzip"));
        ensure!(is_expected, "it is {expected} and the slow path says {fault}");
        if made.lacks_texts {
            take_texts(&mut made.message, &Message::decode(found.value).context("the record")?)?;
        }
        compare(to, found, &made)
    }
}

/// Takes the texts of an error from the record.
fn take_texts(made: &mut Message, found: &Message) -> anyhow::Result<()> {
    for field in made.fields.iter_mut().filter(|field| TEXTS.contains(&field.name.as_str())) {
        let text = text(found, &field.name).filter(|text| !text.is_empty()).with_context(|| format!("{} says nothing", field.name))?;
        *field = slow::string(&field.name, text);
    }
    Ok(())
}

fn compare(to: &TopicPartition, found: &RecordRef<'_>, made: &Record) -> anyhow::Result<()> {
    let Record { topic, partition, timestamp_ms, key, headers, message, error_type: _, lacks_texts: _ } = made;
    ensure!(&*to.topic == *topic, "it went to {} and belongs to {topic}", to.topic);
    ensure!(to.partition == *partition, "it went to partition {} and belongs to {partition}", to.partition);
    ensure!(found.timestamp_ms == *timestamp_ms, "its time is {} and should be {timestamp_ms}", found.timestamp_ms);
    ensure!(found.key == key, "its key is {} and should be {}", found.key.escape_ascii(), key.escape_ascii());
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), &value[..])).collect();
    let found_headers: Vec<_> = found.headers().collect();
    if let Some((found, made)) = found_headers.iter().zip(&headers).find(|(found, made)| found != made) {
        let [found, made] = [found, made].map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()));
        bail!("its header {found} should be {made}");
    }
    ensure!(found_headers.len() == headers.len(), "it has {} headers and should have {}", found_headers.len(), headers.len());
    ensure!(found.value == message.encode_to_vec(), "{}", difference(found.value, message));
    Ok(())
}

/// Says where two messages differ.
fn difference(found: &[u8], made: &Message) -> String {
    let Ok(found) = Message::decode(found) else { return "it cannot be read".to_owned() };
    if let Some((found, made)) = found.fields.iter().zip(&made.fields).find(|(found, made)| found != made) {
        let (found_bytes, made_bytes) = (found.encode_to_vec(), made.encode_to_vec());
        let at = found_bytes.iter().zip(&made_bytes).take_while(|(found, made)| found == made).count();
        let names = format!("its field {} where {} is expected", found.name, made.name);
        return format!("{names}: {} should be {}", around(&found_bytes, at), around(&made_bytes, at));
    }
    if found.fields.len() != made.fields.len() {
        return format!("it has {} fields and should have {}", found.fields.len(), made.fields.len());
    }
    let headers = |message: &Message| format!("{:?}", Message { fields: Vec::new(), ..message.clone() });
    format!("its headers {} should be {}, or it is encoded otherwise", headers(&found), headers(made))
}

/// The bytes about a place.
fn around(bytes: &[u8], at: usize) -> String {
    let shown = &bytes[at.saturating_sub(SHOWN_BYTES)..bytes.len().min(at + SHOWN_BYTES)];
    format!("`{}`", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Skipped;
    use tidemill_bus::RecordBuf;
    use tidemill_message::proto::Field;

    /// Compares a record of the slow path with itself after `flip`.
    fn check(flip: impl Fn(&mut Record), expected: &str) {
        let corpus = Corpus::own(1).unwrap();
        let raw = corpus.batches[0].iter().next().unwrap().1.value.to_vec();
        let mut made = SlowPath::new(&corpus).unwrap().record(&raw, 0).unwrap();
        let to = TopicPartition { topic: made.topic.into(), partition: made.partition };
        let headers: Vec<_> = made.headers.iter().map(|(name, value)| (*name, &value[..])).collect();
        let mut found = RecordBuf::default();
        found.push(made.timestamp_ms, &made.key, &headers, &made.message.encode_to_vec());
        flip(&mut made);
        let outcome = found.iter().try_for_each(|found| compare(&to, &found, &made));
        let error = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(if expected.is_empty() { error.is_empty() } else { error.contains(expected) }, "{error:?} is not {expected:?}");
    }

    #[test]
    fn every_part_of_a_record_is_compared() {
        check(|_| (), "");
        check(|made| made.topic = "errors", "it went to validated and belongs to errors");
        check(|made| made.partition += 1, "and belongs to");
        check(|made| made.timestamp_ms += 1, "its time is");
        check(|made| made.key[0] ^= 1, "its key is");
        check(|made| drop(made.headers.pop()), "it has 5 headers and should have 4");
        check(|made| made.message.uuid[0] ^= 1, "its headers");
        check(|made| made.message.timestamp += 1, "its headers");
        check(|made| made.message.logger = None, "its headers");
        check(|made| made.message.fields.swap(0, 1), "its field documentId where docType is expected");
        check(|made| drop(made.message.fields.pop()), "fields and should have");
        for at in 0..5 {
            check(|made| *made.headers[at].1.last_mut().unwrap() ^= 1, "its header tm-");
        }
    }

    #[test]
    fn every_field_is_compared_byte_for_byte() {
        for name in ["geoCity", "submissionDate", "clientId", "normalizedOs", "normalizedCountryCode"] {
            check(|made| field(made, name).value_string[0].push('x'), &format!("its field {name} where {name} is expected"));
        }
        check(|made| field(made, "sampleId").value_integer[0] += 1, "its field sampleId");
        check(|made| field(made, "creationTimestamp").representation = None, "its field creationTimestamp");
        for name in ["environment.system", "submission"] {
            // A blank more: another text of the same value.
            check(|made| field(made, name).value_bytes[0].push(b' '), &format!("its field {name}"));
        }
    }

    fn field<'r>(made: &'r mut Record, name: &str) -> &'r mut Field {
        made.message.fields.iter_mut().find(|field| field.name == name).unwrap()
    }

    #[test]
    fn the_projects_own_pings_are_as_the_slow_path_makes_them() {
        match against_slow_path(&Corpus::own(20).unwrap(), &all_valid(20)) {
            Err(error) if error.is::<Skipped>() => eprintln!("SKIPPED the_projects_own_pings_are_as_the_slow_path_makes_them: {error}"),
            outcome => drop(outcome.unwrap()),
        }
    }
}
