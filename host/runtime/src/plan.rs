//! What a plugin answers to `open`, checked.

use std::fmt;

/// The kind of a plugin: the interface that its component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Turns a valid document into fields.
    Decoder,
    /// Watches the stream.
    Analysis,
    /// Sends messages elsewhere.
    Output,
}

impl Kind {
    /// The name of the interface: `decoder`, `analysis` or `output`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::Analysis => "analysis",
            Self::Output => "output",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// Signed 64 bits.
    Int64,
    /// IEEE 754 double.
    Float64,
    /// 0 or 1.
    Boolean,
    /// UTF-8 text, escapes resolved.
    Text,
    /// Bytes as they are in the message.
    Bytes,
    /// JSON text as it was sent.
    Json,
}

impl ColumnKind {
    /// Whether cells of this kind lie in the arena.
    pub fn is_in_arena(self) -> bool {
        matches!(self, Self::Text | Self::Bytes | Self::Json)
    }
}

/// How many values of a column belong to one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One value or null.
    One,
    /// A run of values.
    Many,
    /// Runs of keys and values.
    Entries,
}

/// A column the plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnRequest {
    /// A header's name, `Fields[name]`, or a JSON pointer into the document.
    pub path: String,
    /// What its cells are.
    pub kind: ColumnKind,
    /// How many belong to a row.
    pub shape: Shape,
    /// A row in which it is null never reaches the plugin.
    pub required: bool,
}

/// How instances share the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Any number of instances; no state that matters.
    Stateless,
    /// One instance and one state for each input partition.
    Partition,
    /// One instance in the whole cluster.
    Global,
}

/// What the plugin wants to be called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The matcher expression; it compiles with `tidemill_message::Matcher`.
    pub matcher: String,
    /// The columns, in the order in which a batch carries them.
    pub columns: Vec<ColumnRequest>,
    /// How instances share the stream.
    pub scope: Scope,
    /// Milliseconds between timers, at least 100; 0 for none.
    pub tick_ms: u32,
}

/// A field a decoder adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in the validated message.
    pub name: String,
    /// What its values are.
    pub kind: ColumnKind,
    /// Unit or format; may be empty.
    pub representation: String,
}

/// What becomes of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Moved into a field of its own.
    OwnField,
    /// Left out.
    Drop,
}

/// A member of the document at depth 1 or 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// JSON pointer of one or two segments.
    pub path: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// The checked answer to `open`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the plugin wants to be called with.
    pub subscription: Subscription,
    /// The fields of a decoder; empty for the other kinds.
    pub fields: Vec<Field>,
    /// The section plans of a decoder; empty for the other kinds.
    pub section_plans: Vec<Vec<Section>>,
}
