//! Two hosts in one group on Kafka under load: one killed, one stopped in order, one frozen past its session and let go on. Counts,
//! graphs and alerts are exact, and the same from either host.

use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};
use tidemill_tests::{Acknowledged, Lake, Load, Ping, Platform, Setup, component, kafka, plugin, tap};

const PARTITIONS: u32 = 4;
/// Of each host.
const RATE: f64 = 200.0;
const CONNECTIONS: usize = 8;
/// How long both run between two events.
const STRETCH: Duration = Duration::from_secs(2);
/// A host that says nothing for so long is put out of its groups.
const SESSION: Duration = Duration::from_secs(4);
/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Rows of a second without a message after which the monitor says so.
const INACTIVE_ROWS: u64 = 20;

/// A host and its clients.
struct Host {
    name: &'static str,
    platform: Platform,
    load: Load,
}

#[test]
fn two_hosts() {
    let test = "two_hosts";
    let folder = tempfile::tempdir().expect("a folder");
    let Some(setup) = setup(test, folder.path()) else { return };
    let [mut one, mut other] = [Host::start("one", &setup), Host::start("other", &setup)];
    thread::sleep(STRETCH);

    one.load.set_address(None);
    one.platform.kill();
    thread::sleep(SESSION);
    other.catches_up("the other one was killed");
    one.comes_back();
    thread::sleep(STRETCH);

    other.load.set_address(None);
    assert_eq!(other.platform.terminate().code, Some(0));
    one.catches_up("the other one was stopped");
    other.comes_back();
    thread::sleep(STRETCH);

    one.platform.freeze();
    thread::sleep(SESSION + Duration::from_secs(2));
    other.catches_up("the other one was frozen");
    one.platform.thaw();
    thread::sleep(STRETCH);

    let acknowledged = [one.load.stop(), other.load.stop()];
    one.platform.wait_drained(PATIENCE);
    check(test, &[one.platform, other.platform], &acknowledged, &folder.path().join("lake"));
}

fn setup(test: &str, folder: &Path) -> Option<Setup> {
    let schemas = folder.join("schemas");
    let place = schemas.join("test/ping");
    fs::create_dir_all(&place).expect("made");
    let schema = r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}"#;
    fs::write(place.join("ping.1.schema.json"), schema).expect("written");
    let mut setup = Setup::new(kafka(test)?, PARTITIONS, vec![schemas]);
    let monitor = json!({"rows": 1200, "seconds_per_row": 1, "inactive_rows": INACTIVE_ROWS});
    setup.plugins = vec![
        plugin("doctype-monitor", &component(test, "doctype-monitor")?, monitor, &[]),
        plugin("example-count", &component(test, "example-count")?, json!({}), &[]),
    ];
    let session = SESSION.as_millis().to_string();
    setup.keys = vec![
        ("lake.url", json!(format!("file:{}", folder.join("lake").display()))),
        ("bus.kafka.options", json!({"session.timeout.ms": session, "heartbeat.interval.ms": "500"})),
    ];
    Some(setup)
}

/// Every tenth breaks its schema.
fn make(number: u64) -> Ping {
    let n = if number % 10 == 9 { json!("nine") } else { json!(number) };
    Ping::new(|id| format!("/submit/test/ping/1/{id}"), json!({"n": n}).to_string().as_bytes())
}

impl Host {
    fn start(name: &'static str, setup: &Setup) -> Self {
        let platform = Platform::start(setup);
        let load = Load::start(platform.address(), CONNECTIONS, RATE, make);
        Self { name, platform, load }
    }

    fn comes_back(&mut self) {
        self.platform.restart();
        self.load.set_address(Some(self.platform.address()));
    }

    /// Waits until the group `decode` has read nearly everything, in all partitions: this host has them all.
    fn catches_up(&self, why: &str) {
        let began = Instant::now();
        let near = |streams: &Value| lag(streams, "decode").is_some_and(|lag| lag < RATE as u64);
        if let Err(streams) = self.platform.wait_for("/api/v1/streams", PATIENCE, near) {
            panic!("{} did not take over after {why}: {streams}", self.name);
        }
        eprintln!("{}: caught up {:.1} s after {why}", self.name, began.elapsed().as_secs_f64());
    }
}

/// What a group has not read of its partitions, where it has a position in all of them.
fn lag(streams: &Value, group: &str) -> Option<u64> {
    let raw = streams.as_array()?.iter().find(|topic| topic["topic"] == "raw")?;
    let of_group = |partition: &Value| {
        let groups = partition["groups"].as_array()?.iter().find(|found| found["group"] == group)?;
        groups["lag"].as_u64()
    };
    raw["partitions"].as_array()?.iter().map(of_group).sum()
}

