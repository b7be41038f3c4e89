//! Kafka away or frozen under load, and the host killed in the middle of the outage and of the drain: every ping that was
//! acknowledged is in the stream, and in one row of the lake although the drain published it twice.

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tidemill_bus::faults::CRASH_AT_VARIABLE;
use tidemill_test_kafka::Broker;
use tidemill_tests::{Acknowledged, BusSetup, Lake, Load, Ping, Platform, Setup, field, tap};

const RATE: f64 = 400.0;
const CONNECTIONS: usize = 16;
/// How long the broker is away; a tenth of an hour in `make test-long`.
fn outage() -> Duration {
    if is_long() { Duration::from_secs(360) } else { Duration::from_secs(5) }
}
/// Where the drain dies: what it published is durable, and its position does not say so.
const DRAIN_POINT: &str = "spool-before-position";
/// So often it has come there then.
const DRAIN_POINT_NTH: u64 = 3;
/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// So slow that the drain can be caught in the middle, and quicker than what comes meanwhile, 0.1 MB/s.
fn drain_bytes_per_s() -> u64 {
    if is_long() { 1_000_000 } else { 100_000 }
}

fn is_long() -> bool {
    std::env::var_os("TIDEMILL_TEST_LONG").is_some()
}

/// One broker for both tests, one after the other; it ends with the process.
fn broker(test: &str) -> Option<&'static Mutex<Broker>> {
    static BROKER: OnceLock<Option<Mutex<Broker>>> = OnceLock::new();
    let found = BROKER.get_or_init(|| tidemill_test_kafka::own(test).map(Mutex::new)).as_ref();
    if found.is_none() {
        eprintln!("SKIPPED {test}: there is no Kafka to be had");
    }
    found
}

fn setup(broker: &Broker, prefix: &str, schemas: &Path) -> Setup {
    let place = schemas.join("test/ping");
    fs::create_dir_all(&place).expect("made");
    let schema = r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}"#;
    fs::write(place.join("ping.1.schema.json"), schema).expect("written");
    let mut setup = Setup::new(BusSetup::Kafka(broker.address().to_owned(), prefix.to_owned()), 4, vec![schemas.to_owned()]);
    setup.keys = vec![("spool.publish_timeout_ms", json!(500)), ("spool.drain_bytes_per_s", json!(drain_bytes_per_s()))];
    setup
}

fn make(number: u64) -> Ping {
    Ping::new(|id| format!("/submit/test/ping/1/{id}"), json!({"n": number}).to_string().as_bytes())
}

/// What the heartbeat says of the spool.
fn spooled(platform: &Platform) -> u64 {
    platform.api("/__heartbeat__")["spool"]["records"].as_u64().unwrap_or(0)
}

#[test]
fn an_outage_with_the_host_killed_in_it_and_in_the_drain() {
    let test = "an_outage_with_the_host_killed_in_it_and_in_the_drain";
    let Some(broker) = broker(test) else { return };
    let broker = broker.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let mut platform = Platform::start(&setup(&broker, "outage-", folder.path()));
    let load = Load::start(platform.address(), CONNECTIONS, RATE, make);
    thread::sleep(Duration::from_secs(1));

    broker.kill().expect("killed");
    thread::sleep(outage() / 2);
    check_degraded(&platform);
    let before = spooled(&platform);
    platform.kill();
    // Without its bus it does not come there.
    restart(&mut platform, &load, &[(CRASH_AT_VARIABLE, format!("{DRAIN_POINT}:{DRAIN_POINT_NTH}"))]);
    assert!(spooled(&platform) >= before, "the spool survives");
    thread::sleep(outage() / 2);
    check_degraded(&platform);
    let most = spooled(&platform);
    assert!(most > before, "the host takes pings without its bus: {before} and then {most}");

    broker.restart().expect("restarted");
    assert!(platform.wait_crash(DRAIN_POINT, PATIENCE), "the drain does not come to {DRAIN_POINT}");
    restart(&mut platform, &load, &[]);
    let at_point = spooled(&platform);
    eprintln!("killed at {DRAIN_POINT}: {at_point} were left");
    let drains = |beat: &Value| beat["spool"]["records"].as_u64().is_some_and(|left| left < at_point - at_point / 8);
    platform.wait_for("/__heartbeat__", PATIENCE, drains).expect("it drains");
    platform.kill();
    restart(&mut platform, &load, &[]);
    let left = spooled(&platform);
    eprintln!("killed in the drain: {left} of {at_point} were left");
    assert!(left > 0, "the drain was over when the host was killed");
    let twice = finish(test, platform, load);
    assert!(twice > 0, "nothing was published twice, although the drain died before its position");
}

