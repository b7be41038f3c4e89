//! From text to an expression, by recursive descent.

use crate::matcher::date;
use crate::matcher::error::{MatcherError, MatcherErrorKind};
use crate::matcher::limits::{DEPTH_MAX, INDEX_MAX, STRING_BYTES_MAX, TESTS_MAX};
use crate::matcher::pattern::Pattern;
use crate::matcher::test::{Check, Header, Order, Test, Variable};

/// A parsed expression.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Constant(bool),
    Test(Test),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

/// Parses a whole expression.
pub(crate) fn parse(text: &str) -> Result<Expression, MatcherError> {
    let mut parser = Parser { text, at: 0, tests: 0, depth: 0 };
    parser.skip_space();
    let expression = parser.any_of()?;
    match parser.rest() {
        "" => Ok(expression),
        _ => Err(parser.expected("'&&', '||' or the end")),
    }
}

type Parsed<T> = Result<T, MatcherError>;

struct Parser<'t> {
    text: &'t str,
    at: usize,
    tests: usize,
    depth: usize,
}

/// What a variable can be compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uuid,
    Text,
    Timestamp,
    Severity,
    Pid,
    Field,
}

/// An operator.
#[derive(Clone, Copy)]
enum Operator {
    Order(Order),
    Like { negated: bool },
}

/// Longer operators come before their prefixes.
const OPERATORS: [(&str, Operator); 8] = [
    ("==", Operator::Order(Order::Equal)),
    ("!=", Operator::Order(Order::NotEqual)),
    (">=", Operator::Order(Order::GreaterOrEqual)),
    ("<=", Operator::Order(Order::LessOrEqual)),
    ("=~", Operator::Like { negated: false }),
    ("!~", Operator::Like { negated: true }),
    (">", Operator::Order(Order::Greater)),
    ("<", Operator::Order(Order::Less)),
];

const HEADERS: [(&str, Header, Kind); 9] = [
    ("Uuid", Header::Uuid, Kind::Uuid),
    ("Timestamp", Header::Timestamp, Kind::Timestamp),
    ("Type", Header::Type, Kind::Text),
    ("Logger", Header::Logger, Kind::Text),
    ("Severity", Header::Severity, Kind::Severity),
    ("Payload", Header::Payload, Kind::Text),
    ("EnvVersion", Header::EnvVersion, Kind::Text),
    ("Pid", Header::Pid, Kind::Pid),
    ("Hostname", Header::Hostname, Kind::Text),
];

/// The header of a name.
pub(super) fn header_named(name: &str) -> Option<Header> {
    HEADERS.iter().find(|(known, ..)| *known == name).map(|(_, header, _)| *header)
}

const TEST_EXPECTED: &str = "a test (Uuid, Timestamp, Type, Logger, Severity, Payload, EnvVersion, Pid, Hostname, Fields[name], \
                             TRUE or FALSE) or '('";

// Expressions: `||` of `&&` of tests and parentheses.
impl Parser<'_> {
    fn any_of(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.all_of()?];
        while self.take_token("||") {
            parts.push(self.all_of()?);
        }
        Ok(one_or(parts, Expression::Or))
    }

    fn all_of(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.one()?];
        while self.take_token("&&") {
            parts.push(self.one()?);
        }
        Ok(one_or(parts, Expression::And))
    }

    fn one(&mut self) -> Parsed<Expression> {
        let open = self.at;
        if !self.take_token("(") {
            return self.test();
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(error_at(open, MatcherErrorKind::TooDeep { limit: DEPTH_MAX }));
        }
        let inner = self.any_of()?;
        self.depth -= 1;
        self.take_token(")").then_some(inner).ok_or_else(|| self.expected("'&&', '||' or ')'"))
    }

    fn test(&mut self) -> Parsed<Expression> {
        self.tests += 1;
        if self.tests > TESTS_MAX {
            return Err(self.error(MatcherErrorKind::TooManyTests { limit: TESTS_MAX }));
        }
        if let Some(constant) = self.constant() {
            return Ok(Expression::Constant(constant));
        }
        let (variable, kind) = self.variable()?;
        self.skip_space();
        let operator = self.operator(kind)?;
        let check = self.literal(kind, operator)?;
        self.skip_space();
        Ok(Expression::Test(Test::new(variable, check)))
    }
}

