//! Many matchers over a block of messages: each test is made for all of them, and for a text that repeats once. A matcher that asks
//! message by message spends most of its time on verdicts that its processor did not foresee.

use crate::field::Value;
use crate::matcher::parser::header_named;
use crate::matcher::program::{ACCEPT, Target};
use crate::matcher::set::{FieldTable, MatcherSet, Step};
use crate::matcher::test::{Check, Order, Resolved, Test, Variable};
use crate::names::FoundFields;
use crate::reader::MessageRef;
use crate::texts::Texts;

/// Messages of a block.
pub const BLOCK_MESSAGES_MAX: usize = 512;

const WORDS: usize = BLOCK_MESSAGES_MAX / 64;

/// A bit for each message of a block.
type Bits = [u64; WORDS];

/// What the matchers of a set ask of some messages. They belong to the set that they are [pushed](MatcherSet::push) with.
#[derive(Debug, Default)]
pub struct MatchBlock<'m> {
    messages: usize,
    /// In the order of the set's slots.
    variables: Vec<Values<'m>>,
    /// Memory for the evaluation: the verdicts of each check, and the messages that get to each step.
    verdicts: Vec<Option<Bits>>,
    reached: Vec<Bits>,
}

impl<'m> MatchBlock<'m> {
    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Whether it has to be evaluated before more is pushed.
    pub fn is_full(&self) -> bool {
        self.messages >= BLOCK_MESSAGES_MAX
    }

    /// The texts of a variable that the matchers test: for each message the number of its text, from 1, or another number where it has
    /// none. `None` where nothing was pushed yet.
    pub fn texts(&self, slot: usize) -> Option<(&[&'m [u8]], &[u16])> {
        let values = self.variables.get(slot)?;
        Some((values.texts.list(), &values.codes[..self.messages]))
    }

    /// The numbers of a variable, and for each message [`NUMBER_CODE`] where it has one (a boolean is none); without codes all of
    /// them have. `None` where nothing was pushed yet.
    pub fn numbers(&self, slot: usize) -> Option<(&[f64], &[u16])> {
        let values = self.variables.get(slot)?;
        let codes = if values.seen == Seen::NUMBERS { &[] } else { &values.codes[..self.messages] };
        Some((&values.numbers[..self.messages], codes))
    }

    /// Forgets the messages, keeps the memory.
    pub fn clear(&mut self) {
        self.messages = 0;
        self.variables.iter_mut().for_each(Values::clear);
    }
}

/// A variable's values, one for each message.
#[derive(Debug)]
struct Values<'m> {
    texts: Texts<'m>,
    /// 1 and the number of the text, 0 where the value is missing, or the code of a number.
    codes: Box<[u16; BLOCK_MESSAGES_MAX]>,
    /// Those whose code says so.
    numbers: Box<[f64; BLOCK_MESSAGES_MAX]>,
    seen: Seen,
}

/// Which values there are, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen(u8);

impl Seen {
    /// Texts, or none.
    const TEXTS: Self = Self(1);
    const NUMBERS: Self = Self(2);
    const BOOLEANS: Self = Self(4);

    #[inline(always)]
    fn note(&mut self, seen: Self) {
        self.0 |= seen.0;
    }
}

/// The code of a value that is a number, ...
pub const NUMBER_CODE: u16 = u16::MAX;
/// ... and of a boolean, which is tested as one.
const BOOLEAN_CODE: u16 = u16::MAX - 1;

impl<'m> Values<'m> {
    fn new() -> Self {
        let (codes, numbers) = (Box::new([0; BLOCK_MESSAGES_MAX]), Box::new([0.0; BLOCK_MESSAGES_MAX]));
        Self { texts: Texts::new(true), codes, numbers, seen: Seen::default() }
    }

    /// The first value of a field, for the message at this place.
    #[inline(always)]
    fn set_first(&mut self, message: usize, value: Option<Value<'m>>) {
        match value {
            Some(Value::Bool(value)) => self.set_number(message, f64::from(u8::from(value)), BOOLEAN_CODE, Seen::BOOLEANS),
            value => self.set(message, Resolved::of(value)),
        }
    }

