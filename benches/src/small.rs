//! Small messages from the embedded log to a graph.

use crate::{
    corpus::Small,
    harness::best,
    paths,
    table::{Row, Table},
    worker::{Wanted, open_bus, options},
};
use anyhow::{Context, ensure};
use serde_json::json;
use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::AtomicBool, mpsc},
    time::{Duration, Instant},
};
use tidemill_bus::{Clock, SystemClock};
use tidemill_pipeline::{
    analysis::{StageHandle, start_analysis},
    graphs::{GraphsOptions, graphs_worker},
    status::{LiveState, PluginStatus},
};

pub const END_TO_END: &str = "small/end-to-end";

const GUEST: &str = "benches/guests/log-counter";
const NAME: &str = "counter";
/// The title that the plugin gives to the graph of this field.
const GRAPH: &str = "request";
const PARTITIONS: u32 = 4;
/// How often the corpus is in the log: the end of the last step, up to 100 ms, is part of the time.
const REPEATS: usize = 4;
/// Records of a compressed batch: what a decode step at half the speed has for a partition.
const PIECE_BYTES: usize = 1 << 20;
/// How often the counts are looked at.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);
/// 2017-11-22 00:00:00 UTC, a day after the corpus begins: to the stages the messages are of today, as a graph's window wants it.
const TODAY_NS: i64 = 1_511_308_800_000_000_000;

/// The system's clock, set to the corpus' day.
#[derive(Debug, Default)]
struct Today(SystemClock);

impl Clock for Today {
    fn now_ns(&self) -> i64 {
        TODAY_NS + self.elapsed().as_nanos() as i64
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Messages a second, all threads on one core: from a log that is opened anew to the graph that counts all of them by a field,
/// with compression, CRC, fuel, limits, checkpoints and positions.
pub fn end_to_end(table: &mut Table) -> anyhow::Result<()> {
    let corpus = Small::load(PIECE_BYTES)?;
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(paths::target()).context("a folder")?;
    fill(&corpus, folder.path())?;
    let count = corpus.count * REPEATS;
    let (template, copy) = (folder.path().join("log"), folder.path().join("run"));
    let mut run = || {
        let _ = fs::remove_dir_all(&copy);
        copy_folder(&template, &copy.join("log"))?;
        run(&copy, count as f64)
    };
    let seconds = best(&mut run)?;
    table.add(&Row { name: END_TO_END, value: count as f64 / seconds, unit: "messages/s", baseline: None, n: count, corpus: corpus.name })
}

fn fill(corpus: &Small, folder: &Path) -> anyhow::Result<()> {
    let bus = open_bus(folder, PARTITIONS)?;
    let (acked, acks) = mpsc::channel();
    for number in 0..corpus.pieces.len() * REPEATS {
        let (acked, piece) = (acked.clone(), corpus.pieces[number % corpus.pieces.len()].clone());
        let answer = Box::new(move |result: Result<(), _>| acked.send(result.is_ok()).unwrap_or_default());
        bus.publish("validated", number as u32 % PARTITIONS, piece, answer);
        ensure!(acks.recv()?, "records were refused");
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).context("a folder")?;
    for entry in fs::read_dir(from).context("the log")? {
        let entry = entry.context("the log")?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).context("a copy")?;
        }
    }
    Ok(())
}

fn run(folder: &Path, count: f64) -> anyhow::Result<Duration> {
    let bus = open_bus(folder, PARTITIONS)?;
    let config = json!({"texts": ["Fields[request]"]}).to_string();
    let mut options = options(bus, &[Wanted { project: GUEST, name: NAME.to_owned(), config }])?;
    options.clock = Arc::new(Today::default());
    let merging = graphs_worker(
        &*options.bus,
        Arc::clone(&options.live),
        Arc::clone(&options.clock),
        GraphsOptions { epoch: 1, ..GraphsOptions::default() },
    )?;
    let began = Instant::now();
    let graphs = StageHandle::start("graphs", vec![move |stop: &AtomicBool| merging.run(stop)])?;
    let analysis = start_analysis(&options)?;
    while given(&options.live) < count || sum(&options.live) < count {
        ensure!(began.elapsed() < PATIENCE, "the graph has {} of {count} messages: {:?}", sum(&options.live), options.live.plugins(&[]));
        std::thread::sleep(LOOK);
    }
    let time = began.elapsed();
    ensure!(sum(&options.live) == count, "the graph has {} of {count} messages", sum(&options.live));
    ensure!(analysis.join() && graphs.join(), "a stage panicked");
    Ok(time)
}

/// Rows that the plugin was given: cheaper to ask for than the graph.
fn given(live: &LiveState) -> f64 {
    live.find_plugin(NAME).map_or(0.0, |status| PluginStatus::get(&status.messages_in) as f64)
}

fn sum(live: &LiveState) -> f64 {
    let Some(graph) = live.graph(NAME, GRAPH) else { return 0.0 };
    graph.data.iter().flatten().flatten().sum()
}
