//! The rows that a test feeds.

use std::collections::BTreeMap;

use crate::json;
use crate::wire::{ColumnRequest, Kind, Shape};

/// A value of a row, or of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing there.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(String),
    /// Bytes, also of `json` columns.
    Bytes(Vec<u8>),
    /// The values of a `many` column.
    Many(Vec<Cell>),
    /// The members of an `entries` column.
    Entries(Vec<(String, Cell)>),
}

/// Makes cells of ordinary values.
macro_rules! cell_from {
    ($($type:ty => |$value:ident| $cell:expr;)*) => {
        $(impl From<$type> for Cell {
            fn from($value: $type) -> Self {
                $cell
            }
        })*
    };
}

cell_from! {
    i64 => |value| Self::Int(value);
    i32 => |value| Self::Int(value.into());
    u32 => |value| Self::Int(value.into());
    f64 => |value| Self::Float(value);
    bool => |value| Self::Bool(value);
    &str => |value| Self::Text(value.into());
    String => |value| Self::Text(value);
    &[u8] => |value| Self::Bytes(value.into());
    Vec<u8> => |value| Self::Bytes(value);
    Vec<Cell> => |value| Self::Many(value);
    crate::Time => |value| Self::Int(value.ns());
}

/// One message as a test describes it.
#[derive(Debug, Clone, Default)]
pub struct Row {
    document: Vec<u8>,
    cells: BTreeMap<String, Cell>,
}

impl Row {
    /// A message without a document; every column that is not [`Row::set`] is null. The `Timestamp` is 1,500,000,000 s unless
    /// set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A message with a document, from which columns with a JSON pointer are taken.
    ///
    /// # Panics
    /// Where the text is not JSON.
    #[track_caller]
    pub fn document(json: &str) -> Self {
        if let Err(error) = json::Value::parse(json.as_bytes()) {
            panic!("the document of a test row is not JSON: {error}");
        }
        Self { document: json.into(), cells: BTreeMap::new() }
    }

    /// Sets what a column's path gives, whatever the document says.
    #[must_use]
    pub fn set(mut self, path: &str, cell: impl Into<Cell>) -> Self {
        self.cells.insert(path.into(), cell.into());
        self
    }

    /// What the host would put into a column.
    pub(super) fn cell(&self, request: &ColumnRequest) -> Cell {
        match self.cells.get(&request.path) {
            Some(cell) => cell.clone(),
            None if request.path == "Timestamp" => Cell::Int(1_500_000_000_000_000_000),
            None if request.path.is_empty() || request.path.starts_with('/') => self.in_document(request),
            None => Cell::Null,
        }
    }

    fn in_document(&self, request: &ColumnRequest) -> Cell {
        let values = follow(&self.document, &request.path);
        let Some(&first) = values.first() else { return Cell::Null };
        match request.shape {
            Shape::One => scalar(first, request.kind),
            Shape::Entries => json::members(first).map_or(Cell::Null, |members| {
                let entry = |(key, value): (std::borrow::Cow<'_, str>, &[u8])| (key.into_owned(), scalar(value, request.kind));
                Cell::Entries(members.into_iter().map(entry).collect())
            }),
            Shape::Many if request.path.split('/').any(|segment| segment == "*") => run(&values, request.kind),
            Shape::Many => json::elements(first).map_or(Cell::Null, |elements| run(&elements, request.kind)),
        }
    }
}

fn run(values: &[&[u8]], kind: Kind) -> Cell {
    Cell::Many(values.iter().map(|value| scalar(value, kind)).collect())
}

/// Every value that a JSON pointer names; more than one only through `*`.
fn follow<'a>(document: &'a [u8], pointer: &str) -> Vec<&'a [u8]> {
    let mut found = if document.is_empty() { Vec::new() } else { vec![document] };
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        found = found.into_iter().flat_map(|value| step(value, &segment)).collect();
    }
    found
}

fn step<'a>(value: &'a [u8], segment: &str) -> Vec<&'a [u8]> {
    if let Some(members) = json::members(value) {
        let wanted = members.into_iter().filter(|member| segment == "*" || member.0 == segment);
        return wanted.map(|member| member.1).collect();
    }
    let elements = json::elements(value).unwrap_or_default();
    match segment.parse::<usize>() {
        _ if segment == "*" => elements,
        Ok(index) => elements.get(index).copied().into_iter().collect(),
        Err(_) => Vec::new(),
    }
}

fn scalar(text: &[u8], kind: Kind) -> Cell {
    let Ok(value) = json::Value::parse(text) else { return Cell::Null };
    let cell = match kind {
        Kind::Int64 => value.as_i64().map(Cell::Int),
        Kind::Float64 => value.as_f64().map(Cell::Float),
        Kind::Boolean => value.as_bool().map(Cell::Bool),
        Kind::Text => value.as_str().map(Cell::from),
        Kind::Bytes => value.as_str().map(|text| Cell::from(text.as_bytes())),
        Kind::Json => Some(Cell::from(text)),
    };
    cell.unwrap_or(Cell::Null)
}
