//! An endpoint that hangs, a lake that cannot be written and a plugin at more than a hundred times the usual cost: only they fall
//! behind, everything else goes on, memory stays bounded while lake and endpoint are each owed more than the bound, and what could not
//! be done is done when it can be. What the others' rate is beside them, and what it is without them, is printed.

use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    net::{SocketAddr, TcpListener},
    ops::Range,
    path::Path,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};
use tidemill_tests::{BusSetup, HttpSink, Lake, Ping, Platform, Setup, component, plugin, post_all};

/// Pings before the lake fails.
const BEFORE: u64 = 500;
/// And while it fails and an endpoint hangs: 768 MB in `validated`, and in the outbox.
const DURING: u64 = 24_000;
const PING_BYTES: usize = 32_000;
const ALL: u64 = BEFORE + DURING;
/// And those after a restart.
const MORE: u64 = 100;
/// Pings whose rate is measured without slow neighbours.
const ALONE: u64 = 6_000;
/// Memory is looked at after so many pings.
const LOOK: u64 = 2_000;
/// Turns of the burner's loop for each row: half the fuel of a whole call, and many times the work that all others have with it.
const TURNS: u64 = 3_000_000;
/// A row costs the burner so many times what it costs the monitor, at least.
const TIMES_MIN: f64 = 100.0;
/// A table is committed at so many bytes of rows.
const COMMIT_BYTES: u64 = 16 << 20;
/// One, so that what the burner counts is one number.
const PARTITIONS: u32 = 1;
/// So many that a client's wait for its answer holds nobody up.
const CONNECTIONS: usize = 64;
/// What the monitor counts.
const VOLUME: &str = "/api/v1/plugins/doctype-monitor/graphs/test%2Fping%20volume";
/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// 200 MB with such pings where all is well, and the bounds of what is slow: 403 MB of rows that the lake holds, 34 MB before the
/// burner. Holding all pings is more.
const MEMORY_MB_MAX: u64 = 700;

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
    let mut ids = BTreeSet::new();
    rate(&platform, 0..BEFORE, &mut ids, || {});
    let lake = folder.path().join("lake");
    wait_for_rows(&platform, BEFORE);

    break_lake(&lake);
    let mut memory = vec![platform.memory_mb()];
    let beside = rate(&platform, BEFORE..ALL, &mut ids, || memory.push(platform.memory_mb()));
    eprintln!("posted, decoded and counted: {beside:.0} pings/s beside slow neighbours, {alone:.0}/s without: {:.2}", beside / alone);
    check_others(&platform, &sink, &ids);
    memory.push(platform.memory_mb());
    check_behind(&platform);
    check_memory(&memory);

    mend_lake(&lake);
    wait_for_rows(&platform, ALL);
    assert!(lag(&platform, "deliver-hanging", "outbox-hanging") > 0, "nobody answered, so nothing is delivered");
    assert_eq!(platform.terminate().code, Some(0));
    check_burner(&mut platform, &setup, &mut ids);
    let Some(found) = Lake::read(test, &lake, &[]) else { return };
    assert_eq!(found.documents().into_keys().map(str::to_owned).collect::<BTreeSet<_>>(), ids, "each is a row, once");
}

/// Posts pings of these numbers, part by part with a look between. Pings a second until the monitor has counted all.
fn rate(platform: &Platform, numbers: Range<u64>, ids: &mut BTreeSet<String>, mut look: impl FnMut()) -> f64 {
    let (Range { start, end }, mut took) = (numbers, Duration::ZERO);
    for first in (start..end).step_by(LOOK as usize) {
        let some: Vec<Ping> = (first..end.min(first + LOOK)).map(make).collect();
        let began = Instant::now();
        let statuses = post_all(platform.address(), &some, CONNECTIONS);
        took += began.elapsed();
        assert!(statuses.iter().all(|status| *status == 200), "every ping is taken");
        ids.extend(some.into_iter().map(|ping| ping.id));
        look();
    }
    let began = Instant::now();
    let counted = platform.wait_for(VOLUME, PATIENCE, |graph| total(graph) == end);
    assert_eq!(counted.map(|graph| total(&graph)).map_err(|graph| total(&graph)), Ok(end), "the monitor counts on");
    (end - start) as f64 / (took + began.elapsed()).as_secs_f64()
}

/// The same on a host without the slow ones.
fn rate_alone(test: &str, pit: SocketAddr) -> f64 {
    let (folder, sink, mut ids) = (tempfile::tempdir().expect("a folder"), HttpSink::start(0), BTreeSet::new());
    let mut setup = setup(test, folder.path(), &sink, pit).expect("it was made before");
    setup.plugins.retain(|plugin| plugin["name"] != "burner" && plugin["name"] != "hanging");
    let mut platform = Platform::start(&setup);
    rate(&platform, 0..BEFORE, &mut ids, || {});
    wait_for_rows(&platform, BEFORE);
    let rate = rate(&platform, BEFORE..BEFORE + ALONE, &mut ids, || {});
    assert_eq!(platform.terminate().code, Some(0));
    rate
}

/// Bytes of text that nobody can make much smaller: each ping has a part of it.
fn noise() -> &'static str {
    static NOISE: OnceLock<String> = OnceLock::new();
    NOISE.get_or_init(|| (0..4_000_000 / 32).map(|_| tidemill_tests::new_id().replace('-', "")).collect())
}

fn make(number: u64) -> Ping {
    let from = number as usize * 4_001 % (noise().len() - PING_BYTES);
    let body = json!({"n": number, "pad": noise()[from..from + PING_BYTES]}).to_string();
    Ping::new(|id| format!("/submit/test/ping/1/{id}"), body.as_bytes())
}