fn check(test: &str, hosts: &[Platform; 2], acknowledged: &[Acknowledged; 2], lake: &Path) {
    let known: Vec<&String> = acknowledged.iter().flat_map(|load| &load.ids).collect();
    let (validated, errors) = read_all(&hosts[0], &known);
    let (valid, refused) = (ids(&validated), ids(&errors));
    let unknown: usize = acknowledged.iter().map(|load| load.unknown.len()).sum();
    eprintln!("{} acknowledged, {unknown} without an answer; {} validated, {} errors", known.len(), validated.len(), errors.len());
    assert_eq!((valid.len(), refused.len()), (validated.len(), errors.len()), "some are there twice");
    assert_eq!(valid.intersection(&refused).next(), None, "a ping is in both of validated and errors");

    let graphs = [
        ("doctype-monitor", "test%2Fping%20volume", validated.len()),
        ("doctype-monitor", "test%2Fping%20errors", errors.len()),
        ("example-count", "messages%20by%20channel", validated.len()),
    ];
    for (plugin, title, expected) in graphs {
        let path = format!("/api/v1/plugins/{plugin}/graphs/{title}");
        let counted = |graph: &Value| total(graph) == expected;
        let found = hosts.each_ref().map(|host| host.wait_for(&path, Duration::from_secs(20), counted));
        let totals = found.each_ref().map(|graph| graph.as_ref().map_or_else(total, total));
        eprintln!("{plugin} {title}: {totals:?} of {expected}");
        assert_eq!(totals, [expected; 2]);
        let [one, other] = found.map(|graph| graph.unwrap_or_default());
        assert_eq!(rows(&one), rows(&other), "the hosts show different graphs");
    }
    check_alerts(hosts);
    for host in hosts {
        let beat = host.api("/__heartbeat__");
        assert_eq!(beat["status"], "ok", "{beat}");
    }
    check_lake(test, lake, &valid, &refused);
}

/// The rows with data by their time: how far a graph's window has moved depends on when it is asked for.
fn rows(graph: &Value) -> Vec<(u64, &Value)> {
    let (start, width) = (graph["start"].as_u64().unwrap_or(0), graph["seconds_per_row"].as_u64().unwrap_or(0));
    let rows = (0..).zip(graph["data"].as_array().into_iter().flatten()).map(|(number, row)| (start + number * width, row));
    rows.filter(|(_, row)| row.as_array().into_iter().flatten().any(|cell| !cell.is_null())).collect()
}

fn ids(messages: &[Value]) -> BTreeSet<String> {
    messages.iter().map(|message| message["fields"]["documentId"].as_str().expect("a document id").to_owned()).collect()
}

/// Reads `validated` and `errors` until all these pings are there: on a busy machine a reader may need longer to begin than a tap waits.
fn read_all(host: &Platform, known: &[&String]) -> (Vec<Value>, Vec<Value>) {
    let began = Instant::now();
    loop {
        let (validated, errors) = (tap(host, "validated"), tap(host, "errors"));
        let (valid, refused) = (ids(&validated), ids(&errors));
        let missing = known.iter().filter(|id| !valid.contains(**id) && !refused.contains(**id)).count();
        if missing == 0 {
            return (validated, errors);
        }
        assert!(began.elapsed() < PATIENCE, "{missing} acknowledged pings are missing: {}", host.api("/api/v1/streams"));
    }
}

fn total(graph: &Value) -> usize {
    let cells = graph["data"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
    cells.filter_map(Value::as_f64).sum::<f64>() as usize
}

/// Silence is noticed once, by whoever merges the graph, and shown by both.
fn check_alerts(hosts: &[Platform; 2]) {
    let silent =
        |alerts: &Value| alerts.as_array().is_some_and(|alerts| alerts.iter().any(|alert| alert["id"].as_str().is_some_and(is_silence)));
    let found = hosts.each_ref().map(|host| host.wait_for("/api/v1/alerts", PATIENCE, silent).expect("an alert"));
    let silences = found[0].as_array().into_iter().flatten().filter(|alert| alert["id"].as_str().is_some_and(is_silence));
    assert_eq!(silences.count(), 1, "{}", found[0]);
    assert_eq!(found[0], found[1], "the hosts show different alerts");
}

fn is_silence(id: &str) -> bool {
    id.contains("test/ping") && id.contains("inactive")
}

/// Rows are there once, whichever host wrote them.
fn check_lake(test: &str, folder: &Path, valid: &BTreeSet<String>, refused: &BTreeSet<String>) {
    let complete = || {
        let lake = Lake::read(test, folder, &[])?;
        let (documents, errors) = (lake.documents(), lake.errors());
        let rows: BTreeSet<String> = documents.keys().map(|id| (*id).to_owned()).collect();
        let ids: BTreeSet<String> = errors.iter().map(|(id, _)| (*id).to_owned()).collect();
        assert_eq!(ids.len(), errors.len(), "rows of errors are there twice");
        Some(rows == *valid && ids == *refused)
    };
    let began = Instant::now();
    while let Some(false) = complete() {
        assert!(began.elapsed() < Duration::from_secs(30), "the lake is not complete");
        thread::sleep(Duration::from_secs(1));
    }
}
