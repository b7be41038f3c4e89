//! Plugins that spin, hoard and trap beside plugins that work: the evil ones are stopped and named, the others miss nothing.

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tidemill_tests::{BusSetup, Connection, HttpSink, Lake, Ping, Platform, Setup, component, field, plugin, post_all, tap};

const PINGS: u64 = 3_000;
/// What one call may use, as the runtime's limits say.
const CALL_FUEL_MAX: u64 = 90_000_000;

/// An evil instance: its name, what it does, on every how manieth message, and the error's type.
const EVILS: [(&str, &str, u64, &str); 3] =
    [("spinner", "spin", 500, "plugin_fuel"), ("hoarder", "grow", 500, "plugin_memory"), ("trapper", "panic", 100, "plugin_trap")];

#[test]
fn evil_neighbours() {
    let test = "evil_neighbours";
    let folder = tempfile::tempdir().expect("a folder");
    let sink = HttpSink::start(0);
    let Some(setup) = setup(test, folder.path(), &sink, EVILS.map(|(name, evil, every, _)| (name, evil, every))) else { return };
    let mut platform = Platform::start(&setup);
    let began = Instant::now();
    let pings: Vec<Ping> = (0..PINGS).map(make).collect();
    let statuses = post_all(platform.address(), &pings, 16);
    assert!(statuses.iter().all(|status| *status == 200));
    wait_for_poison(&platform);
    platform.wait_drained(Duration::from_secs(40));
    eprintln!("{PINGS} pings in {:.1} s", began.elapsed().as_secs_f64());
    check_errors(&platform);
    check_trappers_state(&platform);
    check_neighbours(&platform, &sink, &pings);
    print_stall(&platform);
    assert_eq!(platform.terminate().code, Some(0));
    check_lake(test, &platform);
}

/// Evil on every message: each call spins, hoards or traps. They come to rest and say so, and nobody waits for them.
#[test]
fn evil_for_ever() {
    let test = "evil_for_ever";
    let folder = tempfile::tempdir().expect("a folder");
    let sink = HttpSink::start(0);
    let Some(setup) = setup(test, folder.path(), &sink, EVILS.map(|(name, evil, ..)| (name, evil, 1))) else { return };
    let platform = Platform::start(&setup);
    let pings: Vec<Ping> = (0..PINGS).map(make).collect();
    assert!(post_all(platform.address(), &pings, 16).iter().all(|status| *status == 200));
    for name in ["doctype-monitor", "http-json"] {
        let is_done = |plugin: &Value| plugin["messages_in"].as_u64() >= Some(PINGS);
        if let Err(last) = platform.wait_for(&format!("/api/v1/plugins/{name}"), Duration::from_secs(60), is_done) {
            panic!("{name} was held up: {last}");
        }
    }
    for (name, ..) in EVILS {
        let rests = |alerts: &Value| alerts.as_array().is_some_and(|alerts| alerts.iter().any(|alert| is_quarantine(alert, name)));
        if let Err(last) = platform.wait_for("/api/v1/alerts", Duration::from_secs(60), rests) {
            panic!("{name} was never put to rest: {last}");
        }
        let plugin = platform.api(&format!("/api/v1/plugins/{name}"));
        assert!(plugin["lag"].as_u64() > Some(0), "its own lag grows: {plugin}");
        assert!(plugin["traps"].as_u64() > Some(0), "{plugin}");
    }
    let errors = tap(&platform, "errors");
    for (name, .., kind) in EVILS {
        let own: Vec<&Value> = errors.iter().filter(|error| field(error, "plugin") == name).collect();
        assert!(!own.is_empty() && own.iter().all(|error| field(error, "DecodeErrorType") == kind), "{name}: {own:?}");
        eprintln!("{name}: {} of {PINGS} messages refused before it came to rest", own.len());
    }
    wait_for_lines(&sink, PINGS as usize);
    print_stall(&platform);
    let mut platform = platform;
    assert_eq!(platform.terminate().code, Some(0), "a plugin at rest does not hold up the end");
}

fn is_quarantine(alert: &Value, plugin: &str) -> bool {
    alert["plugin"] == plugin && alert["id"] == "quarantine"
}

fn wait_for_lines(sink: &HttpSink, count: usize) {
    let until = Instant::now() + Duration::from_secs(30);
    while sink.lines().len() < count && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(sink.lines().len(), count, "the endpoint missed something");
}

/// The errors are in the lake too, each with the plugin's name; the pings themselves are valid rows.
fn check_lake(test: &str, platform: &Platform) {
    let Some(lake) = Lake::read(test, &platform.lake(), &[]) else { return };
    let errors = &lake.tables["errors"];
    for (name, _, every, kind) in EVILS {
        let rows = errors.plugins.iter().zip(&errors.error_types).filter(|(plugin, found)| *plugin == name && *found == kind).count();
        assert_eq!(rows, poisoned(every).len(), "{name} in the lake");
    }
    assert_eq!(lake.documents().len() as u64, PINGS);
}

fn make(number: u64) -> Ping {
    Ping::new(|id| format!("/submit/test/ping/1/{id}"), json!({"n": number}).to_string().as_bytes())
}