fn one_or(mut parts: Vec<Expression>, many: impl Fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

// The left side.
impl Parser<'_> {
    fn variable(&mut self) -> Parsed<(Variable, Kind)> {
        if self.take("Fields[") {
            return Ok((self.field()?, Kind::Field));
        }
        let header = HEADERS.iter().find(|(name, ..)| self.word() == *name);
        let Some((name, header, kind)) = header else { return Err(self.expected(TEST_EXPECTED)) };
        self.at += name.len();
        Ok((Variable::Header(*header), *kind))
    }

    /// What follows `Fields[`.
    fn field(&mut self) -> Parsed<Variable> {
        let Some(length) = self.rest().find(']') else {
            self.at = self.text.len();
            return Err(self.expected("']'"));
        };
        let name = self.rest().as_bytes()[..length].into();
        self.at += length + 1;
        let field_index = self.index()?.unwrap_or(0);
        let value_index = self.index()?.unwrap_or(0);
        Ok(Variable::Field { name, field_index, value_index })
    }

    fn index(&mut self) -> Parsed<Option<u8>> {
        if !self.take("[") {
            return Ok(None);
        }
        let length = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return Err(self.expected("an index from 0 to 255"));
        }
        let index = self.rest()[..length].parse::<u8>();
        let index = index.map_err(|_| self.error(MatcherErrorKind::Index { limit: INDEX_MAX }))?;
        self.at += length;
        self.take("]").then_some(Some(index)).ok_or_else(|| self.expected("']'"))
    }

    fn operator(&mut self, kind: Kind) -> Parsed<Operator> {
        let text_like = matches!(kind, Kind::Uuid | Kind::Text | Kind::Field);
        let allowed = |operator: &Operator| text_like || matches!(operator, Operator::Order(_));
        let found = OPERATORS.iter().find(|(text, operator)| self.rest().starts_with(text) && allowed(operator));
        let Some((text, operator)) = found else {
            let all = "'==', '!=', '>=', '>', '<=', '<', '=~' or '!~'";
            return Err(self.expected(if text_like { all } else { "'==', '!=', '>=', '>', '<=' or '<'" }));
        };
        self.at += text.len();
        self.skip_space();
        Ok(*operator)
    }
}

// The right side.
impl Parser<'_> {
    fn literal(&mut self, kind: Kind, operator: Operator) -> Parsed<Check> {
        match operator {
            Operator::Like { negated } => self.pattern(negated),
            Operator::Order(order @ (Order::Equal | Order::NotEqual)) => {
                let special = self.special(kind, order);
                special.map_or_else(|| self.comparison(kind, order), Ok)
            }
            Operator::Order(order) => self.comparison(kind, order),
        }
    }

    /// `NIL`, and for fields `TRUE` and `FALSE`.
    fn special(&mut self, kind: Kind, order: Order) -> Option<Check> {
        let nil_allowed = matches!(kind, Kind::Text | Kind::Pid | Kind::Field);
        if nil_allowed && self.take_word("NIL") {
            return Some(Check::Present { negated: order == Order::Equal });
        }
        let constant = if kind == Kind::Field { self.constant() } else { None };
        constant.map(|constant| Check::Number(order, f64::from(u8::from(constant))))
    }

    fn comparison(&mut self, kind: Kind, order: Order) -> Parsed<Check> {
        let quoted = self.rest().starts_with(['\'', '"']);
        match kind {
            Kind::Text => Ok(Check::Text(order, self.string()?.into())),
            Kind::Uuid => Ok(Check::Text(order, uuid_bytes(self.string()?).into())),
            Kind::Timestamp if quoted => Ok(Check::Number(order, self.date()?)),
            Kind::Field if quoted => Ok(Check::Text(order, self.string()?.into())),
            Kind::Timestamp => Ok(Check::Number(order, self.number("a number or a quoted date")?)),
            Kind::Field => Ok(Check::Number(order, self.number(field_expected(order))?)),
            Kind::Pid | Kind::Severity => Ok(Check::Number(order, self.number(number_expected(kind, order))?)),
        }
    }

    fn pattern(&mut self, negated: bool) -> Parsed<Check> {
        let begin = self.at;
        let text = self.string()?;
        let pattern = match self.take("%") {
            true => Ok(Pattern::literal(&text)),
            false => Pattern::lua(&text),
        };
        Ok(Check::Pattern { pattern: pattern.map_err(|kind| error_at(begin, kind))?, negated })
    }

    fn date(&mut self) -> Parsed<f64> {
        let begin = self.at;
        let text = String::from_utf8_lossy(&self.string()?).into_owned();
        date::parse(&text).ok_or_else(|| error_at(begin, MatcherErrorKind::Date { found: text }))
    }

    fn number(&mut self, expected: &'static str) -> Parsed<f64> {
        let length = number_len(self.rest().as_bytes());
        let number = self.rest()[..length].parse().map_err(|_| self.expected(expected))?;
        self.at += length;
        Ok(number)
    }

    /// A quoted string without its escapes.
    fn string(&mut self) -> Parsed<Vec<u8>> {
        let begin = self.at;
        let quote = match self.rest().as_bytes().first() {
            Some(quote @ (b'\'' | b'"')) => *quote,
            _ => return Err(self.expected("a quoted string")),
        };
        self.at += 1;
        let string = self.unescape_to(quote)?;
        match string.len() {
            size if size > STRING_BYTES_MAX => Err(error_at(begin, MatcherErrorKind::StringTooLong { size, limit: STRING_BYTES_MAX })),
            _ => Ok(string),
        }
    }

    /// The rest of a string literal, whose closing quote is taken too.
    fn unescape_to(&mut self, quote: u8) -> Parsed<Vec<u8>> {
        let mut string = Vec::new();
        loop {
            let (byte, length) = match &self.text.as_bytes()[self.at..] {
                [] => return Err(self.expected("the closing quote")),
                [0, ..] => return Err(self.error(MatcherErrorKind::Nul)),
                [b'\\', byte, ..] if *byte == quote || *byte == b'\\' => (*byte, 2),
                [byte, ..] => (*byte, 1),
            };
            self.at += length;
            if length == 1 && byte == quote {
                return Ok(string);
            }
            string.push(byte);
        }
    }
}

