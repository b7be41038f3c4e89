//! Adding what all rows of a call have, in a fraction of the time that a look at each of them costs.

use super::names::is_same;
use super::seconds::{Seconds, time};
use super::{Graph, GraphColumn, Graphs};
use crate::rows::Slot;

/// Rows of a run from which on codes are counted before anything is added.
const RUN_MIN: usize = 16;

impl Graphs {
    /// Adds 1 for each row to the column of its name; see [`crate::analysis::Findings::count_rows`].
    pub(crate) fn count_rows(&mut self, graph: Graph, times: Slot<'_>, names: Slot<'_>, none: &str) {
        let seconds = Seconds::new(self.graphs[graph.0 as usize].shape.seconds_per_row);
        if names.codes().is_empty() {
            self.count_texts(graph, seconds, times, names, none);
        } else {
            self.count_codes(graph, seconds, times, names, none);
        }
    }

    /// Counts texts that are there for each row.
    fn count_texts(&mut self, graph: Graph, mut seconds: Seconds, times: Slot<'_>, names: Slot<'_>, none: &str) {
        let mut last: (&[u8], Option<GraphColumn>) = (&[], None);
        for (row, at) in times.numbers().iter().enumerate() {
            let name = if names.is_valid(row) { names.bytes(row) } else { none.as_bytes() };
            let column = match last {
                // What comes in a row is often alike.
                (known, Some(column)) if is_same(known, name) => column,
                _ => match self.find(graph, name) {
                    Some(column) => column,
                    None => self.column(graph, if names.is_valid(row) { names.text(row) } else { none }),
                },
            };
            last = (name, Some(column));
            self.cells[column.slot as usize].add(seconds.of(time(at)), 1.0);
        }
    }

    /// Counts texts by their codes, by runs of rows whose times lie in one row of the graph. Texts appear in the order of the rows,
    /// so columns are made in the same order as row by row.
    fn count_codes(&mut self, graph: Graph, mut seconds: Seconds, times: Slot<'_>, names: Slot<'_>, none: &str) {
        let (times, codes) = (times.numbers(), names.codes());
        let (mut columns, mut none_column) = (vec![None; names.texts()], None);
        let mut counts = std::mem::take(&mut self.counts);
        let run_min = if names.is_complete() { RUN_MIN } else { usize::MAX };
        let mut begin = 0;
        while let Some((second, len)) = seconds.of_run(&times[begin..]) {
            let run = begin..begin + len;
            if len >= run_min {
                count(&codes[run.clone()], names.texts(), &mut counts);
                for (text, count) in counts.iter().take(names.texts()).enumerate().filter(|(_, count)| **count > 0) {
                    let column = *columns[text].get_or_insert_with(|| self.column(graph, names.text_at(text)));
                    self.cells[column.slot as usize].add_times(second, 1.0, *count);
                }
            } else {
                for row in run.clone() {
                    let code = usize::from(u16::from_le_bytes(codes[row]));
                    let (known, name) = match columns.get_mut(code).filter(|_| names.is_valid(row)) {
                        Some(known) => (known, names.text_at(code)),
                        None => (&mut none_column, none),
                    };
                    let column = *known.get_or_insert_with(|| self.column(graph, name));
                    self.cells[column.slot as usize].add(second, 1.0);
                }
            }
            begin = run.end;
        }
        self.counts = counts;
    }

    /// Adds the value of each row that has one; see [`crate::analysis::Findings::add_rows`].
    pub(crate) fn add_rows(&mut self, column: GraphColumn, times: Slot<'_>, values: Slot<'_>) {
        let mut seconds = Seconds::new(self.graphs[column.graph as usize].shape.seconds_per_row);
        let cells = &mut self.cells[column.slot as usize];
        let numbers = values.numbers();
        // A handle of another subscription names no column: nothing is added.
        let times = &times.numbers()[..times.numbers().len().min(numbers.len())];
        let is_complete = values.is_complete();
        let mut begin = 0;
        while let Some((second, len)) = seconds.of_run(&times[begin..]) {
            let run = &numbers[begin..begin + len];
            if is_complete {
                cells.add_all(second, run);
            } else {
                let valid = run.iter().enumerate().filter(|(row, _)| values.is_valid(begin + row));
                valid.for_each(|(_, number)| cells.add(second, f64::from_le_bytes(*number)));
            }
            begin += len;
        }
    }
}

/// How often each code is there.
fn count(codes: &[[u8; 2]], texts: usize, counts: &mut Vec<u32>) {
    counts.clear();
    counts.resize(2 * texts, 0);
    // Rows in turn to two counters: where one text follows itself, a count would wait for the one before.
    let mut add = |turn: usize, code: &[u8; 2]| {
        if let Some(count) = counts.get_mut(turn * texts + usize::from(u16::from_le_bytes(*code))) {
            *count += 1;
        }
    };
    // Each turn of a loop costs a check of fuel.
    let (blocks, rest) = codes.as_chunks::<8>();
    blocks.iter().for_each(|block| (0..8).for_each(|at| add(at % 2, &block[at])));
    rest.iter().for_each(|code| add(0, code));
    let (counts, others) = counts.split_at_mut(texts);
    counts.iter_mut().zip(others).for_each(|(count, other)| *count += *other);
}
