//! Why bytes are not a Heka message.

/// Why bytes are not a Heka message. Positions are byte offsets into the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// An element of the message itself is broken.
    #[error("{0}")]
    Element(Fault),
    /// An element of a field is broken.
    #[error("in the field at {field}: {fault}")]
    Field {
        /// Where the field's record begins, after its tag and length.
        field: usize,
        /// The broken element.
        fault: Fault,
    },
    /// A field has no name.
    #[error("the field at {field} has no name")]
    MissingName {
        /// Where the field's record begins, after its tag and length.
        field: usize,
    },
    /// The message has no Uuid.
    #[error("missing Uuid")]
    MissingUuid,
    /// The message has no Timestamp.
    #[error("missing Timestamp")]
    MissingTimestamp,
}

/// A protobuf element that cannot be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tag:{tag} wiretype:{wire_type} position:{position}: {problem}")]
pub struct Fault {
    /// The element's tag; 0 where the key itself is broken.
    pub tag: u32,
    /// The element's wire type.
    pub wire_type: u8,
    /// Where the element's key begins.
    pub position: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The bytes end inside it.
    #[error("the bytes end inside the element")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("a varint is longer than 64 bits")]
    Varint,
    /// No such tag at this level.
    #[error("unknown tag")]
    UnknownTag,
    /// The tag is never written with this wire type.
    #[error("wrong wire type")]
    WireType,
    /// A Uuid is 16 bytes.
    #[error("a Uuid of {0} bytes, expected 16")]
    UuidLength(usize),
    /// A field has one name.
    #[error("a second name")]
    RepeatedName,
    /// The value type is not one of 0 to 4.
    #[error("value type {0}, expected 0 to 4")]
    UnknownValueType(i32),
    /// Values of another type than the field declares (an undeclared type is string).
    #[error("values of another type than the field's value type")]
    ValueType,
    /// Values come last in a field, all with one tag.
    #[error("an element after the field's values, which come last and under one tag")]
    AfterValues,
    /// Packed doubles that are not a multiple of 8 bytes.
    #[error("packed doubles of {0} bytes, not a multiple of 8")]
    PackedDoubles(usize),
}