    #[inline(always)]
    fn set(&mut self, message: usize, value: Resolved<'m>) {
        match value {
            Resolved::Number(number) => self.set_number(message, number, NUMBER_CODE, Seen::NUMBERS),
            Resolved::Text(text) => self.set_text(message, text),
            Resolved::Missing => {
                self.codes[message] = 0;
                self.seen.note(Seen::TEXTS);
            }
        }
    }

    #[inline(always)]
    fn set_number(&mut self, message: usize, number: f64, code: u16, seen: Seen) {
        self.numbers[message] = number;
        self.codes[message] = code;
        self.seen.note(seen);
    }

    #[inline(always)]
    fn set_text(&mut self, message: usize, text: &'m [u8]) {
        self.codes[message] = self.texts.code(text, |_| true).0 + 1;
        self.seen.note(Seen::TEXTS);
    }

    fn clear(&mut self) {
        self.texts.clear();
        self.seen = Seen::default();
    }

    /// The verdict of a test for each message.
    fn test(&self, test: &Test, messages: usize) -> Bits {
        let (codes, numbers) = (&self.codes[..messages], &self.numbers[..messages]);
        if self.seen.0 & Seen::TEXTS.0 == 0 {
            return test_numbers(numbers, test);
        }
        let of_text = |text: &&[u8]| u8::from(test.verdict(Resolved::Text(text)));
        let by_code: Vec<u8> =
            std::iter::once(u8::from(test.verdict(Resolved::Missing))).chain(self.texts.list().iter().map(of_text)).collect();
        let of_code = |code: &u16| by_code.get(usize::from(*code)) == Some(&1);
        if self.seen == Seen::TEXTS {
            return bits(codes, of_code);
        }
        let mut out = Bits::default();
        for (message, (code, number)) in codes.iter().zip(numbers).enumerate() {
            let verdict = if *code >= BOOLEAN_CODE { test.verdict(Resolved::Number(*number)) } else { of_code(code) };
            out[message / 64] |= u64::from(verdict) << (message % 64);
        }
        out
    }
}

fn test_numbers(numbers: &[f64], test: &Test) -> Bits {
    match &test.check {
        Check::Number(Order::Equal, literal) => bits(numbers, |number| number == literal),
        Check::Number(Order::NotEqual, literal) => bits(numbers, |number| number != literal),
        Check::Number(Order::Less, literal) => bits(numbers, |number| number < literal),
        Check::Number(Order::LessOrEqual, literal) => bits(numbers, |number| number <= literal),
        Check::Number(Order::Greater, literal) => bits(numbers, |number| number > literal),
        Check::Number(Order::GreaterOrEqual, literal) => bits(numbers, |number| number >= literal),
        _ => bits(numbers, |number| test.verdict(Resolved::Number(*number))),
    }
}

/// A bit for each value, without a branch on it.
#[inline(always)]
fn bits<T>(values: &[T], verdict: impl Fn(&T) -> bool) -> Bits {
    let mut out = Bits::default();
    for (word, values) in out.iter_mut().zip(values.chunks(64)) {
        *word = values.iter().enumerate().fold(0, |word, (at, value)| word | u64::from(verdict(value)) << at);
    }
    out
}

/// The steps of a matcher, each before those that it leads to, and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Route {
    entry: Target,
    steps: Vec<Target>,
}

impl Route {
    /// From the steps of all matchers; the targets of this one's are a graph without circles.
    pub(super) fn new(entry: Target, all: &[Step]) -> Self {
        let (mut seen, mut left) = (vec![false; all.len()], Vec::new());
        // Behind a step is everything that it leads to, when all of that was walked through.
        let mut open = vec![(entry, false)];
        while let Some((target, is_walked)) = open.pop() {
            let Some(step) = all.get(target as usize) else { continue };
            if is_walked {
                left.push(target);
            } else if !std::mem::replace(&mut seen[target as usize], true) {
                open.extend([(target, true), (step.node.when_true, false), (step.node.when_false, false)]);
            }
        }
        left.reverse();
        Self { entry, steps: left }
    }
}

