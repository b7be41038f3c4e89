//! The cells of a column between two calls' answers.

use crate::wire::Aggregation;

/// What was added to a column since the last answer: a cell for each row, of which the one added to last is at hand.
#[derive(Debug)]
pub(super) struct Cells {
    /// The row at hand: its beginning, its width (0 where none is at hand) and its value.
    begin_s: u32,
    width_s: u32,
    value: f64,
    aggregation: Aggregation,
    seconds_per_row: u32,
    /// The place of the row at hand in `rows`, which has an old value of it.
    place: usize,
    /// Beginnings, ascending, and values.
    rows: Vec<(u32, f64)>,
}

impl Cells {
    pub(super) fn new(aggregation: Aggregation, seconds_per_row: u32) -> Self {
        Self { begin_s: 0, width_s: 0, value: 0.0, aggregation, seconds_per_row: seconds_per_row.max(1), place: 0, rows: Vec::new() }
    }

    /// Merges a value into its cell. NaN says nothing and the host refuses it, so it is left out.
    #[inline]
    pub(super) fn add(&mut self, time_s: u32, value: f64) {
        // Messages come in about the order of their times: nearly always it is the row at hand.
        if time_s.wrapping_sub(self.begin_s) >= self.width_s {
            return self.add_to_another(time_s, value);
        }
        if !value.is_nan() {
            self.value = merge(self.aggregation, self.value, value);
        }
    }

    /// Merges the same value so many times, at least once, into its cell.
    #[inline]
    pub(super) fn add_times(&mut self, time_s: u32, value: f64, times: u32) {
        // A minimum or maximum of equal values is one of them; what is added up here are ones, so the product is exact.
        let value = if self.aggregation == Aggregation::Sum { value * f64::from(times) } else { value };
        self.add(time_s, value);
    }

    /// Merges values of one second one after the other, as [`add`](Self::add) would.
    pub(super) fn add_all(&mut self, time_s: u32, values: &[[u8; 8]]) {
        let (blocks, rest) = values.as_chunks::<8>();
        for block in blocks {
            let values = block.map(f64::from_le_bytes);
            let has_nan = values.iter().fold(false, |any, value| any | value.is_nan());
            let is_at_hand = time_s.wrapping_sub(self.begin_s) < self.width_s;
            if self.aggregation == Aggregation::Sum && is_at_hand && !has_nan {
                self.value = values.iter().fold(self.value, |sum, value| sum + value);
            } else {
                values.iter().for_each(|value| self.add(time_s, *value));
            }
        }
        rest.iter().for_each(|value| self.add(time_s, f64::from_le_bytes(*value)));
    }

    #[inline(never)]
    fn add_to_another(&mut self, time_s: u32, value: f64) {
        if value.is_nan() {
            return;
        }
        self.put_back();
        let begin_s = time_s - time_s % self.seconds_per_row;
        self.value = match self.rows.binary_search_by_key(&begin_s, |row| row.0) {
            Ok(place) => {
                self.place = place;
                merge(self.aggregation, self.rows[place].1, value)
            }
            Err(place) => {
                self.place = place;
                self.rows.insert(place, (begin_s, value));
                value
            }
        };
        (self.begin_s, self.width_s) = (begin_s, self.seconds_per_row);
    }

    /// Nothing is at hand any more.
    fn put_back(&mut self) {
        if std::mem::take(&mut self.width_s) > 0
            && let Some(row) = self.rows.get_mut(self.place)
        {
            row.1 = self.value;
        }
    }

    /// All cells, ascending; none is left.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u32, f64)> + '_ {
        self.put_back();
        self.rows.drain(..)
    }
}

#[inline]
fn merge(aggregation: Aggregation, cell: f64, value: f64) -> f64 {
    match aggregation {
        Aggregation::Sum => cell + value,
        Aggregation::Min => cell.min(value),
        Aggregation::Max => cell.max(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(aggregation: Aggregation, added: &[(u32, f64)], expected: &[(u32, f64)]) {
        let mut cells = Cells::new(aggregation, 60);
        for turn in 0..2 {
            added.iter().for_each(|(time_s, value)| cells.add(*time_s, *value));
            assert_eq!(cells.drain().collect::<Vec<_>>(), expected, "turn {turn}");
        }
    }

    #[test]
    fn values_merge_by_row_whatever_their_order() {
        let added = [(61, 1.0), (119, 2.0), (0, 4.0), (120, 8.0), (60, -1.0), (59, 16.0), (61, f64::NAN), (300, f64::NAN), (u32::MAX, 1.0)];
        let last = u32::MAX - u32::MAX % 60;
        check(Aggregation::Sum, &added, &[(0, 20.0), (60, 2.0), (120, 8.0), (last, 1.0)]);
        check(Aggregation::Min, &added, &[(0, 4.0), (60, -1.0), (120, 8.0), (last, 1.0)]);
        check(Aggregation::Max, &added, &[(0, 16.0), (60, 2.0), (120, 8.0), (last, 1.0)]);
        check(Aggregation::Sum, &[(5, f64::NAN)], &[]);
        check(Aggregation::Sum, &[], &[]);
    }
}
