//! How long it takes until what was posted is seen.

use crate::{
    paths,
    platform::Platform,
    table::{Row, Table},
};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

pub const GRAPH: &str = "latency/graph";

const GUEST: &str = "benches/guests/log-counter";
const RECORDED: &str = "tests/fixtures/telemetry/usage.4.daily.pass.json";
/// Posts of a run, one every so often.
const POSTS: usize = 1_000;
const INTERVAL: Duration = Duration::from_millis(10);
/// How often the graph is asked for.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// From the first byte of a post to the graph at the API that counts it, p99 of 1,000 posts with the default steps.
pub fn graph(table: &mut Table) -> anyhow::Result<()> {
    let platform = Platform::start(config()?)?;
    let recorded = std::fs::read(paths::root().join(RECORDED)).context(RECORDED)?;
    let document: Value = serde_json::from_slice(&recorded).context(RECORDED)?;
    let posted = Mutex::new(Vec::with_capacity(POSTS));
    let gave_up = AtomicBool::new(false);
    let mut latencies = std::thread::scope(|scope| {
        let poster = scope.spawn(|| post_all(platform.address(), document, &posted, &gave_up));
        let seen = watch(&platform, &posted);
        gave_up.store(seen.is_err(), Ordering::Relaxed);
        poster.join().map_err(|_| anyhow::anyhow!("the poster panicked"))??;
        seen
    })?;
    latencies.sort_unstable();
    let at = |share: f64| latencies[((POSTS as f64 * share) as usize).min(POSTS - 1)].as_secs_f64();
    eprintln!("median {:.3} s, p90 {:.3} s, greatest {:.3} s", at(0.5), at(0.9), at(1.0));
    table.add(&Row { name: GRAPH, value: at(0.99), unit: "s", baseline: None, n: POSTS, corpus: "recorded-usage-ping" })
}

fn config() -> anyhow::Result<Value> {
    let root = std::path::absolute(paths::root())?;
    let component = root.join(GUEST).join("log-counter.wasm");
    if !component.exists() {
        return crate::harness::skip(format!("{GUEST} is not built: tidemill plugin build {GUEST}"));
    }
    let plugin =
        json!({"name": "counter", "component": component, "config": {"matcher": "Type == 'validated'", "texts": ["Fields[docType]"]}});
    Ok(json!({"roles": ["edge", "decode", "analysis"], "schemas": {"paths": [root.join("schemas")]}, "plugins": [plugin]}))
}

/// Posts one after another and notes when each began.
fn post_all(address: SocketAddr, mut document: Value, posted: &Mutex<Vec<Instant>>, gave_up: &AtomicBool) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).context("connecting")?;
    stream.set_nodelay(true).context("no delay")?;
    let began = Instant::now();
    for number in 0..POSTS {
        let id = format!("6f1c22d0-7a9d-4a61-8000-{number:012}");
        document["id"] = json!(id);
        let body = document.to_string();
        sleep((INTERVAL * number as u32).saturating_sub(began.elapsed()));
        if gave_up.load(Ordering::Relaxed) {
            break;
        }
        let request = format!(
            "POST /submit/telemetry/{id}/usage/Firefox/61.0/nightly/20180328030202 HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        posted.lock().map_err(|_| anyhow::anyhow!("the watcher panicked"))?.push(Instant::now());
        stream.write_all(request.as_bytes()).context("posting")?;
        let answer = read_answer(&mut stream)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    Ok(())
}

/// An answer whose body is `OK`.
fn read_answer(stream: &mut TcpStream) -> anyhow::Result<String> {
    let (mut answer, mut part) = (Vec::new(), [0; 1_024]);
    loop {
        let length = stream.read(&mut part).context("an answer")?;
        answer.extend_from_slice(&part[..length]);
        let text = String::from_utf8_lossy(&answer);
        if length == 0 || text.split_once("\r\n\r\n").is_some_and(|(_, body)| !body.is_empty()) {
            return Ok(text.into_owned());
        }
    }
}

/// When each post was counted by the graph, from when it began; messages are counted in about the order of their posts.
fn watch(platform: &Platform, posted: &Mutex<Vec<Instant>>) -> anyhow::Result<Vec<Duration>> {
    let (began, mut latencies) = (Instant::now(), Vec::with_capacity(POSTS));
    while latencies.len() < POSTS {
        let counted = count(&platform.api("/api/v1/plugins/counter/graphs/docType")?);
        let now = Instant::now();
        let posted = posted.lock().map_err(|_| anyhow::anyhow!("the poster panicked"))?;
        ensure!(counted <= posted.len(), "{counted} of {} posts are counted", posted.len());
        latencies.extend(posted[latencies.len().min(counted)..counted].iter().map(|posted| now - *posted));
        drop(posted);
        ensure!(began.elapsed() < PATIENCE, "{} of {POSTS} posts are counted", latencies.len());
        sleep(LOOK);
    }
    Ok(latencies)
}

/// What a graph counts in all; nothing where it is not there yet.
fn count(graph: &Value) -> usize {
    let rows = graph["data"].as_array().into_iter().flatten();
    rows.filter_map(Value::as_array).flatten().filter_map(Value::as_f64).sum::<f64>() as usize
}
