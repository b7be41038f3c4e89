//! What `decode` answered, checked.

use crate::bindings::tidemill::plugin::types as wit;
use crate::columns::Columns;
use crate::error::{Broken, broken};
use crate::limits::Limits;
use crate::plan::{ColumnKind, Field, Plan};
use crate::report::cut;

/// The new fields of a batch, the section plan of each row, and the rows the decoder refuses.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    rows: u32,
    places: Vec<Place>,
    columns: Columns,
    plan_of: Vec<u8>,
    /// The rows refused, in ascending order, no row twice.
    pub rejections: Vec<Rejection>,
}

/// The representation of fields that hold JSON.
const JSON: &str = "json";

/// One value of a new field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// The row does not get this field.
    Null,
    /// A 64 bit integer.
    Int64(i64),
    /// A double, never NaN.
    Float64(f64),
    /// A boolean.
    Bool(bool),
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// JSON.
    Json(&'a [u8]),
}

/// A row the decoder refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which row of the batch.
    pub row: u32,
    /// The plugin's own number.
    pub code: u32,
    /// The plugin's own sentence, cut to `log_line_bytes_max`.
    pub text: String,
}

/// Where the cells of a field lie: at which cell of its list, or for the arena at which offset.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    kind: ColumnKind,
    first: usize,
    validity: usize,
}

impl Decoded {
    /// The value of a field in a row; null beyond either.
    pub fn cell(&self, field: usize, row: u32) -> Cell<'_> {
        let Some(place) = self.places.get(field).filter(|_| row < self.rows) else { return Cell::Null };
        let row = row as usize;
        if self.columns.bits[place.validity + row] == 0 {
            return Cell::Null;
        }
        let at = place.first + row;
        match place.kind {
            ColumnKind::Int64 => Cell::Int64(i64::from_le_bytes(eight(&self.columns.int64s, at))),
            ColumnKind::Float64 => Cell::Float64(f64::from_le_bytes(eight(&self.columns.float64s, at))),
            ColumnKind::Boolean => Cell::Bool(self.columns.bits[at] == 1),
            ColumnKind::Text => Cell::Text(std::str::from_utf8(self.bytes(at)).unwrap_or_default()),
            ColumnKind::Bytes => Cell::Bytes(self.bytes(at)),
            ColumnKind::Json => Cell::Json(self.bytes(at)),
        }
    }

    /// The section plan of a row; 0 where the plugin chose none.
    pub fn plan_of(&self, row: u32) -> u8 {
        self.plan_of.get(row as usize).copied().unwrap_or(0)
    }

    /// Rows of the batch.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    fn bytes(&self, at: usize) -> &[u8] {
        let (start, end) = (offset(&self.columns.offsets, at), offset(&self.columns.offsets, at + 1));
        &self.columns.arena[start..end]
    }

    pub(crate) fn check(raw: wit::Decoded, rows: u32, plan: &Plan, limits: &Limits) -> Result<Self, Broken> {
        let wit::Decoded { columns, plan_of, rejections } = raw;
        let wit::ColumnsResult { int64s, float64s, bits, spans, offsets, arena } = columns;
        let columns = Columns { int64s, float64s, bits, spans, offsets, arena, dictionaries: None };
        let places = places(&plan.fields, rows as usize);
        check_columns(&columns, &plan.fields, &places, rows as usize)?;
        check_plan_of(&plan_of, rows, plan.section_plans.len())?;
        let rejections = check_rejections(rejections, rows, limits)?;
        Ok(Self { rows, places, columns, plan_of, rejections })
    }
}

fn eight(list: &[u8], at: usize) -> [u8; 8] {
    list[at * 8..].first_chunk().copied().unwrap_or_default()
}

fn offset(list: &[u8], at: usize) -> usize {
    u32::from_le_bytes(list[at * 4..].first_chunk().copied().unwrap_or_default()) as usize
}

/// Where each field's cells begin, by the layout of `columns`.
fn places(fields: &[Field], rows: usize) -> Vec<Place> {
    let count = |of: &[Field], kind| of.iter().filter(|field| field.kind == kind).count();
    let booleans = count(fields, ColumnKind::Boolean) * rows;
    let place = |(at, field): (usize, &Field)| {
        let before = &fields[..at];
        let first = match field.kind {
            ColumnKind::Int64 | ColumnKind::Float64 | ColumnKind::Boolean => count(before, field.kind) * rows,
            _ => before.iter().filter(|field| field.kind.is_in_arena()).count() * (rows + 1),
        };
        Place { kind: field.kind, first, validity: booleans + at * rows }
    };
    fields.iter().enumerate().map(place).collect()
}

