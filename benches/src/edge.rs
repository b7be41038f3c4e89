//! Posts to the real binary, with the load beside it on the same cores.

use crate::{
    harness::{ROUNDS, skip},
    paths,
    platform::{Platform, binary},
    table::{Row, Table},
};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

pub const POST_4K: &str = "edge/post-4k";

/// Seconds of a round.
const SECONDS: &str = "6s";
/// Requests that are under way at once.
const CONNECTIONS: &str = "128";

/// Requests a second that are answered after they are durable: embedded log, bodies of 4 KiB, ids of their own, `wrk` with one thread.
pub fn post_4k(table: &mut Table) -> anyhow::Result<()> {
    let (mut best, mut sent) = (Load::default(), 0);
    let schemas = std::path::absolute(paths::root().join("schemas"))?;
    let platform = Platform::start(json!({"roles": ["edge"], "schemas": {"paths": [schemas]}}))?;
    for round in 0..ROUNDS {
        let load = load(&format!("http://{}", platform.address()), round)?;
        ensure!(load.refused == 0, "{} requests had another answer than 200", load.refused);
        sent += load.answered;
        best = if load.per_second > best.per_second { load } else { best };
    }
    let kept = kept(&platform.api("/api/v1/streams")?);
    ensure!(kept >= sent, "{sent} posts were acknowledged and {kept} are in the log");
    let corpus = if binary()?.to_string_lossy().contains("release") { "4-KiB-bodies" } else { "4-KiB-bodies-dev-build" };
    table.add(&Row { name: POST_4K, value: best.per_second, unit: "requests/s", baseline: None, n: best.answered as usize, corpus })
}

/// What a round of load did.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    answered: u64,
    refused: u64,
    per_second: f64,
}

fn load(url: &str, round: usize) -> anyhow::Result<Load> {
    let script = paths::root().join("benches/src/edge/post.lua");
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c", CONNECTIONS, "-d", SECONDS, "-s"]).arg(script).arg(url).arg("--").arg(round.to_string());
    let Ok(output) = command.stdin(Stdio::null()).output() else { return skip("wrk is not installed") };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
    parse(&text).with_context(|| text.clone())
}

/// The script's own last line: `done ANSWERED REFUSED MICROSECONDS`.
fn parse(text: &str) -> Option<Load> {
    let line = text.lines().find_map(|line| line.strip_prefix("done "))?;
    let numbers = line.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let &[answered, refused, microseconds] = &numbers[..] else { return None };
    Some(Load { answered, refused, per_second: answered as f64 / (microseconds as f64 / 1e6) })
}

/// The records of `raw`.
fn kept(streams: &Value) -> u64 {
    let topics = streams.as_array().into_iter().flatten().filter(|topic| topic["topic"] == "raw");
    let partitions = topics.filter_map(|topic| topic["partitions"].as_array()).flatten();
    partitions.filter_map(|partition| Some(partition["end"].as_u64()? - partition["start"].as_u64()?)).sum()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_line_of_the_script_is_read() {
        let load = parse("Running 6s test\ndone 3000 2 1500000\n").unwrap();
        assert_eq!((load.answered, load.refused, load.per_second), (3_000, 2, 2_000.0));
        assert!(parse("Requests/sec: 3").is_none() && parse("done 1 2").is_none());
    }
}
