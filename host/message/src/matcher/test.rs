//! One test: a variable, a check, and the verdict on a value.

use crate::field::Value;
use crate::matcher::pattern::Pattern;
use crate::reader::MessageRef;

/// The left side of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    Header(Header),
    /// The n-th value of the n-th field of that name.
    Field {
        name: Box<[u8]>,
        field_index: u8,
        value_index: u8,
    },
}

/// A header of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Uuid,
    Timestamp,
    Type,
    Logger,
    Severity,
    Payload,
    EnvVersion,
    Pid,
    Hostname,
}

/// What is asked of the variable.
#[derive(Clone, Debug)]
pub(crate) enum Check {
    Text(Order, Box<[u8]>),
    Pattern {
        pattern: Pattern,
        negated: bool,
    },
    Number(Order, f64),
    /// `!= NIL` and, negated, `== NIL`.
    Present {
        negated: bool,
    },
}

/// A relation of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A test, with its verdict on a missing value worked out.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub variable: Variable,
    pub check: Check,
    when_missing: bool,
}

/// A variable's value in a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Resolved<'a> {
    Missing,
    Text(&'a [u8]),
    Number(f64),
}

impl Test {
    pub(crate) fn new(variable: Variable, check: Check) -> Self {
        let when_missing = verdict_when_missing(&variable, &check);
        Self { variable, check, when_missing }
    }

    /// Whether both ask the same of their variables. Of two patterns nobody knows.
    pub(crate) fn is_same_check(&self, other: &Test) -> bool {
        match (&self.check, &other.check) {
            (Check::Text(order, literal), Check::Text(other_order, other)) => order == other_order && literal == other,
            (Check::Number(order, literal), Check::Number(other_order, other)) => {
                order == other_order && literal.to_bits() == other.to_bits()
            }
            (Check::Present { negated }, Check::Present { negated: other }) => negated == other,
            _ => false,
        }
    }

    #[inline(always)]
    pub(crate) fn verdict(&self, value: Resolved<'_>) -> bool {
        match (value, &self.check) {
            (Resolved::Text(value), Check::Text(order, literal)) => holds_for_text(*order, value, literal),
            (Resolved::Number(value), Check::Number(order, literal)) => holds_for_number(*order, value, *literal),
            (Resolved::Missing, _) => self.when_missing,
            (Resolved::Text(value), Check::Pattern { pattern, negated }) => pattern.is_match(value) != *negated,
            (_, Check::Present { negated }) => !negated,
            _ => false,
        }
    }
}

/// A missing header is smaller than everything and equal to nothing; a missing field fails every test but `== NIL`.
fn verdict_when_missing(variable: &Variable, check: &Check) -> bool {
    match (variable, check) {
        (_, Check::Present { negated }) => *negated,
        (Variable::Field { .. }, _) => false,
        (_, Check::Text(order, _) | Check::Number(order, _)) => {
            matches!(order, Order::NotEqual | Order::Less | Order::LessOrEqual)
        }
        (_, Check::Pattern { negated, .. }) => *negated,
    }
}

#[inline]
fn holds_for_text(order: Order, value: &[u8], literal: &[u8]) -> bool {
    match order {
        Order::Equal => value == literal,
        Order::NotEqual => value != literal,
        Order::Less => value < literal,
        Order::LessOrEqual => value <= literal,
        Order::Greater => value > literal,
        Order::GreaterOrEqual => value >= literal,
    }
}

#[inline]
fn holds_for_number(order: Order, value: f64, literal: f64) -> bool {
    match order {
        Order::Equal => value == literal,
        Order::NotEqual => value != literal,
        Order::Less => value < literal,
        Order::LessOrEqual => value <= literal,
        Order::Greater => value > literal,
        Order::GreaterOrEqual => value >= literal,
    }
}

impl Variable {
    /// The variable's value, by a walk over the fields where it is a field.
    pub(crate) fn resolve<'a>(&self, message: &MessageRef<'a>) -> Resolved<'a> {
        match self {
            Variable::Header(header) => header.resolve(message),
            Variable::Field { name, field_index, value_index } => message
                .fields_named(name)
                .nth(usize::from(*field_index))
                .map_or(Resolved::Missing, |field| Resolved::of(field.values().nth(usize::from(*value_index)))),
        }
    }
}

impl Header {
    /// The header's value.
    #[inline(always)]
    pub(crate) fn resolve<'a>(self, message: &MessageRef<'a>) -> Resolved<'a> {
        let text = |text: Option<&'a [u8]>| text.map_or(Resolved::Missing, Resolved::Text);
        match self {
            Header::Uuid => Resolved::Text(message.uuid()),
            Header::Timestamp => Resolved::Number(message.timestamp() as f64),
            Header::Type => text(message.type_()),
            Header::Logger => text(message.logger()),
            Header::Severity => Resolved::Number(f64::from(message.severity())),
            Header::Payload => text(message.payload()),
            Header::EnvVersion => text(message.env_version()),
            Header::Pid => message.pid().map_or(Resolved::Missing, |pid| Resolved::Number(f64::from(pid))),
            Header::Hostname => text(message.hostname()),
        }
    }
}

impl<'a> Resolved<'a> {
    #[inline(always)]
    pub(crate) fn of(value: Option<Value<'a>>) -> Self {
        match value {
            None => Resolved::Missing,
            Some(Value::String(text) | Value::Bytes(text)) => Resolved::Text(text),
            Some(Value::Integer(integer)) => Resolved::Number(integer as f64),
            Some(Value::Double(double)) => Resolved::Number(double),
            Some(Value::Bool(bool)) => Resolved::Number(f64::from(u8::from(bool))),
        }
    }
}
