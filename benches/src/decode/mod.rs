//! The decode stage: from raw records in memory to the records of a step, and with the embedded log around it.

mod baseline;
mod cores;
mod durable;
mod slow;
mod stage;
mod validated;
mod verify;

use crate::{
    corpus::Corpus,
    harness::interleave,
    table::{Row, Table},
};
use anyhow::ensure;
use baseline::{Naive, Sonic, Tape};
use std::time::Duration;

pub use cores::two_cores;
pub use durable::{fill_raw, records_of, to_durable};
pub use stage::Stage;
pub use validated::validated;
pub use verify::{against_slow_path, all_valid};

pub const MAIN_PING: &str = "decode/main-ping";
pub const DIRTY: &str = "decode/dirty";
pub const TO_DURABLE: &str = "decode/to-durable";
pub const TWO_CORES: &str = "decode/two-cores";

/// The whole stage against parsing alone (`bound`) and against the usual crates without extraction (`naive`); without a worker, and so
/// without its dedupe filter, which [`to_durable`] has.
pub fn main_ping(table: &mut Table) -> anyhow::Result<()> {
    let corpus = Corpus::pings()?;
    let mut decode = checked_runs(&corpus, &verify::all_valid(corpus.len()))?;
    let (mut naive, mut tape, mut sonic) = (Naive::new(&corpus.schema), Tape::default(), Sonic::default());
    let bodies = &corpus.bodies;
    let [decode, naive, tape, sonic] =
        interleave([&mut decode, &mut || naive.run(bodies), &mut || tape.run(bodies), &mut || sonic.run(bodies)])?;
    let each_us = |seconds: f64| seconds / corpus.len() as f64 * 1e6;
    eprintln!("bound: simd-json tape {:.1} us, sonic-rs Value {:.1} us", each_us(tape), each_us(sonic));
    for (baseline, seconds) in [("naive", naive), ("bound", tape.min(sonic))] {
        let baseline = Some((baseline, each_us(seconds)));
        table.add(&Row { name: MAIN_PING, value: each_us(decode), unit: "us", baseline, n: corpus.len(), corpus: corpus.name })?;
    }
    Ok(())
}

/// One ping in ten faulty, against those of the same corpus that are not.
pub fn dirty(table: &mut Table) -> anyhow::Result<()> {
    let (corpus, expected) = Corpus::dirty()?;
    let is_clean = |number: usize| matches!(expected[number].as_str(), "ok" | "duplicate");
    let clean = corpus.only("main-pings-clean", is_clean);
    let mut dirty_run = checked_runs(&corpus, &expected)?;
    let mut clean_run = checked_runs(&clean, &verify::all_valid(clean.len()))?;
    let [dirty_s, clean_s] = interleave([&mut dirty_run, &mut clean_run])?;
    let (value, clean) = (dirty_s / corpus.len() as f64 * 1e6, clean_s / clean.len() as f64 * 1e6);
    table.add(&Row { name: DIRTY, value, unit: "us", baseline: Some(("clean", clean)), n: corpus.len(), corpus: corpus.name })
}

/// Runs of a stage of its own over a corpus, each with the outputs that were compared with the slow path before the first.
fn checked_runs<'c>(corpus: &'c Corpus, expected: &[String]) -> anyhow::Result<impl FnMut() -> anyhow::Result<Duration> + use<'c>> {
    let checked = verify::against_slow_path(corpus, expected)?;
    let mut stage = Stage::new(&corpus.registry)?;
    Ok(move || {
        let run = stage.run(&corpus.batches)?;
        ensure!(run.digest == checked.digest, "a run has other outputs than the one that was compared with the slow path");
        Ok(run.time)
    })
}
