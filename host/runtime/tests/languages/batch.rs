//! The batch that every language gets.

use tidemill_runtime::{Batch, ColumnKind, ColumnRequest, ColumnsBuilder, Plan, Shape};

/// A value of any kind; text and JSON are bytes too.
#[derive(Clone, Copy)]
enum Cell {
    Null,
    Int64(i64),
    Float64(f64),
    Boolean(bool),
    Bytes(&'static [u8]),
}

/// A run of shape many or entries; `None` is null. Shape many ignores the keys.
type Run = Option<&'static [(&'static str, Cell)]>;

/// A row: the columns of each shape by kind, in the order in which the guest asks for them.
pub struct Row {
    timestamp: i64,
    one: [Cell; 6],
    many: [Run; 6],
    entries: [Run; 6],
}

use Cell::{Boolean, Bytes, Float64, Int64, Null};

const EMPTY: Run = Some(&[]);

/// What tends to go wrong: integers that no double holds, nanoseconds, minus zero, the ends of every range, empty text beside
/// null, a byte order mark and a NUL that belong to the text, characters of one to four bytes, bytes that are no text.
pub static ROWS: [Row; 5] = [
    Row {
        timestamp: 1_496_948_102_123_456_789,
        one: [
            Int64(9_007_199_254_740_993),
            Float64(-0.0),
            Boolean(true),
            Bytes("grüße, 世界 🦀".as_bytes()),
            Bytes(&[0, 0xff, 0x80, 10]),
            Bytes(br#"{"a": [1, null],  "b":"\u00e9"}"#),
        ],
        many: [
            Some(&[("", Int64(i64::MAX)), ("", Int64(-9_007_199_254_740_993)), ("", Int64(0))]),
            Some(&[("", Float64(0.1)), ("", Float64(f64::MAX)), ("", Float64(-0.0))]),
            Some(&[("", Boolean(true)), ("", Boolean(false))]),
            Some(&[("", Bytes(b"")), ("", Bytes("é".as_bytes())), ("", Bytes(b"\0"))]),
            Some(&[("", Bytes(b"")), ("", Bytes(&[0xff, 0]))]),
            Some(&[("", Bytes(b"null")), ("", Bytes(br#"" ""#))]),
        ],
        entries: [
            Some(&[("", Int64(i64::MIN)), ("schlüssel", Int64(1))]),
            Some(&[("\u{feff}mark", Float64(f64::MIN_POSITIVE))]),
            Some(&[("🦀", Boolean(false)), ("no", Boolean(true))]),
            Some(&[("a", Bytes(b"")), ("b", Bytes("\u{feff}".as_bytes()))]),
            Some(&[("a", Bytes(&[0x80])), ("b", Bytes(b""))]),
            Some(&[("a", Bytes(b"{}")), ("b", Bytes(b"[ ]"))]),
        ],
    },
    Row { timestamp: -1, one: [Null; 6], many: [None; 6], entries: [None; 6] },
    Row {
        timestamp: i64::MIN,
        one: [Int64(0), Float64(5e-324), Boolean(false), Bytes(b""), Bytes(b""), Bytes(br#""""#)],
        many: [EMPTY; 6],
        entries: [EMPTY; 6],
    },
    Row {
        timestamp: 4_294_967_295_999_999_999,
        one: [Int64(i64::MIN), Float64(f64::INFINITY), Null, Bytes("\u{feff}mark, nul \0, \u{ffff}, end".as_bytes()), Null, Bytes(b"0.10")],
        many: [Some(&[("", Int64(-1))]), None, EMPTY, Some(&[("", Bytes(b""))]), None, EMPTY],
        entries: [None, EMPTY, Some(&[("", Boolean(true))]), None, EMPTY, Some(&[("", Bytes(b"1e5"))])],
    },
    Row {
        timestamp: i64::MAX,
        one: [Int64(i64::MAX), Float64(f64::NEG_INFINITY), Boolean(true), Null, Bytes(&[1, 2, 3]), Null],
        // A null within a run is its kind's nothing: cells of runs have no validity.
        many: [
            Some(&[("", Null), ("", Int64(7)), ("", Null)]),
            Some(&[("", Null)]),
            Some(&[("", Null), ("", Boolean(true))]),
            Some(&[("", Null), ("", Bytes(b"x"))]),
            Some(&[("", Null)]),
            Some(&[("", Null), ("", Bytes(b"1"))]),
        ],
        entries: [
            Some(&[("k", Null), ("k", Int64(2))]),
            Some(&[("k", Null)]),
            Some(&[("k", Null)]),
            Some(&[("k", Null)]),
            Some(&[("k", Null)]),
            Some(&[("k", Null)]),
        ],
    },
];

/// A batch of so many rows of this partition: [`ROWS`] again and again.
pub fn example(plan: &Plan, partition: u32, rows: u32) -> Batch {
    let requests = &plan.subscription.columns;
    let mut builder = ColumnsBuilder::new(requests);
    for row in ROWS.iter().cycle().take(rows as usize) {
        requests.iter().enumerate().for_each(|(column, request)| push(&mut builder, column, request, row));
        builder.finish_row();
    }
    Batch { partition, rows, now_ms: 1_496_948_102_124, columns: builder.take() }
}

fn push(builder: &mut ColumnsBuilder, column: usize, request: &ColumnRequest, row: &Row) {
    let Some(number) = column.checked_sub(1) else { return builder.int64(column, Some(row.timestamp)) };
    let run = match request.shape {
        Shape::One => return push_cell(builder, column, request.kind, row.one[number % 6]),
        Shape::Many => row.many[number % 6],
        Shape::Entries => row.entries[number % 6],
    };
    let Some(run) = run else { return };
    builder.begin_run(column);
    for (key, cell) in run {
        builder.entry(column, key.as_bytes());
        push_cell(builder, column, request.kind, *cell);
    }
    builder.end_run(column);
}

fn push_cell(builder: &mut ColumnsBuilder, column: usize, kind: ColumnKind, cell: Cell) {
    match (kind, cell) {
        (ColumnKind::Int64, Null) => builder.int64(column, None),
        (ColumnKind::Float64, Null) => builder.float64(column, None),
        (ColumnKind::Boolean, Null) => builder.boolean(column, None),
        (_, Null) => builder.bytes(column, None),
        (_, Int64(value)) => builder.int64(column, Some(value)),
        (_, Float64(value)) => builder.float64(column, Some(value)),
        (_, Boolean(value)) => builder.boolean(column, Some(value)),
        (_, Bytes(value)) => builder.bytes(column, Some(value)),
    }
}
