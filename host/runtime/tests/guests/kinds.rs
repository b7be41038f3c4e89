use tidemill_runtime::{Cell, ColumnKind, Fate, Limits, Rejection, Target};

use crate::support::Guest;
use crate::{batch, load};

/// Words one behind the other, little-endian.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A function of a kind with a batch's 15 values as parameters.
fn call(guest: Guest, name: &str, body: &str) -> Guest {
    let parameters = format!("i32 i32 i64{}", " i32".repeat(12));
    guest.text(&format!("(func (export \"tidemill:plugin/{name}\") (param {parameters}) (result i32) {body})\n"))
}

/// A decoder with a text field `channel` and an int64 field `sample`, and two section plans.
fn decoder() -> Guest {
    let mut guest = Guest::new("decoder");
    let (matcher, channel, sample, path) = (guest.put(b"TRUE"), guest.put(b"channel"), guest.put(b"sample"), guest.put(b"/payload/x"));
    // A field is name, kind (text is 3, int64 is 0) and representation.
    let fields = guest.put(&words(&[channel, 7, 3, 0, 0, sample, 6, 0, 0, 0]));
    let section = guest.put(&words(&[path, 10, 0]));
    let plans = guest.put(&words(&[0, 0, section, 1]));
    let opened = guest.put(&words(&[0, matcher, 4, 0, 0, 0, 0, fields, 2, plans, 2]));
    // Three rows: ("ab", null), (null, 7), rejected.
    let int64s = guest.put(&[0, 7, 0].map(i64::to_le_bytes).concat());
    let (bits, offsets) = (guest.put(&[1, 0, 0, 0, 1, 0]), guest.put(&words(&[0, 2, 2, 2])));
    let (arena, plan_of, text) = (guest.put(b"ab"), guest.put(&[0, 1, 0]), guest.put(b"no client"));
    let rejections = guest.put(&words(&[2, 4, text, 9]));
    let columns = [int64s, 24, 0, 0, bits, 6, 0, 0, offsets, 16, arena, 2];
    let answer = guest.put(&words(&[&[0][..], &columns, &[plan_of, 3, rejections, 1]].concat()));
    call(guest.open("decoder", &format!("i32.const {opened}")), "decoder@0.1.0#decode", &format!("i32.const {answer}"))
}

#[test]
fn a_decoder_answers_fields_plans_and_rejections() {
    let mut instance = load(decoder()).open("{}", &Limits::default()).expect("open");
    let plan = instance.plan();
    let fields: Vec<_> = plan.fields.iter().map(|field| (field.name.as_str(), field.kind)).collect();
    assert_eq!(fields, [("channel", ColumnKind::Text), ("sample", ColumnKind::Int64)]);
    assert_eq!(plan.section_plans.len(), 2);
    assert_eq!((plan.section_plans[1][0].path.as_str(), plan.section_plans[1][0].fate), ("/payload/x", Fate::OwnField));
    let decoded = instance.decode(&batch()).expect("sound");
    let cells: Vec<_> = (0..3).map(|row| (decoded.cell(0, row), decoded.cell(1, row), decoded.plan_of(row))).collect();
    let want = [(Cell::Text("ab"), Cell::Null, 0), (Cell::Null, Cell::Int64(7), 1), (Cell::Null, Cell::Null, 0)];
    assert_eq!(cells, want);
    assert_eq!(decoded.rejections, [Rejection { row: 2, code: 4, text: "no client".into() }]);
}

/// An output guest with one delivery to a file and one HTTP request of these rows.
fn output(first_row: u32, last_row: u32) -> Guest {
    let mut guest = Guest::new("output");
    let opened = guest.subscription("TRUE", &[]);
    let (path, method, url, body) = (guest.put(b"a/b.jsonl"), guest.put(b"POST"), guest.put(b"https://example.com/"), guest.put(b"{}\n"));
    let (name, value) = (guest.put(b"x-a"), guest.put(b"b"));
    let headers = guest.put(&words(&[name, 3, value, 1]));
    // A delivery is the target's tag (http is 0, append is 2), its 24 bytes, the rows and the body.
    let append = [2, path, 9, 0, 0, 0, 0, 0, 0, body, 3];
    let http = [0, method, 4, url, 20, headers, 1, first_row, last_row, body, 3];
    let list = guest.put(&words(&[append, http].concat()));
    let answer = guest.put(&words(&[0, list, 2]));
    call(guest.open("output", &format!("i32.const {opened}")), "output@0.1.0#write", &format!("i32.const {answer}"))
}

#[test]
fn an_output_plugin_answers_deliveries() {
    let mut instance = load(output(1, 2)).open("{}", &Limits::default()).expect("open");
    let deliveries = instance.write(&batch()).expect("sound");
    let targets: Vec<_> = deliveries.iter().map(|delivery| (&delivery.target, delivery.first_row, delivery.last_row)).collect();
    let headers = vec![("x-a".to_owned(), "b".to_owned())];
    let http = Target::Http { method: "POST".into(), url: "https://example.com/".into(), headers };
    assert_eq!(targets, [(&Target::Append("a/b.jsonl".into()), 0, 0), (&http, 1, 2)]);
    assert!(deliveries.iter().all(|delivery| delivery.body == b"{}\n"));
}

#[test]
fn deliveries_of_rows_that_are_not_there() {
    let mut instance = load(output(1, 3)).open("{}", &Limits::default()).expect("open");
    let error = instance.write(&batch()).expect_err("row 3 of 3");
    assert_eq!(error.message, "`write` broke the contract: `deliveries[1]` settles rows 1 to 3, but the batch has 3 rows");
}