/// One partition, so one worker: all are neighbours, and the trapper has one state.
fn setup(test: &str, schemas: &Path, sink: &HttpSink, evils: [(&str, &str, u64); 3]) -> Option<Setup> {
    let place = schemas.join("test/ping");
    fs::create_dir_all(&place).expect("made");
    fs::write(place.join("ping.1.schema.json"), r#"{"type": "object", "properties": {"n": {"type": "integer"}}}"#).expect("written");
    let mut setup = Setup::new(BusSetup::Embedded, 1, vec![schemas.to_owned()]);
    let evil = component(test, "evil")?;
    setup.plugins =
        evils.iter().map(|(name, evil_kind, every)| plugin(name, &evil, json!({"evil": evil_kind, "every": every}), &[])).collect();
    let monitor = json!({"rows": 600, "seconds_per_row": 1, "inactive_rows": 60});
    setup.plugins.push(plugin("doctype-monitor", &component(test, "doctype-monitor")?, monitor, &[]));
    let output = json!({"url": sink.url(), "fields": ["documentId"]});
    setup.plugins.push(plugin("http-json", &component(test, "http-json")?, output, &[sink.authority()]));
    Some(setup)
}

fn poisoned(every: u64) -> BTreeSet<u64> {
    (0..PINGS).filter(|number| number.is_multiple_of(every)).collect()
}

/// A plugin that failed may rest before it goes on.
fn wait_for_poison(platform: &Platform) {
    for (name, _, _, _) in EVILS {
        let done = |plugin: &Value| plugin["messages_in"].as_u64() == Some(PINGS);
        if let Err(last) = platform.wait_for(&format!("/api/v1/plugins/{name}"), Duration::from_secs(60), done) {
            panic!("{name} did not come to the end: {last}");
        }
    }
}

/// Each evil plugin is named in `errors` for exactly its messages, with everything that its author needs.
fn check_errors(platform: &Platform) {
    let validated = tap(platform, "validated");
    let number_of: BTreeMap<&str, u64> = validated.iter().map(|message| (field(message, "documentId"), document_number(message))).collect();
    let errors = tap(platform, "errors");
    let mut found: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for error in &errors {
        let evil = EVILS.iter().find(|(name, ..)| *name == field(error, "plugin")).unwrap_or_else(|| panic!("who is that: {error}"));
        assert_eq!(field(error, "DecodeErrorType"), evil.3, "{error}");
        assert_eq!(field(error, "plugin_version").len(), 12, "{error}");
        assert!(error["fields"]["fuel"].as_u64().is_some_and(|fuel| fuel > 0), "{error}");
        assert!(field(error, "source").starts_with("validated/0/"), "{error}");
        assert!(!field(error, "backtrace").is_empty(), "{error}");
        assert!(found.entry(evil.0).or_default().insert(number_of[field(error, "documentId")]), "twice: {error}");
    }
    for (name, _, every, _) in EVILS {
        assert_eq!(found.get(name), Some(&poisoned(every)), "{name}");
    }
    let spun = errors.iter().find(|error| field(error, "plugin") == "spinner").expect("a fuel error");
    assert_eq!(spun["fields"]["fuel"].as_u64(), Some(CALL_FUEL_MAX), "{spun}");
    let trapped = errors.iter().find(|error| field(error, "plugin") == "trapper").expect("a trap");
    assert!(field(trapped, "DecodeErrorDetail").contains("evil at work"), "the last words: {trapped}");
    eprintln!("{} errors: {:?}", errors.len(), found.iter().map(|(name, numbers)| (name, numbers.len())).collect::<Vec<_>>());
}

fn document_number(message: &Value) -> u64 {
    let document: Value = serde_json::from_str(field(message, "submission")).expect("JSON");
    document["n"].as_u64().expect("a number")
}

/// Its state counts every message but the poisoned ones, across all its restarts.
fn check_trappers_state(platform: &Platform) {
    for (name, _, every, _) in EVILS {
        let path = format!("/api/v1/plugins/{name}/payloads/count");
        let answer =
            Connection::open(platform.address()).and_then(|mut connection| connection.send("GET", &path, &[], b"")).expect("an answer");
        let expected = PINGS - poisoned(every).len() as u64;
        assert_eq!((answer.status, answer.text()), (200, expected.to_string()), "{name}");
        eprintln!("{name}: its state counts {expected} of {PINGS}");
    }
}

fn check_neighbours(platform: &Platform, sink: &HttpSink, pings: &[Ping]) {
    let volume = platform.api("/api/v1/plugins/doctype-monitor/graphs/test%2Fping%20volume");
    let errors = platform.api("/api/v1/plugins/doctype-monitor/graphs/test%2Fping%20errors");
    let poison: usize = EVILS.iter().map(|(_, _, every, _)| poisoned(*every).len()).sum();
    assert_eq!((total(&volume), total(&errors)), (PINGS, poison as u64), "the monitor missed something");
    let lines = sink.lines();
    let found: BTreeSet<&str> = lines.iter().filter_map(|line| line["documentId"].as_str()).collect();
    assert_eq!((lines.len(), found.len()), (pings.len(), pings.len()), "the endpoint missed something");
    assert!(pings.iter().all(|ping| found.contains(ping.id.as_str())));
    for name in ["doctype-monitor", "http-json"] {
        let plugin = platform.api(&format!("/api/v1/plugins/{name}"));
        assert_eq!((&plugin["traps"], &plugin["restarts"], &plugin["state"]), (&json!(0), &json!(0), &json!("live")), "{plugin}");
    }
}

fn total(graph: &Value) -> u64 {
    let cells = graph["data"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
    cells.filter_map(Value::as_f64).sum::<f64>() as u64
}

fn print_stall(platform: &Platform) {
    for (name, ..) in EVILS {
        let plugin = platform.api(&format!("/api/v1/plugins/{name}"));
        let stall = plugin["stall_ms_max"].as_f64().expect("a figure");
        eprintln!(
            "{name}: worst stall {stall:.0} ms (call_fuel_max {CALL_FUEL_MAX}); {} traps, {} restarts",
            plugin["traps"], plugin["restarts"]
        );
        assert!(stall > 0.0, "{plugin}");
    }
}
