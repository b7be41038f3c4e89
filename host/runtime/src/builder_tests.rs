use super::*;

fn request(kind: ColumnKind, shape: Shape) -> ColumnRequest {
    ColumnRequest { path: "/x".into(), kind, shape, required: false }
}

fn u32s(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn all_kinds() -> ColumnsBuilder {
    use ColumnKind::*;
    ColumnsBuilder::new(&[
        request(Int64, Shape::One),
        request(Text, Shape::One),
        request(Boolean, Shape::One),
        request(Float64, Shape::Many),
        request(Int64, Shape::Entries),
        request(Bytes, Shape::One),
    ])
}

fn fill(builder: &mut ColumnsBuilder) {
    builder.int64(0, Some((1 << 53) + 1));
    builder.bytes(1, Some(b"ab"));
    builder.boolean(2, Some(true));
    builder.begin_run(3);
    builder.float64(3, Some(1.5));
    builder.float64(3, None);
    builder.end_run(3);
    builder.begin_run(4);
    builder.entry(4, b"k");
    builder.int64(4, Some(7));
    builder.entry(4, b"only-key");
    builder.end_run(4);
    builder.bytes(5, Some(&[0xff]));
    builder.finish_row();
    builder.bytes(1, Some(b"c"));
    builder.begin_run(3);
    builder.end_run(3);
    builder.finish_row();
}

#[test]
fn the_bytes_are_those_of_the_contract() {
    let mut builder = all_kinds();
    fill(&mut builder);
    let announced = builder.byte_len();
    let columns = builder.take();
    let int64s: Vec<u8> = [(1_i64 << 53) + 1, 0, 7, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(columns.int64s, int64s);
    assert_eq!(columns.float64s, [1.5_f64, 0.0].map(f64::to_le_bytes).concat());
    assert_eq!(columns.bits, [1, 0, /* validity */ 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0]);
    assert_eq!(columns.spans, u32s(&[0, 2, 2, /* entries */ 0, 2, 2]));
    assert_eq!(columns.offsets, u32s(&[0, 2, 3, /* keys */ 3, 4, 12, /* bytes */ 12, 13, 13]));
    assert_eq!(columns.arena, b"abckonly-key\xff");
    assert_eq!(announced, columns.byte_len());
    assert_eq!((builder.rows(), builder.byte_len()), (0, 0));
}

#[test]
fn an_abandoned_row_leaves_no_trace() {
    let (mut with, mut without) = (all_kinds(), all_kinds());
    fill(&mut with);
    with.int64(0, Some(9));
    with.bytes(1, Some(b"lost"));
    with.begin_run(4);
    with.entry(4, b"lost");
    with.abandon_row();
    fill(&mut with);
    fill(&mut without);
    fill(&mut without);
    assert_eq!(with.take(), without.take());
}

#[test]
fn wrong_cells_are_ignored() {
    let mut builder = all_kinds();
    builder.int64(1, Some(1));
    builder.bytes(1, Some(b"\xff"));
    builder.float64(0, Some(1.0));
    builder.int64(0, Some(1));
    builder.int64(0, Some(2));
    builder.float64(3, Some(1.0));
    assert!(builder.has_value(0) && !builder.has_value(1) && !builder.has_value(2));
    builder.finish_row();
    let columns = builder.take();
    assert_eq!(columns.int64s, 1_i64.to_le_bytes());
    assert_eq!(columns.offsets, u32s(&[0, 0, 0, 0, 0]));
    assert_eq!(columns.bits, [0, 1, 0, 0, 0, 0, 0]);
    assert!(columns.float64s.is_empty());
}

#[test]
fn a_batch_ends_by_rows_or_bytes() {
    let mut builder = ColumnsBuilder::new(&[request(ColumnKind::Bytes, Shape::One)]);
    builder.bytes(0, Some(&vec![0; BATCH_BYTES_MAX]));
    assert!(!builder.is_full());
    builder.finish_row();
    assert!(builder.is_full());
    drop(builder.take());
    assert!(!builder.is_full());
    (0..BATCH_ROWS_MAX).for_each(|_| builder.finish_row());
    assert!(builder.is_full() && builder.byte_len() < BATCH_BYTES_MAX);
}

#[test]
fn recycled_lists_are_used_again() {
    let mut builder = all_kinds();
    fill(&mut builder);
    let first = builder.take();
    let (before, arena) = (first.clone(), first.arena.as_ptr());
    builder.recycle(first);
    fill(&mut builder);
    let second = builder.take();
    assert_eq!(second, before);
    assert_eq!(second.arena.as_ptr(), arena);
}

#[test]
fn rows_of_shared_columns_are_as_if_they_were_pushed() {
    use crate::shared::{CellRef, SharedColumn};
    use ColumnKind::*;
    let kinds = [Int64, Float64, Boolean, Text, Bytes, Json, Int64];
    let texts: Vec<Vec<u8>> =
        (0..40_u8).map(|row| if row == 7 { vec![0xff, b'a'] } else { vec![b'a' + row % 26; usize::from(row % 11)] }).collect();
    let cell = |row: usize, at: usize| match kinds[at] {
        _ if (row + at).is_multiple_of(5) && at < 6 => CellRef::Null,
        Int64 if row == 9 => CellRef::Float64(0.5),
        Int64 => CellRef::Int64(row as i64 - 20),
        Float64 => CellRef::Float64(row as f64 / 3.0),
        Boolean => CellRef::Boolean(row.is_multiple_of(3)),
        _ => CellRef::Bytes(&texts[row]),
    };
    let mut shared: Vec<_> = kinds.into_iter().rev().map(SharedColumn::new).collect();
    let numbers: Vec<_> = (0..kinds.len()).rev().collect();
    let requests: Vec<_> = kinds.iter().map(|kind| request(*kind, Shape::One)).collect();
    let (mut gathered, mut pushed) = (ColumnsBuilder::new(&requests), ColumnsBuilder::new(&requests));
    for _ in 0..2 {
        shared.iter_mut().for_each(SharedColumn::clear);
        for row in 0..texts.len() {
            (0..kinds.len()).for_each(|at| shared[numbers[at]].push(cell(row, at)));
        }
        let picks: [&[u16]; 3] = [&[0, 7, 9, 10], &[], &(11..40).collect::<Vec<_>>()];
        for pick in picks {
            gathered.gather(&shared, &numbers, pick);
            for row in pick.iter().map(|row| usize::from(*row)) {
                for at in 0..kinds.len() {
                    match cell(row, at) {
                        CellRef::Null => {}
                        CellRef::Int64(value) => pushed.int64(at, Some(value)),
                        CellRef::Float64(value) => pushed.float64(at, Some(value)),
                        CellRef::Boolean(value) => pushed.boolean(at, Some(value)),
                        CellRef::Bytes(value) => pushed.bytes(at, Some(value)),
                    }
                }
                pushed.finish_row();
            }
            assert_eq!((gathered.rows(), gathered.byte_len()), (pushed.rows(), pushed.byte_len()));
        }
        let columns = gathered.take();
        assert_eq!((columns.byte_len(), &columns), (columns.byte_len(), &pushed.take()));
    }
    assert!(shared[numbers[3]].has_null() && !shared[numbers[3]].is_valid(7) && shared[numbers[3]].is_valid(8), "not UTF-8");
}

#[test]
fn a_run_at_once_is_as_if_its_cells_were_pushed() {
    let requests =
        [request(ColumnKind::Int64, Shape::Many), request(ColumnKind::Float64, Shape::Many), request(ColumnKind::Int64, Shape::One)];
    let (mut at_once, mut pushed) = (ColumnsBuilder::new(&requests), ColumnsBuilder::new(&requests));
    for run in [&[1_i64, -7, i64::MAX][..], &[], &[0]] {
        let cells: Vec<_> = run.iter().map(|value| value.to_le_bytes()).collect();
        // Columns of another kind or shape, and a second run, are not touched.
        (0..3).for_each(|column| at_once.int64_run(column, &cells));
        at_once.int64_run(0, &[[9; 8]]);
        pushed.begin_run(0);
        run.iter().for_each(|value| pushed.int64(0, Some(*value)));
        pushed.end_run(0);
        if run.is_empty() {
            at_once.abandon_row();
            pushed.abandon_row();
        } else {
            at_once.finish_row();
            pushed.finish_row();
        }
        assert_eq!(at_once.byte_len(), pushed.byte_len());
    }
    assert_eq!(at_once.take(), pushed.take());
}
