//! Every plugin of the repository on its own `fixtures/`: what it does is what `fixtures/expected.json` says.
//!
//! After a change that is wanted, `TIDEMILL_UPDATE_EXPECTED=1 cargo test -p tidemill-tests --test plugins_on_fixtures` writes the files anew.

use serde_json::Value;
use std::{fs, path::Path};
use tidemill_tests::{component, root, run};

/// Figures of the toolchain that built the component, not of what the plugin does.
const BUILD_FIGURES: [&str; 4] = ["fuel", "version", "memory_bytes", "size_bytes"];

fn without_build_figures(value: &mut Value) {
    match value {
        Value::Object(members) => {
            BUILD_FIGURES.iter().for_each(|name| drop(members.remove(*name)));
            members.values_mut().for_each(without_build_figures);
        }
        Value::Array(elements) => elements.iter_mut().for_each(without_build_figures),
        _ => {}
    }
}

/// Runs a plugin as its author would, from the repository's root, so that paths in the report are the same everywhere.
fn report(name: &str, component: &Path, config: &str) -> Value {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let fixtures = root().join("plugins").join(name).join("fixtures");
    let schemas = root().join("schemas");
    let output = run(&[
        "plugin",
        "run",
        &text(component),
        "--fixtures",
        &text(&fixtures),
        "--schemas",
        &text(&schemas),
        "--config",
        config,
        "--json",
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{name}: {said}");
    let found = String::from_utf8_lossy(&output.stdout).replace(&format!("{}/", root().display()), "");
    let mut report: Value = serde_json::from_str(&found).expect("one JSON object");
    without_build_figures(&mut report);
    report
}

#[track_caller]
fn check(name: &str, config: &str) {
    let Some(component) = component("plugins_on_fixtures", name) else { return };
    let found = format!("{:#}\n", report(name, &component, config));
    let path = root().join("plugins").join(name).join("fixtures/expected.json");
    if std::env::var_os("TIDEMILL_UPDATE_EXPECTED").is_some() {
        fs::write(&path, &found).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(found.lines()).position(|(expected, found)| expected != found);
    assert!(expected == found, "{name}: line {:?} of {} differs; found:\n{found}", differs.map(|line| line + 1), path.display());
}

#[test]
fn example_count() {
    check("example-count", "{}");
}

#[test]
fn moz_telemetry() {
    check("moz-telemetry", "{}");
}

#[test]
fn doctype_monitor() {
    check("doctype-monitor", r#"{"seconds_per_row": 60, "rows": 60}"#);
}

#[test]
fn http_json() {
    check("http-json", r#"{"url": "http://127.0.0.1:9000/lines"}"#);
}
