//! Laying rows out as the host does.

use super::{Cell, Row};
use crate::Dictionaries;
use crate::wire::{Batch, ColumnRequest, Columns, Kind, Shape};

/// A batch of the rows that have every required column, and which of the rows these are.
pub(super) fn batch(rows: &[Row], requests: &[ColumnRequest]) -> (Batch, Vec<usize>) {
    let (batch, kept, _) = write(Writer::default(), rows, requests);
    (batch, kept)
}

/// The same with each text once.
pub(super) fn batch_with_dictionaries(rows: &[Row], requests: &[ColumnRequest]) -> (Batch, Vec<usize>, Dictionaries) {
    let dictionaries = Some(Dictionaries { texts: Vec::new(), codes: Vec::new() });
    let (batch, kept, dictionaries) = write(Writer { dictionaries, ..Writer::default() }, rows, requests);
    (batch, kept, dictionaries.expect("the writer has them"))
}

fn write(mut writer: Writer, rows: &[Row], requests: &[ColumnRequest]) -> (Batch, Vec<usize>, Option<Dictionaries>) {
    let cells: Vec<Vec<Cell>> = rows.iter().map(|row| requests.iter().map(|request| row.cell(request)).collect()).collect();
    let complete = |row: &usize| missing(&rows[*row], requests).is_none();
    let kept: Vec<usize> = (0..rows.len()).filter(complete).collect();
    let column = |index: usize| kept.iter().map(|&row| cells[row][index].clone()).collect::<Vec<_>>();

    let validity: Vec<u8> = requests.iter().enumerate().flat_map(|(index, request)| writer.column(request, &column(index))).collect();
    writer.columns.bits.extend(validity);
    let now_ms = rows.iter().map(newest_ms).max().unwrap_or_default();
    (Batch { partition: 0, rows: kept.len() as u32, now_ms, columns: writer.columns }, kept, writer.dictionaries)
}

/// The first required column that a row lacks.
pub(super) fn missing<'r>(row: &Row, requests: &'r [ColumnRequest]) -> Option<&'r ColumnRequest> {
    requests.iter().find(|request| request.required && !is_kind(&row.cell(request), request.kind))
}

fn newest_ms(row: &Row) -> i64 {
    let request = ColumnRequest { path: "Timestamp".into(), kind: Kind::Int64, shape: Shape::One, required: true };
    match row.cell(&request) {
        Cell::Int(ns) => crate::Time::from_ns(ns).ms(),
        _ => 0,
    }
}

struct Writer {
    columns: Columns,
    dictionaries: Option<Dictionaries>,
}

impl Default for Writer {
    fn default() -> Self {
        let (int64s, float64s, bits, spans, offsets, arena) = Default::default();
        Self { columns: Columns { int64s, float64s, bits, spans, offsets, arena }, dictionaries: None }
    }
}

impl Writer {
    /// Appends a column and gives its validity.
    fn column(&mut self, request: &ColumnRequest, rows: &[Cell]) -> Vec<u8> {
        let runs: Vec<Vec<(String, Cell)>> = rows.iter().map(|cell| members(cell, request.shape)).collect();
        if request.shape != Shape::One {
            let mut end = 0;
            push_u32(&mut self.columns.spans, 0);
            for run in &runs {
                end += run.len();
                push_u32(&mut self.columns.spans, end);
            }
        }
        let cells: Vec<&(String, Cell)> = runs.iter().flatten().collect();
        if request.shape == Shape::Entries {
            self.bytes(cells.iter().map(|(key, _)| key.as_bytes()));
        }
        match &mut self.dictionaries {
            Some(dictionaries) if request.kind == Kind::Text && request.shape == Shape::One => {
                let texts = tell_apart(&cells, dictionaries);
                self.bytes(texts.into_iter());
            }
            _ => self.cells(request.kind, &cells),
        }
        let is_valid = |cell: &Cell| if request.shape == Shape::One { is_kind(cell, request.kind) } else { *cell != Cell::Null };
        rows.iter().map(|cell| u8::from(is_valid(cell))).collect()
    }

    fn cells(&mut self, kind: Kind, cells: &[&(String, Cell)]) {
        match kind {
            Kind::Int64 => self.columns.int64s.extend(cells.iter().flat_map(|(_, cell)| int(cell).to_le_bytes())),
            Kind::Float64 => self.columns.float64s.extend(cells.iter().flat_map(|(_, cell)| float(cell).to_le_bytes())),
            Kind::Boolean => self.columns.bits.extend(cells.iter().map(|(_, cell)| u8::from(*cell == Cell::Bool(true)))),
            Kind::Text | Kind::Bytes | Kind::Json => self.bytes(cells.iter().map(|(_, cell)| bytes(cell))),
        }
    }

    fn bytes<'c>(&mut self, cells: impl Iterator<Item = &'c [u8]>) {
        push_u32(&mut self.columns.offsets, self.columns.arena.len());
        for cell in cells {
            self.columns.arena.extend_from_slice(cell);
            push_u32(&mut self.columns.offsets, self.columns.arena.len());
        }
    }
}

/// The texts of a column, each once, with their codes in the dictionaries.
fn tell_apart<'c>(cells: &[&'c (String, Cell)], dictionaries: &mut Dictionaries) -> Vec<&'c [u8]> {
    let mut texts: Vec<&[u8]> = Vec::new();
    for (_, cell) in cells {
        let text = bytes(cell);
        let code = texts.iter().position(|known| *known == text).unwrap_or(texts.len());
        if code == texts.len() {
            texts.push(text);
        }
        dictionaries.codes.extend_from_slice(&(code as u16).to_le_bytes());
    }
    dictionaries.texts.push(texts.len() as u32);
    texts
}

/// The cells of one row, with keys where the shape has them.
fn members(cell: &Cell, shape: Shape) -> Vec<(String, Cell)> {
    match (shape, cell) {
        (Shape::One, cell) => vec![(String::new(), cell.clone())],
        (Shape::Many, Cell::Many(cells)) => cells.iter().map(|cell| (String::new(), cell.clone())).collect(),
        (Shape::Entries, Cell::Entries(entries)) => entries.clone(),
        _ => Vec::new(),
    }
}

fn is_kind(cell: &Cell, kind: Kind) -> bool {
    match kind {
        Kind::Int64 => matches!(cell, Cell::Int(_)),
        Kind::Float64 => matches!(cell, Cell::Int(_) | Cell::Float(_)),
        Kind::Boolean => matches!(cell, Cell::Bool(_)),
        Kind::Text => matches!(cell, Cell::Text(_)),
        Kind::Bytes | Kind::Json => matches!(cell, Cell::Text(_) | Cell::Bytes(_)),
    }
}

fn int(cell: &Cell) -> i64 {
    if let Cell::Int(value) = cell { *value } else { 0 }
}

fn float(cell: &Cell) -> f64 {
    match cell {
        Cell::Float(value) => *value,
        cell => int(cell) as f64,
    }
}

fn bytes(cell: &Cell) -> &[u8] {
    match cell {
        Cell::Text(text) => text.as_bytes(),
        Cell::Bytes(bytes) => bytes,
        _ => &[],
    }
}

fn push_u32(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(&(value as u32).to_le_bytes());
}
