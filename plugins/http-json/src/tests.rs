use super::*;
use tidemill_guest::testing::{self, Row};

const CONFIG: &str = r#"{"url": "http://127.0.0.1:9/in", "columns": ["/a"]}"#;

fn row(number: i64) -> Row {
    Row::document("{\"a\": [1,\n\"x\\n\"]}").set("Timestamp", number).set("Type", "validated").set("Fields[docType]", "main").set("Fields[documentId]", format!("id-{number}"))
}

#[test]
fn a_message_is_a_line() {
    let found = testing::Output::<HttpJson>::open(CONFIG).and_then(|mut plugin| plugin.write(&[row(7)])).unwrap();
    let expected = "{\"timestamp\":7,\"type\":\"validated\",\"documentId\":\"id-7\",\"docType\":\"main\",\"/a\":[1, \"x\\n\"]}\n";
    assert_eq!(found[0].text(), expected);
    assert_eq!(found[0].target, Target::post("http://127.0.0.1:9/in").header("Content-Type", "application/x-ndjson"));
    assert_eq!(found.len(), 1);
}

#[test]
fn bodies_end_at_their_size() {
    let config = r#"{"url": "http://127.0.0.1:9/in", "body_bytes_max": 150}"#;
    let rows: Vec<Row> = (0..10).map(row).collect();
    let found = testing::Output::<HttpJson>::open(config).and_then(|mut plugin| plugin.write(&rows)).unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(*found[1].rows.start(), 3);
}

#[test]
fn a_url_is_needed() {
    let refused = testing::Output::<HttpJson>::open("{}").err().map(|failure| failure.to_string());
    assert!(refused.is_some_and(|text| text.contains("url")));
}

#[test]
fn batches_do_not_matter() {
    let rows: Vec<Row> = (0..50).map(row).collect();
    testing::assert_output_invariant::<HttpJson>(CONFIG, &rows);
}
