//! Reading rows: accessors that borrow from the batch's byte lists and copy nothing.

mod layout;
mod scalar;

use std::iter::FusedIterator;
use std::marker::PhantomData;

use crate::Time;
use crate::subscription::Column;
use crate::{Dictionaries, wire};

pub(crate) use layout::LayoutError;
pub(crate) use layout::Slot;
pub use scalar::{Boolean, Bytes, Float64, Int64, Json, Scalar, Text, Timestamp};

/// The rows of one call, all from one partition.
#[derive(Debug)]
pub struct Rows<'b> {
    slots: Vec<Slot<'b>>,
    rows: usize,
    partition: u32,
    now: Time,
}

impl<'b> Rows<'b> {
    /// Cuts a batch into its columns. The lists' lengths are checked here, single cells when they are read.
    pub(crate) fn new(batch: &'b wire::Batch, requests: &[wire::ColumnRequest]) -> Result<Self, LayoutError> {
        Self::with(batch, None, requests)
    }

    /// The same of a batch in which a text that repeats is there once, if it has dictionaries.
    pub(crate) fn with(
        batch: &'b wire::Batch,
        dictionaries: Option<&'b Dictionaries>,
        requests: &[wire::ColumnRequest],
    ) -> Result<Self, LayoutError> {
        let slots = layout::cut(&batch.columns, dictionaries, batch.rows as usize, requests)?;
        Ok(Self { slots, rows: batch.rows as usize, partition: batch.partition, now: Time::from_ms(batch.now_ms) })
    }

    /// How many rows there are, at least 1.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row; the host never calls with none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The input partition of all rows.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// The edge's time of the newest row so far in this partition: it depends on how rows are cut into batches, so let no
    /// result hang on it but what a later message corrects.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The rows in the order of their partition.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.rows).map(|index| Row { rows: self, index })
    }

    #[inline]
    pub(crate) fn slot<S, R>(&self, column: Column<S, R>) -> &Slot<'b> {
        self.slots.get(column.index as usize).unwrap_or(&Slot::EMPTY)
    }
}

/// One message of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Row<'b> {
    rows: &'b Rows<'b>,
    index: usize,
}

impl<'b> Row<'b> {
    /// The row's values in a column: an `Option`, a plain value for [`Required`] columns, an iterator for [`Many`] and
    /// [`Entries`].
    #[inline]
    pub fn get<S: Scalar, R: Reading<S>>(&self, column: Column<S, R>) -> R::Out<'b> {
        R::read(self.rows.slot(column), self.index)
    }

    /// The row's number within the batch.
    pub fn index(&self) -> u32 {
        self.index as u32
    }

    /// The input partition.
    pub fn partition(&self) -> u32 {
        self.rows.partition
    }
}

/// How many values of a column belong to a row. Not to be implemented outside of this crate.
pub trait Reading<S: Scalar>: sealed::Sealed {
    /// What [`Row::get`] gives.
    type Out<'b>;
    #[doc(hidden)]
    const SHAPE: wire::Shape;
    #[doc(hidden)]
    const REQUIRED: bool = false;
    #[doc(hidden)]
    fn read<'b>(slot: &Slot<'b>, row: usize) -> Self::Out<'b>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::One {}
    impl Sealed for super::Required {}
    impl Sealed for super::Many {}
    impl Sealed for super::Entries {}
}

/// One value or null: `Option` of the value.
#[derive(Debug, Clone, Copy)]
pub struct One;

/// One value, never null: the host leaves rows out (of a decoder: rejects them) where it is.
#[derive(Debug, Clone, Copy)]
pub struct Required;

/// A run of values: an array's elements, or every value that a `*` segment of the path names.
#[derive(Debug, Clone, Copy)]
pub struct Many;

/// An object's members in the order of the document.
#[derive(Debug, Clone, Copy)]
pub struct Entries;

impl<S: Scalar> Reading<S> for One {
    type Out<'b> = Option<S::Value<'b>>;
    const SHAPE: wire::Shape = wire::Shape::One;

