//! Where a record comes from: the header `tm-src`.
//!
//! Its text is `producer/generation/incarnation/partition/offset/n`, for example `decode/0/6f1c/3/1234/0`: the `n`-th record that
//! `producer` made of the record at `offset` of that partition, in that creation (incarnation) of the source topic. Sinks compare
//! sources to drop what they have already; a producer's name may have slashes (`replay/JOB`), so the text is read from its end.

use std::io::Write;

/// A record's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source<'a> {
    /// Who made the record, for example `decode`.
    pub producer: &'a str,
    /// A higher generation of a producer replaces what a lower one made.
    pub generation: u64,
    /// The creation of the source topic that `offset` belongs to.
    pub incarnation: &'a str,
    /// The source partition.
    pub partition: u32,
    /// The source offset.
    pub offset: i64,
    /// Which of the records made of that offset, from 0.
    pub n: u32,
}

impl<'a> Source<'a> {
    /// Reads the header's text; `None` where it is not of this form.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.rsplitn(6, '/');
        let n = parts.next()?.parse().ok()?;
        let offset = parts.next()?.parse().ok()?;
        let partition = parts.next()?.parse().ok()?;
        let incarnation = parts.next()?;
        let generation = parts.next()?.parse().ok()?;
        let producer = parts.next().filter(|producer| !producer.is_empty())?;
        Some(Self { producer, generation, incarnation, partition, offset, n })
    }

    /// Appends the header's text.
    pub fn write_into(&self, out: &mut Vec<u8>) {
        let Self { producer, generation, incarnation, partition, offset, n } = self;
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{producer}/{generation}/{incarnation}/{partition}/{offset}/{n}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_comes_back_as_it_went_in() {
        let sources = [
            Source { producer: "decode", generation: 0, incarnation: "6f1c", partition: 3, offset: 1234, n: 0 },
            Source { producer: "replay/job-7", generation: 2, incarnation: "", partition: 0, offset: i64::MAX, n: 5 },
        ];
        for source in sources {
            let mut text = Vec::new();
            source.write_into(&mut text);
            assert_eq!(Source::parse(&text), Some(source));
        }
    }

    #[test]
    fn other_texts_are_no_source() {
        for text in ["", "decode", "decode/0/x/3/1", "/0/x/3/1/0", "decode/0/x/3/1/-1", "decode/a/x/3/1/0", "decode/0/x/3/1/0/"] {
            assert_eq!(Source::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Source::parse(b"\xff/0/x/3/1/0"), None);
    }
}
