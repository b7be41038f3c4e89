//! Alert rules on one column of a merged graph, tested row by row as rows become complete.
//!
//! A window is the `window_rows` rows that end with the row that just became complete. A window that begins before the graph's
//! first data tells nothing about volume, so `below` and `percent-change` wait until theirs lies wholly after it. A window of a
//! `sum` column without any data counts as 0 for them; a `min` or `max` column without data has no value, and nothing fires.

use super::{
    ring::Ring,
    shape::{Aggregation, RuleShape, Test},
};

/// A rule that holds at a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// The last window's aggregate, where it has one.
    pub value: Option<f64>,
    /// The aggregate of the window before, where the test compares with it.
    pub previous: Option<f64>,
    /// A sentence for people.
    pub summary: String,
}

/// Whether a rule can ever be tested on this graph: both windows must fit beside the incomplete row.
pub fn is_testable(rule: &RuleShape, rows: u32) -> bool {
    let windows = match rule.test {
        Test::Inactive | Test::PercentChange => 2,
        Test::Above | Test::Below => 1,
    };
    rule.window_rows > 0 && rule.threshold.is_finite() && u64::from(rule.window_rows) * windows < u64::from(rows)
}

/// Tests a rule at a row that is complete.
pub fn test(ring: &Ring, rule: &RuleShape, row: i64) -> Option<Firing> {
    let windows = Windows::at(ring, rule, row)?;
    let (value, previous) = match rule.test {
        Test::Inactive => inactive(&windows)?,
        Test::Above => above(&windows, rule.threshold)?,
        Test::Below => below(&windows, rule.threshold)?,
        Test::PercentChange => percent_change(&windows, rule.threshold)?,
    };
    let summary = windows.sentence(rule, value, previous);
    Some(Firing { value, previous, summary })
}

struct Windows<'a> {
    ring: &'a Ring,
    column: usize,
    current: Option<f64>,
    previous: Option<f64>,
    /// How many whole windows lie after the graph's first data: 0, 1 or 2.
    whole: u8,
}

type Tested = Option<(Option<f64>, Option<f64>)>;

impl<'a> Windows<'a> {
    fn at(ring: &'a Ring, rule: &RuleShape, row: i64) -> Option<Self> {
        let (column, window) = (rule.column as usize, i64::from(rule.window_rows));
        let (start, first) = (row - window + 1, ring.first()?);
        let whole = u8::from(start >= first) + u8::from(start - window >= first);
        let current = ring.aggregate(column, start, row);
        let previous = ring.aggregate(column, start - window, start - 1);
        Some(Self { ring, column, current, previous, whole })
    }

    /// The aggregate, where an empty window of a sum is 0.
    fn counted(&self, aggregate: Option<f64>) -> Option<f64> {
        let sums = self.ring.columns().get(self.column)?.shape.aggregation == Aggregation::Sum;
        aggregate.or(sums.then_some(0.0))
    }

    fn sentence(&self, rule: &RuleShape, value: Option<f64>, previous: Option<f64>) -> String {
        let name = self.ring.columns().get(self.column).map_or("", |column| &column.shape.name);
        let unit = self.ring.columns().get(self.column).map_or("", |column| &column.shape.unit);
        let title = &self.ring.shape().title;
        let span = span(u64::from(rule.window_rows) * u64::from(self.ring.shape().seconds_per_row));
        let (value, previous) = (value.unwrap_or(0.0), previous.unwrap_or(0.0));
        match rule.test {
            Test::Inactive => format!("{title}: {name} had no data for {span}"),
            Test::Above => format!("{title}: {name} was {} {unit} in {span}, above {}", number(value), number(rule.threshold)),
            Test::Below => format!("{title}: {name} was {} {unit} in {span}, below {}", number(value), number(rule.threshold)),
            Test::PercentChange => {
                let change = (value - previous) / previous.abs() * 100.0;
                let (value, previous) = (number(value), number(previous));
                format!("{title}: {name} changed by {change:+.1} % in {span}, from {previous} to {value} {unit}")
            }
        }
    }
}

fn inactive(windows: &Windows<'_>) -> Tested {
    (windows.current.is_none() && windows.previous.is_some()).then_some((None, windows.previous))
}

fn above(windows: &Windows<'_>, threshold: f64) -> Tested {
    let value = windows.current?;
    (value > threshold).then_some((Some(value), None))
}

fn below(windows: &Windows<'_>, threshold: f64) -> Tested {
    let value = windows.counted(windows.current)?;
    (windows.whole >= 1 && value < threshold).then_some((Some(value), None))
}

fn percent_change(windows: &Windows<'_>, threshold: f64) -> Tested {
    let (value, previous) = (windows.counted(windows.current)?, windows.previous?);
    let change = (value - previous) / previous.abs() * 100.0;
    let fires = windows.whole == 2 && previous != 0.0 && change.abs() > threshold;
    fires.then_some((Some(value), Some(previous)))
}

