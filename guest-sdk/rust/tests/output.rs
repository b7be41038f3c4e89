//! What an output plugin answers: deliveries shared by the rows of a call.

use tidemill_guest::output::*;
use tidemill_guest::testing::{self, Output as Under, assert_output_invariant};

/// Sends by the column `to`: to one of two files, to a topic, or nowhere; files are cut after 4 bytes.
struct Router {
    to: Column<Text>,
}

impl Output for Router {
    fn open(config: &Config<'_>, read: &mut Subscription) -> Result<Self, Failure> {
        read.matcher(config.text("matcher")?.unwrap_or("TRUE"));
        Ok(Self { to: read.column("/to") })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Deliveries) -> Result<(), Failure> {
        let target = match row.get(self.to) {
            Some("bus") => Target::Bus { topic: "t".into(), key: b"k".into() },
            Some(file) => Target::Append(file.into()),
            None => return Ok(()),
        };
        let body = out.to(&target);
        body.extend_from_slice(b"xy");
        if body.len() >= 4 {
            out.close(&target);
        }
        Ok(())
    }
}

tidemill_guest::export_output!(Router);

fn rows(targets: &[&str]) -> Vec<testing::Row> {
    targets.iter().map(|to| testing::Row::document(&format!(r#"{{"to": {to}}}"#))).collect()
}

#[test]
fn rows_share_a_delivery_to_the_same_target() {
    let rows = rows(&[r#""a""#, r#""b""#, "null", r#""bus""#, r#""bus""#, r#""a""#, r#""a""#]);
    let sent = Under::<Router>::open("{}").unwrap().write(&rows).unwrap();
    let sent: Vec<_> =
        sent.iter().map(|delivery| (format!("{:?}", delivery.target), delivery.rows.clone(), delivery.text().into_owned())).collect();
    let bus = r#"Bus { topic: "t", key: [107] }"#.to_string();
    let file = |name: &str| format!("Append({name:?})");
    let expected = [
        (file("b"), 1..=1, "xy".to_string()),
        (bus.clone(), 3..=3, "xy".to_string()),
        (bus, 4..=4, "xy".to_string()),
        (file("a"), 0..=5, "xyxy".to_string()),
        (file("a"), 6..=6, "xy".to_string()),
    ];
    assert_eq!(sent, expected);
}

#[test]
fn bodies_do_not_depend_on_the_batch() {
    let targets: Vec<_> = (0..40).map(|row| [r#""a""#, r#""b""#, "null", r#""bus""#][row % 4]).collect();
    let bodies = assert_output_invariant::<Router>("{}", &rows(&targets));
    assert_eq!(bodies["Append(\"a\")"], "xy".repeat(10));
    assert_eq!(bodies.len(), 3);
}

#[test]
fn headers_belong_to_http_targets() {
    let target = Target::post("http://h/").header("A", "1");
    assert_eq!(target, Target::Http { method: "POST".into(), url: "http://h/".into(), headers: vec![("A".into(), "1".into())] });
    assert_eq!(Target::Object("o".into()).header("A", "1"), Target::Object("o".into()));
}
