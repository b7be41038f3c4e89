//! The plugins of the repository and the evil guest over the repository's own pings.

use super::*;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What to run; `None`, said on stderr, where the component is not built.
fn options(component: &str, config: &str) -> Option<RunOptions> {
    let path = root().join(component);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED {component}: not built; `tidemill plugin build-all plugins` builds plugins");
        return None;
    };
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let fixtures = crate::load(&[root().join("tests/fixtures")]).unwrap();
    let (registry, _) = Registry::load(&[root().join("schemas")]).unwrap();
    Some(RunOptions { name, component: bytes, config: config.to_owned(), fixtures, registry: Arc::new(registry) })
}

/// Runs twice, prints both ways, and checks that nothing differs.
fn run_twice(options: &RunOptions) -> Report {
    let texts = [run(options), run(options)].map(|report| {
        let (report, mut text) = (report.unwrap(), Vec::new());
        print(&report, &mut text).unwrap();
        (report.clone(), serde_json::to_string(&report).unwrap(), String::from_utf8(text).unwrap())
    });
    let [first, second] = texts;
    assert_eq!(first, second, "two runs differ");
    first.0
}

fn text(report: &Report) -> String {
    let mut out = Vec::new();
    print(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn plugin(name: &str, config: &str) -> Option<Report> {
    let options = options(&format!("plugins/{name}/{name}.wasm"), config)?;
    Some(run_twice(&options))
}

fn evil(config: &str) -> Option<RunOptions> {
    options("tests/guests/evil/evil.wasm", config)
}

fn ping<'a>(report: &'a Report, label: &str) -> &'a PingReport {
    report.pings.iter().find(|ping| ping.ping == label).unwrap()
}

/// How many pings passed their schema, and how many the plugin was given.
fn counts(report: &Report) -> [usize; 3] {
    let accepted = report.pings.iter().filter(|ping| ping.verdict == PingVerdict::Accepted);
    [report.pings.len(), accepted.count(), report.pings.iter().filter(|ping| ping.selected).count()]
}

#[test]
fn a_decoder_shows_what_it_added_to_each_ping() {
    let Some(report) = plugin("moz-telemetry", "{}") else { return };
    assert!(report.is_sound());
    assert_eq!(counts(&report), [15, 8, 2]);
    let daily = ping(&report, "telemetry/usage.4.daily.pass.json");
    let field = |name: &str| daily.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.to_string());
    let found = ["clientId", "sampleId", "normalizedChannel", "normalizedOs"].map(field);
    let expected = [r#""6fd3eb50-8bec-4b9c-8778-59406171312a""#, "50", r#""nightly""#, r#""Linux""#];
    assert_eq!(found, expected.map(|text| Some(text.to_owned())));
    assert!(daily.sections.iter().any(|(name, bytes)| name == "environment.system" && *bytes > 100), "{:?}", daily.sections);
    assert_eq!(ping(&report, "shop/order.1.sample.pass.json").reason, "its matcher does not select it");
    let refused = ping(&report, "shop/order.1.no_items.fail.json");
    assert_eq!((refused.verdict, refused.selected), (PingVerdict::Refused, false));
    assert!(refused.reason.starts_with("schema: "), "{}", refused.reason);
    let sum: u64 = report.pings.iter().filter_map(|ping| ping.fuel).sum();
    assert!(sum > 10_000 && report.fuel.total == sum && report.fuel.per_call == sum / 2, "{:?}", report.fuel);
    assert_eq!(report.plan.section_plans.len(), 3);
}

