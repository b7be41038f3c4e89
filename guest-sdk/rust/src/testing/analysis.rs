//! Running an analysis plugin.

use std::collections::BTreeMap;
use std::fmt;

use super::{Derived, Row, batch_sizes, columns};
use crate::analysis::{self as plugin, Aggregation, Driver, State, Timers};
use crate::{Failure, Time, wire};

/// An analysis plugin under test: one instance, as the host would run it.
pub struct Analysis<T> {
    driver: Driver<T>,
    config: String,
    answer: wire::Subscription,
    /// What this instance declared, by number.
    graphs: Vec<(wire::Graph, Vec<wire::GraphColumn>)>,
}

impl<T> fmt::Debug for Analysis<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Analysis").field("answer", &self.answer).finish_non_exhaustive()
    }
}

impl<T: plugin::Analysis> Analysis<T> {
    /// Opens an instance.
    ///
    /// # Errors
    /// What `open` refuses.
    pub fn open(config: &str) -> Result<Self, Failure> {
        let (driver, answer) = Driver::open(config)?;
        Ok(Self { driver, config: config.into(), answer, graphs: Vec::new() })
    }

    /// The matcher that the plugin asked for.
    pub fn matcher(&self) -> &str {
        &self.answer.matcher
    }

    /// Feeds rows as one batch.
    ///
    /// # Errors
    /// The plugin's failure.
    ///
    /// # Panics
    /// Where the plugin breaks the contract, for example by naming a graph that it never declared.
    pub fn feed(&mut self, rows: &[Row]) -> Result<Found, Failure> {
        let (batch, kept) = columns::batch(rows, self.driver.columns());
        if kept.is_empty() {
            return Ok(Found { left_out: rows.len(), ..Found::default() });
        }
        let findings = self.driver.process(&batch)?;
        Ok(Found { left_out: rows.len() - kept.len(), ..self.collect(findings, &kept) })
    }

