//! What `moz-telemetry` makes of a unified document, made from a tree: its fields, and which sections leave the document.

use super::{
    Path,
    message::{boolean, integer, integer_in, string},
};
use anyhow::{Context, ensure};
use serde_json::Value;
use tidemill_message::proto::Field;

/// Sections of every document that leave it.
const ENVIRONMENT: [&str; 7] = ["addons", "build", "experiments", "partner", "profile", "settings", "system"];
/// Those of main and saved-session pings.
const PAYLOAD: [&str; 16] = [
    "addonDetails",
    "addonHistograms",
    "childPayloads",
    "chromeHangs",
    "fileIOReports",
    "histograms",
    "info",
    "keyedHistograms",
    "lateWrites",
    "log",
    "simpleMeasurements",
    "slowSQL",
    "slowSQLstartup",
    "threadHangStats",
    "UIMeasurements",
    "gc",
];
/// Applications of desktops are told by their whole name, those of phones by how it begins.
const DESKTOP: [&str; 2] = ["Firefox", "Thunderbird"];

/// The sections that leave a document of this type.
pub fn sections(doc_type: &str) -> Vec<(&'static str, &'static str)> {
    let mut sections: Vec<_> = ENVIRONMENT.map(|name| ("environment", name)).into();
    if matches!(doc_type, "main" | "saved-session") {
        sections.extend(PAYLOAD.map(|name| ("payload", name)));
    }
    sections
}

/// The plugin's fields, in the order in which it declares them.
///
/// # Errors
/// The document or its application is none of the corpora's: mobile, old and FirefoxOS documents have other rules, which
/// nothing here restates.
pub fn fields(path: &Path<'_>, tree: &Value, country: &str) -> anyhow::Result<Vec<Field>> {
    ensure!(tree["ver"].is_null() && tree["version"].is_i64(), "it is no unified document");
    let text = |pointer: &str| tree.pointer(pointer).and_then(Value::as_str);
    let some = |name: &str, text: Option<&str>| text.map(|text| string(name, text));
    let client_id = text("/clientId");
    let os = text("/environment/system/os/name");
    let telemetry_enabled = tree.pointer("/environment/settings/telemetryEnabled").and_then(Value::as_bool);
    let fields = [
        Some(string("sourceName", "telemetry")),
        some("clientId", client_id),
        client_id.map(|id| integer("sampleId", sample_id(id))),
        Some(string("normalizedChannel", channel(path.channel))),
        Some(string("normalizedAppName", app_name(path.app_name)?)),
        Some(string("normalizedOs", os_family(os.unwrap_or_default()))),
        Some(string("normalizedCountryCode", if country == "??" { "Other" } else { country })),
        tree["version"].as_i64().map(|version| integer("sourceVersion", version)),
        text("/creationDate").map(nanoseconds).transpose()?.map(|time_ns| integer_in("creationTimestamp", "ns", time_ns)),
        some("reason", text("/payload/info/reason")),
        some("os", os),
        text("/environment/system/os/version").and_then(os_version).map(|version| string("normalizedOSVersion", &version)),
        telemetry_enabled.map(|is_enabled| boolean("telemetryEnabled", is_enabled)),
        some("activeExperimentId", text("/environment/addons/activeExperiment/id")),
        some("appVendor", text("/application/vendor")),
    ];
    Ok(fields.into_iter().flatten().collect())
}

fn sample_id(client_id: &str) -> i64 {
    let mut crc = flate2::Crc::new();
    crc.update(client_id.as_bytes());
    i64::from(crc.sum() % 100)
}

fn channel(channel: &str) -> &str {
    match channel {
        "release" | "esr" | "aurora" | "nightly" => channel,
        _ if channel.starts_with("beta") => "beta",
        _ if channel.starts_with("nightly-cck-") => "nightly",
        _ => "Other",
    }
}

fn app_name(name: &str) -> anyhow::Result<&str> {
    ensure!(DESKTOP.contains(&name), "{name} is no application of the corpora");
    Ok(name)
}

fn os_family(name: &str) -> &'static str {
    let begins = |with: &str| name.starts_with(with);
    let has = |part: &str| name.contains(part);
    match () {
        () if begins("Windows") || begins("WINNT") => "Windows",
        () if begins("Darwin") => "Mac",
        () if has("Linux") || has("BSD") || has("SunOS") => "Linux",
        () => "Other",
    }
}

/// The numbers that a version begins with, three at most.
fn os_version(version: &str) -> Option<String> {
    let mut numbers = Vec::new();
    for part in version.split('.').take(3) {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        let is_whole = digits == part;
        numbers.extend(Some(digits).filter(|digits| !digits.is_empty()));
        if !is_whole {
            break;
        }
    }
    Some(numbers.join(".")).filter(|version| !version.is_empty())
}

fn nanoseconds(date: &str) -> anyhow::Result<i64> {
    let date: jiff::Timestamp = date.parse().with_context(|| format!("creationDate {date}"))?;
    i64::try_from(date.as_nanosecond()).context("creationDate")
}
