//! Reading a batch whose bytes are written out by hand, so that reader and test harness cannot be wrong together.

use crate::Time;
use crate::rows::Rows;
use crate::subscription::*;
use crate::wire;

/// Two rows; columns of every kind and shape.
fn batch() -> wire::Batch {
    let int64s = [9_007_199_254_740_993_i64, 0, 1_522_360_830_123_456_789, -1, 10, 20, 30, 5, 6];
    let float64s = [0.5_f64, -0.0];
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let columns = wire::Columns {
        int64s: int64s.iter().flat_map(|value| value.to_le_bytes()).collect(),
        float64s: float64s.iter().flat_map(|value| value.to_le_bytes()).collect(),
        bits: [
            &[1, 0][..], // boolean, one
            &[0, 1, 1],  // boolean, many
            &[1, 0],     // validity: int64
            &[1, 1],     // timestamp
            &[1, 1],     // float64
            &[1, 0],     // boolean
            &[1, 1],     // text
            &[0, 1],     // json
            &[1, 0],     // int64 many
            &[1, 1],     // boolean many
            &[1, 1],     // int64 entries
            &[0, 1],     // text entries
        ]
        .concat(),
        spans: words(&[0, 3, 3, /**/ 0, 0, 3, /**/ 0, 0, 2, /**/ 0, 0, 1]),
        offsets: words(&[
            0, 0, 2, // text: "", "é"
            2, 2, 6, // json: null, "null"
            6, 7, 8, // keys of int64 entries
            8, 11, // keys of text entries
            11, 14, // values of text entries
        ]),
        arena: "énull17keyval".into(),
    };
    wire::Batch { partition: 3, rows: 2, now_ms: 1_522_360_830_123, columns }
}

#[test]
fn reads_all_kinds_and_shapes() {
    let mut read = Subscription::new(Scope::Stateless);
    let int: Column<Int64> = read.column("/i");
    let time = read.timestamp();
    let float: Column<Float64> = read.column("/f");
    let flag: Column<Boolean> = read.column("/b");
    let text: Column<Text> = read.column("/t");
    let json: Column<Json> = read.column("/j");
    let ints: Column<Int64, Many> = read.column("/is");
    let flags: Column<Boolean, Many> = read.column("/bs/*");
    let histogram: Column<Int64, Entries> = read.column("/h");
    let texts: Column<Text, Entries> = read.column("/ts");
    let batch = batch();
    let rows = Rows::new(&batch, read.columns()).unwrap();
    assert_eq!((rows.len(), rows.partition(), rows.now()), (2, 3, Time::from_ms(1_522_360_830_123)));

    let [first, second] = [0, 1].map(|row| rows.iter().nth(row).unwrap());
    assert_eq!((first.get(int), second.get(int)), (Some(9_007_199_254_740_993), None));
    assert_eq!((first.get(time).ns(), second.get(time).ns()), (1_522_360_830_123_456_789, -1));
    assert_eq!((first.get(float), second.get(float).map(f64::to_bits)), (Some(0.5), Some((-0.0_f64).to_bits())));
    assert_eq!((first.get(flag), second.get(flag)), (Some(true), None));
    assert_eq!((first.get(text), second.get(text)), (Some(""), Some("é")));
    assert_eq!((first.get(json), second.get(json)), (None, Some(&b"null"[..])));

    assert!(first.get(ints).eq([10, 20, 30]));
    assert_eq!((first.get(ints).len(), first.get(ints).is_present()), (3, true));
    assert_eq!((second.get(ints).next(), second.get(ints).is_present()), (None, false));
    assert!(second.get(flags).eq([false, true, true]));
    assert!(first.get(flags).is_present() && first.get(flags).len() == 0);
    assert!(second.get(histogram).eq([("1", 5), ("7", 6)]));
    assert!(second.get(histogram).histogram().eq([(1, 5), (7, 6)]));
    assert_eq!((second.get(histogram).value("7"), second.get(histogram).value("8")), (Some(6), None));
    assert!(second.get(texts).eq([("key", "val")]));
    assert!(!first.get(texts).is_present() && first.get(texts).len() == 0);
}

#[test]
fn a_list_of_another_length_is_refused_by_name() {
    let check = |list: &str, break_it: fn(&mut wire::Columns), need: usize, have: usize| {
        let mut batch = batch_of_one();
        break_it(&mut batch.columns);
        let text = Rows::new(&batch, &requests_of_one()).unwrap_err().to_string();
        let expected =
            format!("the batch's list `{list}` needs {need} bytes for the columns of open and has {have}: host and plugin disagree");
        assert_eq!(text, expected);
    };
    check("int64s", |columns| columns.int64s.truncate(7), 8, 7);
    check("float64s", |columns| columns.float64s.push(0), 0, 1);
    check("bits", |columns| columns.bits.clear(), 1, 0);
    check("spans", |columns| columns.spans.truncate(4), 8, 4);
    check("offsets", |columns| columns.offsets.push(0), 8, 9);
    check("offsets", |columns| columns.spans[4] = 2, 12, 8);
}

#[test]
fn cells_that_lie_read_as_empty_and_never_panic() {
    let mut read = Subscription::new(Scope::Stateless);
    let entries: Column<Int64, Entries> = read.column("/e");
    let mut batch = batch_of_one();
    batch.columns.offsets = [9_u32, 3].iter().flat_map(|word| word.to_le_bytes()).collect();
    let rows = Rows::new(&batch, read.columns()).unwrap();
    assert!(rows.iter().next().unwrap().get(entries).eq([("", 42)]), "offsets beyond the arena");

    batch.columns.offsets = [0_u32, 1].iter().flat_map(|word| word.to_le_bytes()).collect();
    batch.columns.arena = vec![0xFF];
    let rows = Rows::new(&batch, read.columns()).unwrap();
    assert!(rows.iter().next().unwrap().get(entries).eq([("", 42)]), "not UTF-8");
    let foreign: Column<Text> = {
        let mut other = Subscription::new(Scope::Stateless);
        let _: Column<Text> = other.column("/a");
        other.column("/b")
    };
    assert_eq!(rows.iter().next().unwrap().get(foreign), None, "a handle of another subscription");
}

/// One row with one entry, `{"k": 42}`.
fn batch_of_one() -> wire::Batch {
    let columns = wire::Columns {
        int64s: 42_i64.to_le_bytes().into(),
        float64s: vec![],
        bits: vec![1],
        spans: vec![0, 0, 0, 0, 1, 0, 0, 0],
        offsets: vec![0, 0, 0, 0, 1, 0, 0, 0],
        arena: b"k".into(),
    };
    wire::Batch { partition: 0, rows: 1, now_ms: 0, columns }
}

fn requests_of_one() -> Vec<wire::ColumnRequest> {
    vec![wire::ColumnRequest { path: "/e".into(), kind: wire::Kind::Int64, shape: wire::Shape::Entries, required: false }]
}
