//! What an instance publishes to the `graphs` topic: the change of its graphs during one step, and how far its input has come.
//!
//! The record's key is the plugin's name; its value is this, in format version 1: the input partition, its watermark (the
//! greatest event time so far) and whether it is idle, then for each graph that changed its shape, the columns that are
//! named below by their place, newly declared rules, and the cells already merged over the step. Each record says all that is
//! needed to merge it.

use super::{
    codec::{CodecError, Decoder, Encoder},
    shape::{ColumnShape, GraphShape, RuleShape},
};
use std::collections::{BTreeMap, HashMap};

const VERSION: u8 = 1;
const WHAT: &str = "a graph delta";

/// Cells that one instance merges before it publishes them, whatever the step: about 1 MB encoded.
pub const PENDING_CELLS_MAX: usize = 65_536;

/// The input partition that a delta comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourcePartition {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
}

/// The change of a plugin's graphs by one input partition.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// Where the rows came from.
    pub source: SourcePartition,
    /// The greatest event time of the partition so far, in milliseconds; `None` before the first row.
    pub watermark_ms: Option<i64>,
    /// Nothing is coming from this partition now: others need not wait for it.
    pub idle: bool,
    /// The graphs that changed.
    pub graphs: Vec<GraphDelta>,
}

/// The change of one graph.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphDelta {
    /// As declared.
    pub shape: GraphShape,
    /// The columns that rules and cells name by their place here.
    pub columns: Vec<ColumnShape>,
    /// Newly declared rules.
    pub rules: Vec<RuleShape>,
    /// Changes of cells.
    pub cells: Vec<Cell>,
}

/// A change of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// The column's place in [`GraphDelta::columns`].
    pub column: u32,
    /// The beginning of the row, seconds since 1970 UTC.
    pub time_s: i64,
    /// Merged by the column's aggregation.
    pub value: f64,
}

impl Delta {
    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        let Self { source, watermark_ms, idle, graphs } = self;
        let mut out = Encoder::new(VERSION);
        out.text(&source.topic);
        out.unsigned(u64::from(source.partition));
        out.flag(watermark_ms.is_some());
        out.signed(watermark_ms.unwrap_or(0));
        out.flag(*idle);
        out.unsigned(graphs.len() as u64);
        graphs.iter().for_each(|graph| graph.write(&mut out));
        out.finish()
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// Where the bytes are damaged or of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (mut reader, _) = Decoder::new(bytes, WHAT, VERSION)?;
        let source = SourcePartition { topic: reader.text()?, partition: reader.u32()? };
        let known = reader.flag()?;
        let watermark_ms = Some(reader.signed()?).filter(|_| known);
        let idle = reader.flag()?;
        let graphs = (0..reader.count()?).map(|_| GraphDelta::read(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { source, watermark_ms, idle, graphs })
    }
}

impl GraphDelta {
    fn write(&self, out: &mut Encoder) {
        let Self { shape, columns, rules, cells } = self;
        shape.write(out);
        out.unsigned(columns.len() as u64);
        columns.iter().for_each(|column| column.write(out));
        out.unsigned(rules.len() as u64);
        rules.iter().for_each(|rule| rule.write(out));
        out.unsigned(cells.len() as u64);
        for Cell { column, time_s, value } in cells {
            out.unsigned(u64::from(*column));
            out.signed(*time_s);
            out.double(*value);
        }
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let shape = GraphShape::read(reader)?;
        let columns: Vec<_> = (0..reader.count()?).map(|_| ColumnShape::read(reader)).collect::<Result<_, _>>()?;
        let rules = (0..reader.count()?).map(|_| RuleShape::read(reader)).collect::<Result<_, _>>()?;
        let cells = (0..reader.count()?).map(|_| read_cell(reader, columns.len())).collect::<Result<_, _>>()?;
        Ok(Self { shape, columns, rules, cells })
    }
}

fn read_cell(reader: &mut Decoder<'_>, columns: usize) -> Result<Cell, CodecError> {
    let column = reader.u32()?;
    if column as usize >= columns {
        return Err(reader.strange(u64::from(column)));
    }
    Ok(Cell { column, time_s: reader.signed()?, value: reader.double()? })
}

