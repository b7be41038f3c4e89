//! An endpoint that hangs, a lake that cannot be written and a plugin at a hundred times the usual cost: only they fall behind,
//! everything else goes on, memory stays bounded, and what could not be done is done when it can be. What the others' rate is beside
//! them, and what it is without them, is printed.

use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    net::{SocketAddr, TcpListener},
    path::Path,
    thread,
    time::{Duration, Instant},
};
use tidemill_tests::{BusSetup, Connection, HttpSink, Lake, Ping, Platform, Setup, component, plugin, post_all, tap};

/// Pings before the lake fails, and while it does.
const BEFORE: u64 = 500;
const DURING: u64 = 6_000;
const ALL: u64 = BEFORE + DURING;
const PARTITIONS: u32 = 2;
/// What the monitor counts.
const VOLUME: &str = "/api/v1/plugins/doctype-monitor/graphs/test%2Fping%20volume";
/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// A host with five small plugins and no load has about 100 MB; its queues have their own bounds.
const MEMORY_MB_MAX: u64 = 600;

/// Accepts connections, reads what comes, and never says a word. Its threads end with the process.
fn tar_pit() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
                thread::sleep(Duration::from_secs(3_600));
            });
        }
    });
    address
}

#[test]
fn slow_neighbours() {
    let test = "slow_neighbours";
    let folder = tempfile::tempdir().expect("a folder");
    let (sink, pit) = (HttpSink::start(0), tar_pit());
    let Some(setup) = setup(test, folder.path(), &sink, pit) else { return };
    let alone = rate_alone(test, pit);
    let mut platform = Platform::start(&setup);
    let before: Vec<Ping> = (0..BEFORE).map(make).collect();
    post(&platform, &before);
    let lake = folder.path().join("lake");
    wait_for_rows(&platform, BEFORE);

    break_lake(&lake);
    let during: Vec<Ping> = (BEFORE..ALL).map(make).collect();
    let beside = rate(&platform, &during, ALL);
    eprintln!("posted, decoded and counted: {beside:.0} pings/s beside slow neighbours, {alone:.0}/s without: {:.2}", beside / alone);
    let ids: BTreeSet<&str> = before.iter().chain(&during).map(|ping| ping.id.as_str()).collect();
    check_others(&platform, &sink, &ids);
    let behind = [("lake", lag(&platform, "lake", "validated")), ("hanging", lag(&platform, "deliver-hanging", "outbox-hanging"))];
    let burner = platform.api("/api/v1/plugins/burner");
    eprintln!("behind: {behind:?}, burner {}", burner["lag"]);
    assert!(behind.iter().all(|(_, lag)| *lag > 0), "they are behind, else this test shows nothing: {behind:?}");
    let memory = platform.memory_mb();
    eprintln!("{memory} MB");
    assert!(memory < MEMORY_MB_MAX, "{memory} MB");

    mend_lake(&lake);
    check_burner(&platform);
    wait_for_rows(&platform, ALL);
    assert!(lag(&platform, "deliver-hanging", "outbox-hanging") > 0, "nobody answered, so nothing is delivered");
    assert_eq!(platform.terminate().code, Some(0));
    let Some(found) = Lake::read(test, &lake, &[]) else { return };
    assert_eq!(found.documents().into_keys().collect::<BTreeSet<_>>(), ids, "each is a row, once");
}

/// Pings a second from the first post until the monitor has counted them all.
fn rate(platform: &Platform, pings: &[Ping], all: u64) -> f64 {
    let began = Instant::now();
    post(platform, pings);
    let counted = platform.wait_for(VOLUME, PATIENCE, |graph| total(graph) == all);
    assert_eq!(counted.map(|graph| total(&graph)).map_err(|graph| total(&graph)), Ok(all), "the monitor counts on");
    pings.len() as f64 / began.elapsed().as_secs_f64()
}

/// The same on a host without the slow ones.
fn rate_alone(test: &str, pit: SocketAddr) -> f64 {
    let (folder, sink) = (tempfile::tempdir().expect("a folder"), HttpSink::start(0));
    let mut setup = setup(test, folder.path(), &sink, pit).expect("it was made before");
    setup.plugins.retain(|plugin| plugin["name"] != "burner" && plugin["name"] != "hanging");
    let mut platform = Platform::start(&setup);
    post(&platform, &(0..BEFORE).map(make).collect::<Vec<_>>());
    wait_for_rows(&platform, BEFORE);
    let rate = rate(&platform, &(BEFORE..ALL).map(make).collect::<Vec<_>>(), ALL);
    assert_eq!(platform.terminate().code, Some(0));
    rate
}

fn make(number: u64) -> Ping {
    Ping::new(|id| format!("/submit/test/ping/1/{id}"), json!({"n": number}).to_string().as_bytes())
}

