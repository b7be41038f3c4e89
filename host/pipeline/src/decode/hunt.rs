//! Finds the rows that a plugin fails on, so that their neighbours do not suffer.

use std::ops::Range;

/// How a row is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The instance at hand.
    Instance,
    /// A new instance, because the last call failed.
    FreshInstance,
}

/// What came of rows.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<A, E> {
    /// The plugin answered.
    Answered(A),
    /// One row that fails alone on a fresh instance, twice.
    Poison(E),
    /// Too many rows failed one after another; these were not tried.
    Untried,
}

/// Calls the plugin for `rows`, which failed together, in halves and halves of halves, in order.
///
/// A row is poison only if it fails alone on a fresh instance, twice. Where no row does, the instance was at fault, and every row
/// has its answer. After `poison_run_max` poison rows with no answer between them (`poison_run` counts, from batch to batch) the rest is left
/// untried: a plugin that fails on everything costs a bounded time.
pub fn hunt<A, E>(
    rows: Range<u32>,
    poison_run: &mut u32,
    poison_run_max: u32,
    mut call: impl FnMut(Range<u32>, On) -> Result<A, E>,
) -> Vec<(Range<u32>, Verdict<A, E>)> {
    let mut verdicts = Vec::new();
    let mut on = On::FreshInstance;
    // To be tried, the next one last. The whole batch has failed already.
    let mut ranges = halves(rows);
    while let Some(range) = ranges.pop() {
        if *poison_run >= poison_run_max {
            verdicts.push((range, Verdict::Untried));
            continue;
        }
        let answer = if range.len() == 1 { call_alone(&range, &mut call) } else { call(range.clone(), on) };
        on = if answer.is_ok() { On::Instance } else { On::FreshInstance };
        match answer {
            Ok(answer) => {
                *poison_run = 0;
                verdicts.push((range, Verdict::Answered(answer)));
            }
            Err(error) if range.len() == 1 => {
                *poison_run += 1;
                verdicts.push((range, Verdict::Poison(error)));
            }
            Err(_) => ranges.extend(halves(range)),
        }
    }
    verdicts
}

fn call_alone<A, E>(row: &Range<u32>, call: &mut impl FnMut(Range<u32>, On) -> Result<A, E>) -> Result<A, E> {
    call(row.clone(), On::FreshInstance).or_else(|_| call(row.clone(), On::FreshInstance))
}

/// The later half first; one row is not halved.
fn halves(range: Range<u32>) -> Vec<Range<u32>> {
    let middle = range.start + (range.end - range.start) / 2;
    [middle..range.end, range.start..middle].into_iter().filter(|half| !half.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hunts with a plugin that fails where `fails` says so for a row, on its so-and-so-manieth try; returns poison, answered and untried rows.
    fn check(rows: u32, max: u32, mut fails: impl FnMut(u32, u32) -> bool) -> (Vec<u32>, Vec<u32>, Vec<u32>, u32) {
        let mut calls = 0;
        let mut must_be_fresh = true;
        let mut run = 0;
        let verdicts = hunt(0..rows, &mut run, max, |range, on| {
            calls += 1;
            assert!(!must_be_fresh || on == On::FreshInstance, "a failed instance is not called again");
            let failed = range.clone().any(|row| fails(row, calls));
            must_be_fresh = failed;
            if failed { Err("trap") } else { Ok(range) }
        });
        let mut next = 0;
        let (mut poison, mut answered, mut untried) = (Vec::new(), Vec::new(), Vec::new());
        for (range, verdict) in verdicts {
            assert_eq!(range.start, next, "in order, none left out");
            next = range.end;
            match verdict {
                Verdict::Answered(answer) => {
                    assert_eq!(answer, range);
                    answered.extend(range);
                }
                Verdict::Poison("trap") => poison.extend(range),
                Verdict::Poison(_) => unreachable!("the only error"),
                Verdict::Untried => untried.extend(range),
            }
        }
        assert_eq!(next, rows);
        (poison, answered, untried, calls)
    }

    #[test]
    fn poison_is_found_among_its_neighbours() {
        let (poison, answered, untried, calls) = check(100, 8, |row, _| row == 37);
        assert_eq!((poison, answered.len(), untried.len()), (vec![37], 99, 0));
        assert!(calls <= 2 * 7 + 2, "{calls} calls");
        let (poison, answered, ..) = check(1000, 8, |row, _| row % 100 == 7);
        assert_eq!((poison.len(), answered.len()), (10, 990));
    }

    #[test]
    fn a_single_row_is_tried_twice_more() {
        assert_eq!(check(1, 8, |_, _| true), (vec![0], vec![], vec![], 2));
        assert_eq!(check(1, 8, |_, call| call == 1), (vec![], vec![0], vec![], 2));
    }

    #[test]
    fn an_instance_at_fault_costs_no_row() {
        assert_eq!(check(64, 8, |_, _| false), (vec![], (0..64).collect(), vec![], 2));
        let (poison, answered, ..) = check(64, 8, |_, call| call <= 3);
        assert_eq!((poison.len(), answered.len()), (0, 64));
    }

    #[test]
    fn a_plugin_that_fails_on_everything_is_given_up() {
        let (poison, answered, untried, calls) = check(4096, 8, |_, _| true);
        assert_eq!((poison.len(), answered.len(), untried.len()), (8, 0, 4088));
        assert!(calls < 64, "{calls} calls");
    }
}
