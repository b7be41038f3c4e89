use super::*;
use tidemill_guest::testing::{self, Cell, DecodedRow, Row};

const UNIFIED: &str = r#"{"version":4,"type":"main","clientId":"6fd3eb50-8bec-4b9c-8778-59406171312a","creationDate":"2017-06-08T18:55:02.123Z",
 "application":{"vendor":"Mozilla"},"environment":{"settings":{"telemetryEnabled":true},"system":{"os":{"name":"Linux","version":"4.15.0-20"}},
 "addons":{"activeExperiment":{"id":"exp"}}},"payload":{"info":{"reason":"daily"}}}"#;
const MOBILE: &str = r#"{"v":7,"clientId":"7cac7c8f-6c0f-4a33-b1f9-e4c2519f53cb","os":"Android"}"#;
const OLD: &str = r#"{"ver":2,"clientID":"c","info":{"reason":"idle-daily","OS":"WINNT","vendor":"Mozilla"}}"#;

fn row(document: &str, doc_type: &str) -> Row {
    Row::document(document)
        .set("Fields[docType]", doc_type)
        .set("Fields[appUpdateChannel]", "nightly-cck-x")
        .set("Fields[appName]", "Firefox")
        .set("Fields[geoCountry]", "US")
}

fn decode(rows: &[Row]) -> Vec<DecodedRow> {
    testing::Decoder::<MozTelemetry>::open("{}").and_then(|mut decoder| decoder.decode(rows)).unwrap()
}

fn check(row: Row, plan: usize, expected: &[(&str, Cell)]) {
    let found = decode(&[row]).remove(0);
    for (name, value) in expected {
        assert_eq!(found.field(name), Some(value), "{name}");
    }
    let DecodedRow::Accepted { fields, plan: found } = found else { panic!("rejected") };
    assert_eq!(found, plan);
    assert_eq!(fields.len(), expected.len(), "{fields:?}");
}

fn text(text: &str) -> Cell {
    Cell::from(text)
}

fn common(app: &str) -> Vec<(&'static str, Cell)> {
    vec![("sourceName", text("telemetry")), ("normalizedChannel", text("nightly")), ("normalizedCountryCode", text("US")), ("normalizedAppName", text(app))]
}

#[test]
fn unified_documents_have_all_fields_and_their_sections() {
    let mut expected = common("Firefox");
    expected.extend([
        ("clientId", text("6fd3eb50-8bec-4b9c-8778-59406171312a")),
        ("sampleId", Cell::from(50_i64)),
        ("normalizedOs", text("Linux")),
        ("sourceVersion", Cell::from(4_i64)),
        ("creationTimestamp", Cell::from(1_496_948_102_123_000_000_i64)),
        ("reason", text("daily")),
        ("os", text("Linux")),
        ("normalizedOSVersion", text("4.15.0")),
        ("telemetryEnabled", Cell::from(true)),
        ("activeExperimentId", text("exp")),
        ("appVendor", text("Mozilla")),
    ]);
    check(row(UNIFIED, "main"), 2, &expected);
    check(row(UNIFIED, "crash"), 1, &expected);
}

#[test]
fn mobile_documents_stay_whole() {
    let mut expected = common("Firefox");
    expected.extend([
        ("clientId", text("7cac7c8f-6c0f-4a33-b1f9-e4c2519f53cb")),
        ("sampleId", Cell::from(46_i64)),
        ("normalizedOs", text("Android")),
        ("sourceVersion", text("7")),
    ]);
    check(row(MOBILE, "core"), 0, &expected);
}

#[test]
fn old_and_other_documents_get_what_is_known() {
    let mut expected = common("Firefox");
    expected.extend([
        ("clientId", text("c")),
        ("sampleId", Cell::from(i64::from(crc32::of(b"c") % 100))),
        ("normalizedOs", text("Windows")),
        ("reason", text("idle-daily")),
        ("os", text("WINNT")),
        ("appVendor", text("Mozilla")),
        ("telemetryEnabled", Cell::from(true)),
    ]);
    check(row(OLD, "idle-daily"), 0, &expected);
    let mut expected = common("Firefox");
    expected.push(("normalizedOs", text("Other")));
    check(row("{}", "x"), 0, &expected);
    check(row(r#"{"ver":3,"version":4}"#, "ftu"), 0, &expected);
}

#[test]
fn batches_do_not_matter() {
    let rows: Vec<Row> = (0..40).map(|n| row([UNIFIED, MOBILE, OLD, "{}"][n % 4], ["main", "core", "x"][n % 3])).collect();
    testing::assert_decoder_invariant::<MozTelemetry>("{}", &rows);
}
