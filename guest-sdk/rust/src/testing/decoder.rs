//! Running a decoder.

use std::collections::BTreeMap;
use std::fmt;

use super::{Cell, Row, batch_sizes, columns};
use crate::decoder::{self as plugin, Driver, Reject};
use crate::rows::{Boolean, Bytes, Float64, Int64, Rows, Scalar, Text};
use crate::subscription::{Column, Scope, Subscription};
use crate::{Failure, wire};

/// A decoder under test: one instance, as the host would run it.
pub struct Decoder<T> {
    driver: Driver<T>,
    answer: wire::DecoderPlan,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum DecodedRow {
    /// It goes on.
    Accepted {
        /// The fields that are not null.
        fields: BTreeMap<String, Cell>,
        /// The number of its section plan.
        plan: usize,
    },
    /// The plugin refuses it, or a required column is null.
    Rejected(Reject),
}

impl DecodedRow {
    /// A field's value; `None` where there is none or the row was rejected.
    pub fn field(&self, name: &str) -> Option<&Cell> {
        match self {
            Self::Accepted { fields, .. } => fields.get(name),
            Self::Rejected(_) => None,
        }
    }

    /// The reason of a refusal.
    pub fn rejection(&self) -> Option<&str> {
        match self {
            Self::Accepted { .. } => None,
            Self::Rejected(reject) => Some(&reject.text),
        }
    }
}

impl<T> fmt::Debug for Decoder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("answer", &self.answer).finish_non_exhaustive()
    }
}

impl<T: plugin::Decoder> Decoder<T> {
    /// Opens an instance.
    ///
    /// # Errors
    /// What `open` refuses.
    pub fn open(config: &str) -> Result<Self, Failure> {
        let (driver, answer) = Driver::open(config)?;
        Ok(Self { driver, answer })
    }

    /// The members that a section plan moves or drops: `own-field /environment/system`.
    pub fn sections(&self, plan: usize) -> Vec<String> {
        let section = |section: &wire::Section| {
            let fate = if section.fate == wire::Fate::Drop { "drop" } else { "own-field" };
            format!("{fate} {}", section.path)
        };
        self.answer.section_plans.get(plan).map(|plan| plan.iter().map(section).collect()).unwrap_or_default()
    }

    /// Decodes rows as one batch; one result for each.
    ///
    /// # Errors
    /// A failure of the whole batch, which decoders have none of but a panic.
    ///
    /// # Panics
    /// Where the answer breaks the contract.
    pub fn decode(&mut self, rows: &[Row]) -> Result<Vec<DecodedRow>, Failure> {
        let requests = self.answer.subscription.columns.clone();
        let (batch, kept) = columns::batch(rows, &requests);
        let mut out: Vec<DecodedRow> = rows.iter().map(|row| missing(row, &requests)).collect();
        if !kept.is_empty() {
            let decoded = self.driver.decode(&batch)?;
            kept.iter().zip(self.results(decoded, kept.len())).for_each(|(&row, result)| out[row] = result);
        }
        Ok(out)
    }

    /// Reads the answer's columns as the host does.
    fn results(&self, decoded: wire::Decoded, rows: usize) -> Vec<DecodedRow> {
        let wire::Decoded { columns, plan_of, rejections } = decoded;
        let batch = wire::Batch { partition: 0, rows: rows as u32, now_ms: 0, columns };
        let request =
            |field: &wire::Field| wire::ColumnRequest { path: String::new(), kind: field.kind, shape: wire::Shape::One, required: false };
        let requests: Vec<_> = self.answer.fields.iter().map(request).collect();
        let cells = Rows::new(&batch, &requests).unwrap_or_else(|error| panic!("{error}"));
        let plan = |row: usize| plan_of.get(row).copied().unwrap_or_default() as usize;
        let accepted = |(index, row): (usize, crate::rows::Row<'_>)| DecodedRow::Accepted { fields: self.fields(row), plan: plan(index) };
        let mut out: Vec<_> = cells.iter().enumerate().map(accepted).collect();
        for wire::Rejection { row, code, text } in rejections {
            out[row as usize] = DecodedRow::Rejected(Reject { code, text });
        }
        out
    }

    fn fields(&self, row: crate::rows::Row<'_>) -> BTreeMap<String, Cell> {
        let fields = self.answer.fields.iter().enumerate();
        fields.filter_map(|(index, field)| Some((field.name.clone(), cell(row, index, field.kind)?))).collect()
    }
}

/// The cell of a column that is known by number only.
fn cell(row: crate::rows::Row<'_>, index: usize, kind: wire::Kind) -> Option<Cell> {
    match kind {
        wire::Kind::Int64 => row.get(nth::<Int64>(index)).map(Cell::Int),
        wire::Kind::Float64 => row.get(nth::<Float64>(index)).map(Cell::Float),
        wire::Kind::Boolean => row.get(nth::<Boolean>(index)).map(Cell::Bool),
        wire::Kind::Text => row.get(nth::<Text>(index)).map(Cell::from),
        wire::Kind::Bytes | wire::Kind::Json => row.get(nth::<Bytes>(index)).map(Cell::from),
    }
}

fn nth<S: Scalar>(index: usize) -> Column<S> {
    let mut read = Subscription::new(Scope::Stateless);
    (0..index).for_each(|_| {
        let _: Column<S> = read.column("");
    });
    read.column("")
}

/// The host's verdict on a row in which a required column is null.
fn missing(row: &Row, requests: &[wire::ColumnRequest]) -> DecodedRow {
    let path = columns::missing(row, requests).map_or("", |request| &request.path);
    DecodedRow::Rejected(Reject::new(0, format!("required column `{path}` is null")))
}

/// Decodes the rows in batches of 1, 7 and all, each on an instance of its own, and fails where the results differ.
///
/// # Panics
/// With what differs; or with the plugin's failure.
#[track_caller]
pub fn assert_decoder_invariant<T: plugin::Decoder>(config: &str, rows: &[Row]) -> Vec<DecodedRow> {
    let [one, seven, all] = batch_sizes(rows.len()).map(|size| {
        let mut instance = Decoder::<T>::open(config).unwrap_or_else(|failure| panic!("open failed: {failure}"));
        let decode = |chunk| instance.decode(chunk).unwrap_or_else(|failure| panic!("a batch of {size} rows failed: {failure}"));
        rows.chunks(size).flat_map(decode).collect::<Vec<_>>()
    });
    assert_eq!(seven, one, "batches of 7 (left) differ from batches of 1 (right)");
    assert_eq!(all, one, "one batch of all (left) differs from batches of 1 (right)");
    one
}
