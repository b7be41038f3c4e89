//! The command line: exit codes and texts.

use serde_json::Value;
use std::{fs, path::Path, process::Output, time::Duration};
use tidemill_tests::{BusSetup, Platform, Setup, post_all, root, run, shared_data};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn check(arguments: &[&str], code: i32, stdout: &str, stderr: &str) -> Output {
    let output = run(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    assert!(out.contains(stdout), "{arguments:?} said {out:?}, not {stdout:?}");
    assert!(err.contains(stderr), "{arguments:?} said {err:?}, not {stderr:?}");
    output
}

/// A configuration file in a folder of its own.
struct File(tempfile::TempDir);

impl File {
    fn new(content: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("tidemill.toml"), content).expect("written");
        Self(folder)
    }

    fn path(&self) -> String {
        self.0.path().join("tidemill.toml").to_string_lossy().into_owned()
    }
}

fn own_platform() -> Platform {
    Platform::start(&Setup::new(BusSetup::Embedded, 2, vec![root().join("schemas")]))
}

#[test]
fn config_check_show_and_schema() {
    let schemas = root().join("schemas");
    let good = File::new(&format!("[schemas]\npaths = [{schemas:?}]\n[bus]\nstep_ms = 250\n"));
    check(&["config", "check", "--config", &good.path()], 0, "the configuration is good", "");
    let shown = text(&check(&["config", "show", "--config", &good.path()], 0, "", "").stdout);
    assert!(shown.contains("bus.step_ms = 250  # file\n") && shown.contains("bus.partitions = 4  # default\n"), "{shown}");
    let shown = check(&["config", "show", "--config", &good.path(), "--json"], 0, "", "");
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!((&shown["values"]["bus"]["step_ms"], &shown["origins"]["bus.step_ms"]), (&250.into(), &"file".into()));
    let schema: Value = serde_json::from_slice(&check(&["config", "schema"], 0, "", "").stdout).expect("JSON");
    assert!(schema["properties"]["bus"]["properties"]["step_ms"].is_object(), "{schema:#}");
}

#[test]
fn wrong_configurations_and_wrong_use_end_2() {
    let unknown = File::new("[bus]\npartition = 3\n");
    check(&["config", "check", "--config", &unknown.path()], 2, "", "bus.partition");
    let output = check(&["serve", "--config", &unknown.path()], 2, "", "bus.partition");
    assert!(text(&output.stderr).contains("bus.partitions"), "a suggestion: {}", text(&output.stderr));
    let missing = File::new("[geoip]\ncity = \"nowhere.mmdb\"\n");
    check(&["config", "check", "--config", &missing.path()], 2, "", "nowhere.mmdb is not there");
    let component = root().join("tests/Cargo.toml");
    let settings =
        |line: &str| File::new(&format!("[log]\nfilter = \"loud=very\"\n[[plugins]]\nname = \"a\"\ncomponent = {component:?}\n{line}\n"));
    for (line, expected) in [("matcher = \"Type = 'x'\"", "plugin a: matcher: "), ("limits = {fuel = 1}", "plugin a: limits: ")] {
        let output = check(&["config", "check", "--config", &settings(line).path()], 2, "", expected);
        assert!(text(&output.stderr).contains("log.filter \"loud=very\""), "all of it is told: {}", text(&output.stderr));
    }
    check(&["serve", "--config", "/nowhere/tidemill.toml"], 2, "", "/nowhere/tidemill.toml");
    check(&["swim"], 2, "", "swim");
    check(&["send", "tests/Cargo.toml"], 2, "", "not the name of a recorded ping");
    check(&["--help"], 0, "Usage: tidemill", "");
    check(&["serve", "--help"], 0, "Examples:", "");
}

#[test]
fn schema_check_gives_each_ping_the_verdict_of_its_name() {
    let own = check(&["schema", "check", "tests/fixtures", "--schemas", "schemas"], 0, "0 not as their name says", "");
    eprintln!("own pings: {}", text(&own.stdout).lines().last().unwrap_or_default());
    let Some(data) = shared_data("schema_check_gives_each_ping_the_verdict_of_its_name") else { return };
    let place = |name: &str| data.join("pipeline-schemas").join(name).to_string_lossy().into_owned();
    let arguments = ["schema", "check", &place("validation"), "--schemas", &place("schemas")];
    let output = check(&arguments, 0, "121 pings: 88 pass, 33 fail, 0 not as their name says\n", "");
    assert_eq!(text(&output.stdout).lines().count(), 122, "a line each and the count");
}

