//! The main job, end to end: recorded and synthetic pings over HTTP, each found exactly where it belongs; the same test on the
//! embedded log and on a real Kafka.

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};
use tidemill_testkit::{Fixture, Verdict};
use tidemill_tests::{BusSetup, HttpSink, Lake, Ping, Platform, Setup, component, field, kafka, plugin, post_all, root, shared_data, tap};

/// Milton, Washington, in the test database.
const CLIENT_ADDRESS: &str = "216.160.83.56";
/// The posting side's own address: it is in no header that the tests send.
const PEER_ADDRESS: &str = "127.0.0.1";
const SYNTHETIC: usize = 2_000;
/// The sink refuses so many requests first.
const SINK_FAILURES: u32 = 3;
/// The document types whose graphs are compared one by one. They come first, so that every partition gives them graphs of their own.
const OWN_TYPES: [&str; 4] = ["device/heartbeat", "shop/order", "telemetry/usage", "web/page-load"];

/// A ping and where it belongs.
struct Sent {
    ping: Ping,
    /// `namespace/doctype`, empty where the path says nothing.
    kind: String,
    is_recorded: bool,
    has_address: bool,
    belongs: Belongs,
}

/// Where a ping belongs.
#[derive(Clone, Debug, PartialEq)]
enum Belongs {
    /// `validated`, and this table.
    Table(String),
    /// `errors`, with this type.
    Error(&'static str),
}

#[test]
fn main_job_embedded() {
    main_job("main_job_embedded", BusSetup::Embedded);
}

#[test]
fn main_job_kafka() {
    let Some(bus) = kafka("main_job_kafka") else { return };
    main_job("main_job_kafka", bus);
}

fn main_job(test: &str, bus: BusSetup) {
    let Some(data) = shared_data(test) else { return };
    let sink = HttpSink::start(SINK_FAILURES);
    let Some(setup) = setup(test, bus, &data, &sink) else { return };
    let mut platform = Platform::start(&setup);
    let began = Instant::now();
    let sent = post(&platform, &data);
    platform.wait_drained(Duration::from_secs(40));
    eprintln!("{test}: {} pings posted and drained in {:.1} s", sent.len(), began.elapsed().as_secs_f64());
    let topics = Topics::read(&platform);
    topics.check(&sent);
    check_graphs(&platform, &sent);
    check_alert(&platform, &topics);
    check_sink(&sink, &sent);
    topics.check_addresses();
    let ended = platform.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    check_lake(test, &platform, &sent);
    eprintln!("{test}: SIGTERM took {:.1} s; all in {:.1} s", ended.took.as_secs_f64(), began.elapsed().as_secs_f64());
}

fn setup(test: &str, bus: BusSetup, data: &Path, sink: &HttpSink) -> Option<Setup> {
    let monitor = json!({"rows": 600, "seconds_per_row": 1, "inactive_rows": 4, "change_rows": 30, "throttle_s": 3600});
    let output = json!({"url": sink.url(), "fields": ["documentId", "docType", "geoCity"]});
    let mut setup = Setup::new(bus, 4, vec![data.join("pipeline-schemas/schemas"), root().join("schemas")]);
    setup.geoip = Some(data.join("geoip/GeoIP2-City-Test.mmdb"));
    setup.plugins = vec![
        plugin("moz-telemetry", &component(test, "moz-telemetry")?, json!({}), &[]),
        plugin("doctype-monitor", &component(test, "doctype-monitor")?, monitor, &[]),
        plugin("http-json", &component(test, "http-json")?, output, &[sink.authority()]),
    ];
    Some(setup)
}

/// Posts the synthetic pings, then the recorded ones; every one is acknowledged.
fn post(platform: &Platform, data: &Path) -> Vec<Sent> {
    let mut sent = synthetic();
    post_some(platform, &sent);
    let pings = tidemill_testkit::load(&[data.join("pipeline-schemas/validation")]).expect("recorded pings");
    assert_eq!(pings.len(), 121);
    let recorded: Vec<Sent> = pings.iter().map(recorded).collect();
    post_some(platform, &recorded);
    let valid = recorded.iter().filter(|sent| matches!(sent.belongs, Belongs::Table(_))).count();
    assert_eq!((valid, recorded.len() - valid), (87, 34), "what the recorded pings should become");
    sent.extend(recorded);
    sent
}

fn post_some(platform: &Platform, sent: &[Sent]) {
    let pings: Vec<Ping> = sent.iter().map(|sent| sent.ping.clone()).collect();
    let statuses = post_all(platform.address(), &pings, 16);
    let refused: Vec<_> = statuses.iter().zip(&pings).filter(|(status, _)| **status != 200).collect();
    assert!(refused.is_empty(), "not acknowledged: {refused:?}");
}

fn recorded(fixture: &Fixture) -> Sent {
    Sent {
        ping: Ping::recorded(fixture).gzip(),
        kind: format!("{}/{}", fixture.namespace, fixture.doctype),
        is_recorded: true,
        has_address: false,
        belongs: belongs(fixture),
    }
}

/// Where a recorded ping belongs when it is posted: a telemetry path states no version, the document has to.
fn belongs(fixture: &Fixture) -> Belongs {
    let Fixture { namespace, doctype, version, body, verdict, .. } = fixture;
    let document: Value = serde_json::from_slice(body).expect("JSON");
    let stated = [&document["version"], &document["v"]].into_iter().find(|value| !value.is_null()).and_then(Value::as_u64);
    match (namespace.as_str(), stated) {
        ("telemetry", None) => Belongs::Error("schema_not_found"),
        _ if *verdict == Verdict::Fail => Belongs::Error("schema"),
        ("telemetry", Some(version)) => Belongs::Table(table(namespace, doctype, version)),
        _ => Belongs::Table(table(namespace, doctype, u64::from(*version))),
    }
}

fn table(namespace: &str, doctype: &str, version: u64) -> String {
    let name = |text: &str| text.to_lowercase().replace(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'), "_");
    format!("{}/{}_v{version}", name(namespace), name(doctype))
}

/// Pings made from the project's own fixtures: as gzip and as they are, with and without an address, and some broken on the way.
fn synthetic() -> Vec<Sent> {
    let fixtures = tidemill_testkit::load(&[root().join("tests/fixtures")]).expect("own pings");
    (0..SYNTHETIC).map(|number| made(number, &fixtures[number % fixtures.len()])).collect()
}

fn made(number: usize, fixture: &Fixture) -> Sent {
    let kind = format!("{}/{}", fixture.namespace, fixture.doctype);
    let mut sent =
        Sent { ping: Ping::recorded(fixture), kind, is_recorded: false, has_address: number.is_multiple_of(3), belongs: belongs(fixture) };
    let broken = |body: &[u8]| Ping { body: body.to_vec(), ..Ping::recorded(fixture) };
    match number % 100 {
        13 => (sent.ping, sent.belongs) = (broken(&fixture.body[..fixture.body.len() / 2]), Belongs::Error("json")),
        26 => (sent.ping, sent.belongs) = (broken(b"\x1f\x8b\x08 no gzip"), Belongs::Error("gunzip")),
        39 => {
            sent.ping = Ping::new(|id| format!("/submit/nobody/knows/1/{id}"), b"{}");
            (sent.kind, sent.belongs) = ("nobody/knows".into(), Belongs::Error("schema_not_found"));
        }
        52 => {
            sent.ping = Ping::new(|id| format!("/submit/web/page-load/one/{id}"), b"{}");
            (sent.kind, sent.belongs) = (String::new(), Belongs::Error("uri"));
        }
        _ if number.is_multiple_of(2) => sent.ping = sent.ping.gzip(),
        _ => {}
    }
    if sent.has_address {
        sent.ping = sent.ping.with("X-Forwarded-For", &format!("10.1.2.3, {CLIENT_ADDRESS}"));
    }
    sent
}

/// Everything that came out of the stages.
struct Topics {
    validated: Vec<Value>,
    errors: Vec<Value>,
    others: Vec<Value>,
}

impl Topics {
    fn read(platform: &Platform) -> Self {
        let others = ["derived", "alerts", "graphs", "outbox-http-json"].into_iter().flat_map(|topic| tap(platform, topic)).collect();
        Self { validated: tap(platform, "validated"), errors: tap(platform, "errors"), others }
    }

    /// Each ping is in exactly one of `validated` and `errors`, once, as it should be.
    fn check(&self, sent: &[Sent]) {
        let by_id: BTreeMap<&str, &Sent> = sent.iter().map(|sent| (sent.ping.id.as_str(), sent)).collect();
        let mut seen = BTreeSet::new();
        for message in self.validated.iter().chain(&self.errors) {
            let id = id_of(message);
            let sent = by_id.get(id).unwrap_or_else(|| panic!("nobody sent {id:?}: {message}"));
            assert!(seen.insert(id), "{id} is there twice: {message}");
            check_message(message, sent);
        }
        let missing: Vec<_> = sent.iter().filter(|sent| !seen.contains(sent.ping.id.as_str())).map(|sent| &sent.ping.path).collect();
        assert!(missing.is_empty(), "missing: {missing:?}");
        let recorded = |messages: &[Value]| messages.iter().filter(|message| by_id[id_of(message)].is_recorded).count();
        let (valid, refused) = (recorded(&self.validated), recorded(&self.errors));
        eprintln!("{} validated, {} errors; of the recorded pings {valid} and {refused}", self.validated.len(), self.errors.len());
        assert_eq!((valid, refused), (87, 34));
    }

    /// No address of a client is in anything that leaves the decode stage.
    fn check_addresses(&self) {
        for message in self.validated.iter().chain(&self.errors) {
            let fields = message["fields"].as_object().expect("fields");
            assert!(!fields.contains_key("remote_addr") && !fields.contains_key("X-Forwarded-For"), "{message}");
        }
        let all = self.validated.iter().chain(&self.errors).chain(&self.others);
        let with_address = |message: &&Value| {
            let text = message.to_string();
            [CLIENT_ADDRESS, "10.1.2.3", PEER_ADDRESS].iter().any(|address| text.contains(address))
                && message["topic"] != "outbox-http-json"
        };
        let found: Vec<_> = all.clone().filter(with_address).collect();
        assert!(found.is_empty(), "{found:?}");
        // An outbox names its target, which is on this machine.
        assert!(all.filter(|message| message["topic"] == "outbox-http-json").all(|message| !message.to_string().contains(CLIENT_ADDRESS)));
    }
}

/// The document id; for a path that has none that the host knows, the end of the path.
fn id_of(message: &Value) -> &str {
    match field(message, "documentId") {
        "" => field(message, "uri").rsplit('/').next().unwrap_or_default(),
        id => id,
    }
}

fn check_message(message: &Value, sent: &Sent) {
    let found = match message["type"].as_str() {
        Some("validated") => "",
        Some("error") => field(message, "DecodeErrorType"),
        other => panic!("Type {other:?}: {message}"),
    };
    let expected = if let Belongs::Error(kind) = sent.belongs { kind } else { "" };
    assert_eq!(found, expected, "{}: {message}", sent.ping.path);
    assert_eq!(message["topic"], if expected.is_empty() { "validated" } else { "errors" });
    assert!(message["headers"]["tm-src"].is_string() && message["headers"]["tm-v"] == "1", "{message}");
    if expected.is_empty() {
        check_validated(message, sent);
    } else {
        assert!(!field(message, "DecodeError").is_empty() && field(message, "source").starts_with("raw/"), "{message}");
        assert!(!message["fields"]["content"].is_null() || sent.ping.body.is_empty(), "the original bytes: {message}");
    }
}

fn check_validated(message: &Value, sent: &Sent) {
    let place = (field(message, "geoCountry"), field(message, "geoCity"));
    assert_eq!(place, if sent.has_address { ("US", "Milton") } else { ("??", "??") }, "{message}");
    assert_eq!(message["logger"].as_str(), sent.kind.split('/').next());
    assert_eq!(Some(field(message, "docType")), sent.kind.split('/').nth(1));
    let Belongs::Table(table) = &sent.belongs else { return };
    let version = table.rsplit("_v").next().unwrap_or_default();
    let schema = format!("{}/{version}#", sent.kind);
    assert!(message["headers"]["tm-schema"].as_str().is_some_and(|found| found.starts_with(&schema)), "{schema}: {message}");
    assert_eq!(field(message, "submissionDate").len(), 8);
    if sent.kind.starts_with("telemetry/") {
        for name in ["normalizedChannel", "normalizedAppName", "normalizedOs", "normalizedCountryCode"] {
            assert!(!field(message, name).is_empty(), "no {name}: {message}");
        }
    }
}

fn total(platform: &Platform, title: &str) -> u64 {
    let title = title.replace('/', "%2F").replace(' ', "%20");
    let graph = platform.api(&format!("/api/v1/plugins/doctype-monitor/graphs/{title}"));
    let cells = graph["data"].as_array().into_iter().flatten().filter_map(Value::as_array).flatten();
    cells.filter_map(Value::as_f64).sum::<f64>() as u64
}

fn count(sent: &[Sent], is_error: bool, kind: Option<&str>) -> u64 {
    let fits = |sent: &&Sent| matches!(sent.belongs, Belongs::Error(_)) == is_error && kind.is_none_or(|kind| sent.kind == kind);
    sent.iter().filter(fits).count() as u64
}

/// The monitor counts what was sent: each of the own types, and everything together.
fn check_graphs(platform: &Platform, sent: &[Sent]) {
    let enough = |list: &Value| list.as_array().is_some_and(|graphs| graphs.len() > 3 * OWN_TYPES.len());
    let graphs = platform.wait_for("/api/v1/plugins/doctype-monitor/graphs", Duration::from_secs(20), enough).expect("graphs");
    let titles: Vec<&str> = graphs.as_array().into_iter().flatten().filter_map(|graph| graph["title"].as_str()).collect();
    for kind in OWN_TYPES {
        let found = (total(platform, &format!("{kind} volume")), total(platform, &format!("{kind} errors")));
        assert_eq!(found, (count(sent, false, Some(kind)), count(sent, true, Some(kind))), "{kind}");
    }
    let sum = |end: &str| titles.iter().filter(|title| title.ends_with(end)).map(|title| total(platform, title)).sum::<u64>();
    let (valid, errors) = (count(sent, false, None), count(sent, true, None));
    assert_eq!((sum(" volume"), sum(" errors")), (valid, errors), "{titles:?}");
    eprintln!("{} graphs: {valid} in volume, {errors} in errors", titles.len());
}

/// The types fall silent after the last ping: an alert for each channel, by the API and in the topic.
fn check_alert(platform: &Platform, topics: &Topics) {
    let is_silent = |alert: &Value| alert["kind"] == "inactive" && alert["plugin"] == "doctype-monitor";
    let shown = |alerts: &Value| alerts.as_array().is_some_and(|alerts| alerts.iter().any(is_silent));
    let alerts = platform.wait_for("/api/v1/alerts", Duration::from_secs(20), shown).expect("an alert for inactivity");
    let alert = alerts.as_array().into_iter().flatten().find(|alert| is_silent(alert)).expect("found above");
    eprintln!("{} alerts, for example: {}", alerts.as_array().map_or(0, Vec::len), alert["summary"]);
    assert!(alert["summary"].as_str().is_some_and(|text| text.ends_with("had no data for 4 s")), "{alert}");
    assert!(alert["time"].as_f64().is_some_and(|time| time > 1.6e9) && alert["detail"].is_string(), "{alert}");
    let published = tap(platform, "alerts");
    assert!(published.iter().any(|alert| field(alert, "kind") == "inactive" && alert["logger"] == "doctype-monitor"), "{published:?}");
    assert!(published.len() >= topics.others.iter().filter(|message| message["topic"] == "alerts").count());
}

/// The endpoint got each validated ping once, although it refused at first.
fn check_sink(sink: &HttpSink, sent: &[Sent]) {
    let lines = sink.lines();
    let mut ids: Vec<&str> = lines.iter().filter_map(|line| line["documentId"].as_str()).collect();
    ids.sort_unstable();
    let mut expected: Vec<&str> =
        sent.iter().filter(|sent| matches!(sent.belongs, Belongs::Table(_))).map(|sent| sent.ping.id.as_str()).collect();
    expected.sort_unstable();
    assert_eq!(ids.len(), expected.len(), "lines at the endpoint");
    assert_eq!(ids, expected);
    assert_eq!(sink.failed(), SINK_FAILURES);
    let received = sink.received();
    assert!(received.iter().all(|received| !received.key.is_empty()), "an idempotency key each");
    assert!(received.iter().all(|received| !String::from_utf8_lossy(&received.body).contains(CLIENT_ADDRESS)));
    eprintln!("endpoint: {} lines in {} requests, {} refused first", lines.len(), sink.requests(), sink.failed());
}

fn check_lake(test: &str, platform: &Platform, sent: &[Sent]) {
    let Some(lake) = Lake::read(test, &platform.lake(), &[CLIENT_ADDRESS, "10.1.2.3", PEER_ADDRESS]) else { return };
    let documents = lake.documents();
    let errors: BTreeMap<&str, &str> = lake.errors().into_iter().collect();
    assert_eq!(errors.len() + missing_ids(sent), lake.tables["errors"].rows, "errors are there once");
    for sent in sent {
        let id = sent.ping.id.as_str();
        let found = (documents.get(id).copied(), errors.get(id).copied());
        match &sent.belongs {
            Belongs::Table(table) => assert_eq!(found, (Some(table.as_str()), None), "{}", sent.ping.path),
            Belongs::Error("uri") => assert_eq!(found, (None, None), "{}", sent.ping.path),
            Belongs::Error(kind) => assert_eq!(found, (None, Some(*kind)), "{}", sent.ping.path),
        }
    }
    let valid = count(sent, false, None) as usize;
    assert_eq!((documents.len(), lake.tables["errors"].rows), (valid, sent.len() - valid));
    let uri_errors = lake.errors().iter().filter(|(_, kind)| *kind == "uri").count();
    assert_eq!(uri_errors, count_of(sent, "uri"));
    let with_address: Vec<_> = lake.tables.iter().filter(|(_, table)| table.with_needles > 0).map(|(name, _)| name).collect();
    assert!(with_address.is_empty(), "addresses in {with_address:?}");
    assert!(lake.names().contains("telemetry/block-autoplay_v4"), "{:?}", lake.names());
    check_columns(&lake);
    eprintln!("lake: {valid} rows in {} tables, {} in errors; deltalake and DuckDB agree", lake.names().len(), lake.tables["errors"].rows);
}

fn count_of(sent: &[Sent], kind: &'static str) -> usize {
    sent.iter().filter(|sent| sent.belongs == Belongs::Error(kind)).count()
}

/// Rows of errors beyond the first that share one document id: those without any.
fn missing_ids(sent: &[Sent]) -> usize {
    count_of(sent, "uri").saturating_sub(1)
}

fn check_columns(lake: &Lake) {
    let columns = &lake.tables["telemetry/main_v4"].columns;
    let expected = [
        "document_id",
        "submission_timestamp",
        "submission_date",
        "namespace",
        "doc_type",
        "normalized_channel",
        "normalized_app_name",
        "normalized_os",
        "normalized_country_code",
        "sample_id",
        "metadata",
        "additional_properties",
        "client_id",
        "environment",
        "payload",
    ];
    let missing: Vec<_> = expected.iter().filter(|name| !columns.contains_key(**name)).collect();
    assert!(missing.is_empty(), "telemetry/main_v4 has no {missing:?}: {columns:?}");
    assert_eq!(columns["submission_date"], "DATE");
    assert_eq!(columns["submission_timestamp"], "TIMESTAMP WITH TIME ZONE");
    let errors = &lake.tables["errors"].columns;
    let expected = [
        "document_id",
        "submission_timestamp",
        "submission_date",
        "namespace",
        "doc_type",
        "error_type",
        "error_message",
        "error_detail",
        "source",
        "plugin",
        "payload",
    ];
    assert_eq!(errors.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected.into_iter().collect());
}
