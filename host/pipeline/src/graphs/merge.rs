//! One plugin's graphs, merged over all its instances, with the alert rules evaluated on complete rows.
//!
//! A row is complete when every input partition that is not idle has passed its end by the allowed lateness, so what a rule sees
//! does not depend on how many partitions or hosts there are. Where all partitions are idle the clock completes rows, for
//! `inactive` only: silence is the one thing that data cannot announce.

use super::{
    delta::{Delta, GraphDelta, SourcePartition},
    ring::{Landing, Ring},
    rules::{self, Firing},
    shape::{GraphShape, RuleShape, Test},
};
use std::collections::BTreeMap;

/// Cells that one plugin's graphs may have in memory: 64 MiB. Declarations beyond it are refused and counted.
pub const PLUGIN_CELLS_MAX: usize = 8 * 1024 * 1024;

/// Graphs that one plugin may have.
pub const PLUGIN_GRAPHS_MAX: usize = 1_024;

/// Columns that one graph may have.
pub const GRAPH_COLUMNS_MAX: usize = 256;

/// Rules that one graph may have.
pub const GRAPH_RULES_MAX: usize = 256;

/// A partition of which nothing was heard for so long no longer holds rows back: its host is gone.
pub const SILENCE_MS_MAX: i64 = 60_000;

/// How far one input partition has come.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTime {
    /// The greatest event time.
    pub watermark_ms: Option<i64>,
    /// Others need not wait for it.
    pub idle: bool,
    /// The host's time when the newest delta was merged.
    pub heard_ms: i64,
}

/// A graph and what is remembered about its rules.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The contents.
    pub ring: Ring,
    /// The rules; their columns are the ring's.
    pub rules: Vec<RuleShape>,
    /// The last row that all rules were tested at.
    pub tested: Option<i64>,
    /// The last row that the clock completed.
    pub tested_idle: Option<i64>,
}

/// What could not be used; shown in the plugin's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Cells whose row has left the graph.
    pub too_old: u64,
    /// Cells and declarations beyond the limits above, and rules whose windows do not fit.
    pub refused: u64,
}

/// An alert that a rule raised.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    /// The rule's id.
    pub id: String,
    /// The rule's test.
    pub test: Test,
    /// The graph's title.
    pub graph: String,
    /// The column's name.
    pub column: String,
    /// The end of the row at which the rule held, seconds since 1970 UTC: the alert's time.
    pub time_s: i64,
    /// What was found.
    pub firing: Firing,
    /// The rule's threshold.
    pub threshold: f64,
}

/// What [`PluginGraphs::evaluate`] found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluated {
    /// The alerts, by time.
    pub raised: Vec<Raised>,
    /// Rows became complete: what is remembered about them has to be saved.
    pub changed: bool,
}

/// All graphs of one plugin.
#[derive(Clone, Debug, Default)]
pub struct PluginGraphs {
    /// By title.
    pub graphs: BTreeMap<String, Graph>,
    /// By input partition.
    pub sources: BTreeMap<SourcePartition, SourceTime>,
    /// When each id was last raised, in seconds of event time.
    pub raised_s: BTreeMap<String, i64>,
    /// What could not be used.
    pub dropped: Dropped,
}

impl Graph {
    /// An empty graph.
    pub fn new(shape: GraphShape) -> Self {
        Self { ring: Ring::new(shape), rules: Vec::new(), tested: None, tested_idle: None }
    }
}

impl PluginGraphs {
    /// Merges one delta.
    pub fn apply(&mut self, delta: Delta, now_ms: i64) {
        let Delta { source, watermark_ms, idle, graphs } = delta;
        graphs.into_iter().for_each(|graph| self.merge(graph));
        let known = self.sources.entry(source).or_insert(SourceTime { watermark_ms: None, idle, heard_ms: now_ms });
        *known = SourceTime { watermark_ms: known.watermark_ms.max(watermark_ms), idle, heard_ms: now_ms };
    }

    fn merge(&mut self, delta: GraphDelta) {
        let GraphDelta { shape, columns, rules, cells } = delta;
        if !self.fits(&shape, columns.len()) {
            self.dropped.refused += 1 + cells.len() as u64;
            return;
        }
        let graph = self.graphs.entry(shape.title.clone()).or_insert_with(|| Graph::new(shape.clone()));
        if *graph.ring.shape() != shape {
            // Another shape is another graph of the same title: the newest declaration counts.
            *graph = Graph::new(shape);
        }
        let places: Vec<_> = columns.iter().map(|column| graph.ring.column(column)).collect();
        for rule in rules {
            self.dropped.refused += u64::from(!graph.declare_rule(rule, &places));
        }
        for cell in cells {
            let landing = graph.ring.add(places[cell.column as usize], cell.time_s, cell.value);
            self.dropped.too_old += u64::from(landing == Landing::TooOld);
        }
    }

    fn fits(&self, shape: &GraphShape, columns: usize) -> bool {
        let used: usize = self.graphs.values().map(|graph| graph.ring.cell_count()).sum();
        let known = self.graphs.get(&shape.title);
        let had = known.map_or(0, |graph| graph.ring.columns().len());
        // Columns may be new or known: the sum is an upper bound only where the limit is near, which no honest graph is.
        let columns_fit = columns <= GRAPH_COLUMNS_MAX && had.max(columns) <= GRAPH_COLUMNS_MAX;
        let wanted = columns.saturating_sub(had).saturating_mul(shape.rows as usize);
        columns_fit && (known.is_some() || self.graphs.len() < PLUGIN_GRAPHS_MAX) && used.saturating_add(wanted) <= PLUGIN_CELLS_MAX
    }

