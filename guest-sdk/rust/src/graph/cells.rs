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
            let is_at_hand = time_s.wrapping_sub(self.begin_s) < self.width_s;
            let sum = values.iter().fold(self.value, |sum, value| sum + value);
            // Where one of them is not a number the sum is none.
            if self.aggregation == Aggregation::Sum && is_at_hand && !sum.is_nan() {
                self.value = sum;
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

    #[test]
    fn values_merge_at_once_as_one_after_the_other() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
        for aggregation in [Aggregation::Sum, Aggregation::Min, Aggregation::Max] {
            // Up to three of the values are odd ones, at any place of a block of eight, or behind it.
            for seed in 0..2_000_usize {
                let mut values: Vec<f64> = (0..3 + seed % 21).map(|at| (at * 7 + seed) as f64 / 3.0).collect();
                for turn in 0..seed % 4 {
                    let at = (seed * 31 + turn * 17) % values.len();
                    values[at] = odd[(seed / 5 + turn) % odd.len()];
                }
                let cells: Vec<_> = values.iter().map(|value| value.to_le_bytes()).collect();
                let (mut at_once, mut one_by_one) = (Cells::new(aggregation, 60), Cells::new(aggregation, 60));
                for time_s in [61, 61, 119, 7] {
                    at_once.add_all(time_s, &cells);
                    values.iter().for_each(|value| one_by_one.add(time_s, *value));
                }
                let bits =
                    |cells: &mut Cells| cells.drain().map(|(second, value)| (second, value.is_nan(), value.to_bits())).collect::<Vec<_>>();
                let same = |(one, other): (&(u32, bool, u64), &(u32, bool, u64))| {
                    one.0 == other.0 && one.1 == other.1 && (one.1 || one.2 == other.2)
                };
                let (have, want) = (bits(&mut at_once), bits(&mut one_by_one));
                assert!(have.len() == want.len() && have.iter().zip(&want).all(same), "{values:?}: {have:?} is not {want:?}");
            }
        }
    }
}
