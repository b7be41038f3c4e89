//! Prints what a row costs, from its cells to the checked answer: five int64 columns, summed by a guest written by hand.
//!
//! `cargo run --example call_cost -p tidemill-runtime`

use std::time::{Duration, Instant};

use tidemill_runtime::{Batch, ColumnsBuilder, Instance, Limits, Runtime, RuntimeOptions};

#[path = "../tests/guests/support.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod support;

use support::{Guest, at};

/// Adds up all cells and answers with the sum as one message of 8 bytes.
fn summing_guest() -> Vec<u8> {
    let mut guest = Guest::new("analysis");
    let columns = ["/a", "/b", "/c", "/d", "/e"].map(|path| (path, 0, 0, false));
    let opened = guest.subscription("TRUE", &columns);
    let (row, key, sum) = (guest.put(&[0; 4]), guest.put(&[0; 8]), guest.put(&[0; 8]));
    let offsets = guest.put(&[0_u32, 8].map(u32::to_le_bytes).concat());
    let lists = [(at::MESSAGE_ROW, row, 1), (at::MESSAGE_KEYS, key, 1), (at::MESSAGE_OFFSETS, offsets, 2), (at::MESSAGE_ARENA, sum, 8)];
    let words: Vec<_> = lists.into_iter().flat_map(|(at, list, len)| [(at, list), (at + 4, len)]).collect();
    let answer = guest.findings(&words);
    // Parameters 3 and 4 are pointer and length of `int64s`.
    let body = format!(
        "(local $sum i64)
         (local.set $i (i32.add (local.get 3) (local.get 4)))
         (block $end (loop $next
           (br_if $end (i32.ge_u (local.get 3) (local.get $i)))
           (local.set $sum (i64.add (local.get $sum) (i64.load (local.get 3))))
           (local.set 3 (i32.add (local.get 3) (i32.const 8)))
           (br $next)))
         (i64.store (i32.const {sum}) (local.get $sum)) i32.const {answer}"
    );
    guest.open("analysis", &format!("i32.const {opened}")).process(&body).build()
}

/// The best of 25 runs of a call and of building its columns.
fn best(instance: &mut Instance, rows: u32) -> (Duration, Duration) {
    let mut builder = ColumnsBuilder::new(&instance.plan().subscription.columns);
    let mut batch = Batch { rows, ..Batch::default() };
    let (mut build, mut call) = (Duration::MAX, Duration::MAX);
    for _ in 0..25 {
        let started = Instant::now();
        for row in 0..rows {
            (0..5).for_each(|column| builder.int64(column, Some(i64::from(row))));
            builder.finish_row();
        }
        builder.take_into(&mut batch.columns);
        build = build.min(started.elapsed());
        let started = Instant::now();
        for _ in 0..100 {
            let findings = instance.process(&batch).expect("a sound guest");
            assert_eq!(findings.messages.len(), 1);
        }
        call = call.min(started.elapsed() / 100);
    }
    (build, call)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::new(RuntimeOptions::default())?;
    let mut instance = runtime.load("sum", &summing_guest())?.open("{}", &Limits::default())?;
    println!("{:>6} {:>14} {:>13} {:>12} {:>10}", "rows", "build ns/row", "call ns/row", "call ns", "fuel/row");
    for rows in [1, 64, 256, 4_096] {
        let (build, call) = best(&mut instance, rows);
        let each = |time: Duration| time.as_nanos() as f64 / f64::from(rows);
        let fuel = instance.report().fuel / u64::from(rows);
        println!("{rows:>6} {:>14.1} {:>13.1} {:>12} {fuel:>10}", each(build), each(call), call.as_nanos());
    }
    Ok(())
}
