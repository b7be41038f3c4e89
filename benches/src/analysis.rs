//! What a row costs in an analysis plugin.

mod compute;
mod histograms;
mod plugins;

pub use compute::{BYTE_SCAN, COMPUTE_HEAVY, byte_scan, compute_heavy};
pub use histograms::{HISTOGRAM_SUM, histogram_sum};
pub use plugins::{FOUR, ONE, SIXTEEN, four, one, sixteen};

use crate::{
    harness::{Watch, best},
    paths,
    table::{Row, Table},
};
use anyhow::ensure;
use tidemill_runtime::{Batch, ColumnsBuilder, Instance, Limits};

pub const FIVE_COLUMNS: &str = "analysis/five-columns";

const GUEST: &str = "benches/guests/five-columns";
/// Rows of a batch.
const ROWS: u32 = 256;
/// Batches that take turns, so that no batch is always the same.
const BATCHES: u32 = 16;
/// Calls of a run.
const CALLS: u32 = 8_000;
/// 2018-03-28 12:00:00 UTC.
const FIRST_NS: i64 = 1_522_238_400_000_000_000;

/// From columns in host memory to the checked answer of a plugin of the SDK: a call with 256 rows, by row.
pub fn five_columns(table: &mut Table) -> anyhow::Result<()> {
    let mut instance = paths::plugin(GUEST)?.open("{}", &Limits::default())?;
    let batches: Vec<Batch> = (0..BATCHES).map(|number| batch(&instance, number)).collect();
    check(&mut instance, &batches[0])?;
    let mut run = || {
        let began = Watch::start();
        for batch in batches.iter().cycle().take(CALLS as usize) {
            std::hint::black_box(instance.process(batch)?);
        }
        Ok(began.elapsed())
    };
    let rows = CALLS * ROWS;
    let value = best(&mut run)? / f64::from(rows) * 1e9;
    table.add(&Row { name: FIVE_COLUMNS, value, unit: "ns", baseline: None, n: rows as usize, corpus: "made-columns" })
}

/// A batch of one second's pings.
fn batch(instance: &Instance, number: u32) -> Batch {
    let mut builder = ColumnsBuilder::new(&instance.plan().subscription.columns);
    for row in 0..ROWS {
        let at = i64::from(number * ROWS + row);
        builder.int64(0, Some(FIRST_NS + i64::from(number) * 1_000_000_000 + i64::from(row)));
        builder.int64(1, Some(at * 37 % 86_400));
        builder.float64(2, Some((at * 13 % 9_000) as f64));
        builder.boolean(3, Some(at % 3 != 0));
        builder.bytes(4, Some([&b"Windows_NT"[..], b"Windows_NT", b"Darwin", b"Linux"][at as usize % 4]));
        builder.finish_row();
    }
    Batch { partition: 0, rows: ROWS, now_ms: FIRST_NS / 1_000_000, columns: builder.take() }
}

/// The plugin counts what is in the batch.
fn check(instance: &mut Instance, batch: &Batch) -> anyhow::Result<()> {
    let cells = instance.process(batch)?.cells;
    let sum: f64 = cells.iter().filter(|cell| cell.column == 0).map(|cell| cell.value).sum();
    ensure!(sum == f64::from(ROWS), "the plugin counts {sum} of {ROWS} rows");
    Ok(())
}