fn setup(test: &str, folder: &Path, sink: &HttpSink, pit: SocketAddr) -> Option<Setup> {
    let schemas = folder.join("schemas");
    let place = schemas.join("test/ping");
    fs::create_dir_all(&place).expect("made");
    fs::write(place.join("ping.1.schema.json"), r#"{"type": "object", "properties": {"n": {"type": "integer"}}}"#).expect("written");
    let mut setup = Setup::new(BusSetup::Embedded, PARTITIONS, vec![schemas]);
    let http = component(test, "http-json")?;
    let output = |url: String, columns: &[&str]| json!({"url": url, "fields": ["documentId"], "columns": columns});
    let monitor = json!({"rows": 1200, "seconds_per_row": 1, "inactive_rows": 600});
    let burn = json!({"evil": "burn", "turns": TURNS});
    setup.plugins = vec![
        plugin("burner", &component(test, "evil")?, burn, &[]),
        plugin("doctype-monitor", &component(test, "doctype-monitor")?, monitor, &[]),
        plugin("hanging", &http, output(format!("http://{pit}/in"), &["/pad"]), &[pit.to_string()]),
        plugin("http-json", &http, output(sink.url(), &[]), &[sink.authority()]),
    ];
    let lake = format!("file:{}", folder.join("lake").display());
    setup.keys = vec![("lake.url", json!(lake)), ("lake.commit_bytes", json!(COMMIT_BYTES))];
    Some(setup)
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
fn check_others(platform: &Platform, sink: &HttpSink, ids: &BTreeSet<String>) {
    let streams = platform.api("/api/v1/streams");
    assert_eq!((end_of(&streams, "validated"), end_of(&streams, "errors")), (ALL, 0), "decoding goes on");
    let delivered = platform.wait_for("/api/v1/plugins/http-json", PATIENCE, |_| sink.lines().len() as u64 >= ALL);
    assert!(delivered.is_ok(), "{} of {ALL} were delivered", sink.lines().len());
    let lines = sink.lines();
    let found: BTreeSet<String> = lines.iter().filter_map(|line| line["documentId"].as_str().map(str::to_owned)).collect();
    assert_eq!((&found, lines.len() as u64), (ids, ALL), "the other endpoint gets each once");
    for name in ["doctype-monitor", "http-json"] {
        let plugin = platform.api(&format!("/api/v1/plugins/{name}"));
        assert_eq!((&plugin["traps"], &plugin["state"], &plugin["lag"]), (&json!(0), &json!("live"), &json!(0)), "{plugin}");
    }
    let beat = platform.api("/__heartbeat__");
    assert_eq!(beat["status"], "ok", "{beat}");
}

/// When the others have done everything, each of the slow ones has not.
fn check_behind(platform: &Platform) {
    let plugin = |name: &str| platform.api(&format!("/api/v1/plugins/{name}"));
    let (burner, monitor) = (plugin("burner"), plugin("doctype-monitor"));
    let behind = [
        ("lake", lag(platform, "lake", "validated")),
        ("hanging", lag(platform, "deliver-hanging", "outbox-hanging")),
        ("burner", burner["lag"].as_u64().unwrap_or(0)),
    ];
    eprintln!("behind: {behind:?}");
    assert!(behind.iter().all(|(_, lag)| *lag > 0), "they are behind, else this test shows nothing: {behind:?}");
    let fuel = |plugin: &Value| plugin["fuel_total"].as_f64().unwrap_or(0.0) / plugin["messages_in"].as_f64().unwrap_or(0.0);
    let (dear, usual) = (fuel(&burner), fuel(&monitor));
    eprintln!("fuel a row: {dear:.0} and {usual:.0}, {:.0} times", dear / usual);
    assert!(dear / usual >= TIMES_MIN, "a row costs the burner {dear} fuel and the monitor {usual}");
}

/// Of what came by while they were slow nobody held more than a part, at any look.
fn check_memory(looks: &[u64]) {
    eprintln!("MB of memory: {looks:?}");
    let came_mb = DURING * PING_BYTES as u64 / 1_000_000;
    assert!(looks.len() > 10 && looks[0] + came_mb > MEMORY_MB_MAX + 100, "{looks:?}: too few looks, or {came_mb} MB are too little");
    assert!(looks.iter().all(|mb| *mb <= MEMORY_MB_MAX), "{looks:?} MB, while {came_mb} MB came by");
}

/// The burner gets everything in the end, too: here with less to do, after a restart, from where it stood, and a few more.
fn check_burner(platform: &mut Platform, setup: &Setup, ids: &mut BTreeSet<String>) {
    let mut cheap = setup.clone();
    let burner = cheap.plugins.iter_mut().find(|plugin| plugin["name"] == "burner").expect("it is there");
    burner["config"]["turns"] = json!(1);
    platform.set_up(&cheap);
    platform.restart();
    rate(platform, ALL..ALL + MORE, ids, || {});
    wait_for_rows(platform, ALL + MORE);
    let found = platform.wait_for("/api/v1/plugins/burner", PATIENCE, |burner| burner["lag"] == 0);
    let burner = found.unwrap_or_else(|last| panic!("the burner did not come to its end: {last}"));
    assert_eq!((&burner["rejected"], &burner["state"]), (&json!(0), &json!("live")), "{burner}");
    assert_eq!(platform.api("/api/v1/plugins/burner/payloads/count"), json!(ALL + MORE), "it counted each once");
    assert_eq!(platform.terminate().code, Some(0));
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
