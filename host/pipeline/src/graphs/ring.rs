//! The circular buffer: the last `rows` rows of a few columns of doubles, by time. NaN is no data.
//!
//! Rows are numbered absolutely (seconds since 1970 divided by the row's width); a newer row advances the buffer and clears
//! what it skips, an older one lands while it is inside, and is refused when it is not.

use super::shape::{ColumnShape, GraphShape};

/// Rows that are saved together: a checkpoint rewrites only the blocks that changed.
pub const BLOCK_ROWS: u32 = 64;

/// What became of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// It is in its row.
    Landed,
    /// Its row has left the buffer.
    TooOld,
}

/// A column and its cells.
#[derive(Clone, Debug)]
pub struct Column {
    /// As declared.
    pub shape: ColumnShape,
    /// A cell a row, by absolute row modulo rows; empty until the first cell comes.
    cells: Vec<f64>,
}

/// The circular buffer of one graph.
#[derive(Clone, Debug)]
pub struct Ring {
    shape: GraphShape,
    columns: Vec<Column>,
    /// The newest row.
    head: Option<i64>,
    /// The first row that ever had data: windows that begin before it say nothing.
    first: Option<i64>,
    dirty: Vec<bool>,
}

impl Ring {
    /// An empty buffer, all of it dirty: what an earlier graph of the title left behind is saved over. A shape without rows or width is held to have one.
    pub fn new(shape: GraphShape) -> Self {
        let shape = GraphShape { rows: shape.rows.max(1), seconds_per_row: shape.seconds_per_row.max(1), ..shape };
        let blocks = shape.rows.div_ceil(BLOCK_ROWS) as usize;
        Self { shape, columns: Vec::new(), head: None, first: None, dirty: vec![true; blocks] }
    }

    /// As declared.
    pub fn shape(&self) -> &GraphShape {
        &self.shape
    }

    /// The columns in the order in which they came.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The newest row.
    pub fn head(&self) -> Option<i64> {
        self.head
    }

    /// The first row that ever had data.
    pub fn first(&self) -> Option<i64> {
        self.first
    }

    /// The row that a time lies in.
    pub fn row_of(&self, time_s: i64) -> i64 {
        time_s.div_euclid(i64::from(self.shape.seconds_per_row))
    }

    /// The end of a row, in seconds.
    pub fn row_end_s(&self, row: i64) -> i64 {
        row.saturating_add(1).saturating_mul(i64::from(self.shape.seconds_per_row))
    }

    /// The number of the column of this name, added where it is missing. A column that comes back with another aggregation
    /// begins anew: its old cells mean something else.
    pub fn column(&mut self, shape: &ColumnShape) -> usize {
        match self.columns.iter().position(|column| column.shape.name == shape.name) {
            Some(found) => {
                if self.columns[found].shape != *shape {
                    self.redefine(found, shape);
                }
                found
            }
            None => {
                self.columns.push(Column { shape: shape.clone(), cells: Vec::new() });
                self.columns.len() - 1
            }
        }
    }

    fn redefine(&mut self, column: usize, shape: &ColumnShape) {
        let found = &mut self.columns[column];
        if found.shape.aggregation != shape.aggregation {
            found.cells.clear();
            self.dirty.fill(true);
        }
        found.shape = shape.clone();
    }

    /// Merges a value into its cell.
    pub fn add(&mut self, column: usize, time_s: i64, value: f64) -> Landing {
        let row = self.row_of(time_s);
        self.advance(row);
        if !self.holds(row) {
            return Landing::TooOld;
        }
        self.first = Some(self.first.map_or(row, |first| first.min(row)));
        let slot = self.slot(row);
        self.dirty[slot / BLOCK_ROWS as usize] = true;
        let rows = self.shape.rows as usize;
        let column = &mut self.columns[column];
        if column.cells.is_empty() {
            column.cells.resize(rows, f64::NAN);
        }
        column.cells[slot] = column.shape.aggregation.merge(column.cells[slot], value);
        Landing::Landed
    }

