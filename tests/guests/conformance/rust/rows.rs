//! Reading a batch, for both kinds.

use std::fmt::Write;

use tidemill_guest::bindings::imports::tidemill::plugin::host::{self, Level};
use tidemill_guest::bindings::imports::tidemill::plugin::types::{
    Batch, ColumnRequest, Columns, Failure, Kind, Scope, Shape, Subscription,
};

const KINDS: [(Kind, &str); 6] = [
    (Kind::Int64, "int64"),
    (Kind::Float64, "float64"),
    (Kind::Boolean, "boolean"),
    (Kind::Text, "text"),
    (Kind::Bytes, "bytes"),
    (Kind::Json, "json"),
];
const SHAPES: [(Shape, &str); 3] = [(Shape::One, "one"), (Shape::Many, "many"), (Shape::Entries, "entries")];

/// The columns of shape one by their place in the subscription.
pub const TIMESTAMP: usize = 0;
pub const NUMBER: usize = 1;
pub const FLOAT: usize = 2;
pub const FLAG: usize = 3;
pub const TEXT: usize = 4;
pub const BLOB: usize = 5;
pub const VALUE: usize = 6;

pub fn subscription(config: &str, scope: Scope) -> Result<Subscription, Failure> {
    if config != "{}" {
        return Err(Failure { code: 7, text: format!("no such configuration: {config}") });
    }
    Ok(Subscription { matcher: "Type == 'conformance'".into(), columns: requests(), scope, tick_ms: 0 })
}

fn requests() -> Vec<ColumnRequest> {
    let timestamp = ColumnRequest { path: "Timestamp".into(), kind: Kind::Int64, shape: Shape::One, required: true };
    let column = |(shape, shape_name): (Shape, &str), (kind, kind_name): (Kind, &str)| ColumnRequest {
        path: format!("/{shape_name}/{kind_name}"),
        kind,
        shape,
        required: false,
    };
    let others = SHAPES.into_iter().flat_map(|shape| KINDS.into_iter().map(move |kind| column(shape, kind)));
    std::iter::once(timestamp).chain(others).collect()
}

/// What every call does first.
pub fn begin(batch: &Batch) -> Result<(), Failure> {
    host::log(Level::Warn, &format!("{} rows ⊕", batch.rows));
    host::metric_add("rows", f64::from(batch.rows) + 0.125);
    match batch.partition {
        13 => Err(Failure { code: u32::MAX, text: "partition 13".into() }),
        _ => Ok(()),
    }
}

/// Where a column lies in the lists.
struct Place {
    kind: Kind,
    shape: Shape,
    /// Its first cell: in its list, or for the arena its first offset.
    first: usize,
    /// The first offset of its keys.
    keys: usize,
    /// Its first span.
    span: usize,
}

/// The rows of a batch.
pub struct Rows<'a> {
    columns: &'a Columns,
    places: Vec<Place>,
    rows: usize,
    /// Where the validity columns begin.
    validity: usize,
}

impl<'a> Rows<'a> {
    pub fn new(batch: &'a Batch) -> Self {
        let (columns, rows) = (&batch.columns, batch.rows as usize);
        let (mut int64s, mut float64s, mut booleans, mut spans, mut offsets) = (0, 0, 0, 0, 0);
        let take = |at: &mut usize, count: usize| std::mem::replace(at, *at + count);
        let mut places = Vec::new();
        for ColumnRequest { kind, shape, .. } in requests() {
            let has_spans = shape != Shape::One;
            let span = take(&mut spans, if has_spans { rows + 1 } else { 0 });
            let cells = if has_spans { word(&columns.spans, span + rows) } else { rows };
            let keys = take(&mut offsets, if shape == Shape::Entries { cells + 1 } else { 0 });
            let first = match kind {
                Kind::Int64 => take(&mut int64s, cells),
                Kind::Float64 => take(&mut float64s, cells),
                Kind::Boolean => take(&mut booleans, cells),
                Kind::Text | Kind::Bytes | Kind::Json => take(&mut offsets, cells + 1),
            };
            places.push(Place { kind, shape, first, keys, span });
        }
        Self { columns, places, rows, validity: booleans }
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_null(&self, column: usize, row: usize) -> bool {
        self.columns.bits[self.validity + column * self.rows + row] == 0
    }

    pub fn int64(&self, column: usize, row: usize) -> i64 {
        i64::from_le_bytes(eight(&self.columns.int64s, self.places[column].first + row))
    }

    pub fn float64(&self, column: usize, row: usize) -> f64 {
        f64::from_le_bytes(eight(&self.columns.float64s, self.places[column].first + row))
    }

    pub fn boolean(&self, column: usize, row: usize) -> bool {
        self.columns.bits[self.places[column].first + row] == 1
    }

    pub fn bytes(&self, column: usize, row: usize) -> &'a [u8] {
        self.arena(self.places[column].first + row)
    }

    pub fn text(&self, row: usize) -> String {
        text(self.bytes(TEXT, row))
    }

    pub fn is_least(&self, row: usize) -> bool {
        !self.is_null(NUMBER, row) && self.int64(NUMBER, row) == i64::MIN
    }

    /// All columns of a row as text.
    pub fn line(&self, row: usize) -> String {
        let columns = 0..self.places.len();
        let cells: Vec<String> =
            columns.map(|column| if self.is_null(column, row) { "null".into() } else { self.value(column, row) }).collect();
        cells.join(";")
    }

    fn value(&self, column: usize, row: usize) -> String {
        let place = &self.places[column];
        if place.shape == Shape::One {
            return self.cell(place.kind, place.first + row);
        }
        let run = word(&self.columns.spans, place.span + row)..word(&self.columns.spans, place.span + row + 1);
        let cells = run.map(|at| {
            let cell = self.cell(place.kind, place.first + at);
            if place.shape == Shape::Many { cell } else { format!("\"{}\":{cell}", text(self.arena(place.keys + at))) }
        });
        let cells = cells.collect::<Vec<_>>().join(",");
        if place.shape == Shape::Many { format!("[{cells}]") } else { format!("{{{cells}}}") }
    }

    fn cell(&self, kind: Kind, at: usize) -> String {
        match kind {
            Kind::Int64 => i64::from_le_bytes(eight(&self.columns.int64s, at)).to_string(),
            Kind::Float64 => format!("{:016x}", u64::from_le_bytes(eight(&self.columns.float64s, at))),
            Kind::Boolean => (self.columns.bits[at] == 1).to_string(),
            Kind::Text => format!("\"{}\"", text(self.arena(at))),
            Kind::Bytes => hexadecimal(self.arena(at)),
            Kind::Json => text(self.arena(at)),
        }
    }

    fn arena(&self, at: usize) -> &'a [u8] {
        &self.columns.arena[word(&self.columns.offsets, at)..word(&self.columns.offsets, at + 1)]
    }
}

fn eight(list: &[u8], at: usize) -> [u8; 8] {
    list[at * 8..][..8].try_into().expect("eight bytes")
}

fn word(list: &[u8], at: usize) -> usize {
    u32::from_le_bytes(list[at * 4..][..4].try_into().expect("four bytes")) as usize
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the host sends UTF-8")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("strings take everything");
        digits
    })
}
