use super::*;
use crate::plan::{Scope, Section, Subscription};

fn field(name: &str, kind: ColumnKind) -> Field {
    Field { name: name.into(), kind, representation: String::new() }
}

/// An int64 `n`, a boolean `b`, a text `t`, a float64 `f` and a bytes field `y`; two section plans.
fn plan() -> Plan {
    use ColumnKind::*;
    let subscription = Subscription { matcher: "TRUE".into(), columns: vec![], scope: Scope::Stateless, tick_ms: 0 };
    let fields = vec![field("n", Int64), field("b", Boolean), field("t", Text), field("f", Float64), field("y", Bytes)];
    let plans: Vec<Vec<Section>> = vec![vec![], vec![]];
    Plan { subscription, fields, section_plans: plans }
}

/// Two rows: (7, true, "ab", 1.5, [255]) and (null, false, "", null, null).
fn answer() -> wit::Decoded {
    let u32s = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    wit::Decoded {
        columns: wit::ColumnsResult {
            int64s: [7_i64, 0].iter().flat_map(|value| value.to_le_bytes()).collect(),
            float64s: [1.5_f64, 0.0].iter().flat_map(|value| value.to_le_bytes()).collect(),
            bits: vec![1, 0, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0],
            spans: vec![],
            offsets: u32s(&[0, 2, 2, 2, 3, 3]),
            arena: b"ab\xff".to_vec(),
        },
        plan_of: vec![1, 0],
        rejections: vec![wit::Rejection { row: 1, code: 4, text: "no client".into() }],
    }
}

fn check(change: impl FnOnce(&mut wit::Decoded)) -> String {
    let mut raw = answer();
    change(&mut raw);
    let checked = Decoded::check(raw, 2, &plan(), &Limits::default());
    checked.map_or_else(|error| error.to_string(), |_| "ok".into())
}

#[test]
fn every_cell_is_read_back() {
    let decoded = Decoded::check(answer(), 2, &plan(), &Limits::default()).expect("sound");
    let row = |row| (0..6).map(|field| decoded.cell(field, row)).collect::<Vec<_>>();
    let first = [Cell::Int64(7), Cell::Bool(true), Cell::Text("ab"), Cell::Float64(1.5), Cell::Bytes(&[255]), Cell::Null];
    assert_eq!(row(0), first);
    assert_eq!(row(1), [Cell::Null, Cell::Bool(false), Cell::Text(""), Cell::Null, Cell::Null, Cell::Null]);
    assert_eq!(row(2), [Cell::Null; 6]);
    assert_eq!((decoded.plan_of(0), decoded.plan_of(1)), (1, 0));
    assert_eq!(decoded.rejections, [Rejection { row: 1, code: 4, text: "no client".into() }]);
}

#[test]
fn lists_of_the_wrong_length() {
    assert_eq!(check(|d| d.columns.int64s.clear()), "`columns.int64s` has 0 bytes, but 5 fields of 2 rows need 16");
    assert_eq!(check(|d| d.columns.bits.push(1)), "`columns.bits` has 13 bytes, but 5 fields of 2 rows need 12");
    assert_eq!(check(|d| d.columns.spans.push(0)), "`columns.spans` has 1 bytes, but 5 fields of 2 rows need 0");
    assert_eq!(check(|d| d.columns.offsets.truncate(20)), "`columns.offsets` has 20 bytes, but 5 fields of 2 rows need 24");
    assert_eq!(check(|d| d.plan_of.push(0)), "`plan-of` has 3 bytes: use none or one for each of the 2 rows");
    assert_eq!(check(|d| d.plan_of.clear()), "ok");
}

#[test]
fn values_out_of_range() {
    assert_eq!(check(|d| d.columns.bits[3] = 2), "`columns.bits[3]` is 2: use 0 or 1");
    assert_eq!(check(|d| d.plan_of[1] = 2), "`plan-of[1]` is 2, but `open` declared 2 section plans");
    let nan = |d: &mut wit::Decoded| d.columns.float64s[..8].copy_from_slice(&f64::NAN.to_le_bytes());
    assert_eq!(check(nan), "field `f` of row 0 is NaN: leave it null");
    assert_eq!(check(|d| d.columns.arena[1] = 0xff), "field `t` of row 0 is not UTF-8");
    let check_json = |arena: &[u8], kind, representation: &str| {
        let (mut raw, mut plan) = (answer(), plan());
        raw.columns.arena[..2].copy_from_slice(arena);
        (plan.fields[2].kind, plan.fields[2].representation) = (kind, representation.into());
        // The empty cell of the other row is null.
        raw.columns.bits[7] = 0;
        Decoded::check(raw, 2, &plan, &Limits::default()).map_or_else(|error| error.to_string(), |_| "ok".into())
    };
    for (kind, representation) in [(ColumnKind::Json, ""), (ColumnKind::Bytes, "json")] {
        assert_eq!(check_json(b"{}", kind, representation), "ok");
        assert_eq!(check_json(b"{\"", kind, representation), "field `t` of row 0 is not JSON: string at byte 2");
    }
    assert_eq!(check_json(b"{\"", ColumnKind::Bytes, "B"), "ok");
    assert_eq!(check(|d| d.rejections[0].row = 2), "`rejections[0].row` is 2: rows ascend, each once, below 2");
    let twice = |d: &mut wit::Decoded| d.rejections.push(wit::Rejection { row: 1, code: 0, text: String::new() });
    assert_eq!(check(twice), "`rejections[1].row` is 1: rows ascend, each once, below 2");
}

#[test]
fn lying_offsets() {
    let set = |at: usize, value: u32| move |d: &mut wit::Decoded| d.columns.offsets[at * 4..][..4].copy_from_slice(&value.to_le_bytes());
    let want = "`columns.offsets[1]` is 4, after 0, with an arena of 3 bytes: field `t`";
    assert_eq!(check(set(1, 4)), want);
    let want = "`columns.offsets[2]` is 1, after 2, with an arena of 3 bytes: field `t`";
    assert_eq!(check(set(2, 1)), want);
    let want = "`columns.offsets[1]` is 2, after 4294967295, with an arena of 3 bytes: field `t`";
    assert_eq!(check(set(0, u32::MAX)), want);
    let want = "the cells up to field `y` of row 0 overlap: together they are more than the arena's 3 bytes";
    assert_eq!(check(set(3, 0)), want);
}
