//! What the platform takes.

use crate::{
    corpus::Corpus,
    decode::{against_slow_path, all_valid, fill_raw, records_of},
    harness::ROUNDS,
    paths,
    platform::Platform,
    table::{Row, Table},
};
use anyhow::ensure;
use serde_json::{Value, json};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

pub const IDLE: &str = "memory/idle";
pub const DECODE: &str = "memory/decode";

/// Plugins of the platform that idles.
const PLUGINS: [&str; 2] = ["moz-telemetry", "doctype-monitor"];
/// How long it settles.
const SETTLE: Duration = Duration::from_secs(3);
/// So often the corpus lies in the raw log that is decoded: a few seconds of work.
const TIMES: usize = 3;
/// How often the memory is looked at, and every so many times the positions.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS_OF_POSITIONS: u32 = 40;
/// Decoding takes no longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Resident memory of a platform with all roles and two plugins that nobody posts to; best of some starts.
pub fn idle(table: &mut Table) -> anyhow::Result<()> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let platform = Platform::start(config()?)?;
        sleep(SETTLE);
        best = best.min(platform.resident_mb()?);
    }
    table.add(&Row { name: IDLE, value: best, unit: "MB", baseline: None, n: 0, corpus: "none" })
}

/// The most resident memory of a platform that decodes a backlog as fast as it can, with a worker a core; best of some starts. What its log
/// has afterwards is what was compared with the slow path, but for where each message lay.
pub fn decode(table: &mut Table) -> anyhow::Result<()> {
    let corpus = Corpus::pings()?;
    let mut config = config()?;
    config["roles"] = json!(["decode"]);
    // The backlog has each ping several times.
    config["dedupe"] = json!({"enabled": false});
    let checked = against_slow_path(&corpus, &all_valid(corpus.len()))?;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let mut platform = Platform::start_with(config.clone(), |data| fill_raw(data, &corpus, TIMES))?;
        best = best.min(peak_mb(&platform)?);
        let streams = platform.api("/api/v1/streams")?;
        let (read, kept) = (total(&streams, "raw", "end"), total(&streams, "validated", "end"));
        ensure!(kept == read, "{read} raw messages became {kept} validated ones");
        platform.kill();
        let records = records_of(&platform.folder().join("data"))?;
        ensure!(
            records == checked.records.wrapping_mul(TIMES as u64),
            "the log has other records than those that were compared with the slow path"
        );
    }
    table.add(&Row { name: DECODE, value: best, unit: "MB", baseline: None, n: TIMES * corpus.len(), corpus: corpus.name })
}

/// The most resident memory until the whole backlog is decoded.
fn peak_mb(platform: &Platform) -> anyhow::Result<f64> {
    let (began, mut peak) = (Instant::now(), 0_f64);
    loop {
        for _ in 0..LOOKS_OF_POSITIONS {
            peak = peak.max(platform.resident_mb()?);
            sleep(LOOK);
        }
        let streams = platform.api("/api/v1/streams")?;
        if total(&streams, "raw", "position") >= total(&streams, "raw", "end") {
            return Ok(peak);
        }
        ensure!(began.elapsed() < PATIENCE, "the backlog is not decoded after {PATIENCE:?}: {streams}");
    }
}

/// The sum of a number of a topic's partitions, or of the positions of their only group.
fn total(streams: &Value, topic: &str, name: &str) -> u64 {
    let topics = streams.as_array().into_iter().flatten().filter(|found| found["topic"] == topic);
    let partitions = topics.filter_map(|topic| topic["partitions"].as_array()).flatten();
    let number = |partition: &Value| partition[name].as_u64().or_else(|| partition["groups"][0][name].as_u64());
    partitions.filter_map(number).sum()
}

/// All roles, the schemas and places of the corpus where they are.
fn config() -> anyhow::Result<Value> {
    let root = std::path::absolute(paths::root())?;
    let schemas = paths::shared("data/pipeline-schemas/schemas").map_or_else(|| Ok(root.join("schemas")), std::path::absolute)?;
    let plugin = |name: &&str| json!({"name": name, "component": root.join(format!("plugins/{name}/{name}.wasm"))});
    let plugins: Vec<Value> = PLUGINS.iter().map(plugin).collect();
    let mut config = json!({"schemas": {"paths": [schemas]}, "plugins": plugins});
    if let Some(city) = paths::shared("data/geoip/GeoIP2-City-Test.mmdb") {
        config["geoip"] = json!({"city": std::path::absolute(city)?});
    }
    Ok(config)
}
