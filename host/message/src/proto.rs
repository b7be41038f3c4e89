//! The message as owned structs, for code that is not on the hot path.
//!
//! Text fields are `String`s: decoding fails on text that is not UTF-8, which [`crate::MessageRef`] passes through as bytes.
//! Unknown tags are ignored here and refused there.

/// The type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ValueType {
    /// Text, the default. Not necessarily UTF-8.
    String = 0,
    /// Bytes.
    Bytes = 1,
    /// Signed 64 bits.
    Integer = 2,
    /// IEEE 754 double.
    Double = 3,
    /// True or false.
    Bool = 4,
}

/// A named list of values of one type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Field {
    /// The name; several fields of a message may have the same.
    #[prost(string, required, tag = "1")]
    pub name: String,
    /// The type of the values.
    #[prost(enumeration = "ValueType", optional, tag = "2", default = "String")]
    pub value_type: Option<i32>,
    /// Unit (`count`, `B`, `ms`) or format (`json`, `date-time`), free text.
    #[prost(string, optional, tag = "3")]
    pub representation: Option<String>,
    /// The values of type string.
    #[prost(string, repeated, tag = "4")]
    pub value_string: Vec<String>,
    /// The values of type bytes.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub value_bytes: Vec<Vec<u8>>,
    /// The values of type integer.
    #[prost(int64, repeated, packed = "true", tag = "6")]
    pub value_integer: Vec<i64>,
    /// The values of type double.
    #[prost(double, repeated, packed = "true", tag = "7")]
    pub value_double: Vec<f64>,
    /// The values of type bool.
    #[prost(bool, repeated, packed = "true", tag = "8")]
    pub value_bool: Vec<bool>,
}

/// A Heka message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// 16 bytes.
    #[prost(bytes = "vec", required, tag = "1")]
    pub uuid: Vec<u8>,
    /// Nanoseconds since 1970 UTC.
    #[prost(int64, required, tag = "2")]
    pub timestamp: i64,
    /// What kind of message it is.
    #[prost(string, optional, tag = "3")]
    pub r#type: Option<String>,
    /// Who made it.
    #[prost(string, optional, tag = "4")]
    pub logger: Option<String>,
    /// Syslog severity.
    #[prost(int32, optional, tag = "5", default = "7")]
    pub severity: Option<i32>,
    /// Free text.
    #[prost(string, optional, tag = "6")]
    pub payload: Option<String>,
    /// The version of the environment that made it.
    #[prost(string, optional, tag = "7")]
    pub env_version: Option<String>,
    /// The process that made it.
    #[prost(int32, optional, tag = "8")]
    pub pid: Option<i32>,
    /// The host that made it.
    #[prost(string, optional, tag = "9")]
    pub hostname: Option<String>,
    /// The fields, in order.
    #[prost(message, repeated, tag = "10")]
    pub fields: Vec<Field>,
}

/// The tags of [`Message`].
pub(crate) mod tag {
    pub(crate) const UUID: u8 = 1;
    pub(crate) const TIMESTAMP: u8 = 2;
    pub(crate) const TYPE: u8 = 3;
    pub(crate) const LOGGER: u8 = 4;
    pub(crate) const SEVERITY: u8 = 5;
    pub(crate) const PAYLOAD: u8 = 6;
    pub(crate) const ENV_VERSION: u8 = 7;
    pub(crate) const PID: u8 = 8;
    pub(crate) const HOSTNAME: u8 = 9;
    pub(crate) const FIELDS: u8 = 10;
}

/// The tags of [`Field`].
pub(crate) mod field_tag {
    pub(crate) const NAME: u8 = 1;
    pub(crate) const VALUE_TYPE: u8 = 2;
    pub(crate) const REPRESENTATION: u8 = 3;
    pub(crate) const STRING: u8 = 4;
    pub(crate) const BYTES: u8 = 5;
    pub(crate) const INTEGER: u8 = 6;
    pub(crate) const DOUBLE: u8 = 7;
    pub(crate) const BOOL: u8 = 8;
}