#[test]
fn an_analysis_shows_its_graphs() {
    let Some(report) = plugin("doctype-monitor", "{}") else { return };
    assert!(report.is_sound());
    assert_eq!(counts(&report), [15, 8, 15], "it watches errors too");
    let cells = |title: &str| {
        let graph = report.graphs.iter().find(|graph| graph.title == title).unwrap();
        graph.cells.iter().map(|cell| format!("{} {} {}", cell.column, cell.time, cell.value)).collect::<Vec<_>>()
    };
    assert_eq!(cells("shop/order volume"), ["none 2026-01-01T00:00:00Z 2"]);
    assert_eq!(cells("shop/order errors"), ["none 2026-01-01T00:00:00Z 2"]);
    assert_eq!(cells("telemetry/usage volume").len(), 2, "a column for each channel");
    let text = text(&report);
    for line in [
        "  \"shop/order volume\": 1440 rows of 60 s",
        "    none  2026-01-01T00:00:00Z  2 count (sum)",
        "  process: 2 calls, 15 rows, fuel ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_first_plugin_counts_what_is_valid() {
    let Some(report) = plugin("example-count", r#"{"silent_minutes": 3}"#) else { return };
    assert_eq!(counts(&report), [15, 8, 8]);
    let [graph] = &report.graphs[..] else { panic!("one graph: {:?}", report.graphs) };
    assert_eq!((graph.title.as_str(), graph.cells.len(), graph.cells[0].value), ("messages by channel", 1, 8.0));
    assert_eq!(report.fuel.calls.iter().map(|calls| (calls.call, calls.count, calls.rows)).collect::<Vec<_>>(), [("process", 1, 8)]);
}

#[test]
fn an_output_shows_its_deliveries() {
    let Some(report) = plugin("http-json", r#"{"url": "http://127.0.0.1:9/in", "columns": ["/device"]}"#) else { return };
    assert_eq!(counts(&report), [15, 8, 8]);
    let [delivery] = &report.deliveries[..] else { panic!("one delivery: {:?}", report.deliveries) };
    assert_eq!(delivery.target, "POST http://127.0.0.1:9/in");
    let ends = (delivery.first.as_deref(), delivery.last.as_deref());
    assert_eq!(ends, (Some("device/heartbeat.1.mains.pass.json"), Some("web/page-load.1.sample.pass.json")));
    let lines: Vec<serde_json::Value> = delivery.body.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 8);
    assert_eq!((&lines[0]["timestamp"], &lines[0]["docType"]), (&1_767_225_600_000_000_000_i64.into(), &"heartbeat".into()));
    assert!(lines[0]["/device"].is_string(), "{}", lines[0]);
    assert!(text(&report).contains("deliveries (1), none of them performed\n  POST http://127.0.0.1:9/in: "));
}

#[test]
fn poison_is_named_and_the_rest_goes_on() {
    // Pings 0, 5, 10 arrive at a multiple of 5 s; the last of them is refused by its schema and not seen.
    let Some(options) = evil(r#"{"evil": "panic", "column": "Timestamp", "every": 5000000000}"#) else { return };
    let report = run_twice(&options);
    assert!(!report.is_sound());
    let poison: Vec<_> = report.pings.iter().filter(|ping| ping.verdict == PingVerdict::Poison).collect();
    let names: Vec<_> = poison.iter().map(|ping| ping.ping.as_str()).collect();
    assert_eq!(names, ["device/heartbeat.1.mains.pass.json", "shop/order.1.sample.pass.json"]);
    assert!(poison[0].reason.starts_with("plugin_trap: plugin evil: `process` trapped: wasm `unreachable` instruction executed"));
    assert!(poison[0].detail.contains("evil at work") && poison[0].backtrace.contains("process"), "{:?}", poison[0]);
    assert!(report.log.iter().any(|line| line.level == "error" && line.text.contains("evil at work")));
    assert_eq!(report.payloads[0].data, serde_json::json!("6"), "its state counts every other message");
    assert!(report.fuel.traps >= 4 && report.fuel.restarts >= 4, "{:?}", report.fuel);
}

#[test]
fn a_plugin_that_cannot_go_on_is_given_up() {
    let Some(options) = evil(r#"{"evil": "snapshot-huge"}"#) else { return };
    let report = run(&options).unwrap();
    assert!(!report.is_sound());
    let expected = "the plugin makes no progress; its last failure: `snapshot` broke the contract: limit `state_bytes_max` exceeded: \
                    limit 8388608, current 8388608, requested 1";
    assert_eq!(report.gave_up.as_deref(), Some(expected));
}

fn check_refused(options: Option<RunOptions>, expected: &str) {
    let Some(options) = options else { return };
    let error = run(&options).unwrap_err();
    assert!(error.is_wrong_use());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_cannot_be_run_says_why() {
    let example = |config| options("plugins/example-count/example-count.wasm", config);
    check_refused(
        example(r#"{"silent": 3}"#),
        "plugin \"example-count\" cannot be opened: `open` refused with code 0: the configuration has `silent`, which this plugin does \
         not use; it reads: silent_minutes",
    );
    check_refused(
        example("[]"),
        "the plugin's configuration must be a JSON object, for example {\"channel\": \"nightly\"}: it is JSON, but no object",
    );
    let http = options("plugins/http-json/http-json.wasm", "{}");
    check_refused(http, "plugin \"http-json\" cannot be opened: `open` refused with code 0: the configuration lacks `url`");
    let text = example("{}").map(|options| RunOptions { component: b"no wasm".to_vec(), ..options });
    check_refused(text, "plugin `example-count`: these bytes are not WebAssembly");
}

#[test]
fn missing_schemas_are_pointed_at() {
    let Some(options) = options("plugins/example-count/example-count.wasm", "{}") else { return };
    let empty = tempfile::tempdir().unwrap();
    let (registry, _) = Registry::load(&[empty.path().to_owned()]).unwrap();
    let report = run(&RunOptions { registry: Arc::new(registry), ..options }).unwrap();
    assert_eq!(counts(&report), [15, 0, 0]);
    assert!(report.is_sound(), "the plugin did nothing wrong");
    assert!(text(&report).contains("\n  8 of the refused are named pass: is --schemas right?\n"));
}