/// A graph as one instance knows it: its place in [`Declared`] is the number that the plugin uses.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredGraph {
    /// As declared.
    pub shape: GraphShape,
    /// In the order of their declaration.
    pub columns: Vec<ColumnShape>,
    /// In the order of their declaration.
    pub rules: Vec<RuleShape>,
}

/// What an instance has declared so far. The numbers are those of the instance: a new one declares anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// The graphs by number.
    pub graphs: Vec<DeclaredGraph>,
}

impl Declared {
    /// Declares a graph and gives its number: declaring a title again names the same graph. `true` where it is new or changed.
    pub fn graph(&mut self, shape: GraphShape) -> (u32, bool) {
        match self.graphs.iter().position(|graph| graph.shape.title == shape.title) {
            Some(found) if self.graphs[found].shape == shape => (found as u32, false),
            Some(found) => {
                self.graphs[found].shape = shape;
                (found as u32, true)
            }
            None => {
                self.graphs.push(DeclaredGraph { shape, columns: Vec::new(), rules: Vec::new() });
                (self.graphs.len() as u32 - 1, true)
            }
        }
    }

    /// Declares a column; `true` where it is new or changed.
    pub fn column(&mut self, graph: u32, shape: ColumnShape) -> bool {
        let Some(graph) = self.graphs.get_mut(graph as usize) else { return false };
        match graph.columns.iter_mut().find(|column| column.name == shape.name) {
            Some(found) if *found == shape => false,
            Some(found) => {
                *found = shape;
                true
            }
            None => {
                graph.columns.push(shape);
                true
            }
        }
    }

    /// Declares a rule; one of the same id on the same column replaces the earlier one. `true` where it is new or changed.
    pub fn rule(&mut self, graph: u32, rule: RuleShape) -> bool {
        let Some(graph) = self.graphs.get_mut(graph as usize) else { return false };
        match graph.rules.iter_mut().find(|known| known.id == rule.id && known.column == rule.column && known.test == rule.test) {
            Some(found) if *found == rule => false,
            Some(found) => {
                *found = rule;
                true
            }
            None => {
                graph.rules.push(rule);
                true
            }
        }
    }
}

/// Changes that are not published yet: cells merged by row, and what was declared.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    cells: HashMap<(u32, u32, i64), f64, foldhash::fast::RandomState>,
    changed: BTreeMap<u32, ()>,
}

impl Pending {
    /// The graph's declaration changed: it is published although it may have no cells.
    pub fn declare(&mut self, graph: u32) {
        self.changed.insert(graph, ());
    }

    /// Merges a cell. What was not declared is ignored: the call's check refused it before.
    pub fn add(&mut self, declared: &Declared, graph: u32, column: u32, time_s: i64, value: f64) {
        let Some(known) = declared.graphs.get(graph as usize) else { return };
        let Some(shape) = known.columns.get(column as usize) else { return };
        let width = i64::from(known.shape.seconds_per_row.max(1));
        let row = time_s.div_euclid(width) * width;
        let cell = self.cells.entry((graph, column, row)).or_insert(f64::NAN);
        *cell = shape.aggregation.merge(*cell, value);
    }

    /// How many cells wait.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.changed.is_empty()
    }

    /// What waits, in a fixed order, and nothing waits any more.
    pub fn take(&mut self, declared: &Declared) -> Vec<GraphDelta> {
        let mut cells: Vec<_> = self.cells.drain().collect();
        cells.sort_unstable_by_key(|(place, _)| *place);
        let mut graphs: BTreeMap<u32, Vec<Cell>> = std::mem::take(&mut self.changed).into_keys().map(|graph| (graph, Vec::new())).collect();
        let declared_now = graphs.keys().copied().collect::<Vec<_>>();
        for ((graph, column, time_s), value) in cells {
            graphs.entry(graph).or_default().push(Cell { column, time_s, value });
        }
        let deltas = graphs.into_iter().filter_map(|(number, cells)| {
            let graph = declared.graphs.get(number as usize)?;
            Some(publish(graph, cells, declared_now.contains(&number)))
        });
        deltas.collect()
    }
}