    /// Makes this row the newest, if it is newer.
    pub fn advance(&mut self, row: i64) {
        let Some(head) = self.head else {
            self.head = Some(row);
            return;
        };
        let skipped = row.saturating_sub(head).clamp(0, i64::from(self.shape.rows));
        for skipped in row.saturating_sub(skipped)..row {
            let slot = self.slot(skipped + 1);
            self.dirty[slot / BLOCK_ROWS as usize] = true;
            self.columns.iter_mut().filter(|column| !column.cells.is_empty()).for_each(|column| column.cells[slot] = f64::NAN);
        }
        self.head = Some(head.max(row));
    }

    fn slot(&self, row: i64) -> usize {
        row.rem_euclid(i64::from(self.shape.rows)) as usize
    }

    fn holds(&self, row: i64) -> bool {
        self.head.is_some_and(|head| row <= head && head - row < i64::from(self.shape.rows))
    }

    /// The cell of a column in a row; `None` where there is no data.
    pub fn cell(&self, column: usize, row: i64) -> Option<f64> {
        let cells = &self.columns.get(column)?.cells;
        let value = if self.holds(row) { *cells.get(self.slot(row))? } else { f64::NAN };
        (!value.is_nan()).then_some(value)
    }

    /// The column's aggregate over the rows `from..=to`; `None` where none has data.
    pub fn aggregate(&self, column: usize, from: i64, to: i64) -> Option<f64> {
        let aggregation = self.columns.get(column)?.shape.aggregation;
        let cells = (from..=to).filter_map(|row| self.cell(column, row));
        cells.reduce(|sum, value| aggregation.merge(sum, value))
    }

    /// How many cells the buffer holds memory for.
    pub fn cell_count(&self) -> usize {
        self.columns.len() * self.shape.rows as usize
    }

    /// The numbers of the blocks that changed since the last call.
    pub fn take_dirty(&mut self) -> Vec<u32> {
        let found = (0u32..).zip(&self.dirty).filter(|(_, dirty)| **dirty).map(|(block, _)| block).collect();
        self.dirty.fill(false);
        found
    }