impl MatcherSet {
    /// Appends a message that was [read](MessageRef::parse_with) with [`MatcherSet::field_names`], perhaps with more names behind
    /// them.
    ///
    /// # Panics
    /// Where the block is [full](MatchBlock::is_full).
    #[inline]
    pub fn push<'m>(&self, block: &mut MatchBlock<'m>, message: &MessageRef<'m>, found: &FoundFields<'m>) {
        assert!(!block.is_full(), "a block is selected from before more is pushed");
        let MatchBlock { messages, variables, .. } = block;
        if variables.is_empty() {
            variables.resize_with(self.slots(), Values::new);
        }
        let (headers, fields) = variables.split_at_mut(self.headers.len());
        for (values, header) in headers.iter_mut().zip(&self.headers) {
            values.set(*messages, header.resolve(message));
        }
        for (values, field) in fields.iter_mut().zip(&self.field_slots) {
            match field.is_first_value() {
                true => values.set_first(*messages, found.get(field.place).and_then(|found| found.first)),
                false => values.set(*messages, field.resolve(message, found)),
            }
        }
        *messages += 1;
    }

    /// For each matcher that is `wanted` the messages of the block that it selects, ascending, instead of what is there. Answers how
    /// many messages some of them selects.
    pub fn select(&self, block: &mut MatchBlock<'_>, wanted: &[usize], out: &mut [Vec<u16>]) -> usize {
        let MatchBlock { messages, variables, verdicts, reached } = block;
        verdicts.clear();
        verdicts.resize(self.checks, None);
        reached.resize(self.steps.len(), Bits::default());
        let all = bits(&[(); BLOCK_MESSAGES_MAX][..*messages], |()| true);
        let mut any = Bits::default();
        for matcher in wanted {
            let (Some(route), Some(out)) = (self.routes.get(*matcher), out.get_mut(*matcher)) else { continue };
            let mut accepted = if route.entry == ACCEPT { all } else { Bits::default() };
            route.steps.iter().for_each(|step| reached[*step as usize] = Bits::default());
            if let Some(first) = reached.get_mut(route.entry as usize) {
                *first = all;
            }
            for number in &route.steps {
                let from = reached[*number as usize];
                if from == Bits::default() {
                    continue;
                }
                let step = &self.steps[*number as usize];
                let verdict = verdicts[step.check as usize].get_or_insert_with(|| {
                    variables.get(step.slot as usize).map_or_else(Bits::default, |values| values.test(&step.node.test, *messages))
                });
                for (target, negate) in [(step.node.when_true, 0), (step.node.when_false, u64::MAX)] {
                    let into = if target == ACCEPT { Some(&mut accepted) } else { reached.get_mut(target as usize) };
                    let Some(into) = into else { continue };
                    (0..WORDS).for_each(|word| into[word] |= from[word] & (verdict[word] ^ negate));
                }
            }
            (0..WORDS).for_each(|word| any[word] |= accepted[word]);
            list(&accepted, out);
        }
        any.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The slot of a header, by its name in expressions, for [`MatchBlock::texts`].
    pub fn header_slot(&self, name: &str) -> Option<usize> {
        let header = header_named(name)?;
        self.headers.iter().position(|known| *known == header)
    }

    /// The slot of the first value of the first field of a name, by its place in [`MatcherSet::field_names`].
    pub fn field_slot(&self, place: usize) -> Option<usize> {
        let is_it = |field: &FieldSlot| field.place == place && field.is_first_value();
        self.field_slots.iter().position(is_it).map(|field| self.headers.len() + field)
    }

    fn slots(&self) -> usize {
        self.headers.len() + self.field_slots.len()
    }
}

/// The places of the ones.
fn list(bits: &Bits, out: &mut Vec<u16>) {
    out.clear();
    for (begin, word) in (0..).step_by(64).zip(bits) {
        if *word == u64::MAX {
            out.extend(begin..begin + 64);
            continue;
        }
        let mut left = *word;
        out.extend(std::iter::from_fn(|| {
            let at = left.trailing_zeros() as u16;
            (left != 0).then(|| {
                left &= left - 1;
                begin + at
            })
        }));
    }
}