    #[inline]
    fn read<'b>(slot: &Slot<'b>, row: usize) -> Self::Out<'b> {
        slot.is_valid(row).then(|| S::cell(slot, row))
    }
}

impl<S: Scalar> Reading<S> for Required {
    type Out<'b> = S::Value<'b>;
    const SHAPE: wire::Shape = wire::Shape::One;
    const REQUIRED: bool = true;

    #[inline]
    fn read<'b>(slot: &Slot<'b>, row: usize) -> Self::Out<'b> {
        S::cell(slot, row)
    }
}

impl<S: Scalar> Reading<S> for Many {
    type Out<'b> = Run<'b, S>;
    const SHAPE: wire::Shape = wire::Shape::Many;

    fn read<'b>(slot: &Slot<'b>, row: usize) -> Self::Out<'b> {
        Run::new(*slot, row)
    }
}

impl<S: Scalar> Reading<S> for Entries {
    type Out<'b> = Members<'b, S>;
    const SHAPE: wire::Shape = wire::Shape::Entries;

    fn read<'b>(slot: &Slot<'b>, row: usize) -> Self::Out<'b> {
        Members(Run::new(*slot, row))
    }
}

/// The values of one row in a [`Many`] column. An element of another type reads as the kind's zero (0, false, empty).
#[derive(Debug, Clone, Copy)]
pub struct Run<'b, S> {
    slot: Slot<'b>,
    next: usize,
    end: usize,
    present: bool,
    marker: PhantomData<S>,
}

impl<'b, S> Run<'b, S> {
    fn new(slot: Slot<'b>, row: usize) -> Self {
        let (next, end) = slot.span(row);
        Self { slot, next, end, present: slot.is_valid(row), marker: PhantomData }
    }

    /// Whether the document has the value at all; an empty array is present.
    pub fn is_present(&self) -> bool {
        self.present
    }
}

impl<'b, S: Scalar> Iterator for Run<'b, S> {
    type Item = S::Value<'b>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        self.next += 1;
        Some(S::cell(&self.slot, self.next - 1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl<S: Scalar> ExactSizeIterator for Run<'_, S> {}
impl<S: Scalar> FusedIterator for Run<'_, S> {}

/// The members of one row in an [`Entries`] column, as pairs of key and value.
#[derive(Debug, Clone, Copy)]
pub struct Members<'b, S>(Run<'b, S>);

impl<'b, S: Scalar> Members<'b, S> {
    /// Whether the document has the object at all; an empty object is present.
    pub fn is_present(&self) -> bool {
        self.0.present
    }

    /// The value of a key. Searches from the front, so walk the members where you need several.
    pub fn value(&self, key: &str) -> Option<S::Value<'b>> {
        (self.0.next..self.0.end).find(|&cell| self.0.slot.key(cell) == key.as_bytes()).map(|cell| S::cell(&self.0.slot, cell))
    }
}

impl<'b> Members<'b, Int64> {
    /// The members as a histogram, `{"bucket": count}` as in `/payload/histograms/NAME/values`: pairs of the bucket's lower
    /// bound and its count. Keys that are not whole numbers are left out.
    pub fn histogram(self) -> impl Iterator<Item = (i64, i64)> {
        self.0.slot_cells().filter_map(move |cell| {
            let bucket = crate::json::parse_i64(self.0.slot.key(cell))?;
            Some((bucket, Int64::cell(&self.0.slot, cell)))
        })
    }
}

impl<S> Run<'_, S> {
    fn slot_cells(&self) -> std::ops::Range<usize> {
        self.next..self.end
    }
}

impl<'b, S: Scalar> Iterator for Members<'b, S> {
    type Item = (&'b str, S::Value<'b>);

    fn next(&mut self) -> Option<Self::Item> {
        let cell = self.0.next;
        let value = self.0.next()?;
        Some((scalar::text(self.0.slot.key(cell)), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<S: Scalar> ExactSizeIterator for Members<'_, S> {}
impl<S: Scalar> FusedIterator for Members<'_, S> {}

#[cfg(test)]
mod tests;