    /// The same as the host does where a text that repeats comes once.
    fn feed_with_dictionaries(&mut self, rows: &[Row]) -> Result<Found, Failure> {
        let (batch, kept, dictionaries) = columns::batch_with_dictionaries(rows, self.driver.columns());
        if kept.is_empty() {
            return Ok(Found { left_out: rows.len(), ..Found::default() });
        }
        let findings = self.driver.process_with(&batch, Some(&dictionaries))?;
        Ok(Found { left_out: rows.len() - kept.len(), ..self.collect(findings, &kept) })
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// The plugin's failure.
    pub fn tick(&mut self, now: Time) -> Result<Found, Failure>
    where
        T: Timers,
    {
        let findings = self.driver.tick(now.ms())?;
        Ok(self.collect(findings, &[]))
    }

    /// What the host would keep of the plugin's state.
    pub fn snapshot(&mut self) -> Vec<u8>
    where
        T: State,
    {
        self.driver.plugin().snapshot()
    }

    /// Goes on with a new instance on the state of this one, as after a move to another host.
    ///
    /// # Errors
    /// What `restore` refuses.
    pub fn restart(&mut self) -> Result<(), Failure>
    where
        T: State,
    {
        let state = self.snapshot();
        *self = Self::open(&self.config)?;
        self.driver.plugin().restore(&state, "000000000000")
    }

    /// The plugin itself.
    pub fn plugin(&mut self) -> &mut T {
        self.driver.plugin()
    }

    /// Checks the findings as the host does, and gives everything its name.
    fn collect(&mut self, findings: wire::Findings, kept: &[usize]) -> Found {
        let wire::Findings { messages, new_graphs, new_columns, new_rules, cells, payloads, alerts } = findings;
        self.graphs.extend(new_graphs.into_iter().map(|graph| (graph, Vec::new())));
        new_columns.into_iter().for_each(|column| self.graphs[column.graph as usize].1.push(column));
        let row = |row: u32| kept.get(row as usize).copied();
        let alert = |alert: wire::Alert| Alert { row: row(alert.row), id: alert.id, summary: alert.summary, detail: alert.detail };
        Found {
            graphs: self.cells(&cells),
            rules: new_rules.iter().map(|rule| self.rule(rule)).collect(),
            messages: derived(&messages, row),
            payloads: payloads.into_iter().map(|payload| (payload.name, payload.data)).collect(),
            alerts: alerts.into_iter().map(alert).collect(),
            left_out: 0,
        }
    }

    fn cells(&self, cells: &wire::Cells) -> BTreeMap<(String, String), GraphCells> {
        let wire::Cells { graph, column, time_s, value } = cells;
        let mut out: BTreeMap<(String, String), GraphCells> = BTreeMap::new();
        for (((graph, column), time_s), value) in graph.iter().zip(column).zip(time_s).zip(value) {
            let (graph, columns) = &self.graphs[*graph as usize];
            let column = &columns[*column as usize];
            assert!(!value.is_nan(), "a cell of `{}` is NaN", graph.title);
            let cells = out.entry((graph.title.clone(), column.name.clone())).or_insert_with(|| GraphCells::new(column.aggregation));
            cells.add(*time_s, *value);
        }
        out
    }

    fn rule(&self, rule: &wire::AlertRule) -> String {
        let (graph, columns) = &self.graphs[rule.graph as usize];
        let wire::AlertRule { id, test, threshold, window_rows, .. } = rule;
        let test = match test {
            wire::AlertTest::Inactive => "inactive",
            wire::AlertTest::Above => "above",
            wire::AlertTest::Below => "below",
            wire::AlertTest::PercentChange => "percent-change",
        };
        format!("{id}: {}/{} {test} {threshold} {window_rows}", graph.title, columns[rule.column as usize].name)
    }
}

fn derived(messages: &wire::Messages, row: impl Fn(u32) -> Option<usize>) -> Vec<Derived> {
    let wire::Messages { row: rows, keys, offsets, arena } = messages;
    let ends = offsets.windows(2).map(|pair| &arena[pair[0] as usize..pair[1] as usize]);
    rows.iter().zip(keys).zip(ends).map(|((number, key), bytes)| Derived::parse(row(*number), key, bytes)).collect()
}

/// The cells of one graph column.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphCells {
    aggregation: Aggregation,
    /// By the start of their row, in seconds since 1970.
    pub cells: BTreeMap<u32, f64>,
}

impl GraphCells {
    fn new(aggregation: Aggregation) -> Self {
        Self { aggregation, cells: BTreeMap::new() }
    }

    fn add(&mut self, time_s: u32, value: f64) {
        let merge = match self.aggregation {
            Aggregation::Sum => |a, b| a + b,
            Aggregation::Min => f64::min,
            Aggregation::Max => f64::max,
        };
        self.cells.entry(time_s).and_modify(|cell| *cell = merge(*cell, value)).or_insert(value);
    }
}

/// An alert about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The row among those fed.
    pub row: Option<usize>,
    /// Names the alert and its throttle.
    pub id: String,
    /// One line.
    pub summary: String,
    /// The rest.
    pub detail: String,
}

/// What a plugin found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Cells by the graph's title and the column's name.
    pub graphs: BTreeMap<(String, String), GraphCells>,
    /// Alert rules in words: `id: graph/column test threshold window`.
    pub rules: Vec<String>,
    /// Injected messages.
    pub messages: Vec<Derived>,
    /// Payloads by name.
    pub payloads: BTreeMap<String, Vec<u8>>,
    /// Alerts about messages.
    pub alerts: Vec<Alert>,
    /// Rows in which a required column was null.
    pub left_out: usize,
}

impl Found {
    /// A graph's cell; `time_s` is any second of its row's beginning.
    pub fn cell(&self, title: &str, column: &str, time_s: u32) -> Option<f64> {
        self.graphs.get(&(title.into(), column.into()))?.cells.get(&time_s).copied()
    }

