//! What the platform takes.

use crate::{
    harness::ROUNDS,
    paths,
    platform::Platform,
    table::{Row, Table},
};
use serde_json::{Value, json};
use std::{thread::sleep, time::Duration};

pub const IDLE: &str = "memory/idle";

/// Plugins of the platform that idles.
const PLUGINS: [&str; 2] = ["moz-telemetry", "doctype-monitor"];
/// How long it settles.
const SETTLE: Duration = Duration::from_secs(3);

/// Resident memory of a platform with all roles and two plugins that nobody posts to; best of some starts.
pub fn idle(table: &mut Table) -> anyhow::Result<()> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let platform = Platform::start(config()?)?;
        sleep(SETTLE);
        best = best.min(platform.resident_mb()?);
    }
    table.add(&Row { name: IDLE, value: best, unit: "MB", baseline: None, n: 0, corpus: "none" })
}

/// All roles, the schemas and places of the corpus where they are.
fn config() -> anyhow::Result<Value> {
    let root = std::path::absolute(paths::root())?;
    let schemas = paths::shared("data/pipeline-schemas/schemas").map_or_else(|| Ok(root.join("schemas")), std::path::absolute)?;
    let plugin = |name: &&str| json!({"name": name, "component": root.join(format!("plugins/{name}/{name}.wasm"))});
    let plugins: Vec<Value> = PLUGINS.iter().map(plugin).collect();
    let mut config = json!({"schemas": {"paths": [schemas]}, "plugins": plugins});
    if let Some(city) = paths::shared("data/geoip/GeoIP2-City-Test.mmdb") {
        config["geoip"] = json!({"city": std::path::absolute(city)?});
    }
    Ok(config)
}
