//! What the stage is compared with. Bodies lie ready: no baseline reads a message.

use anyhow::{Context, ensure};
use bytes::Bytes;
use serde_json::Value;
use std::{
    hint::black_box,
    io::Read,
    sync::Arc,
    time::{Duration, Instant},
};
use tidemill_schema::Schema;

/// The largest document of a corpus.
const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// How validated messages are compressed unless configured, and the batches of the embedded log.
pub const ZSTD_LEVEL: i32 = 1;
const PIECE_BYTES: usize = 1 << 20;

/// Makes `each` of all bodies and says how long it took.
fn timed(bodies: &[Bytes], mut each: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    bodies.iter().try_for_each(|body| each(body))?;
    Ok(began.elapsed())
}

/// flate2 (zlib-rs), a `serde_json::Value`, jsonschema; nothing is extracted.
pub struct Naive {
    schema: Arc<Schema>,
    document: Vec<u8>,
}

impl Naive {
    pub fn new(schema: &Arc<Schema>) -> Self {
        Self { schema: Arc::clone(schema), document: Vec::new() }
    }

    pub fn run(&mut self, bodies: &[Bytes]) -> anyhow::Result<Duration> {
        timed(bodies, |body| {
            let tree = self.parse(body)?;
            ensure!(self.schema.is_valid_tree(&tree), "the corpus has an invalid document");
            Ok(())
        })
    }

    /// As [`Self::run`], and the documents compressed in pieces.
    pub fn run_compressing(&mut self, bodies: &[Bytes]) -> anyhow::Result<Duration> {
        let mut zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).context("zstd")?;
        let (mut piece, mut left) = (Vec::with_capacity(2 * PIECE_BYTES), bodies.len());
        timed(bodies, |body| {
            let tree = self.parse(body)?;
            ensure!(self.schema.is_valid_tree(&tree), "the corpus has an invalid document");
            piece.extend_from_slice(&self.document);
            left -= 1;
            if piece.len() >= PIECE_BYTES || left == 0 {
                black_box(zstd.compress(&piece).context("zstd")?);
                piece.clear();
            }
            Ok(())
        })
    }

    /// The tree of a gzip body.
    ///
    /// # Errors
    /// It is not gzip or not JSON.
    pub fn parse(&mut self, body: &[u8]) -> anyhow::Result<Value> {
        self.document.clear();
        flate2::read::GzDecoder::new(body).read_to_end(&mut self.document).context("gunzip")?;
        serde_json::from_slice(&self.document).context("JSON")
    }
}

/// libdeflate into a buffer that is reused.
struct Gunzip {
    decompressor: libdeflater::Decompressor,
    document: Vec<u8>,
}

impl Default for Gunzip {
    fn default() -> Self {
        Self { decompressor: libdeflater::Decompressor::new(), document: vec![0; DOCUMENT_BYTES_MAX] }
    }
}

impl Gunzip {
    fn open(&mut self, body: &[u8]) -> anyhow::Result<usize> {
        self.decompressor.gzip_decompress(body, &mut self.document).context("gunzip")
    }
}

/// libdeflate and simd-json's tape, every buffer reused.
#[derive(Default)]
pub struct Tape {
    gunzip: Gunzip,
    buffers: simd_json::Buffers,
    nodes: Option<simd_json::Tape<'static>>,
}

impl Tape {
    pub fn run(&mut self, bodies: &[Bytes]) -> anyhow::Result<Duration> {
        timed(bodies, |body| {
            let length = self.gunzip.open(body)?;
            self.parse(length)
        })
    }

    fn parse(&mut self, length: usize) -> anyhow::Result<()> {
        let mut tape = self.nodes.take().unwrap_or_else(simd_json::Tape::null).reset();
        // The parser may read so many bytes beyond the document.
        let padded = &mut self.gunzip.document[..length + simd_json::INPUT_PADDING];
        simd_json::fill_tape_padded(padded, length, &mut self.buffers, &mut tape).context("JSON")?;
        black_box(&tape);
        self.nodes = Some(tape.reset());
        Ok(())
    }
}

/// libdeflate and sonic-rs' `Value`, which has an arena of its own each time.
#[derive(Default)]
pub struct Sonic {
    gunzip: Gunzip,
}

impl Sonic {
    pub fn run(&mut self, bodies: &[Bytes]) -> anyhow::Result<Duration> {
        timed(bodies, |body| {
            let length = self.gunzip.open(body)?;
            let value: sonic_rs::Value = sonic_rs::from_slice(&self.gunzip.document[..length]).context("JSON")?;
            black_box(&value);
            Ok(())
        })
    }
}
