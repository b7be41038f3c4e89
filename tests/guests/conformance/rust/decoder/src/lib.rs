//! The conformance decoder; `../../README.md` says what it does.

#[path = "../../rows.rs"]
#[allow(dead_code, reason = "shared with the analysis guest")]
mod rows;

use rows::{BLOB, FLAG, FLOAT, NUMBER, Rows, VALUE, begin, subscription};
use tidemill_guest::bindings::decoder_plugin as bindings;
use tidemill_guest::bindings::decoder_plugin::exports::tidemill::plugin::decoder::Guest;
use tidemill_guest::bindings::imports::tidemill::plugin::types::{
    Batch, Columns, Decoded, DecoderPlan, Failure, Fate, Field, Kind, Rejection, Scope, Section,
};

struct Decoder;

impl Guest for Decoder {
    fn open(config: String) -> Result<DecoderPlan, Failure> {
        let subscription = subscription(&config, Scope::Stateless)?;
        let section = |path: &str, fate| Section { path: path.into(), fate };
        let section_plans = vec![vec![], vec![section("/one", Fate::OwnField), section("/many/json", Fate::Drop)]];
        Ok(DecoderPlan { subscription, fields: fields(), section_plans })
    }

    fn decode(input: Batch) -> Result<Decoded, Failure> {
        begin(&input)?;
        let rows = Rows::new(&input);
        let each = 0..rows.len();
        let plan_of = each.clone().map(|row| (row % 2) as u8).collect();
        let rejections = each.filter(|row| rows.is_least(*row)).map(|row| Rejection {
            row: row as u32,
            code: u32::MAX,
            text: format!("least: {}", rows.text(row)),
        });
        Ok(Decoded { columns: columns(&rows), plan_of, rejections: rejections.collect() })
    }
}

fn fields() -> Vec<Field> {
    let field = |name: &str, kind, representation: &str| Field { name: name.into(), kind, representation: representation.into() };
    vec![
        field("doubled", Kind::Int64, "count"),
        field("negated", Kind::Float64, "ms"),
        field("inverted", Kind::Boolean, ""),
        field("row", Kind::Text, "text/plain"),
        field("reversed", Kind::Bytes, "B"),
        field("same", Kind::Json, "json"),
    ]
}

fn columns(rows: &Rows<'_>) -> Columns {
    let each = || 0..rows.len();
    let there = |column: usize, row: usize| !rows.is_null(column, row);
    let valid = |column: usize| each().map(move |row| u8::from(there(column, row)));
    let doubled = |row| if there(NUMBER, row) { rows.int64(NUMBER, row).wrapping_mul(2) } else { 0 };
    let negated = |row| if there(FLOAT, row) { -rows.float64(FLOAT, row) } else { 0.0 };
    let inverted = |row| u8::from(there(FLAG, row) && !rows.boolean(FLAG, row));
    let validity = valid(NUMBER).chain(valid(FLOAT)).chain(valid(FLAG)).chain(each().map(|_| 1)).chain(valid(BLOB)).chain(valid(VALUE));
    let (mut offsets, mut arena) = (Vec::new(), Vec::new());
    add(&mut offsets, &mut arena, each().map(|row| rows.line(row).into_bytes()));
    add(&mut offsets, &mut arena, each().map(|row| rows.bytes(BLOB, row).iter().rev().copied().collect()));
    add(&mut offsets, &mut arena, each().map(|row| rows.bytes(VALUE, row).to_vec()));
    Columns {
        int64s: each().flat_map(|row| doubled(row).to_le_bytes()).collect(),
        float64s: each().flat_map(|row| negated(row).to_le_bytes()).collect(),
        bits: each().map(inverted).chain(validity).collect(),
        spans: vec![],
        offsets,
        arena,
    }
}

/// Appends a column of the arena.
fn add(offsets: &mut Vec<u8>, arena: &mut Vec<u8>, cells: impl Iterator<Item = Vec<u8>>) {
    let mut end = |arena: &[u8]| offsets.extend_from_slice(&(arena.len() as u32).to_le_bytes());
    end(arena);
    for cell in cells {
        arena.extend(cell);
        end(arena);
    }
}

bindings::export_decoder_plugin!(Decoder with_types_in bindings);