    /// The cells with data of one block as (column, absolute row, value).
    pub fn block(&self, block: u32) -> impl Iterator<Item = (usize, i64, f64)> + '_ {
        let rows = i64::from(self.shape.rows);
        let first = i64::from(block) * i64::from(BLOCK_ROWS);
        let slots = first..(first + i64::from(BLOCK_ROWS)).min(rows);
        let head = self.head.unwrap_or(0);
        slots.flat_map(move |slot| {
            // The newest row at or before the head that lies in this slot.
            let row = head - (head - slot).rem_euclid(rows);
            (0..self.columns.len()).filter_map(move |column| Some((column, row, self.cell(column, row)?)))
        })
    }

    /// Puts back what [`Ring::block`] gave: the buffer's head must be restored first. Rows that left the buffer are ignored.
    pub fn restore_cell(&mut self, column: usize, row: i64, value: f64) {
        if !self.holds(row) || column >= self.columns.len() {
            return;
        }
        let (slot, rows) = (self.slot(row), self.shape.rows as usize);
        let cells = &mut self.columns[column].cells;
        if cells.is_empty() {
            cells.resize(rows, f64::NAN);
        }
        cells[slot] = value;
    }

    /// Puts back the newest and the first row.
    pub fn restore_bounds(&mut self, head: Option<i64>, first: Option<i64>) {
        self.head = head;
        self.first = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphs::shape::Aggregation;

    fn ring(rows: u32, seconds_per_row: u32, aggregations: &[Aggregation]) -> Ring {
        let mut ring = Ring::new(GraphShape { title: "t".into(), rows, seconds_per_row });
        for (number, aggregation) in aggregations.iter().enumerate() {
            ring.column(&ColumnShape { name: format!("c{number}"), unit: "count".into(), aggregation: *aggregation });
        }
        ring
    }

    fn contents(ring: &Ring, column: usize) -> Vec<Option<f64>> {
        let head = ring.head().unwrap();
        (head - i64::from(ring.shape().rows) + 1..=head).map(|row| ring.cell(column, row)).collect()
    }

    #[test]
    fn cells_merge_by_their_column() {
        let mut ring = ring(2, 10, &[Aggregation::Sum, Aggregation::Min, Aggregation::Max]);
        for column in 0..3 {
            for value in [5.0, -1.0, 7.0] {
                assert_eq!(ring.add(column, 25, value), Landing::Landed);
            }
        }
        let row: Vec<_> = (0..3).map(|column| ring.cell(column, 2)).collect();
        assert_eq!(row, [Some(11.0), Some(-1.0), Some(7.0)]);
    }

    #[test]
    fn rows_advance_clear_and_refuse() {
        let check = |times: &[(i64, Landing)], expected: &[Option<f64>]| {
            let mut ring = ring(4, 10, &[Aggregation::Sum]);
            for (time, landing) in times {
                assert_eq!(ring.add(0, *time, 1.0), *landing, "at {time} of {times:?}");
            }
            assert_eq!(contents(&ring, 0), expected, "after {times:?}");
        };
        use Landing::{Landed, TooOld};
        check(&[(0, Landed)], &[None, None, None, Some(1.0)]);
        check(&[(0, Landed), (39, Landed)], &[Some(1.0), None, None, Some(1.0)]);
        check(&[(0, Landed), (40, Landed)], &[None, None, None, Some(1.0)]);
        check(&[(40, Landed), (10, Landed), (9, TooOld)], &[Some(1.0), None, None, Some(1.0)]);
        check(&[(0, Landed), (10, Landed), (1_000_000, Landed)], &[None, None, None, Some(1.0)]);
        check(&[(5, Landed), (5, Landed), (15, Landed), (5, Landed)], &[None, None, Some(3.0), Some(1.0)]);
    }

    #[test]
    fn order_does_not_matter() {
        let times = [0i64, 10, 20, 30, 5, 15, 33, 29];
        let mut expected = ring(4, 10, &[Aggregation::Sum]);
        for time in times {
            expected.add(0, time, time as f64);
        }
        for turn in 0..times.len() {
            let mut turned = times;
            turned.rotate_left(turn);
            let mut ring = ring(4, 10, &[Aggregation::Sum]);
            for time in turned {
                ring.add(0, time, time as f64);
            }
            assert_eq!(contents(&ring, 0), contents(&expected, 0), "turned by {turn}");
        }
    }

    #[test]
    fn a_column_that_changes_its_aggregation_begins_anew() {
        let mut ring = ring(4, 10, &[Aggregation::Sum]);
        ring.add(0, 0, 3.0);
        let shape = |aggregation| ColumnShape { name: "c0".into(), unit: "B".into(), aggregation };
        assert_eq!(ring.column(&shape(Aggregation::Sum)), 0);
        assert_eq!(ring.cell(0, 0), Some(3.0), "another unit keeps the cells");
        assert_eq!(ring.column(&shape(Aggregation::Max)), 0);
        assert_eq!(ring.cell(0, 0), None);
    }

    #[test]
    fn blocks_carry_everything_and_only_what_changed_is_dirty() {
        let mut full = ring(200, 1, &[Aggregation::Sum, Aggregation::Max]);
        for time in 0..450 {
            full.add(time as usize % 2, time, time as f64);
        }
        assert_eq!(full.take_dirty(), [0, 1, 2, 3]);
        assert_eq!(full.take_dirty(), [0u32; 0]);
        full.add(0, 449, 1.0);
        assert_eq!(full.take_dirty(), [0], "449 mod 200 lies in the first block");
        let mut copy = ring(200, 1, &[Aggregation::Sum, Aggregation::Max]);
        copy.restore_bounds(full.head(), full.first());
        for block in 0..4 {
            full.block(block).for_each(|(column, row, value)| copy.restore_cell(column, row, value));
        }
        for column in 0..2 {
            assert_eq!(contents(&copy, column), contents(&full, column));
        }
    }
}
