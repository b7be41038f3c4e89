//! What the state of plugins costs.

use crate::{
    harness::{Watch, best},
    paths,
    table::{Row, Table},
    worker::open_bus,
};
use anyhow::{Context, ensure};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use tidemill_bus::{Checkpoint, Event, Member, Step, TopicPartition};
use tidemill_pipeline::analysis::Saved;
use tidemill_runtime::{Batch, ColumnsBuilder, Instance, Limits};

pub const SNAPSHOT: &str = "snapshot/1MiB";
pub const CHECKPOINT_RATE: &str = "checkpoint/rate";

const GUEST: &str = "benches/guests/big-state";
/// With the number of its format a state of 1 MiB.
const CONFIG: &str = r#"{"bytes": 1048572}"#;
const STATE_BYTES: usize = (1 << 20) - 8 + 4;
const SNAPSHOTS: usize = 200;
const PARTITIONS: u32 = 4;
const STEPS: usize = 16;
const CORPUS: &str = "1-MiB-states";

/// A snapshot of a state of 1 MiB, from the call to the bytes in the host.
pub fn snapshot(table: &mut Table) -> anyhow::Result<()> {
    let mut instance = open()?;
    ensure!(instance.snapshot()?.len() == STATE_BYTES, "the state has another size");
    let mut run = || {
        let began = Watch::start();
        for _ in 0..SNAPSHOTS {
            black_box(instance.snapshot()?);
        }
        Ok(began.elapsed())
    };
    let value = best(&mut run)? / SNAPSHOTS as f64 * 1e6;
    table.add(&Row { name: SNAPSHOT, value, unit: "us", baseline: None, n: SNAPSHOTS, corpus: CORPUS })
}

/// Bytes of state a second that become durable in the embedded log: in each step four partitions' snapshots of 1 MiB.
pub fn checkpoint_rate(table: &mut Table) -> anyhow::Result<()> {
    let mut instances = (0..PARTITIONS).map(|_| open()).collect::<anyhow::Result<Vec<_>>>()?;
    let mut run = || {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(paths::target()).context("a folder")?;
        let bus = open_bus(folder.path(), PARTITIONS)?;
        let mut member = bus.join("analysis", &["validated"])?;
        let Event::Assigned(_) = member.poll(Duration::from_secs(10))? else { anyhow::bail!("no partitions were assigned") };
        let began = Instant::now();
        (0..STEPS).try_for_each(|_| save(&mut instances, &mut *member))?;
        Ok(began.elapsed())
    };
    let bytes = STEPS * PARTITIONS as usize * STATE_BYTES;
    let value = bytes as f64 / best(&mut run)?;
    table.add(&Row { name: CHECKPOINT_RATE, value, unit: "bytes/s", baseline: None, n: STEPS * PARTITIONS as usize, corpus: CORPUS })
}

fn open() -> anyhow::Result<Instance> {
    let mut instance = paths::plugin(GUEST)?.open(CONFIG, &Limits::default())?;
    touch(&mut instance)?;
    Ok(instance)
}

/// A row, so that the state is another one than before.
fn touch(instance: &mut Instance) -> anyhow::Result<()> {
    let mut builder = ColumnsBuilder::new(&instance.plan().subscription.columns);
    builder.int64(0, Some(1_522_238_400_000_000_000));
    builder.finish_row();
    instance.process(&Batch { partition: 0, rows: 1, now_ms: 1_522_238_400_000, columns: builder.take() })?;
    Ok(())
}

/// A step with the checkpoint of each instance.
fn save(instances: &mut [Instance], member: &mut dyn Member) -> anyhow::Result<()> {
    let mut step = Step::default();
    for (partition, instance) in (0..).zip(instances) {
        touch(instance)?;
        let saved = Saved { version: "1".to_owned(), state: Some(instance.snapshot()?.into()), ..Saved::default() };
        let place = TopicPartition { topic: "validated".into(), partition };
        step.checkpoints.push(Checkpoint { key: Saved::key("big-state", &place), bytes: Some(saved.encode().into()) });
    }
    Ok(member.commit(step)?)
}
