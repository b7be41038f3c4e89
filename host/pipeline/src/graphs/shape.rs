//! What a plugin declares: graphs, their columns and the alert rules on them. The host's own types, so that the formats on
//! the bus do not change with the contract's bindings.

use super::codec::{CodecError, Decoder, Encoder};

/// How cells of several partitions merge: free of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregation {
    /// Added.
    Sum,
    /// The least counts.
    Min,
    /// The greatest counts.
    Max,
}

impl Aggregation {
    /// The cell that two cells make; NaN is no data.
    pub fn merge(self, cell: f64, value: f64) -> f64 {
        if cell.is_nan() {
            return value;
        }
        match self {
            Self::Sum => cell + value,
            Self::Min => cell.min(value),
            Self::Max => cell.max(value),
        }
    }

    /// `sum`, `min` or `max`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

/// A column as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnShape {
    /// Unique within the graph.
    pub name: String,
    /// For example `count`.
    pub unit: String,
    /// How cells merge.
    pub aggregation: Aggregation,
}

/// A graph as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphShape {
    /// Unique within the plugin.
    pub title: String,
    /// How many rows it holds.
    pub rows: u32,
    /// How many seconds a row is wide.
    pub seconds_per_row: u32,
}

/// What a rule tests; the current, incomplete row is never looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// No data in the last window although there was some in the one before.
    Inactive,
    /// The last window's aggregate is above the threshold.
    Above,
    /// The last window's aggregate is below the threshold.
    Below,
    /// The last window differs from the one before by more than the threshold per cent.
    PercentChange,
}

impl Test {
    /// The name that alerts carry as their kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Above => "above",
            Self::Below => "below",
            Self::PercentChange => "percent-change",
        }
    }
}

/// An alert rule on one column of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleShape {
    /// The column's number within its graph.
    pub column: u32,
    /// Names the alert and its throttle.
    pub id: String,
    /// What is tested.
    pub test: Test,
    /// Against what.
    pub threshold: f64,
    /// Over how many rows.
    pub window_rows: u32,
    /// Seconds during which the same id is not raised again.
    pub throttle_s: u32,
}

impl ColumnShape {
    pub(crate) fn write(&self, out: &mut Encoder) {
        let Self { name, unit, aggregation } = self;
        out.text(name);
        out.text(unit);
        out.unsigned(*aggregation as u64);
    }

    pub(crate) fn read(reader: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let (name, unit) = (reader.text()?, reader.text()?);
        let aggregation = match reader.unsigned()? {
            0 => Aggregation::Sum,
            1 => Aggregation::Min,
            2 => Aggregation::Max,
            other => return Err(reader.strange(other)),
        };
        Ok(Self { name, unit, aggregation })
    }
}

impl GraphShape {
    pub(crate) fn write(&self, out: &mut Encoder) {
        let Self { title, rows, seconds_per_row } = self;
        out.text(title);
        out.unsigned(u64::from(*rows));
        out.unsigned(u64::from(*seconds_per_row));
    }

    pub(crate) fn read(reader: &mut Decoder<'_>) -> Result<Self, CodecError> {
        Ok(Self { title: reader.text()?, rows: reader.u32()?, seconds_per_row: reader.u32()? })
    }
}

impl RuleShape {
    pub(crate) fn write(&self, out: &mut Encoder) {
        let Self { column, id, test, threshold, window_rows, throttle_s } = self;
        out.unsigned(u64::from(*column));
        out.text(id);
        out.unsigned(*test as u64);
        out.double(*threshold);
        out.unsigned(u64::from(*window_rows));
        out.unsigned(u64::from(*throttle_s));
    }

    pub(crate) fn read(reader: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let (column, id) = (reader.u32()?, reader.text()?);
        let test = match reader.unsigned()? {
            0 => Test::Inactive,
            1 => Test::Above,
            2 => Test::Below,
            3 => Test::PercentChange,
            other => return Err(reader.strange(other)),
        };
        let threshold = reader.double()?;
        Ok(Self { column, id, test, threshold, window_rows: reader.u32()?, throttle_s: reader.u32()? })
    }
}