/// Columns that no cell names are left out of a record that declares nothing.
fn publish(graph: &DeclaredGraph, mut cells: Vec<Cell>, declares: bool) -> GraphDelta {
    if declares {
        return GraphDelta { shape: graph.shape.clone(), columns: graph.columns.clone(), rules: graph.rules.clone(), cells };
    }
    let mut places = BTreeMap::new();
    for cell in &mut cells {
        let next = places.len() as u32;
        cell.column = *places.entry(cell.column).or_insert(next);
    }
    let mut columns: Vec<_> = places.into_iter().collect();
    columns.sort_unstable_by_key(|(_, place)| *place);
    let columns = columns.into_iter().filter_map(|(column, _)| graph.columns.get(column as usize).cloned()).collect();
    GraphDelta { shape: graph.shape.clone(), columns, rules: Vec::new(), cells }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphs::shape::{Aggregation, Test};

    fn shape(title: &str) -> GraphShape {
        GraphShape { title: title.into(), rows: 60, seconds_per_row: 10 }
    }

    fn column(name: &str, aggregation: Aggregation) -> ColumnShape {
        ColumnShape { name: name.into(), unit: "count".into(), aggregation }
    }

    fn rule(id: &str) -> RuleShape {
        RuleShape { column: 0, id: id.into(), test: Test::Below, threshold: 0.5, window_rows: 5, throttle_s: 60 }
    }

    fn declared() -> Declared {
        let mut declared = Declared::default();
        assert_eq!(declared.graph(shape("a")), (0, true));
        assert_eq!(declared.graph(shape("b")), (1, true));
        for name in ["x", "y", "z"] {
            assert!(declared.column(1, column(name, Aggregation::Sum)));
        }
        assert!(declared.rule(1, rule("low")));
        declared
    }

    #[test]
    fn declaring_again_names_the_same() {
        let mut declared = declared();
        let before = declared.clone();
        assert_eq!(declared.graph(shape("b")), (1, false));
        assert!(!declared.column(1, column("y", Aggregation::Sum)));
        assert!(!declared.rule(1, rule("low")));
        assert!(!declared.column(9, column("y", Aggregation::Sum)), "no such graph");
        assert_eq!(declared, before);
        assert_eq!(declared.graph(GraphShape { rows: 61, ..shape("b") }), (1, true));
        assert!(declared.column(1, column("y", Aggregation::Max)));
    }

    #[test]
    fn cells_merge_by_row_and_only_their_columns_are_named() {
        let declared = declared();
        let mut pending = Pending::default();
        for (column, time, value) in [(2, 19, 1.0), (2, 10, 2.0), (0, 5, 4.0), (2, 20, 8.0), (9, 20, 1.0)] {
            pending.add(&declared, 1, column, time, value);
        }
        let deltas = pending.take(&declared);
        assert!(pending.is_empty());
        let [delta] = &deltas[..] else { panic!("one graph changed: {deltas:?}") };
        assert_eq!(delta.columns.iter().map(|column| &column.name[..]).collect::<Vec<_>>(), ["x", "z"]);
        let cells: Vec<_> = delta.cells.iter().map(|cell| (cell.column, cell.time_s, cell.value)).collect();
        assert_eq!(cells, [(0, 0, 4.0), (1, 10, 3.0), (1, 20, 8.0)]);
        assert_eq!(delta.rules, []);
    }

    #[test]
    fn a_delta_survives_the_way_and_damage_is_an_error() {
        let declared = declared();
        let mut pending = Pending::default();
        pending.declare(1);
        pending.add(&declared, 1, 2, -5, -1.5);
        let source = SourcePartition { topic: "validated".into(), partition: 7 };
        let delta = Delta { source, watermark_ms: Some(-3), idle: true, graphs: pending.take(&declared) };
        let bytes = delta.encode();
        assert_eq!(Delta::decode(&bytes), Ok(delta));
        for end in 0..bytes.len() {
            assert!(Delta::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
