//! How merged graphs are kept in checkpoints: a head for each plugin (shapes, rules, throttles, partitions) and a value for each
//! block of rows, so that a step saves what changed and not eight days of minutes.

use super::{
    codec::{CodecError, Decoder, Encoder},
    delta::SourcePartition,
    merge::{Dropped, Graph, PluginGraphs, SourceTime},
    ring::Ring,
    shape::{ColumnShape, GraphShape, RuleShape},
};

const VERSION: u8 = 1;

/// Everything of a plugin's graphs but the cells.
pub fn encode_head(graphs: &PluginGraphs) -> Vec<u8> {
    let PluginGraphs { graphs, sources, raised_s, dropped } = graphs;
    let Dropped { too_old, refused } = dropped;
    let mut out = Encoder::new(VERSION);
    out.unsigned(*too_old);
    out.unsigned(*refused);
    out.unsigned(sources.len() as u64);
    for (source, SourceTime { watermark_ms, idle, heard_ms }) in sources {
        out.text(&source.topic);
        out.unsigned(u64::from(source.partition));
        optional(&mut out, *watermark_ms);
        out.flag(*idle);
        out.signed(*heard_ms);
    }
    out.unsigned(raised_s.len() as u64);
    for (id, time_s) in raised_s {
        out.text(id);
        out.signed(*time_s);
    }
    out.unsigned(graphs.len() as u64);
    graphs.values().for_each(|graph| write_graph(&mut out, graph));
    out.finish()
}

fn write_graph(out: &mut Encoder, graph: &Graph) {
    let Graph { ring, rules, tested, tested_idle } = graph;
    ring.shape().write(out);
    out.unsigned(ring.columns().len() as u64);
    ring.columns().iter().for_each(|column| column.shape.write(out));
    out.unsigned(rules.len() as u64);
    rules.iter().for_each(|rule| rule.write(out));
    [ring.head(), ring.first(), *tested, *tested_idle].into_iter().for_each(|row| optional(out, row));
}

fn optional(out: &mut Encoder, value: Option<i64>) {
    out.flag(value.is_some());
    out.signed(value.unwrap_or(0));
}

/// Reads a head; the graphs are empty until [`restore_block`] fills them.
///
/// # Errors
/// Where the bytes are damaged or of a newer format.
pub fn decode_head(bytes: &[u8]) -> Result<PluginGraphs, CodecError> {
    let (mut reader, _) = Decoder::new(bytes, "the checkpoint of a plugin's graphs", VERSION)?;
    let dropped = Dropped { too_old: reader.unsigned()?, refused: reader.unsigned()? };
    let mut found = PluginGraphs { dropped, ..PluginGraphs::default() };
    for _ in 0..reader.count()? {
        let source = SourcePartition { topic: reader.text()?, partition: reader.u32()? };
        let time = SourceTime { watermark_ms: read_optional(&mut reader)?, idle: reader.flag()?, heard_ms: reader.signed()? };
        found.sources.insert(source, time);
    }
    for _ in 0..reader.count()? {
        found.raised_s.insert(reader.text()?, reader.signed()?);
    }
    for _ in 0..reader.count()? {
        let graph = read_graph(&mut reader)?;
        found.graphs.insert(graph.ring.shape().title.clone(), graph);
    }
    reader.finish()?;
    Ok(found)
}

fn read_graph(reader: &mut Decoder<'_>) -> Result<Graph, CodecError> {
    let mut ring = Ring::new(GraphShape::read(reader)?);
    for _ in 0..reader.count()? {
        ring.column(&ColumnShape::read(reader)?);
    }
    let rules = (0..reader.count()?).map(|_| RuleShape::read(reader)).collect::<Result<_, _>>()?;
    let (head, first) = (read_optional(reader)?, read_optional(reader)?);
    ring.restore_bounds(head, first);
    Ok(Graph { ring, rules, tested: read_optional(reader)?, tested_idle: read_optional(reader)? })
}

