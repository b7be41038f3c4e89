//! From validated messages to a Parquet file, without a table.

use crate::{
    corpus::Corpus,
    decode::Stage,
    harness::interleave,
    table::{Row, Table},
};
use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use tidemill_lake::encode::to_parquet;

pub const MAIN_PING: &str = "lake/main-ping";

/// Pings of a file.
const PINGS: usize = 4_000;
/// Documents are compressed in pieces like the pages of a Parquet file.
const PIECE_BYTES: usize = 1 << 20;

/// Decoded main pings to one Parquet file, against parsing and compressing the same documents.
pub fn main_ping(table: &mut Table) -> anyhow::Result<()> {
    let corpus = Corpus::pings()?.only("main-pings-4000", |number| number < PINGS);
    let messages = validated(&corpus)?;
    let documents = documents(&corpus)?;
    let (mut file_bytes, mut zstd_bytes) = (0, 0);
    let mut encode = || {
        let began = Instant::now();
        let file = to_parquet(&corpus.schema.source, messages.iter().map(Vec::as_slice))?;
        ensure!(file.stats.rows == messages.len() as u64, "{} rows of {} messages", file.stats.rows, messages.len());
        file_bytes = file.bytes.len();
        Ok(began.elapsed())
    };
    let mut baseline = || {
        let (time, bytes) = parse_and_compress(&documents)?;
        zstd_bytes = bytes;
        Ok(time)
    };
    let [value, baseline] = interleave([&mut encode, &mut baseline])?.map(|seconds| seconds / messages.len() as f64 * 1e6);
    eprintln!("{} bytes of Parquet, {} of zstd, a ping", file_bytes / messages.len(), zstd_bytes / messages.len());
    let baseline = Some(("parse-zstd", baseline));
    table.add(&Row { name: MAIN_PING, value, unit: "us", baseline, n: messages.len(), corpus: corpus.name })
}

/// What the decode stage makes of the corpus.
fn validated(corpus: &Corpus) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    Stage::new(&corpus.registry)?.decode(&corpus.batches, |step| {
        let valid = step.publish.iter().filter(|(to, _)| &*to.topic == "validated");
        messages.extend(valid.flat_map(|(_, records)| records.iter()).map(|record| record.value.to_vec()));
    })?;
    ensure!(messages.len() == corpus.len(), "{} of {} pings are valid", messages.len(), corpus.len());
    Ok(messages)
}

fn documents(corpus: &Corpus) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut gunzip = libdeflater::Decompressor::new();
    let mut document = vec![0; 8 << 20];
    let mut open = |body: &bytes::Bytes| {
        let length = gunzip.gzip_decompress(body, &mut document).context("gunzip")?;
        Ok(document[..length].to_vec())
    };
    corpus.bodies.iter().map(&mut open).collect()
}

/// Time and compressed bytes.
fn parse_and_compress(documents: &[Vec<u8>]) -> anyhow::Result<(Duration, usize)> {
    let began = Instant::now();
    let mut zstd = zstd::bulk::Compressor::new(1).context("zstd")?;
    let mut buffers = simd_json::Buffers::default();
    let mut tape = simd_json::Tape::null();
    let (mut piece, mut parsed, mut compressed) = (Vec::new(), Vec::new(), 0);
    for (number, document) in (1..).zip(documents) {
        piece.extend_from_slice(document);
        parsed.clear();
        parsed.extend_from_slice(document);
        parsed.resize(document.len() + simd_json::INPUT_PADDING, 0);
        let mut nodes = tape.reset();
        simd_json::fill_tape_padded(&mut parsed, document.len(), &mut buffers, &mut nodes).context("JSON")?;
        tape = std::hint::black_box(nodes).reset();
        if piece.len() >= PIECE_BYTES || number == documents.len() {
            compressed += zstd.compress(&piece).context("zstd")?.len();
            piece.clear();
        }
    }
    Ok((began.elapsed(), compressed))
}
