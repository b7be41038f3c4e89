//! What a column's cells are, as types.

use crate::Time;
use crate::rows::Slot;
use crate::wire::Kind;

/// What the cells of a column are. Not to be implemented outside of this crate.
pub trait Scalar: sealed::Sealed + Copy + 'static {
    /// One cell's value.
    type Value<'b>: Copy;
    #[doc(hidden)]
    const KIND: Kind;
    #[doc(hidden)]
    fn cell<'b>(slot: &Slot<'b>, cell: usize) -> Self::Value<'b>;
}

mod sealed {
    pub trait Sealed {}
}

/// Declares a kind of cell: its name, its value, its kind in the WIT, and how a cell is read.
macro_rules! scalar {
    ($(#[$doc:meta])* $name:ident, $value:ty, $kind:ident, |$slot:ident, $cell:ident| $read:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl sealed::Sealed for $name {}

        impl Scalar for $name {
            type Value<'b> = $value;
            const KIND: Kind = Kind::$kind;

            #[inline]
            fn cell<'b>($slot: &Slot<'b>, $cell: usize) -> $value {
                $read
            }
        }
    };
}

scalar!(
    /// Whole numbers of 64 bits: `i64`. A JSON number with a fraction or beyond 64 bits is none.
    Int64, i64, Int64, |slot, cell| i64::from_le_bytes(slot.number(cell))
);
scalar!(
    /// Numbers: `f64`. Any JSON number is one.
    Float64, f64, Float64, |slot, cell| f64::from_le_bytes(slot.number(cell))
);
scalar!(
    /// `bool`.
    Boolean, bool, Boolean, |slot, cell| slot.bit(cell)
);
scalar!(
    /// Text with its escapes resolved: `&str`.
    Text, &'b str, Text, |slot, cell| slot.text(cell)
);
scalar!(
    /// Bytes as they are in the message: `&[u8]`.
    Bytes, &'b [u8], Bytes, |slot, cell| slot.bytes(cell)
);
scalar!(
    /// The JSON text of a value as it was sent: `&[u8]`; [`crate::json::Value::parse`] reads it.
    Json, &'b [u8], Json, |slot, cell| slot.bytes(cell)
);
scalar!(
    /// Nanoseconds since 1970 UTC: [`Time`].
    Timestamp, Time, Int64, |slot, cell| Time::from_ns(i64::from_le_bytes(slot.number(cell)))
);

/// The host gives UTF-8; anything else reads as empty rather than costing the batch.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
