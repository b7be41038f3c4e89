//! `kill -9` in the middle of a stream: nothing acknowledged is lost, nothing is there twice. The same test on both buses.

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tidemill_tests::{Acknowledged, BusSetup, Lake, Load, Ping, Platform, Setup, component, kafka, plugin, tap};

/// What the driver posts at most, a second; the promise is for 2,000. A machine that has less time takes fewer, which is printed.
const RATE: f64 = 2_600.0;
const RATE_PROMISED: f64 = 2_000.0;
/// Of a stretch: it goes on until as many were, however long that takes.
const ACKNOWLEDGED_MIN: u64 = 3_000;
const STRETCH_MAX: Duration = Duration::from_secs(120);
const CONNECTIONS: usize = 48;
const PARTITIONS: u32 = 8;
/// How often it runs, and how long at least between two kills.
const STRETCHES: usize = 3;
const STRETCH_MIN: Duration = Duration::from_secs(5);

#[test]
fn kill_embedded() {
    kill("kill_embedded", BusSetup::Embedded);
}

#[test]
fn kill_kafka() {
    let Some(bus) = kafka("kill_kafka") else { return };
    kill("kill_kafka", bus);
}

/// The promise is for a host that has the machine to itself.
static ALONE: Mutex<()> = Mutex::new(());

fn kill(test: &str, bus: BusSetup) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let Some(setup) = setup(test, bus, folder.path()) else { return };
    let mut platform = Platform::start(&setup);
    let began = Instant::now();
    let acknowledged = drive(test, &mut platform);
    platform.wait_drained(Duration::from_secs(60));
    eprintln!("{test}: drained {:.1} s after the start", began.elapsed().as_secs_f64());
    let (validated, errors) = (tap(&platform, "validated"), tap(&platform, "errors"));
    check_topics(test, &acknowledged, &validated, &errors);
    check_monitor(test, &platform, &validated, &errors);
    assert_eq!(platform.terminate().code, Some(0));
    check_lake(test, &platform, &acknowledged, &validated, &errors);
}

/// Pings of a type of the test's own; every tenth breaks its schema.
fn make(number: u64) -> Ping {
    let n = if number % 10 == 9 { json!("nine") } else { json!(number) };
    Ping::new(|id| format!("/submit/test/ping/1/{id}"), json!({"n": n, "text": "small"}).to_string().as_bytes())
}

fn setup(test: &str, bus: BusSetup, schemas: &Path) -> Option<Setup> {
    let place = schemas.join("test/ping");
    fs::create_dir_all(&place).expect("made");
    let schema = r#"{"type": "object", "properties": {"n": {"type": "integer"}, "text": {"type": "string"}}, "required": ["n"]}"#;
    fs::write(place.join("ping.1.schema.json"), schema).expect("written");
    let monitor = json!({"rows": 1200, "seconds_per_row": 1, "inactive_rows": 100});
    let mut setup = Setup::new(bus, PARTITIONS, vec![schemas.to_owned()]);
    setup.plugins = vec![
        plugin("moz-telemetry", &component(test, "moz-telemetry")?, json!({}), &[]),
        plugin("doctype-monitor", &component(test, "doctype-monitor")?, monitor, &[]),
        plugin("example-count", &component(test, "example-count")?, json!({}), &[]),
    ];
    Some(setup)
}

/// Posts all the time and kills the host between the stretches.
fn drive(test: &str, platform: &mut Platform) -> Acknowledged {
    let load = Load::start(platform.address(), CONNECTIONS, RATE, make);
    for number in 0..STRETCHES {
        if number > 0 {
            platform.kill();
            load.set_address(None);
            let began = Instant::now();
            platform.restart();
            eprintln!("{test}: killed, and up again after {:.1} s", began.elapsed().as_secs_f64());
            load.set_address(Some(platform.address()));
        }
        stretch(&load);
    }
    let acknowledged = load.stop();
    show_rate(test, &acknowledged);
    acknowledged
}

/// Lets the host work until it has taken enough to be killed with something in hand.
fn stretch(load: &Load) {
    let (began, before) = (Instant::now(), load.acknowledged());
    thread::sleep(STRETCH_MIN);
    while load.acknowledged() - before < ACKNOWLEDGED_MIN {
        let count = load.acknowledged() - before;
        assert!(began.elapsed() < STRETCH_MAX, "{count} acknowledged in {STRETCH_MAX:?}: the host is not under load");
        thread::sleep(Duration::from_millis(100));
    }
}

