//! What makes a row a row of its own: the source of its record.

use std::collections::HashMap;
use std::sync::Arc;
use tidemill_bus::RecordRef;

/// The header that tells a record's source: `producer/generation/incarnation/partition/offset/n`.
const SOURCE_HEADER: &str = "tm-src";

/// A record's place in the series of its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The `txn` application id of its series: one producer, source partition and consumed partition.
    pub app_id: Arc<str>,
    /// The source offset, which the application's version moves along.
    pub offset: i64,
    /// Which of the records made of that offset.
    pub n: u32,
}

struct Source<'a> {
    producer: &'a str,
    incarnation: &'a str,
    partition: u32,
    offset: i64,
    n: u32,
}

impl<'a> Source<'a> {
    /// Read from its end, because a producer's name may have slashes. The generation is no part of a series: offsets of a source
    /// go on where the generation before left off.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.rsplitn(6, '/');
        let n = parts.next()?.parse().ok()?;
        let offset = parts.next()?.parse().ok()?;
        let partition = parts.next()?.parse().ok()?;
        let incarnation = parts.next()?;
        let _generation: u64 = parts.next()?.parse().ok()?;
        let producer = parts.next().filter(|producer| !producer.is_empty())?;
        Some(Self { producer, incarnation, partition, offset, n })
    }
}

/// The identities of the records of one consumed partition.
#[derive(Debug)]
pub(crate) struct Identities {
    /// `TOPIC_INCARNATION/PARTITION`.
    consumed: String,
    known: HashMap<Series, Arc<str>>,
    /// The series of the record before.
    latest: Option<(Series, Arc<str>)>,
}

type Series = (Box<str>, Box<str>, u32);

impl Identities {
    pub(crate) fn new(incarnation: &str, partition: u32) -> Self {
        Self { consumed: format!("{incarnation}/{partition}"), known: HashMap::new(), latest: None }
    }

    /// A record without a source is a series of the consumed topic itself.
    pub(crate) fn of(&mut self, record: &RecordRef<'_>, offset: i64) -> Identity {
        let source = record.header(SOURCE_HEADER).and_then(Source::parse);
        let source = source.unwrap_or(Source { producer: "unknown", incarnation: "", partition: 0, offset, n: 0 });
        let Source { producer, incarnation, partition, offset, n } = source;
        if let Some((series, app_id)) = &self.latest
            && (&*series.0, &*series.1, series.2) == (producer, incarnation, partition)
        {
            return Identity { app_id: Arc::clone(app_id), offset, n };
        }
        let series = (producer.into(), incarnation.into(), partition);
        let app_id = self.app_id(&series);
        self.latest = Some((series, Arc::clone(&app_id)));
        Identity { app_id, offset, n }
    }

    fn app_id(&mut self, series: &Series) -> Arc<str> {
        if let Some(found) = self.known.get(series) {
            return Arc::clone(found);
        }
        let (producer, incarnation, partition) = series;
        let app_id: Arc<str> = format!("tidemill:{producer}/{incarnation}/{partition}/{}", self.consumed).into();
        self.known.insert(series.clone(), Arc::clone(&app_id));
        app_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_bus::RecordBuf;

    fn check(header: Option<&str>, expected: (&str, i64, u32)) {
        let mut records = RecordBuf::default();
        let headers: Vec<(&str, &[u8])> = header.iter().map(|text| ("tm-src", text.as_bytes())).collect();
        records.push(0, b"", &headers, b"");
        let record = records.iter().next().expect("a record");
        let found = Identities::new("9f", 2).of(&record, 77);
        assert_eq!((&*found.app_id, found.offset, found.n), expected, "{header:?}");
    }

    #[test]
    fn a_series_is_named_by_source_and_consumed_partition() {
        check(Some("decode/0/6f1c/3/1234/0"), ("tidemill:decode/6f1c/3/9f/2", 1234, 0));
        check(Some("decode/7/6f1c/3/1235/1"), ("tidemill:decode/6f1c/3/9f/2", 1235, 1));
        check(Some("replay/job/0/6f1c/3/1/0"), ("tidemill:replay/job/6f1c/3/9f/2", 1, 0));
        check(Some("decode/x/6f1c/3/1234/0"), ("tidemill:unknown//0/9f/2", 77, 0));
        check(None, ("tidemill:unknown//0/9f/2", 77, 0));
    }
}
