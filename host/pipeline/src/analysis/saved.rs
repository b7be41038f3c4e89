//! The checkpoint of a plugin in a partition: its own position, its state, and what the host remembers for it.

use super::emit::Numbering;
use crate::graphs::codec::{CodecError, Decoder, Encoder};
use bytes::Bytes;
use std::collections::BTreeMap;
use tidemill_bus::TopicPartition;

const VERSION: u8 = 1;
const WHAT: &str = "the checkpoint of a plugin";

/// What is saved of a plugin in a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// The version of the plugin that made the state.
    pub version: String,
    /// The next offset that the plugin has to see.
    pub position: i64,
    /// The greatest event time it has seen.
    pub watermark_ms: Option<i64>,
    /// When its next tick is due, in the partition's time.
    pub next_tick_ms: Option<i64>,
    /// Its snapshot; `None` where it has none yet.
    pub state: Option<Bytes>,
    /// When each alert id was last raised, in milliseconds of event time.
    pub raised_ms: BTreeMap<String, i64>,
    /// How far the records made of an offset are numbered, for each [`Stream`](super::emit::Stream).
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
        let Self { version, position, watermark_ms, next_tick_ms, state, raised_ms, numbering, metrics } = self;
        let mut out = Encoder::new(VERSION);
        out.text(version);
        out.signed(*position);
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
        let (mut reader, _) = Decoder::new(bytes, WHAT, VERSION)?;
        let mut saved = Self { version: reader.text()?, position: reader.signed()?, ..Self::default() };
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
    fn a_checkpoint_comes_back_and_damage_is_an_error() {
        let full = Saved {
            version: "abc".into(),
            position: 17,
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