fn check_columns(columns: &Columns, fields: &[Field], places: &[Place], rows: usize) -> Result<(), Broken> {
    let count = |kind| fields.iter().filter(|field| field.kind == kind).count();
    let in_arena = fields.iter().filter(|field| field.kind.is_in_arena()).count();
    let Columns { int64s, float64s, bits, spans, offsets, arena: _, dictionaries: _ } = columns;
    let lengths = [
        ("int64s", int64s.len(), 8 * rows * count(ColumnKind::Int64)),
        ("float64s", float64s.len(), 8 * rows * count(ColumnKind::Float64)),
        ("bits", bits.len(), rows * (count(ColumnKind::Boolean) + fields.len())),
        ("spans", spans.len(), 0),
        ("offsets", offsets.len(), 4 * (rows + 1) * in_arena),
    ];
    if let Some((list, has, needs)) = lengths.into_iter().find(|(_, has, needs)| has != needs) {
        let fields = fields.len();
        return Err(broken!("`columns.{list}` has {has} bytes, but {fields} fields of {rows} rows need {needs}"));
    }
    if let Some(at) = bits.iter().position(|bit| *bit > 1) {
        return Err(broken!("`columns.bits[{at}]` is {}: use 0 or 1", bits[at]));
    }
    let mut left = columns.arena.len();
    for (field, place) in fields.iter().zip(places) {
        check_field(columns, field, place, rows, &mut left)?;
    }
    Ok(())
}

fn check_field(columns: &Columns, field: &Field, place: &Place, rows: usize, left: &mut usize) -> Result<(), Broken> {
    match field.kind {
        ColumnKind::Int64 | ColumnKind::Boolean => Ok(()),
        ColumnKind::Float64 => {
            let is_nan = |row: &usize| f64::from_le_bytes(eight(&columns.float64s, place.first + row)).is_nan();
            match (0..rows).find(is_nan) {
                Some(row) => Err(broken!("field `{}` of row {row} is NaN: leave it null", field.name)),
                None => Ok(()),
            }
        }
        kind => {
            check_arena_field(columns, field, place, rows, left, kind != ColumnKind::Bytes)?;
            if kind == ColumnKind::Json || field.representation == JSON { check_json(columns, field, place, rows) } else { Ok(()) }
        }
    }
}

/// Whoever reads the message takes such a field for a part of the document, which was checked.
fn check_json(columns: &Columns, field: &Field, place: &Place, rows: usize) -> Result<(), Broken> {
    for row in (0..rows).filter(|row| columns.bits[place.validity + row] == 1) {
        let [start, end] = [0, 1].map(|behind| offset(&columns.offsets, place.first + row + behind));
        if let Err(refusal) = tidemill_json::check(&columns.arena[start..end]) {
            return Err(broken!("field `{}` of row {row} is {refusal}", field.name));
        }
    }
    Ok(())
}

/// Offsets in range and monotone, text UTF-8, and cells of all fields together no more than the arena: overlapping cells
/// would let a small answer stand for gigabytes.
fn check_arena_field(columns: &Columns, field: &Field, place: &Place, rows: usize, left: &mut usize, is_text: bool) -> Result<(), Broken> {
    let Columns { offsets, arena, .. } = columns;
    let name = &field.name;
    let mut start = offset(offsets, place.first);
    for row in 0..rows {
        let at = place.first + row + 1;
        let end = offset(offsets, at);
        if end < start || end > arena.len() {
            let arena = arena.len();
            return Err(broken!("`columns.offsets[{at}]` is {end}, after {start}, with an arena of {arena} bytes: field `{name}`"));
        }
        *left = left.checked_sub(end - start).ok_or_else(|| overlap(name, row, arena.len()))?;
        if is_text && simdutf8::basic::from_utf8(&arena[start..end]).is_err() {
            return Err(broken!("field `{name}` of row {row} is not UTF-8"));
        }
        start = end;
    }
    if start > arena.len() {
        return Err(broken!("`columns.offsets[{}]` is {start}, with an arena of {} bytes", place.first, arena.len()));
    }
    Ok(())
}

fn overlap(name: &str, row: usize, arena: usize) -> Broken {
    broken!("the cells up to field `{name}` of row {row} overlap: together they are more than the arena's {arena} bytes")
}

fn check_plan_of(plan_of: &[u8], rows: u32, plans: usize) -> Result<(), Broken> {
    if !plan_of.is_empty() && plan_of.len() != rows as usize {
        return Err(broken!("`plan-of` has {} bytes: use none or one for each of the {rows} rows", plan_of.len()));
    }
    match plan_of.iter().position(|plan| usize::from(*plan) >= plans.max(1)) {
        Some(row) => Err(broken!("`plan-of[{row}]` is {}, but `open` declared {plans} section plans", plan_of[row])),
        None => Ok(()),
    }
}

fn check_rejections(raw: Vec<wit::Rejection>, rows: u32, limits: &Limits) -> Result<Vec<Rejection>, Broken> {
    let mut next = 0;
    let mut rejections = Vec::with_capacity(raw.len());
    for (at, wit::Rejection { row, code, mut text }) in raw.into_iter().enumerate() {
        if row >= rows || row < next {
            return Err(broken!("`rejections[{at}].row` is {row}: rows ascend, each once, below {rows}"));
        }
        next = row + 1;
        text.truncate(cut(&text, limits.log_line_bytes_max).len());
        rejections.push(Rejection { row, code, text });
    }
    Ok(rejections)
}

#[cfg(test)]
#[path = "decoded_tests.rs"]
mod tests;