fn read_optional(reader: &mut Decoder<'_>) -> Result<Option<i64>, CodecError> {
    let known = reader.flag()?;
    Ok(Some(reader.signed()?).filter(|_| known))
}

/// The cells of one block; `None` where it holds none.
pub fn encode_block(ring: &Ring, block: u32) -> Option<Vec<u8>> {
    let mut out = Encoder::new(VERSION);
    let cells: Vec<_> = ring.block(block).collect();
    for (column, row, value) in &cells {
        out.unsigned(*column as u64);
        out.signed(*row);
        out.double(*value);
    }
    (!cells.is_empty()).then(|| out.finish())
}

/// Puts a block's cells back; rows that have left the graph since are ignored.
///
/// # Errors
/// Where the bytes are damaged or of a newer format.
pub fn restore_block(ring: &mut Ring, bytes: &[u8]) -> Result<(), CodecError> {
    let (mut reader, _) = Decoder::new(bytes, "the checkpoint of a graph's rows", VERSION)?;
    while !reader.is_empty() {
        let (column, row, value) = (reader.unsigned()?, reader.signed()?, reader.double()?);
        let column = usize::try_from(column).map_err(|_| reader.strange(column))?;
        ring.restore_cell(column, row, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphs::{Aggregation, Test};

    fn graphs() -> PluginGraphs {
        let mut graph = Graph::new(GraphShape { title: "volume".into(), rows: 100, seconds_per_row: 60 });
        graph.ring.column(&ColumnShape { name: "main".into(), unit: "count".into(), aggregation: Aggregation::Max });
        for row in 0..150 {
            graph.ring.add(0, row * 60, row as f64);
        }
        let rule = RuleShape { column: 0, id: "a".into(), test: Test::Inactive, threshold: -1.5, window_rows: 5, throttle_s: 60 };
        graph.rules.push(rule);
        (graph.tested, graph.tested_idle) = (Some(148), Some(-3));
        let mut graphs = PluginGraphs { dropped: Dropped { too_old: 3, refused: 4 }, ..PluginGraphs::default() };
        graphs.graphs.insert("volume".into(), graph);
        graphs.raised_s.insert("a".into(), -7);
        for (partition, watermark_ms) in [(0, None), (1, Some(-5))] {
            let source = SourcePartition { topic: "validated".into(), partition };
            graphs.sources.insert(source, SourceTime { watermark_ms, idle: partition == 0, heard_ms: 9 });
        }
        graphs
    }

    #[test]
    fn graphs_come_back() {
        let saved = graphs();
        let head = encode_head(&saved);
        let mut found = decode_head(&head).unwrap();
        let ring = &mut found.graphs.get_mut("volume").unwrap().ring;
        for block in 0..2 {
            restore_block(ring, &encode_block(&saved.graphs["volume"].ring, block).unwrap()).unwrap();
        }
        assert_eq!(encode_head(&found), head);
        let cells = |graphs: &PluginGraphs| (0..160).map(|row| graphs.graphs["volume"].ring.cell(0, row)).collect::<Vec<_>>();
        assert_eq!(cells(&found), cells(&saved));
        assert_eq!((found.sources, found.raised_s, found.dropped), (saved.sources, saved.raised_s, saved.dropped));
    }

    #[test]
    fn damage_is_an_error() {
        let head = encode_head(&graphs());
        for end in 0..head.len() {
            assert!(decode_head(&head[..end]).is_err(), "cut at {end}");
        }
        let mut ring = graphs().graphs["volume"].ring.clone();
        let text = restore_block(&mut ring, &[1, 0, 2, 0]).unwrap_err().to_string();
        assert_eq!(text, "the checkpoint of a graph's rows is cut short");
        let text = restore_block(&mut ring, &[9]).unwrap_err().to_string();
        assert_eq!(
            text,
            "the checkpoint of a graph's rows has format version 9; this program reads up to 1: start the newer program again"
        );
    }
}
