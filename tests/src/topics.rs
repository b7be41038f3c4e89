//! Topics, read by `tidemill tap`.

use crate::{Platform, run};
use serde_json::Value;

/// All messages of a topic, until none came for two seconds.
///
/// # Panics
/// When the tap fails.
pub fn tap(platform: &Platform, topic: &str) -> Vec<Value> {
    let output = run(&["tap", topic, "--from", "beginning", "--idle", "2", "--json", "--url", &platform.url()]);
    assert_eq!(output.status.code(), Some(0), "tap {topic}: {}", String::from_utf8_lossy(&output.stderr));
    let parse = |line: &[u8]| serde_json::from_slice(line).expect("a line of JSON");
    output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse).collect()
}

/// A text field of a message; empty where it is not there.
pub fn field<'a>(message: &'a Value, name: &str) -> &'a str {
    message["fields"][name].as_str().unwrap_or_default()
}
