//! What code costs in a plugin against the same code without WebAssembly.

#[path = "../../guests/byte-scan/src/kernel.rs"]
mod byte_scan;
#[path = "../../guests/compute-heavy/src/kernel.rs"]
mod detector;

use crate::{
    harness::{Watch, interleave},
    paths,
    table::{Row, Table},
};
use anyhow::ensure;
use std::hint::black_box;
use tidemill_runtime::{Batch, ColumnsBuilder, Instance, Limits};

pub const COMPUTE_HEAVY: &str = "analysis/compute-heavy";
pub const BYTE_SCAN: &str = "analysis/byte-scan";

/// Rows of a batch: documents of it fit into 256 KiB.
const ROWS: usize = 64;
/// Different rows.
const INPUTS: usize = 8 * ROWS;
/// Calls of a run.
const CALLS: usize = 400;
/// 2018-03-28 12:00:00 UTC.
const NOW_NS: i64 = 1_522_238_400_000_000_000;

/// A row of about 10 us of work as a detector of regressions has it: a histogram compared with those of eight weeks, a stack hashed.
pub fn compute_heavy(table: &mut Table) -> anyhow::Result<()> {
    let inputs: Vec<_> = (0..INPUTS).map(|number| (histogram(number), stack(number))).collect();
    let fill = |builder: &mut ColumnsBuilder, (histogram, stack): &(Vec<i64>, String)| {
        let cells: Vec<_> = histogram.iter().map(|count| count.to_le_bytes()).collect();
        builder.int64_run(1, &cells);
        builder.bytes(2, Some(stack.as_bytes()));
    };
    let mut kernel = detector::Kernel::default();
    let native = |(histogram, stack): &(Vec<i64>, String)| kernel.row(histogram.iter().copied(), stack.as_bytes());
    let mut fresh = detector::Kernel::default();
    let first = |(histogram, stack): &(Vec<i64>, String)| fresh.row(histogram.iter().copied(), stack.as_bytes());
    compare(table, (COMPUTE_HEAVY, "benches/guests/compute-heavy", "made-messages"), &inputs, fill, native, first)
}

/// A document of 4.5 KB that the plugin reads byte by byte: the least work a loop, where fuel costs most.
pub fn byte_scan(table: &mut Table) -> anyhow::Result<()> {
    let inputs: Vec<_> = (0..INPUTS).map(document).collect();
    let fill = |builder: &mut ColumnsBuilder, document: &Vec<u8>| builder.bytes(1, Some(document));
    let mut kernel = byte_scan::Kernel::default();
    let native = |document: &Vec<u8>| kernel.row(document);
    let mut fresh = byte_scan::Kernel::default();
    let first = |document: &Vec<u8>| fresh.row(document);
    compare(table, (BYTE_SCAN, "benches/guests/byte-scan", "made-documents"), &inputs, fill, native, first)
}

/// Times a plugin, by row, against the same code here. The call, the columns and the checked answer are part of the plugin's time.
fn compare<Input>(
    table: &mut Table,
    (name, guest, corpus): (&str, &str, &'static str),
    inputs: &[Input],
    fill: impl Fn(&mut ColumnsBuilder, &Input),
    mut native: impl FnMut(&Input) -> f64,
    first: impl FnMut(&Input) -> f64,
) -> anyhow::Result<()> {
    let mut instance = paths::plugin(guest)?.open("{}", &Limits::default())?;
    let batches: Vec<Batch> = inputs.chunks(ROWS).map(|inputs| batch(&instance, inputs, &fill)).collect();
    let expected = inputs[..ROWS].iter().map(first).fold(0.0, |sum, score| sum + score);
    check(&mut instance, &batches[0], expected)?;
    let mut guest = || {
        let began = Watch::start();
        for batch in batches.iter().cycle().take(CALLS) {
            black_box(instance.process(batch)?);
        }
        Ok(began.elapsed())
    };
    let mut native = || {
        let began = Watch::start();
        for inputs in inputs.chunks(ROWS).cycle().take(CALLS) {
            black_box(inputs.iter().map(|input| native(black_box(input))).sum::<f64>());
        }
        Ok(began.elapsed())
    };
    let rows = CALLS * ROWS;
    let [value, native] = interleave([&mut guest, &mut native])?.map(|seconds| seconds / rows as f64 * 1e6);
    let baseline = Some(("native", native));
    table.add(&Row { name, value, unit: "us", baseline, n: rows, corpus })
}

fn batch<Input>(instance: &Instance, inputs: &[Input], fill: impl Fn(&mut ColumnsBuilder, &Input)) -> Batch {
    let mut builder = ColumnsBuilder::new(&instance.plan().subscription.columns);
    for input in inputs {
        builder.int64(0, Some(NOW_NS));
        fill(&mut builder, input);
        builder.finish_row();
    }
    Batch { partition: 0, rows: inputs.len() as u32, now_ms: NOW_NS / 1_000_000, columns: builder.take() }
}

/// The plugin finds what the same code finds here, bit by bit.
fn check(instance: &mut Instance, batch: &Batch, expected: f64) -> anyhow::Result<()> {
    let cells = instance.process(batch)?.cells;
    let found = cells.first().map_or(f64::NAN, |cell| cell.value);
    ensure!(found.to_bits() == expected.to_bits(), "the plugin finds {found}, the same code here {expected}");
    Ok(())
}

/// A hundred buckets of a latency that moves from message to message.
fn histogram(number: usize) -> Vec<i64> {
    let centre = 20 + number * 7 % 40;
    (0..100_usize).map(|bucket| (1_000 / (1 + bucket.abs_diff(centre)) + number * bucket % 13) as i64).collect()
}

/// Two dozen frames, most of them of a few functions.
fn stack(number: usize) -> String {
    let frame = |at: usize| format!("xul.dll!mozilla::layers::Compositor{}::Draw+0x{:x}", (number % 97 + at * at) % 211, at * 64);
    (0..24).map(frame).collect::<Vec<_>>().join("\n")
}

/// About 4.5 KB of JSON.
fn document(number: usize) -> Vec<u8> {
    let member = |at: usize| {
        let value = ((number * 131 + at * 37) % 10_000) as f64 / 8.0;
        format!(r#""measure_{at}_ms": {{"value": {value}, "unit": "ms", "count": {}}}"#, (number + at) % 977)
    };
    let members: Vec<_> = (0..64).map(member).collect();
    format!("{{{}}}", members.join(", ")).into_bytes()
}