    /// Adds what a later batch found, whose rows begin at `first_row`.
    fn append(&mut self, later: Self, first_row: usize) {
        let Self { graphs, rules, messages, payloads, alerts, left_out } = later;
        for (name, column) in graphs {
            let sum = self.graphs.entry(name).or_insert_with(|| GraphCells::new(column.aggregation));
            column.cells.into_iter().for_each(|(time_s, value)| sum.add(time_s, value));
        }
        // An instance that was restored declares its rules again; they are the same ones.
        let known = self.rules.clone();
        self.rules.extend(rules.into_iter().filter(|rule| !known.contains(rule)));
        let shift = |row: Option<usize>| row.map(|row| row + first_row);
        self.messages.extend(messages.into_iter().map(|message| Derived { row: shift(message.row), ..message }));
        self.alerts.extend(alerts.into_iter().map(|alert| Alert { row: shift(alert.row), ..alert }));
        self.payloads.extend(payloads);
        self.left_out += left_out;
    }
}

/// Feeds the rows in batches of 1, 7 and all, each on an instance of its own, and fails where the results differ.
///
/// # Panics
/// With what differs; or with the plugin's failure.
#[track_caller]
pub fn assert_analysis_invariant<T: plugin::Analysis>(config: &str, rows: &[Row]) -> Found {
    assert_equal(batch_sizes(rows.len()).map(|size| (format!("batches of {size}"), feed_all::<T>(config, rows, size, |_| {}).0)))
}

/// The same for a plugin with state, also with a snapshot and restore after every batch; the last states must be equal too.
///
/// # Panics
/// With what differs; or with the plugin's failure.
#[track_caller]
pub fn assert_analysis_state_invariant<T: plugin::Analysis + State>(config: &str, rows: &[Row]) -> Found {
    let mut states = Vec::new();
    let mut run = |size: usize, restore: bool| {
        let between = |instance: &mut Analysis<T>| {
            if restore {
                instance.restart().unwrap_or_else(|failure| panic!("restore failed: {failure}"));
            }
        };
        let (found, mut instance) = feed_all::<T>(config, rows, size, between);
        let name = format!("batches of {size}{}", if restore { " with restore" } else { "" });
        states.push((name.clone(), instance.snapshot()));
        (name, found)
    };
    let [one, seven, all] = batch_sizes(rows.len());
    let found = assert_equal([run(one, false), run(one, true), run(seven, false), run(seven, true), run(all, false), run(all, true)]);
    for (name, state) in &states[1..] {
        assert_eq!(*state, states[0].1, "the state after {name} differs from the one after {}", states[0].0);
    }
    found
}

fn feed_all<T: plugin::Analysis>(
    config: &str,
    rows: &[Row],
    size: usize,
    mut between: impl FnMut(&mut Analysis<T>),
) -> (Found, Analysis<T>) {
    let mut instance = Analysis::<T>::open(config).unwrap_or_else(|failure| panic!("open failed: {failure}"));
    let mut sum = Found::default();
    for (number, chunk) in rows.chunks(size).enumerate() {
        // Both forms that texts come in must give the same.
        let with_dictionaries = number % 2 == 1 || (size > 1 && size == rows.len());
        let found = if with_dictionaries { instance.feed_with_dictionaries(chunk) } else { instance.feed(chunk) };
        let found = found.unwrap_or_else(|failure| panic!("batch {number} of {size} rows failed: {failure}"));
        sum.append(found, number * size);
        between(&mut instance);
    }
    (sum, instance)
}

/// Sums of fractions may differ in their last bits, as they do when partitions are merged; everything else must be equal.
#[track_caller]
fn assert_equal<const N: usize>(results: [(String, Found); N]) -> Found {
    let mut results = results.into_iter();
    let (first_name, first) = results.next().expect("there are always batch sizes");
    for (name, other) in results {
        assert_eq!(rounded(&other), rounded(&first), "{name} (left) differ from {first_name} (right)");
    }
    first
}

fn rounded(found: &Found) -> Found {
    let mut out = found.clone();
    for column in out.graphs.values_mut() {
        column.cells.values_mut().for_each(|value| *value = format!("{value:.9e}").parse().unwrap_or(*value));
    }
    out.rules.sort();
    out
}