#[test]
fn a_frozen_broker() {
    let test = "a_frozen_broker";
    let Some(broker) = broker(test) else { return };
    let broker = broker.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let platform = Platform::start(&setup(&broker, "frozen-", folder.path()));
    let load = Load::start(platform.address(), CONNECTIONS, RATE, make);
    thread::sleep(Duration::from_secs(1));
    broker.freeze().expect("frozen");
    thread::sleep(outage());
    check_degraded(&platform);
    broker.thaw().expect("thawed");
    finish(test, platform, load);
}

/// The spool takes what the bus does not, so the heartbeat is well and says what is not.
fn check_degraded(platform: &Platform) {
    let beat = platform.wait_for("/__heartbeat__", PATIENCE, |beat| beat["status"] == "degraded").expect("it says so");
    assert!(beat["out_of_order"].as_str().is_some_and(|why| why.starts_with("the bus: ")), "{beat}");
    assert!(beat["spool"]["records"].as_u64() > Some(0) && beat["spool"]["bytes"].as_u64() > Some(0), "{beat}");
}

/// After a kill.
fn restart(platform: &mut Platform, load: &Load, environment: &[(&str, String)]) {
    load.set_address(None);
    let began = Instant::now();
    platform.set_environment(environment);
    platform.restart();
    eprintln!("killed, and up again after {:.1} s", began.elapsed().as_secs_f64());
    load.set_address(Some(platform.address()));
}

/// Waits until the spool is empty while pings go on, then looks for everything in the topics and in the lake; how many pings were
/// published twice.
fn finish(test: &str, mut platform: Platform, load: Load) -> usize {
    let well = |beat: &Value| beat["status"] == "ok" && beat["spool"]["records"] == 0;
    if let Err(beat) = platform.wait_for("/__heartbeat__", PATIENCE, well) {
        panic!("not well again: {beat}");
    }
    let acknowledged = load.stop();
    platform.wait_drained(Duration::from_secs(60));
    let twice = check_raw(test, &acknowledged, &tap(&platform, "raw"));
    let validated = tap(&platform, "validated");
    check_validated(&acknowledged, &validated);
    assert_eq!(tap(&platform, "errors"), Vec::<Value>::new(), "all pings are valid and sent once");
    assert_eq!(platform.terminate().code, Some(0));
    check_lake(test, &platform, &validated);
    twice
}

/// What is there twice has one Uuid: it is known as ours.
fn check_raw(test: &str, acknowledged: &Acknowledged, raw: &[Value]) -> usize {
    let Acknowledged { ids, unknown, by_second, .. } = acknowledged;
    let mut uuids: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    raw.iter().for_each(|message| uuids.entry(message["key"].as_str().unwrap_or_default()).or_default().push(&message["uuid"]));
    let twice = uuids.values().filter(|found| found.len() > 1).count();
    eprintln!("{test}: {} acknowledged, {} without an answer, {twice} published twice; a second: {by_second:?}", ids.len(), unknown.len());
    let silent = by_second.iter().skip(1).filter(|count| **count == 0).count();
    eprintln!("{test}: {silent} seconds without an acknowledgement");
    assert_eq!(missing(acknowledged, &uuids.keys().copied().collect()), 0, "acknowledged pings are missing in raw");
    let other = uuids.iter().find(|(_, found)| found.iter().any(|uuid| *uuid != found[0]));
    assert_eq!(other, None, "a ping is there with two Uuids");
    twice
}

/// What was published twice is one message.
fn check_validated(acknowledged: &Acknowledged, validated: &[Value]) {
    let found = ids(validated);
    assert_eq!(missing(acknowledged, &found), 0, "acknowledged pings are missing in validated");
    assert_eq!(validated.len(), found.len(), "pings are in validated twice");
}

/// And one row.
fn check_lake(test: &str, platform: &Platform, validated: &[Value]) {
    let Some(lake) = Lake::read(test, &platform.lake(), &[]) else { return };
    let documents = lake.documents();
    eprintln!("{test}: {} validated, {} rows", validated.len(), documents.len());
    assert!(documents.keys().copied().eq(ids(validated)), "the lake and validated differ");
    assert_eq!(lake.errors(), vec![]);
}

fn missing(acknowledged: &Acknowledged, there: &BTreeSet<&str>) -> usize {
    acknowledged.ids.iter().filter(|id| !there.contains(id.as_str())).count()
}

fn ids(messages: &[Value]) -> BTreeSet<&str> {
    messages.iter().map(|message| field(message, "documentId")).collect()
}