    /// The time that all partitions have passed, in seconds; `None` while one that is not idle has not begun.
    pub fn data_time_s(&self, now_ms: i64) -> Option<i64> {
        let active = self.sources.values().filter(|source| !source.idle && now_ms - source.heard_ms < SILENCE_MS_MAX);
        let time_ms = active.map(|source| source.watermark_ms).min();
        let all_idle = || self.sources.values().filter_map(|source| source.watermark_ms).max();
        time_ms.unwrap_or_else(all_idle).map(|ms| ms.div_euclid(1_000))
    }

    /// Whether nothing is coming from any partition.
    pub fn is_idle(&self, now_ms: i64) -> bool {
        self.sources.values().all(|source| source.idle || now_ms - source.heard_ms >= SILENCE_MS_MAX)
    }

    /// Tests the rules at the rows that have become complete, oldest first, and throttles by id.
    pub fn evaluate(&mut self, now_ms: i64, lateness_s: i64) -> Evaluated {
        let (mut found, mut changed) = (Vec::new(), false);
        if let Some(time_s) = self.data_time_s(now_ms) {
            let time_s = time_s.saturating_sub(lateness_s);
            self.graphs.values_mut().for_each(|graph| changed |= graph.test_data(time_s, &mut found));
        }
        if self.is_idle(now_ms) {
            let time_s = now_ms.div_euclid(1_000).saturating_sub(lateness_s);
            self.graphs.values_mut().for_each(|graph| changed |= graph.test_idle(time_s, &mut found));
        }
        found.sort_by(|a, b| (a.0.time_s, &a.0.graph).cmp(&(b.0.time_s, &b.0.graph)));
        let raised = found.into_iter().filter_map(|(raised, throttle_s)| self.throttle(raised, throttle_s)).collect();
        Evaluated { raised, changed }
    }

    fn throttle(&mut self, raised: Raised, throttle_s: u32) -> Option<Raised> {
        let until = self.raised_s.get(&raised.id).map(|last| last.saturating_add(i64::from(throttle_s)));
        if until.is_some_and(|until| raised.time_s < until) {
            return None;
        }
        self.raised_s.insert(raised.id.clone(), raised.time_s);
        Some(raised)
    }
}

impl Graph {
    /// Takes a rule whose column is a place in the delta. `false` where it can never be tested.
    fn declare_rule(&mut self, rule: RuleShape, places: &[usize]) -> bool {
        let Some(column) = places.get(rule.column as usize) else { return false };
        let rule = RuleShape { column: *column as u32, ..rule };
        if !rules::is_testable(&rule, self.ring.shape().rows) {
            return false;
        }
        let same = |known: &RuleShape| known.id == rule.id && known.column == rule.column && known.test == rule.test;
        match self.rules.iter().position(same) {
            Some(known) => self.rules[known] = rule,
            None if self.rules.len() < GRAPH_RULES_MAX => self.rules.push(rule),
            None => return false,
        }
        true
    }

    /// Tests all rules at the rows that end at or before this time; whether there were any.
    fn test_data(&mut self, time_s: i64, found: &mut Vec<(Raised, u32)>) -> bool {
        let Some(first) = self.ring.first() else { return false };
        let last = self.ring.row_of(time_s) - 1;
        let begin = self.tested.map_or(first, |tested| tested + 1).max(last - i64::from(self.ring.shape().rows) + 1);
        let idle = self.tested_idle.unwrap_or(i64::MIN);
        for row in begin..=last {
            self.test_row(row, |test| test != Test::Inactive || row > idle, found);
        }
        self.tested = self.tested.max((begin <= last).then_some(last));
        begin <= last
    }

    /// Advances to this time and tests for inactivity at the rows before; whether there were any.
    fn test_idle(&mut self, time_s: i64, found: &mut Vec<(Raised, u32)>) -> bool {
        let (Some(first), Some(head)) = (self.ring.first(), self.ring.head()) else { return false };
        let row = self.ring.row_of(time_s);
        let tested = self.tested.max(self.tested_idle).unwrap_or(first - 1);
        let begin = (tested + 1).max(row - i64::from(self.ring.shape().rows));
        if row > head {
            self.ring.advance(row);
        }
        for row in begin..row {
            self.test_row(row, |test| test == Test::Inactive, found);
        }
        self.tested_idle = self.tested_idle.max((begin < row).then_some(row - 1));
        begin < row
    }

    fn test_row(&self, row: i64, wanted: impl Fn(Test) -> bool, found: &mut Vec<(Raised, u32)>) {
        for rule in self.rules.iter().filter(|rule| wanted(rule.test)) {
            let Some(firing) = rules::test(&self.ring, rule, row) else { continue };
            let column = self.ring.columns().get(rule.column as usize).map(|column| column.shape.name.clone());
            let raised = Raised {
                id: rule.id.clone(),
                test: rule.test,
                graph: self.ring.shape().title.clone(),
                column: column.unwrap_or_default(),
                time_s: self.ring.row_end_s(row),
                firing,
                threshold: rule.threshold,
            };
            found.push((raised, rule.throttle_s));
        }
    }
}

#[cfg(test)]
mod tests;
