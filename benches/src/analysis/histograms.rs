//! What a plugin pays that reads every bucket of a ping's histograms.

use crate::{
    corpus::Corpus,
    decode::validated,
    harness::best,
    table::{Row, Table},
    worker::{Wanted, Worker},
};
use anyhow::{Context, ensure};
use tidemill_bus::Step;
use tidemill_pipeline::graphs::Delta;

pub const HISTOGRAM_SUM: &str = "analysis/histogram-sum";

const GUEST: &str = "benches/guests/histogram-sum";
/// Pings of a run.
const PINGS: usize = 4_000;

/// Everything from fetched batches of validated main pings to graph changes in a step, by ping.
pub fn histogram_sum(table: &mut Table) -> anyhow::Result<()> {
    let corpus = Corpus::pings()?.only("main-pings-4000", |number| number < PINGS);
    let batches = validated(&corpus)?;
    let pings: usize = batches.iter().map(|batch| batch.offsets.len()).sum();
    let expected = expected(&corpus)?;
    let mut worker = Worker::new(&[Wanted { project: GUEST, name: "histogram-sum".to_owned(), config: "{}".to_owned() }])?;
    let mut found = 0.0;
    worker.run(&batches, |step| found += sum(step))?;
    ensure!(found == expected, "the plugin sums {found}, serde_json {expected}");
    let mut run = || worker.run(&batches, |_| {});
    let value = best(&mut run)? / pings as f64 * 1e6;
    table.add(&Row { name: HISTOGRAM_SUM, value, unit: "us", baseline: None, n: pings, corpus: corpus.name })
}

/// The cells of all graph changes.
fn sum(step: &Step) -> f64 {
    let graphs = step.publish.iter().filter(|(to, _)| &*to.topic == "graphs");
    let deltas = graphs.flat_map(|(_, records)| records.iter()).filter_map(|record| Delta::decode(record.value).ok());
    deltas.flat_map(|delta| delta.graphs).flat_map(|graph| graph.cells).map(|cell| cell.value).sum()
}

/// The same sum by the slow path.
fn expected(corpus: &Corpus) -> anyhow::Result<f64> {
    let mut gunzip = libdeflater::Decompressor::new();
    let mut document = vec![0; 8 << 20];
    let mut total = 0;
    for body in &corpus.bodies {
        let length = gunzip.gzip_decompress(body, &mut document).context("gunzip")?;
        let document: serde_json::Value = serde_json::from_slice(&document[..length]).context("a ping")?;
        let histograms = document["payload"]["histograms"].as_object().into_iter().flat_map(|all| all.values());
        let values = histograms.filter_map(|histogram| histogram["values"].as_object()).flat_map(|values| values.values());
        total += values.filter_map(serde_json::Value::as_i64).sum::<i64>();
    }
    Ok(total as f64)
}
