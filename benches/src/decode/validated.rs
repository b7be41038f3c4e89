//! What the stage makes of a corpus, as a stage behind it fetches that.

use super::Stage;
use crate::corpus::Corpus;
use anyhow::ensure;
use tidemill_bus::{FetchedBatch, RecordBuf, TopicPartition};

/// What one fetch from the bus returns.
const BATCH_BYTES: usize = 1 << 20;

/// The validated messages with their headers, as one partition's batches with offsets from 0.
///
/// # Errors
/// Not all of them are valid.
pub fn validated(corpus: &Corpus) -> anyhow::Result<Vec<FetchedBatch>> {
    let (mut pieces, mut count) = (vec![RecordBuf::default()], 0);
    Stage::new(&corpus.registry)?.decode(&corpus.batches, |step| {
        let valid = step.publish.iter().filter(|(to, _)| &*to.topic == "validated");
        for record in valid.flat_map(|(_, records)| records.iter()) {
            if pieces.last().is_none_or(|piece| piece.bytes().len() >= BATCH_BYTES) {
                pieces.push(RecordBuf::default());
            }
            let headers: Vec<_> = record.headers().map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value)).collect();
            if let Some(piece) = pieces.last_mut() {
                piece.push(record.timestamp_ms, record.key, &headers, record.value);
                count += 1;
            }
        }
    })?;
    ensure!(count == corpus.len(), "{count} of {} pings are valid", corpus.len());
    let partition = TopicPartition { topic: "validated".into(), partition: 0 };
    let mut next = 0;
    let batches = pieces.into_iter().map(|piece| {
        let offsets = (next..next + i64::from(piece.count())).collect();
        next += i64::from(piece.count());
        FetchedBatch { partition: partition.clone(), offsets, bytes: piece.into_bytes() }
    });
    Ok(batches.collect())
}