fn field_expected(order: Order) -> &'static str {
    match order {
        Order::Equal | Order::NotEqual => "a quoted string, a number, TRUE, FALSE or NIL",
        _ => "a quoted string or a number",
    }
}

fn number_expected(kind: Kind, order: Order) -> &'static str {
    match (kind, order) {
        (Kind::Pid, Order::Equal | Order::NotEqual) => "a number or NIL",
        _ => "a number",
    }
}

/// The 16 bytes that a text of the usual 36 characters stands for; anything else as it is.
fn uuid_bytes(text: Vec<u8>) -> Vec<u8> {
    const HYPHENATED: usize = 36;
    match uuid::Uuid::try_parse_ascii(&text) {
        Ok(uuid) if text.len() == HYPHENATED => uuid.as_bytes().to_vec(),
        _ => text,
    }
}

/// How many bytes `[-+]? (0|[1-9][0-9]*) (.[0-9]+)? ([eE][-+]?[0-9]+)?` takes; 0 where there is none.
fn number_len(text: &[u8]) -> usize {
    let digits = |from: usize| text[from.min(text.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = |from: usize| usize::from(matches!(text.get(from), Some(b'+' | b'-')));
    let whole = sign(0);
    let mut end = match (text.get(whole), digits(whole)) {
        (_, 0) => return 0,
        (Some(b'0'), _) => whole + 1,
        (_, count) => whole + count,
    };
    if text.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let exponent = end + 1 + sign(end + 1);
        end = if digits(exponent) > 0 { exponent + digits(exponent) } else { end };
    }
    end
}

// Tokens.
impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        // Never inside a character: only string literals are read by bytes, and they end behind a quote.
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn take_token(&mut self, token: &str) -> bool {
        let found = self.take(token);
        self.skip_space();
        found
    }

    /// The letters that come next.
    fn word(&self) -> &'t str {
        let length = self.rest().bytes().take_while(u8::is_ascii_alphanumeric).count();
        &self.rest()[..length]
    }

    fn take_word(&mut self, word: &str) -> bool {
        self.word() == word && self.take_token(word)
    }

    fn constant(&mut self) -> Option<bool> {
        let constant = self.take_word("TRUE");
        (constant || self.take_word("FALSE")).then_some(constant)
    }

    fn error(&self, kind: MatcherErrorKind) -> MatcherError {
        error_at(self.at, kind)
    }

    fn expected(&self, expected: &'static str) -> MatcherError {
        let found = match (self.word(), self.rest().chars().next()) {
            (_, None) => "the end".to_owned(),
            ("", Some(char)) => format!("'{char}'"),
            (word, _) => format!("'{word}'"),
        };
        self.error(MatcherErrorKind::Expected { expected, found })
    }
}

fn error_at(position: usize, kind: MatcherErrorKind) -> MatcherError {
    MatcherError { position, kind }
}