#[test]
fn schema_check_ends_1_where_a_verdict_differs() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("device");
    fs::create_dir(&place).expect("made");
    let good = root().join("tests/fixtures/device/heartbeat.1.sample.pass.json");
    fs::copy(good, place.join("heartbeat.1.sample.fail.json")).expect("copied");
    let place = place.to_string_lossy();
    check(&["schema", "check", &place, "--schemas", "schemas"], 1, "1 pings: 1 pass, 0 fail, 1 not as their name says", "");
    check(&["schema", "check", &place, "--schemas", "schemas", "--json"], 1, "\"right\":false", "");
    check(&["schema", "check", "/nowhere", "--schemas", "schemas"], 3, "", "/nowhere");
}

#[test]
fn send_sums_up_and_tap_ends_by_limit_and_by_idle() {
    let platform = own_platform();
    let url = platform.url();
    let sent = check(&["send", "tests/fixtures", "--to", &url, "--repeat", "2", "--count", "20", "--json"], 0, "", "");
    let summary: Value = serde_json::from_slice(&sent.stdout).expect("JSON");
    assert_eq!((&summary["sent"], &summary["by_status"]["200"], &summary["retries"]), (&20.into(), &20.into(), &0.into()), "{summary}");
    let sent = check(&["send", "tests/fixtures/web", "--to", &url, "--repeat", "2"], 0, "8 sent to", "");
    assert!(text(&sent.stdout).contains("        8  200\n"), "{}", text(&sent.stdout));
    platform.wait_drained(Duration::from_secs(20));
    let limited = check(&["tap", "raw", "--from", "beginning", "--limit", "5", "--json", "--url", &url], 0, "", "");
    assert_eq!(text(&limited.stdout).lines().count(), 5);
    let all = check(&["tap", "raw", "--from", "beginning", "--idle", "1", "--json", "--url", &url], 0, "", "");
    assert_eq!(text(&all.stdout).lines().count(), 28);
    let one: Value = serde_json::from_str(text(&all.stdout).lines().next().unwrap_or_default()).expect("JSON");
    for name in [
        "topic",
        "partition",
        "offset",
        "key",
        "headers",
        "uuid",
        "timestamp",
        "type",
        "logger",
        "severity",
        "hostname",
        "pid",
        "env_version",
        "payload",
        "fields",
    ] {
        assert!(one.get(name).is_some(), "no {name} in {one}");
    }
    check(&["tap", "validated", "--from", "beginning", "--idle", "1", "--matcher", "Logger == 'web'", "--url", &url], 0, "logger=web", "");
    check(&["tap", "raw", "--from", "yesterday", "--url", &url], 2, "", "yesterday");
    check(&["tap", "nothing", "--url", &url], 2, "", "there is no topic nothing");
    check(&["tap", "raw", "--matcher", "Type ==", "--url", &url], 2, "", "matcher");
    check(&["tap", "raw", "--url", "http://127.0.0.1:1"], 3, "", "is a host running there?");
    check(&["send", "tests/fixtures/web/page-load.1.minimal.pass.json", "--to", "http://127.0.0.1:1"], 3, "", "is a host running there?");
}

#[test]
fn sigterm_drains_commits_the_lake_and_ends_0() {
    let mut setup = Setup::new(BusSetup::Embedded, 2, vec![root().join("schemas")]);
    setup.lake_interval_s = 600.0;
    let mut platform = Platform::start(&setup);
    let fixture = &tidemill_testkit::load(&[root().join("tests/fixtures/web/page-load.1.sample.pass.json")]).expect("a ping")[0];
    let pings: Vec<_> = (0..500).map(|_| tidemill_tests::Ping::recorded(fixture)).collect();
    let statuses = post_all(platform.address(), &pings, 16);
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    platform.wait_drained(Duration::from_secs(2));
    let ended = platform.terminate();
    eprintln!("SIGTERM: ended {:?} after {:?}", ended.code, ended.took);
    assert_eq!(ended.code, Some(0), "{}", platform.log());
    assert!(ended.took < Duration::from_secs(30), "{ended:?}");
    let Some(lake) = tidemill_tests::Lake::read("sigterm_drains_commits_the_lake_and_ends_0", &platform.lake(), &[]) else { return };
    let rows: usize = lake.tables.values().map(|table| table.rows).sum();
    assert_eq!(rows, 500, "the interval is ten minutes: only the end commits");
}

#[test]
fn a_second_host_on_the_same_data_is_refused() {
    let platform = own_platform();
    let (code, said) = platform.second();
    eprintln!("second: {said}");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("error: "), "{said}");
    assert!(!platform.api("/api/v1/streams").is_null(), "the first runs on");
}

#[test]
fn a_port_that_is_taken_ends_3() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let config = File::new(&format!("[http]\nlisten = \"{address}\"\n"));
    let data = Path::new(&config.path()).with_file_name("data").to_string_lossy().into_owned();
    check(&["serve", "--config", &config.path(), "--data", &data], 3, "", &format!("cannot listen on http.listen {address}"));
}
