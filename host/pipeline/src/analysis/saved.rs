//! The checkpoint of a plugin in a partition: its own position, its state, and what the host remembers for it.

use super::emit::Numbering;
use crate::graphs::codec::{CodecError, Decoder, Encoder};
use bytes::Bytes;
use std::collections::BTreeMap;
use tidemill_bus::TopicPartition;

/// The second has the incarnation.
const VERSION: u8 = 2;
const WHAT: &str = "the checkpoint of a plugin";

/// What is saved of a plugin in a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// The version of the plugin that made the state.
    pub version: String,
    /// The next offset that the plugin has to see.
    pub position: i64,
    /// The creation of the topic that the position belongs to; empty where an older program saved it.
    pub incarnation: String,
    /// The greatest event time it has seen.
    pub watermark_ms: Option<i64>,
    /// When its next tick is due, in the partition's time.
    pub next_tick_ms: Option<i64>,
    /// Its snapshot; `None` where it has none yet.
    pub state: Option<Bytes>,
    /// When each alert id was last raised, in milliseconds of event time.
    pub raised_ms: BTreeMap<String, i64>,
    /// How far the records made of an offset are numbered, for each stream of records that a plugin makes.
    pub numbering: [Numbering; 3],
    /// Its own counters.
    pub metrics: BTreeMap<String, f64>,
}

impl Saved {
    /// The checkpoint's key.
    pub fn key(plugin: &str, partition: &TopicPartition) -> String {
        format!("{plugin}/{}/{}", partition.topic, partition.partition)
    }

    /// The checkpoint's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { version, position, incarnation, watermark_ms, next_tick_ms, state, raised_ms, numbering, metrics } = self;
        let mut out = Encoder::new(VERSION);
        out.text(version);
        out.signed(*position);
        out.text(incarnation);
        put_optional(&mut out, *watermark_ms);
        put_optional(&mut out, *next_tick_ms);
        for Numbering { offset, next } in numbering {
            put_optional(&mut out, *offset);
            out.unsigned(u64::from(*next));
        }
        out.unsigned(raised_ms.len() as u64);
        raised_ms.iter().for_each(|(id, time_ms)| {
            out.text(id);
            out.signed(*time_ms);
        });
        out.unsigned(metrics.len() as u64);
        metrics.iter().for_each(|(name, value)| {
            out.text(name);
            out.double(*value);
        });
        out.flag(state.is_some());
        out.blob(state.as_deref().unwrap_or_default());
        out.finish()
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// Where the bytes are damaged or of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (mut reader, version) = Decoder::new(bytes, WHAT, VERSION)?;
        let mut saved = Self { version: reader.text()?, position: reader.signed()?, ..Self::default() };
        if version > 1 {
            saved.incarnation = reader.text()?;
        }
        saved.watermark_ms = optional(&mut reader)?;
        saved.next_tick_ms = optional(&mut reader)?;
        for numbering in &mut saved.numbering {
            *numbering = Numbering { offset: optional(&mut reader)?, next: reader.u32()? };
        }
        for _ in 0..reader.count()? {
            saved.raised_ms.insert(reader.text()?, reader.signed()?);
        }
        for _ in 0..reader.count()? {
            saved.metrics.insert(reader.text()?, reader.double()?);
        }
        let has_state = reader.flag()?;
        saved.state = Some(Bytes::copy_from_slice(reader.blob()?)).filter(|_| has_state);
        reader.finish()?;
        Ok(saved)
    }
}

impl Saved {
    /// As it goes on in this creation of the topic, where the group is at `position`: offsets of another one mean nothing here.
    pub fn go_on_in(mut self, incarnation: &str, position: i64) -> Self {
        if !self.incarnation.is_empty() && self.incarnation != incarnation {
            tracing::warn!(
                was = self.position,
                position,
                "the topic was made anew: the plugin keeps its state and begins where the group is"
            );
            (self.position, self.numbering) = (position, Default::default());
        }
        incarnation.clone_into(&mut self.incarnation);
        self
    }
}

fn put_optional(out: &mut Encoder, value: Option<i64>) {
    out.flag(value.is_some());
    out.signed(value.unwrap_or(0));
}

fn optional(reader: &mut Decoder<'_>) -> Result<Option<i64>, CodecError> {
    let known = reader.flag()?;
    Ok(Some(reader.signed()?).filter(|_| known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_good_in_its_own_creation_of_the_topic_only() {
        let saved = Saved { position: 17, state: Some(Bytes::from_static(b"state")), ..Saved::default() };
        let old = saved.clone().go_on_in("one", 5);
        assert_eq!((old.position, old.incarnation.as_str()), (17, "one"), "an older program did not say which it was");
        assert_eq!(old.clone().go_on_in("one", 5).position, 17);
        let new = old.go_on_in("two", 5);
        assert_eq!((new.position, new.incarnation.as_str(), new.state), (5, "two", saved.state), "the state is kept");
    }

    #[test]
    fn a_checkpoint_of_the_first_version_is_read() {
        let saved = Saved { version: "abc".into(), position: 17, ..Saved::default() };
        let mut bytes = saved.encode();
        // One byte of version, four of text, one of position: there the first version had no incarnation.
        assert_eq!((bytes[0], bytes.remove(6)), (2, 0));
        bytes[0] = 1;
        assert_eq!(Saved::decode(&bytes), Ok(saved));
    }

    #[test]
    fn a_checkpoint_comes_back_and_damage_is_an_error() {
        let full = Saved {
            version: "abc".into(),
            position: 17,
            incarnation: "6f1c".into(),
            watermark_ms: Some(-5),
            next_tick_ms: Some(6),
            state: Some(Bytes::from_static(b"state")),
            raised_ms: BTreeMap::from([("id".into(), -1)]),
            numbering: [1, 2, 3].map(|next| Numbering { offset: Some(16), next }),
            metrics: BTreeMap::from([("rows".into(), 2.5)]),
        };
        for saved in [full.clone(), Saved::default(), Saved { state: Some(Bytes::new()), ..full }] {
            let bytes = saved.encode();
            assert_eq!(Saved::decode(&bytes), Ok(saved));
            assert!((0..bytes.len()).all(|end| Saved::decode(&bytes[..end]).is_err()));
        }
        let partition = TopicPartition { topic: "validated".into(), partition: 3 };
        assert_eq!(Saved::key("doctype-monitor", &partition), "doctype-monitor/validated/3");
    }
}
