//! Numbers as JSON Schema compares them: exactly, whatever they are held in.

use std::cmp::Ordering;

/// A number of the dialect: integers of 64 bits are exact, everything else is an `f64`.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// An integer that a `u64` or an `i64` holds.
    Integer(i128),
    /// Any other number; finite.
    Real(f64),
}

impl Number {
    /// How `self` and `other` compare mathematically.
    pub fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(&b),
            (Self::Real(a), Self::Real(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Integer(a), Self::Real(b)) => compare_mixed(a, b),
            (Self::Real(a), Self::Integer(b)) => compare_mixed(b, a).reverse(),
        }
    }

    /// The number as an `f64`, rounded where it must be.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Real(value) => value,
        }
    }
}

/// An `f64` beyond `i128` is beyond every 64-bit integer; within, its whole part is exact.
fn compare_mixed(integer: i128, real: f64) -> Ordering {
    let whole = real.trunc() as i128;
    integer.cmp(&whole).then_with(|| 0.0.partial_cmp(&real.fract()).unwrap_or(Ordering::Equal))
}

/// A limit of a range.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The limit.
    pub value: Number,
    /// Whether the limit itself is refused.
    pub is_exclusive: bool,
}

/// What a number must fulfil besides its type.
#[derive(Debug)]
pub struct NumberRules {
    /// Limits from below, all of which hold.
    lower: Box<[Bound]>,
    /// Limits from above, all of which hold.
    upper: Box<[Bound]>,
    /// The integer it must be a multiple of.
    multiple_of: Option<u64>,
    /// The only numbers accepted (`enum`, `const`).
    allowed: Option<Box<[Number]>>,
    /// The range as it applies to integers of 63 bits.
    least: i64,
    greatest: i64,
    /// Whether that range is all there is to check of such an integer.
    is_range: bool,
}

impl NumberRules {
    /// Rules of the given limits, divisor and enumeration.
    ///
    /// `multiple_of` is an integer from 1 to 2^53; other divisors are not for the pass.
    pub fn new(lower: Vec<Bound>, upper: Vec<Bound>, multiple_of: Option<u64>, allowed: Option<Vec<Number>>) -> Self {
        let least = lower.iter().map(least_integer).max().unwrap_or(i64::MIN);
        let greatest = upper.iter().map(greatest_integer).min().unwrap_or(i64::MAX);
        let is_range = multiple_of.is_none() && allowed.is_none();
        let allowed = allowed.map(Vec::into_boxed_slice);
        Self { lower: lower.into(), upper: upper.into(), multiple_of, allowed, least, greatest, is_range }
    }

    /// Whether an integer of less than 63 bits is accepted.
    #[inline(always)]
    pub(crate) fn accepts_small(&self, value: i64) -> bool {
        (self.least <= value && value <= self.greatest) && (self.is_range || self.accepts(Number::Integer(value.into())))
    }

    /// Whether each integer from 0 to 18 digits is accepted.
    pub(crate) fn accepts_naturals(&self) -> bool {
        self.is_range && self.least <= 0 && self.greatest == i64::MAX
    }

    /// Whether `number` is accepted.
    pub fn accepts(&self, number: Number) -> bool {
        let Self { lower, upper, multiple_of, allowed, least: _, greatest: _, is_range: _ } = self;
        lower.iter().all(|bound| is_within(number.compare(bound.value), Ordering::Greater, bound.is_exclusive))
            && upper.iter().all(|bound| is_within(number.compare(bound.value), Ordering::Less, bound.is_exclusive))
            && multiple_of.is_none_or(|divisor| is_multiple(number, divisor))
            && allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|other| number.compare(*other).is_eq()))
    }
}

fn is_within(ordering: Ordering, side: Ordering, is_exclusive: bool) -> bool {
    ordering == side || (ordering.is_eq() && !is_exclusive)
}

fn is_multiple(number: Number, divisor: u64) -> bool {
    match number {
        Number::Integer(value) => value % i128::from(divisor) == 0,
        Number::Real(value) => value.fract() == 0.0 && value % divisor as f64 == 0.0,
    }
}

/// The least `i64` that a limit from below lets through, saturating.
fn least_integer(bound: &Bound) -> i64 {
    let least = match bound.value {
        Number::Integer(value) => value + i128::from(bound.is_exclusive),
        Number::Real(value) if value.fract() == 0.0 => (value as i128).saturating_add(i128::from(bound.is_exclusive)),
        Number::Real(value) => value.ceil() as i128,
    };
    least.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// The greatest `i64` that a limit from above lets through, saturating.
fn greatest_integer(bound: &Bound) -> i64 {
    let greatest = match bound.value {
        Number::Integer(value) => value - i128::from(bound.is_exclusive),
        Number::Real(value) if value.fract() == 0.0 => (value as i128).saturating_sub(i128::from(bound.is_exclusive)),
        Number::Real(value) => value.floor() as i128,
    };
    greatest.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_reals_compare_exactly() {
        let check = |a: Number, b: Number, expected: Ordering| {
            assert_eq!(a.compare(b), expected, "{a:?} {b:?}");
            assert_eq!(b.compare(a), expected.reverse(), "{b:?} {a:?}");
        };
        check(Number::Integer((1 << 53) + 1), Number::Real(9_007_199_254_740_992.0), Ordering::Greater);
        check(Number::Integer(i128::from(u64::MAX)), Number::Real(18_446_744_073_709_551_616.0), Ordering::Less);
        check(Number::Integer(-1), Number::Real(-1.5), Ordering::Greater);
        check(Number::Integer(0), Number::Real(-0.0), Ordering::Equal);
        check(Number::Integer(0), Number::Real(1e300), Ordering::Less);
        check(Number::Real(0.5), Number::Real(0.25), Ordering::Greater);
    }

    #[test]
    fn the_range_of_small_integers_agrees_with_the_limits() {
        let limits = [Number::Real(1.5), Number::Real(-1.5), Number::Integer(2), Number::Real(2.0), Number::Real(1e300)];
        for value in limits {
            for is_exclusive in [false, true] {
                let lower = NumberRules::new(vec![Bound { value, is_exclusive }], vec![], None, None);
                let upper = NumberRules::new(vec![], vec![Bound { value, is_exclusive }], None, None);
                for n in -4..4 {
                    assert_eq!(lower.accepts_small(n), lower.accepts(Number::Integer(n.into())), "{value:?} {n}");
                    assert_eq!(upper.accepts_small(n), upper.accepts(Number::Integer(n.into())), "{value:?} {n}");
                }
            }
        }
    }
}
