//! Two decoders on two cores against one.

use super::{TWO_CORES, stage::Stage, verify};
use crate::{
    corpus::Corpus,
    harness::{Pinned, interleave, two_cores as find_two_cores},
    table::{Row, Table},
};
use anyhow::{bail, ensure};
use std::{sync::Barrier, thread, time::Duration};

/// Both halves of the corpus at once on two cores, against one after the other on one.
pub fn two_cores(table: &mut Table) -> anyhow::Result<()> {
    let cores = find_two_cores()?;
    let whole = Corpus::pings()?;
    let halves = [0, 1].map(|half| whole.only(whole.name, |number| number % 2 == half));
    let checked = [check(&halves[0])?, check(&halves[1])?];
    let mut stages = [Stage::new(&whole.registry)?, Stage::new(&whole.registry)?];
    let mut alone = Stage::new(&whole.registry)?;
    let mut two = || {
        let barrier = Barrier::new(2);
        let [first, second] = &mut stages;
        thread::scope(|scope| {
            let side = |half: usize, stage| {
                let (barrier, corpus, expected, core) = (&barrier, &halves[half], checked[half], cores[half]);
                scope.spawn(move || run_on(core, barrier, stage, corpus, expected))
            };
            let sides = [side(0, first), side(1, second)];
            let times = sides.map(|side| side.join().unwrap_or_else(|_| bail!("a decoder panicked")));
            times.into_iter().try_fold(Duration::ZERO, |longest, time| Ok(longest.max(time?)))
        })
    };
    let mut one = || (0..2).try_fold(Duration::ZERO, |time, half| Ok(time + run(&mut alone, &halves[half], checked[half])?));
    let [two, one] = interleave([&mut two, &mut one])?.map(|seconds| whole.len() as f64 / seconds);
    let baseline = Some(("one-core", one));
    table.add(&Row { name: TWO_CORES, value: two, unit: "messages/s", baseline, n: whole.len(), corpus: whole.name })
}

fn check(half: &Corpus) -> anyhow::Result<u64> {
    Ok(verify::against_slow_path(half, &verify::all_valid(half.len()))?.digest)
}

fn run_on(core: usize, barrier: &Barrier, stage: &mut Stage, corpus: &Corpus, expected: u64) -> anyhow::Result<Duration> {
    // The other side waits too, so nothing may fail before.
    let pinned = Pinned::to(core);
    barrier.wait();
    let _pinned = pinned?;
    run(stage, corpus, expected)
}

fn run(stage: &mut Stage, corpus: &Corpus, expected: u64) -> anyhow::Result<Duration> {
    let run = stage.run(&corpus.batches)?;
    ensure!(run.digest == expected, "a run has other outputs than the one that was compared with the slow path");
    Ok(run.time)
}
