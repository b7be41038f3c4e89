//! What code costs in a plugin against the same code without WebAssembly.

#[path = "../../guests/compute-heavy/src/kernel.rs"]
mod kernel;

use crate::{
    harness::{Watch, interleave},
    paths,
    table::{Row, Table},
};
use anyhow::ensure;
use kernel::Kernel;
use std::hint::black_box;
use tidemill_runtime::{Batch, ColumnsBuilder, Instance, Limits};

pub const COMPUTE_HEAVY: &str = "analysis/compute-heavy";

const GUEST: &str = "benches/guests/compute-heavy";
/// Rows of a batch: what fits into 256 KiB.
const ROWS: u32 = 64;
/// Different documents.
const BATCHES: u32 = 8;
/// Calls of a run.
const CALLS: u32 = 400;
/// 2018-03-28 12:00:00 UTC.
const NOW_NS: i64 = 1_522_238_400_000_000_000;

/// A row of about 10 us of work, by row: the call, the columns and the checked answer are part of the plugin's time.
pub fn compute_heavy(table: &mut Table) -> anyhow::Result<()> {
    let mut instance = paths::plugin(GUEST)?.open("{}", &Limits::default())?;
    let documents: Vec<Vec<u8>> = (0..ROWS * BATCHES).map(document).collect();
    let batches: Vec<Batch> = documents.chunks(ROWS as usize).map(|documents| batch(&instance, documents)).collect();
    check(&mut instance, &batches[0], &documents)?;
    let mut guest = || {
        let began = Watch::start();
        for batch in batches.iter().cycle().take(CALLS as usize) {
            black_box(instance.process(batch)?);
        }
        Ok(began.elapsed())
    };
    let mut kernel = Kernel::default();
    let mut native = || {
        let began = Watch::start();
        for documents in documents.chunks(ROWS as usize).cycle().take(CALLS as usize) {
            black_box(documents.iter().map(|document| kernel.row(black_box(document))).sum::<f64>());
        }
        Ok(began.elapsed())
    };
    let rows = CALLS * ROWS;
    let [value, native] = interleave([&mut guest, &mut native])?.map(|seconds| seconds / f64::from(rows) * 1e6);
    let baseline = Some(("native", native));
    table.add(&Row { name: COMPUTE_HEAVY, value, unit: "us", baseline, n: rows as usize, corpus: "made-documents" })
}

/// About 4 KB of JSON.
fn document(number: u32) -> Vec<u8> {
    let member = |at: u32| {
        let value = f64::from((number * 131 + at * 37) % 10_000) / 8.0;
        format!(r#""measure_{at}_ms": {{"value": {value}, "unit": "ms", "count": {}}}"#, (number + at) % 977)
    };
    let members: Vec<_> = (0..64).map(member).collect();
    format!("{{{}}}", members.join(", ")).into_bytes()
}

fn batch(instance: &Instance, documents: &[Vec<u8>]) -> Batch {
    let mut builder = ColumnsBuilder::new(&instance.plan().subscription.columns);
    for document in documents {
        builder.int64(0, Some(NOW_NS));
        builder.bytes(1, Some(document));
        builder.finish_row();
    }
    Batch { partition: 0, rows: documents.len() as u32, now_ms: NOW_NS / 1_000_000, columns: builder.take() }
}

/// The plugin finds what the same code finds here, bit by bit.
fn check(instance: &mut Instance, batch: &Batch, documents: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut kernel = Kernel::default();
    let expected = documents[..batch.rows as usize].iter().map(|document| kernel.row(document)).fold(0.0, |sum, score| sum + score);
    let cells = instance.process(batch)?.cells;
    let found = cells.first().map_or(f64::NAN, |cell| cell.value);
    ensure!(found.to_bits() == expected.to_bits(), "the plugin finds {found}, the same code here {expected}");
    Ok(())
}