/// A span in its largest whole unit.
fn span(seconds: u64) -> String {
    match seconds {
        s if s >= 86_400 && s.is_multiple_of(86_400) => format!("{} d", s / 86_400),
        s if s >= 3_600 && s.is_multiple_of(3_600) => format!("{} h", s / 3_600),
        s if s >= 60 && s.is_multiple_of(60) => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// A number without a needless fraction.
fn number(value: f64) -> String {
    if value == value.trunc() { format!("{value}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphs::shape::{ColumnShape, GraphShape};

    const NONE: f64 = f64::NAN;

    /// A graph of minutes whose rows from minute 100 on hold these values.
    fn ring(aggregation: Aggregation, rows: &[f64]) -> Ring {
        let mut ring = Ring::new(GraphShape { title: "volume".into(), rows: 60, seconds_per_row: 60 });
        ring.column(&ColumnShape { name: "main".into(), unit: "count".into(), aggregation });
        for (row, value) in (100..).zip(rows) {
            ring.advance(row);
            if !value.is_nan() {
                ring.add(0, row * 60, *value);
            }
        }
        ring
    }

    fn rule(test: Test, threshold: f64, window_rows: u32) -> RuleShape {
        RuleShape { column: 0, id: "id".into(), test, threshold, window_rows, throttle_s: 0 }
    }

    /// The sentence of the rule at the last row but one (the last is incomplete), or `-`.
    #[track_caller]
    fn check(aggregation: Aggregation, test_: Test, threshold: f64, window: u32, rows: &[f64], expected: &str) {
        let ring = ring(aggregation, rows);
        let found = test(&ring, &rule(test_, threshold, window), 100 + rows.len() as i64 - 2);
        assert_eq!(found.map_or("-".into(), |firing| firing.summary), expected, "{test_:?} {threshold} {window} {rows:?}");
    }

    #[test]
    fn inactive() {
        let check = |window, rows: &[f64], expected| check(Aggregation::Sum, Test::Inactive, 0.0, window, rows, expected);
        check(2, &[1.0, 1.0, NONE, NONE, NONE], "volume: main had no data for 2 min");
        check(2, &[1.0, 1.0, NONE, NONE, 7.0], "volume: main had no data for 2 min");
        check(2, &[1.0, 1.0, NONE, 1.0, NONE], "-");
        check(2, &[1.0, NONE, NONE, NONE, NONE, NONE], "-");
        check(2, &[], "-");
    }

    #[test]
    fn above_and_below() {
        let above = |rows: &[f64], expected| check(Aggregation::Sum, Test::Above, 5.0, 2, rows, expected);
        above(&[3.0, 3.0, 0.0], "volume: main was 6 count in 2 min, above 5");
        above(&[3.0, 2.0, 9.0], "-");
        above(&[9.5, 0.0], "volume: main was 9.50 count in 2 min, above 5");
        let below = |aggregation, rows: &[f64], expected| check(aggregation, Test::Below, 5.0, 2, rows, expected);
        below(Aggregation::Sum, &[3.0, 1.0, 9.0], "volume: main was 4 count in 2 min, below 5");
        below(Aggregation::Sum, &[3.0, 9.0], "-");
        below(Aggregation::Sum, &[9.0, NONE, NONE, NONE], "volume: main was 0 count in 2 min, below 5");
        below(Aggregation::Min, &[9.0, NONE, NONE, NONE], "-");
        below(Aggregation::Min, &[7.0, 4.0, NONE], "volume: main was 4 count in 2 min, below 5");
        below(Aggregation::Max, &[7.0, 4.0, NONE], "-");
    }

    #[test]
    fn percent_change() {
        let check = |rows: &[f64], expected| check(Aggregation::Sum, Test::PercentChange, 50.0, 2, rows, expected);
        check(&[10.0, 10.0, 5.0, 4.0, 9.0], "volume: main changed by -55.0 % in 2 min, from 20 to 9 count");
        check(&[10.0, 10.0, 20.0, 11.0, 9.0], "volume: main changed by +55.0 % in 2 min, from 20 to 31 count");
        check(&[10.0, 10.0, 5.0, 5.0, 9.0], "-");
        check(&[10.0, 10.0, NONE, NONE, NONE], "volume: main changed by -100.0 % in 2 min, from 20 to 0 count");
        check(&[10.0, 100.0, 100.0, 0.0], "-");
        check(&[0.0, 0.0, 5.0, 5.0, 9.0], "-");
    }

    #[test]
    fn windows_must_fit_beside_the_incomplete_row() {
        let check = |test, window, rows, expected| assert_eq!(is_testable(&rule(test, 1.0, window), rows), expected, "{test:?} {window}");
        check(Test::Inactive, 5, 11, true);
        check(Test::Inactive, 5, 10, false);
        check(Test::Above, 9, 10, true);
        check(Test::Above, 10, 10, false);
        check(Test::Above, 0, 10, false);
        check(Test::PercentChange, u32::MAX, 11_520, false);
        assert!(!is_testable(&rule(Test::Above, f64::NAN, 1), 10));
    }
}
