//! What a plugin asks to be called with: a matcher, columns, a scope and a tick.

use std::fmt;
use std::marker::PhantomData;

use crate::rows::{Reading, Scalar};
use crate::wire;

pub use crate::rows::{Boolean, Bytes, Entries, Float64, Int64, Json, Many, One, Required, Text, Timestamp};
pub use wire::Scope;

/// The handle of a column: `S` is what its cells are, `R` how many of them belong to a row and whether they may be null.
///
/// The path says where the values come from: a header (`Timestamp`, `Type`, `Logger`, `Hostname`, `Uuid`, `Payload`,
/// `EnvVersion`, `Severity`, `Pid`), a field (`Fields[name]`) or a JSON pointer into the document
/// (`/environment/system/os/name`; a `*` segment stands for every member or element), wherever a decoder moved that section.
/// [`Many`] and [`Entries`] need a JSON pointer. A value of another type than `S` reads as null.
pub struct Column<S, R = One> {
    pub(crate) index: u32,
    marker: PhantomData<fn() -> (S, R)>,
}

impl<S, R> Clone for Column<S, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, R> Copy for Column<S, R> {}

impl<S, R> fmt::Debug for Column<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Column({})", self.index)
    }
}

/// What the plugin asks for; filled by `open`.
#[derive(Debug, Clone)]
pub struct Subscription {
    matcher: String,
    columns: Vec<wire::ColumnRequest>,
    scope: Scope,
    tick_ms: u32,
}

impl Subscription {
    /// Every message, no column yet.
    pub(crate) fn new(scope: Scope) -> Self {
        Self { matcher: "TRUE".into(), columns: Vec::new(), scope, tick_ms: 0 }
    }

    /// Selects messages, for example `Type == 'validated' && Fields[docType] == 'main'`. All of them when never called.
    pub fn matcher(&mut self, expression: impl Into<String>) -> &mut Self {
        self.matcher = expression.into();
        self
    }

    /// Asks for a column; its kind and shape are those of the handle's type. At most 256.
    pub fn column<S: Scalar, R: Reading<S>>(&mut self, path: impl Into<String>) -> Column<S, R> {
        let index = self.columns.len() as u32;
        self.columns.push(wire::ColumnRequest { path: path.into(), kind: S::KIND, shape: R::SHAPE, required: R::REQUIRED });
        Column { index, marker: PhantomData }
    }

    /// The message's own time; every message has one.
    pub fn timestamp(&mut self) -> Column<Timestamp, Required> {
        self.column("Timestamp")
    }

    /// How instances share the stream. Analysis plugins start with [`Scope::Partition`], the other kinds with
    /// [`Scope::Stateless`].
    pub fn scope(&mut self, scope: Scope) -> &mut Self {
        self.scope = scope;
        self
    }

    /// Milliseconds of the stream's time between calls of `Timers::tick`, at least 100.
    pub fn tick_ms(&mut self, tick_ms: u32) -> &mut Self {
        self.tick_ms = tick_ms;
        self
    }

    pub(crate) fn columns(&self) -> &[wire::ColumnRequest] {
        &self.columns
    }

    pub(crate) fn to_wire(&self) -> wire::Subscription {
        let Self { matcher, columns, scope, tick_ms } = self;
        wire::Subscription { matcher: matcher.clone(), columns: columns.clone(), scope: *scope, tick_ms: *tick_ms }
    }
}
