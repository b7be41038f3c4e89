//! From a post to a row that a foreign reader sees.

use crate::{
    harness::skip,
    paths,
    platform::Platform,
    table::{Row, Table},
};
use anyhow::{Context, bail, ensure};
use serde_json::json;
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub const ROW: &str = "latency/row";

const POSTS: usize = 1_000;
/// One every 20 ms: the commits fall at every distance from a post.
const POST_INTERVAL: Duration = Duration::from_millis(20);
/// Before them, so that the table is there and the reader has opened it.
const WARM_UP: usize = 50;
const COMMIT_INTERVAL_S: u32 = 1;
/// All rows must be seen in so long.
const PATIENCE: Duration = Duration::from_secs(60);
const TABLE: &str = "device/heartbeat_v1";
const BODY: &str = r#"{"device":"dev-1","uptimeS":7,"battery":0.5,"temperatures":[20.5,21]}"#;

/// The 99th percentile of the time from the beginning of a post to a row that delta-rs' Python build reads.
pub fn row(table: &mut Table) -> anyhow::Result<()> {
    let schemas = std::path::absolute(paths::root().join("schemas"))?;
    let config = json!({"roles": ["edge", "decode", "lake"], "schemas": {"paths": [schemas]},
        "lake": {"commit_interval_s": COMMIT_INTERVAL_S}});
    let python = std::path::absolute(paths::root().join(".deps/venv/bin/python"))?;
    if !python.exists() {
        return skip("the project's Python environment is not set up (make test does it)");
    }
    let platform = Platform::start(config)?;
    let reader = Reader::start(&python, &platform.folder().join("data/lake").join(TABLE))?;
    let posted = post(platform.address())?;
    let seen = reader.finish()?;
    let mut latencies = posted
        .iter()
        .skip(WARM_UP)
        .map(|(id, posted_ns)| Ok(seen.get(id).with_context(|| format!("{id} has no row"))?.saturating_sub(*posted_ns) as f64 / 1e9))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    latencies.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() as f64 * share) as usize).min(latencies.len() - 1)];
    eprintln!("{ROW}: half {:.2} s, 90 % {:.2} s, 99 % {:.2} s, all {:.2} s", at(0.5), at(0.9), at(0.99), at(1.0));
    table.add(&Row { name: ROW, value: at(0.99), unit: "s", baseline: None, n: latencies.len(), corpus: "device-heartbeat-1s-commits" })
}

/// The foreign reader.
struct Reader {
    child: Child,
    lines: thread::JoinHandle<HashMap<String, u64>>,
}

impl Reader {
    fn start(python: &Path, table: &Path) -> anyhow::Result<Self> {
        let script = paths::root().join("benches/src/latency_row/follow.py");
        let mut command = Command::new(python);
        command.arg(script).arg(table).arg((WARM_UP + POSTS).to_string());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("the reader")?;
        let stdout = child.stdout.take().context("its output")?;
        let row = |line: String| line.split_once(' ').and_then(|(id, ns)| Some((id.to_owned(), ns.parse().ok()?)));
        let lines = thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).filter_map(row).collect());
        Ok(Self { child, lines })
    }

    /// When it saw each row.
    fn finish(mut self) -> anyhow::Result<HashMap<String, u64>> {
        let began = Instant::now();
        while self.child.try_wait().context("the reader")?.is_none() {
            if began.elapsed() > PATIENCE {
                self.child.kill().context("the reader")?;
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.lines.join().or_else(|_| bail!("the thread that reads the reader's lines panicked"))
    }
}

/// Posts one by one, at their times; answers ids and when each post began.
fn post(address: SocketAddr) -> anyhow::Result<Vec<(String, u64)>> {
    let mut stream = TcpStream::connect(address).context("connecting")?;
    stream.set_nodelay(true).context("connecting")?;
    let (mut posted, mut next) = (Vec::new(), Instant::now());
    for _ in 0..WARM_UP + POSTS {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += POST_INTERVAL;
        let id = uuid::Uuid::new_v4().to_string();
        posted.push((id.clone(), now_ns()));
        let length = BODY.len();
        write!(stream, "POST /submit/device/heartbeat/1/{id} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n{BODY}")
            .context("posting")?;
        answer(&mut stream)?;
    }
    Ok(posted)
}

/// Reads an answer, which must be `200` with the body `OK`.
fn answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let (mut text, mut piece) = (Vec::new(), [0; 1024]);
    while !text.ends_with(b"\r\n\r\nOK") {
        let length = stream.read(&mut piece).context("an answer")?;
        text.extend_from_slice(&piece[..length]);
        let is_refused = text.len() >= 12 && !text.starts_with(b"HTTP/1.1 200");
        ensure!(length > 0 && !is_refused, "a post was answered with {}", String::from_utf8_lossy(&text));
    }
    Ok(())
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