/// A field that tests ask for.
#[derive(Clone, Debug)]
pub(super) struct FieldSlot {
    /// The place of its name.
    place: usize,
    variable: Variable,
    value_index: u8,
    is_first: bool,
}

impl FieldSlot {
    /// In the order of the table's slots.
    pub(super) fn all(table: &FieldTable) -> Vec<Self> {
        let mut out: Vec<_> = table.each(|place, name, wanted| {
            let (field_index, value_index) = (wanted.field_index, wanted.value_index);
            let variable = Variable::Field { name: name.into(), field_index, value_index };
            (wanted.slot, Self { place, variable, value_index, is_first: field_index == 0 })
        });
        out.sort_by_key(|(slot, _)| *slot);
        out.into_iter().map(|(_, field)| field).collect()
    }

    #[inline]
    fn is_first_value(&self) -> bool {
        self.is_first && self.value_index == 0
    }

    fn resolve<'m>(&self, message: &MessageRef<'m>, found: &FoundFields<'m>) -> Resolved<'m> {
        if !self.is_first {
            return self.variable.resolve(message);
        }
        Resolved::of(found.get(self.place).and_then(|found| found.field()?.values().nth(usize::from(self.value_index))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Matcher, MessageWriter};

    const EXPRESSIONS: [&str; 24] = [
        "TRUE",
        "FALSE",
        "Type == 'one'",
        "Type != 'one'",
        "Type == 'one' && Fields[mixed] == 3",
        "Type == 'one' || Fields[mixed] == 'three' || Logger == NIL",
        "(Type == 'one' || Pid == 4) && (Fields[number] >= 7 || Fields[text] =~ 'x')",
        "(Fields[number] < 5 && Type =~ '^t') || (Fields[number] > 9 && Type !~ 'ee$') || Fields[mixed] == NIL",
        "Fields[mixed] == NIL",
        "Fields[mixed] != NIL",
        "Fields[mixed] == TRUE",
        "Fields[mixed] != 'three'",
        "Fields[mixed] <= 3",
        "Fields[mixed] =~ 'h'",
        "Fields[text][1] == 'second'",
        "Fields[text][0][1] == 'value'",
        "Fields[number] != 7",
        "Fields[number] <= 7",
        "Fields[double] > 0.5",
        "Pid == NIL",
        "Severity == 7",
        "Uuid > '\u{8}'",
        "Timestamp >= 100",
        "Fields[nowhere] == 1",
    ];

    fn message(number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let pick = |of: u64, salt: u64| (number ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17 + salt as u32) % of;
        let mut writer = MessageWriter::new(&mut bytes, &[number as u8 % 16; 16], number as i64);
        if pick(4, 1) > 0 {
            writer.type_([&b"one"[..], b"two", b"three"][pick(3, 2) as usize]);
        }
        if pick(3, 3) > 0 {
            writer.logger(b"logger");
        }
        if pick(2, 4) > 0 {
            writer.severity(pick(9, 5) as i32);
        }
        if pick(2, 6) > 0 {
            writer.pid(pick(6, 7) as i32);
        }
        match pick(6, 8) {
            0 => &mut writer,
            1 => writer.field_string("mixed", b"three"),
            2 => writer.field_integer("mixed", "", 3),
            3 => writer.field_bool("mixed", number.is_multiple_of(2)),
            4 => writer.field_bytes("mixed", "", b"\xff"),
            _ => writer.field_double("mixed", "", f64::NAN),
        };
        if pick(5, 9) > 0 {
            writer.field_integer("number", "", pick(12, 10) as i64).field_double("double", "", pick(10, 11) as f64 / 9.0);
        }
        for _ in 0..pick(3, 12) {
            let text = [&b"second"[..], b"x", b""][pick(3, 13) as usize];
            writer.field_strings("text", "", &[text, b"value"][..1 + pick(2, 14) as usize]);
        }
        bytes
    }

    /// The numbers of a block are those of its messages; of what matchers ask for.
    #[track_caller]
    fn check_numbers(set: &MatcherSet, block: &MatchBlock<'_>, messages: &[MessageRef<'_>]) {
        let number = |slot: usize, at: usize| -> Option<u64> {
            let (numbers, codes) = block.numbers(slot)?;
            numbers.get(at).filter(|_| codes.get(at).is_none_or(|code| *code == NUMBER_CODE)).map(|number| number.to_bits())
        };
        for name in ["mixed", "number", "double"] {
            let slot = set.field_slot(set.field_names().find(name.as_bytes()).unwrap()).unwrap();
            let want = |message: &MessageRef<'_>| message.field(name)?.double().map(f64::to_bits);
            let numbers: Vec<_> = (0..messages.len()).map(|at| number(slot, at)).collect();
            assert_eq!(numbers, messages.iter().map(want).collect::<Vec<_>>(), "{name}");
        }
        for (name, want) in [("Severity", (|message: &MessageRef<'_>| Some(message.severity())) as fn(&_) -> _), ("Pid", MessageRef::pid)] {
            let slot = set.header_slot(name).unwrap();
            let want: Vec<_> = messages.iter().map(|message| want(message).map(|number| f64::from(number).to_bits())).collect();
            assert_eq!((0..messages.len()).map(|at| number(slot, at)).collect::<Vec<_>>(), want, "{name}");
        }
    }

    #[test]
    fn a_block_is_matched_as_each_of_its_messages() {
        let mut matchers: Vec<_> = EXPRESSIONS.iter().map(|text| Matcher::parse(text).unwrap()).collect();
        matchers.push(matchers[5].and(&matchers[6]));
        matchers.push(matchers[1].and(&matchers[7]));
        matchers.push(matchers[7].and(&matchers[4]));
        let set = MatcherSet::new(matchers.clone());
        let (mut block, mut found, mut selected) = (MatchBlock::default(), FoundFields::default(), vec![Vec::new(); set.len()]);
        let all: Vec<_> = (0..set.len()).collect();
        let messages: Vec<_> = (0..4_000).map(message).collect();
        let (mut begin, mut counts) = (0, vec![0; set.len()]);
        for size in [1, 63, 64, 65, 3, 512, 200].into_iter().cycle() {
            let Some(part) = messages.get(begin..begin + size) else { break };
            let read: Vec<_> = part.iter().map(|bytes| MessageRef::parse(bytes).unwrap()).collect();
            for bytes in part {
                let message = MessageRef::parse_with(bytes, set.field_names(), &mut found).unwrap();
                set.push(&mut block, &message, &found);
            }
            let any = set.select(&mut block, &all, &mut selected);
            check_numbers(&set, &block, &read);
            let matches =
                |matcher: &Matcher| (0_u16..).zip(&read).filter(|(_, message)| matcher.matches(message)).map(|(at, _)| at).collect();
            let want: Vec<Vec<u16>> = matchers.iter().map(matches).collect();
            for (matcher, (selected, want)) in selected.iter().zip(&want).enumerate() {
                assert_eq!(selected, want, "{:?} of {size} messages from {begin}", EXPRESSIONS.get(matcher));
                counts[matcher] += want.len();
            }
            assert_eq!(any, size, "one of the matchers is TRUE");
            begin += size;
            block.clear();
        }
        let [never, always]: [&[usize]; 2] = [&[1, 23, 25], &[0]];
        for (matcher, count) in counts.iter().enumerate() {
            let is_some = 0 < *count && *count < begin;
            assert!(
                is_some || never.contains(&matcher) || always.contains(&matcher),
                "{:?} says nothing: {count}",
                EXPRESSIONS.get(matcher)
            );
        }
        // Only what is asked for is evaluated.
        for bytes in &messages[..2] {
            let message = MessageRef::parse_with(bytes, set.field_names(), &mut found).unwrap();
            set.push(&mut block, &message, &found);
        }
        selected.iter_mut().for_each(Vec::clear);
        assert_eq!(set.select(&mut block, &[1, 0, 99], &mut selected), 2);
        assert_eq!((&selected[0][..], selected[2..].iter().all(Vec::is_empty)), (&[0, 1][..], true));
    }
}
