//! A soak by hand: `TIDEMILL_SOAK_MINUTES=30 cargo test -p tidemill-tests --test soak -- --nocapture` posts 5,000 small and 200 main pings a second, kills the host once a
//! minute, and prints the figures of `docs/reliability.md`.

use serde_json::{Value, json};
use std::{
    fs,
    io::{BufWriter, Write},
    path::Path,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};
use tidemill_tests::{Acknowledged, BusSetup, Load, Ping, Platform, Setup, component, plugin, root, run_with, shared_data};

/// Pings a second, one in 26 of them a main ping.
const RATE: f64 = 5_200.0;
const MAIN_EVERY: u64 = 26;
const CONNECTIONS: usize = 48;
const PARTITIONS: u32 = 8;
const COUNT_SCRIPT: &str = include_str!("soak.py");

/// Main pings as clients send them, compressed once.
static MAIN_BODIES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();

#[test]
fn soak() {
    let Some(minutes) = std::env::var("TIDEMILL_SOAK_MINUTES").ok().and_then(|minutes| minutes.parse::<u64>().ok()) else {
        eprintln!("SKIPPED soak: it runs by hand with TIDEMILL_SOAK_MINUTES=30");
        return;
    };
    let Some(data) = shared_data("soak") else { return };
    MAIN_BODIES.get_or_init(|| main_bodies(&data));
    let folder = tempfile::tempdir().expect("a folder");
    let Some(setup) = setup(&data, folder.path()) else { return };
    let mut platform = Platform::start(&setup);
    let (acknowledged, memory) = drive(&mut platform, minutes);
    let began = Instant::now();
    platform.wait_drained(Duration::from_secs(300));
    let drained = began.elapsed();
    assert_eq!(platform.terminate().code, Some(0));
    let found = count(&platform, &acknowledged, folder.path());
    let seconds = acknowledged.by_second.len();
    println!(
        "soak of {minutes} minutes: {} acknowledged in {seconds} s, {} without an answer",
        acknowledged.ids.len(),
        acknowledged.unknown.len()
    );
    println!("resident memory in MB before each kill: {memory:?}; drained {:.1} s after the last ping", drained.as_secs_f64());
    println!("{found:#}");
    assert_eq!((&found["lost"], &found["twice"]), (&json!(0), &json!(0)));
    let unknown = found["unacknowledged"].as_u64().unwrap_or(u64::MAX);
    assert!(unknown <= acknowledged.unknown.len() as u64, "{unknown} rows that nobody sent");
}

fn main_bodies(data: &Path) -> Vec<Vec<u8>> {
    let fixtures = tidemill_testkit::load(&[data.join("pipeline-schemas/validation/telemetry")]).expect("recorded pings");
    let is_main = |fixture: &&tidemill_testkit::Fixture| fixture.doctype == "main" && fixture.verdict == tidemill_testkit::Verdict::Pass;
    fixtures.iter().filter(is_main).map(|fixture| tidemill_testkit::compress(&fixture.body)).collect()
}

fn make(number: u64) -> Ping {
    if number.is_multiple_of(MAIN_EVERY) {
        let bodies = MAIN_BODIES.get().map(Vec::as_slice).unwrap_or_default();
        let body = &bodies[(number / MAIN_EVERY) as usize % bodies.len()];
        let path = |id: &str| format!("/submit/telemetry/{id}/main/Firefox/61.0/nightly/20180328030202");
        return Ping::new(path, body).with("Content-Encoding", "gzip");
    }
    let n = if number % 10 == 9 { json!("nine") } else { json!(number) };
    Ping::new(|id| format!("/submit/test/ping/1/{id}"), json!({"n": n, "text": "small"}).to_string().as_bytes())
}

fn setup(data: &Path, schemas: &Path) -> Option<Setup> {
    let place = schemas.join("test/ping");
    fs::create_dir_all(&place).expect("made");
    let schema = r#"{"type": "object", "properties": {"n": {"type": "integer"}, "text": {"type": "string"}}, "required": ["n"]}"#;
    fs::write(place.join("ping.1.schema.json"), schema).expect("written");
    let mut setup = Setup::new(BusSetup::Embedded, PARTITIONS, vec![schemas.to_owned(), data.join("pipeline-schemas/schemas")]);
    setup.geoip = Some(data.join("geoip/GeoIP2-City-Test.mmdb"));
    setup.lake_interval_s = 10.0;
    setup.plugins = vec![
        plugin("moz-telemetry", &component("soak", "moz-telemetry")?, json!({}), &[]),
        plugin("doctype-monitor", &component("soak", "doctype-monitor")?, json!({}), &[]),
    ];
    Some(setup)
}

/// Posts for so many minutes and kills the host once in each; the memory it had before each kill, MB.
fn drive(platform: &mut Platform, minutes: u64) -> (Acknowledged, Vec<u64>) {
    let load = Load::start(platform.address(), CONNECTIONS, RATE, make);
    let mut memory = vec![];
    for minute in 0..minutes {
        thread::sleep(Duration::from_secs(55));
        memory.push(platform.resident_mb());
        eprintln!("minute {minute}: {} MB resident", memory[memory.len() - 1]);
        platform.kill();
        load.set_address(None);
        platform.restart();
        load.set_address(Some(platform.address()));
    }
    thread::sleep(Duration::from_secs(5));
    memory.push(platform.resident_mb());
    (load.stop(), memory)
}

fn count(platform: &Platform, acknowledged: &Acknowledged, folder: &Path) -> Value {
    let list = folder.join("acknowledged.txt");
    let mut out = BufWriter::new(fs::File::create(&list).expect("a file"));
    acknowledged.ids.iter().for_each(|id| writeln!(out, "{id}").expect("written"));
    out.flush().expect("written");
    let python = root().join(".deps/venv/bin/python");
    let (lake, list) = (platform.lake(), list.to_string_lossy().into_owned());
    let output = run_with(python, &["-c", COUNT_SCRIPT, &lake.to_string_lossy(), &list], b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}