/// What a machine has time for says nothing of what is lost: a slow one proves less, and is told so.
fn show_rate(test: &str, acknowledged: &Acknowledged) {
    let Acknowledged { ids, unknown, by_second, .. } = acknowledged;
    let (up, rate) = (acknowledged.answering().as_secs_f64(), acknowledged.rate_while_answering());
    eprintln!("{test}: {} acknowledged, {} without an answer; a second: {by_second:?}", ids.len(), unknown.len());
    eprintln!("{test}: {rate:.0} pings/s in {up:.1} s of answers");
    if rate < RATE_PROMISED {
        eprintln!("SLOW {test}: the promise is for {RATE_PROMISED} pings/s");
    }
}

fn ids(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["fields"]["documentId"].as_str().expect("a document id")).collect()
}

/// Every acknowledged ping is in exactly one of the topics; what was not acknowledged may be there, once.
fn check_topics(test: &str, acknowledged: &Acknowledged, validated: &[Value], errors: &[Value]) {
    let all: Vec<&str> = ids(validated).into_iter().chain(ids(errors)).collect();
    let found: BTreeSet<&str> = all.iter().copied().collect();
    let missing = acknowledged.ids.iter().filter(|id| !found.contains(id.as_str())).count();
    let unknown = acknowledged.unknown.iter().filter(|id| found.contains(id.as_str())).count();
    eprintln!(
        "{test}: {} validated, {} errors, {missing} missing, {} twice, {unknown} unacknowledged there",
        validated.len(),
        errors.len(),
        all.len() - found.len()
    );
    assert_eq!(missing, 0, "acknowledged pings are missing; validated by partition: {:?}", by_partition(validated));
    assert_eq!(all.len(), found.len(), "pings are there twice");
    assert_eq!(found.len(), acknowledged.ids.len() + unknown, "pings that nobody sent");
    let kind = |message: &&Value| message["fields"]["DecodeErrorType"] != "schema";
    assert_eq!(errors.iter().find(kind), None, "all errors are of the schema");
}

/// Messages in each partition, and the last offset: where something is missing, this says of which kind the loss is.
fn by_partition(messages: &[Value]) -> BTreeMap<u64, (usize, i64)> {
    let mut found = BTreeMap::new();
    for message in messages {
        let (count, last) = found.entry(message["partition"].as_u64().unwrap_or(u64::MAX)).or_insert((0, 0));
        (*count, *last) = (*count + 1, message["offset"].as_i64().unwrap_or(0).max(*last));
    }
    found
}

/// The monitor's counts are the distinct sources.
fn check_monitor(test: &str, platform: &Platform, validated: &[Value], errors: &[Value]) {
    let sources = |messages: &[Value]| {
        messages.iter().filter_map(|message| message["headers"]["tm-src"].as_str().map(str::to_owned)).collect::<BTreeSet<_>>().len()
    };
    let expected = [sources(validated), sources(errors), sources(validated)];
    assert_eq!(expected, [validated.len(), errors.len(), validated.len()], "a source each");
    let totals = || {
        [
            ("doctype-monitor", "test%2Fping%20volume"),
            ("doctype-monitor", "test%2Fping%20errors"),
            ("example-count", "messages%20by%20channel"),
        ]
        .map(|(plugin, title)| total(&platform.api(&format!("/api/v1/plugins/{plugin}/graphs/{title}"))))
    };
    let began = Instant::now();
    while totals() != expected && began.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(200));
    }
    eprintln!("{test}: monitors counted {:?}, distinct sources {expected:?}", totals());
    assert_eq!(totals(), expected);
}

fn total(graph: &Value) -> usize {
    let cells = graph["data"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
    cells.filter_map(Value::as_f64).sum::<f64>() as usize
}

/// Each ping is in exactly one of lake and errors, as the topics say, in one row.
fn check_lake(test: &str, platform: &Platform, acknowledged: &Acknowledged, validated: &[Value], errors: &[Value]) {
    let Some(lake) = Lake::read(test, &platform.lake(), &[]) else { return };
    let documents = lake.documents();
    let refused: Vec<&str> = lake.errors().into_iter().map(|(id, _)| id).collect();
    let distinct: BTreeSet<&str> = refused.iter().copied().collect();
    eprintln!("{test}: lake: {} rows, {} in errors", documents.len(), refused.len());
    assert_eq!(refused.len(), distinct.len(), "rows of errors are there twice");
    assert_eq!(lake.names(), BTreeSet::from(["test/ping_v1"]));
    let missing = acknowledged.ids.iter().filter(|id| documents.contains_key(id.as_str()) == distinct.contains(id.as_str())).count();
    assert_eq!(missing, 0, "acknowledged pings are in none or both of lake and errors");
    assert_eq!(documents.keys().copied().collect::<BTreeSet<_>>(), ids(validated).into_iter().collect());
    assert_eq!(distinct, ids(errors).into_iter().collect());
}