fn setup(test: &str, folder: &Path, sink: &HttpSink, pit: SocketAddr) -> Option<Setup> {
    let schemas = folder.join("schemas");
    let place = schemas.join("test/ping");
    fs::create_dir_all(&place).expect("made");
    fs::write(place.join("ping.1.schema.json"), r#"{"type": "object", "properties": {"n": {"type": "integer"}}}"#).expect("written");
    let mut setup = Setup::new(BusSetup::Embedded, PARTITIONS, vec![schemas]);
    let http = component(test, "http-json")?;
    let output = |url: String| json!({"url": url, "fields": ["documentId"]});
    let monitor = json!({"rows": 1200, "seconds_per_row": 1, "inactive_rows": 600});
    setup.plugins = vec![
        plugin("burner", &component(test, "evil")?, json!({"evil": "burn"}), &[]),
        plugin("doctype-monitor", &component(test, "doctype-monitor")?, monitor, &[]),
        plugin("hanging", &http, output(format!("http://{pit}/in")), &[pit.to_string()]),
        plugin("http-json", &http, output(sink.url()), &[sink.authority()]),
    ];
    setup.keys = vec![("lake.url", json!(format!("file:{}", folder.join("lake").display())))];
    Some(setup)
}

fn post(platform: &Platform, pings: &[Ping]) {
    let statuses = post_all(platform.address(), pings, 16);
    assert!(statuses.iter().all(|status| *status == 200), "every ping is taken");
}

/// A file where the folder was: nothing below it can be opened or made, whoever asks.
fn break_lake(lake: &Path) {
    fs::rename(lake, lake.with_extension("away")).expect("renamed");
    fs::write(lake, b"not a folder").expect("written");
}

fn mend_lake(lake: &Path) {
    fs::remove_file(lake).expect("removed");
    fs::rename(lake.with_extension("away"), lake).expect("renamed");
}

/// The endpoint has everything while the others are behind.
fn check_others(platform: &Platform, sink: &HttpSink, ids: &BTreeSet<&str>) {
    assert_eq!(tap(platform, "validated").len() as u64, ALL, "decoding goes on");
    assert_eq!(tap(platform, "errors").len(), 0);
    let delivered = platform.wait_for("/api/v1/plugins/http-json", PATIENCE, |_| sink.lines().len() as u64 >= ALL);
    assert!(delivered.is_ok(), "{} of {ALL} were delivered", sink.lines().len());
    let lines = sink.lines();
    let found: BTreeSet<&str> = lines.iter().filter_map(|line| line["documentId"].as_str()).collect();
    assert_eq!((&found, lines.len() as u64), (ids, ALL), "the other endpoint gets each once");
    for name in ["doctype-monitor", "http-json"] {
        let plugin = platform.api(&format!("/api/v1/plugins/{name}"));
        assert_eq!((&plugin["traps"], &plugin["state"], &plugin["lag"]), (&json!(0), &json!("live"), &json!(0)), "{plugin}");
    }
    let beat = platform.api("/__heartbeat__");
    assert_eq!(beat["status"], "ok", "{beat}");
}

/// The burner gets everything in the end, too.
fn check_burner(platform: &Platform) {
    let done = |plugin: &Value| plugin["lag"] == 0 && plugin["messages_in"].as_u64() >= Some(ALL);
    let found = platform.wait_for("/api/v1/plugins/burner", PATIENCE, done);
    let burner = found.unwrap_or_else(|last| panic!("the burner did not come to its end: {last}"));
    assert_eq!((&burner["rejected"], &burner["state"]), (&json!(0), &json!("live")), "{burner}");
    let read = |platform: &Platform| {
        let answer = Connection::open(platform.address())
            .and_then(|mut connection| connection.send("GET", "/api/v1/plugins/burner/payloads/count", &[], b""));
        answer.map(|answer| answer.text()).unwrap_or_default()
    };
    // Of the partition that showed its count last.
    assert!(read(platform).parse::<u64>().is_ok_and(|count| count > 0 && count <= ALL));
}

fn wait_for_rows(platform: &Platform, rows: u64) {
    let none = |streams: &Value| group_lag(streams, "lake", "validated") == 0 && end_of(streams, "validated") == rows;
    if let Err(streams) = platform.wait_for("/api/v1/streams", PATIENCE, none) {
        panic!("the lake does not come to {rows} rows: it is {} behind", group_lag(&streams, "lake", "validated"));
    }
}

fn partitions(streams: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let topics = streams.as_array().into_iter().flatten();
    topics.flat_map(|topic| topic["partitions"].as_array().into_iter().flatten().map(move |partition| (&topic["topic"], partition)))
}

fn end_of(streams: &Value, topic: &str) -> u64 {
    partitions(streams).filter(|(name, _)| *name == topic).filter_map(|(_, partition)| partition["end"].as_u64()).sum()
}

/// What a group has not read of a topic; all of it where it has no position yet.
fn group_lag(streams: &Value, group: &str, topic: &str) -> u64 {
    let of_group = |partition: &Value| {
        let groups = partition["groups"].as_array()?;
        groups.iter().find(|found| found["group"] == group)?["lag"].as_u64()
    };
    let behind = |partition: &Value| of_group(partition).or(partition["end"].as_u64()).unwrap_or(0);
    partitions(streams).filter(|(name, _)| *name == topic).map(|(_, partition)| behind(partition)).sum()
}

fn lag(platform: &Platform, group: &str, topic: &str) -> u64 {
    group_lag(&platform.api("/api/v1/streams"), group, topic)
}

fn total(graph: &Value) -> u64 {
    let cells = graph["data"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
    cells.filter_map(Value::as_f64).sum::<f64>() as u64
}
