//! Many matchers over one message.

use crate::field::FieldRef;
use crate::matcher::Matcher;
use crate::matcher::program::{ACCEPT, Node, Target, shift};
use crate::matcher::test::{Header, Resolved, Variable};
use crate::names::{FieldNames, FoundFields};
use crate::reader::{MessageRef, field_of};

/// Many matchers that are evaluated over the same messages. Each header or field that they name is looked up once a message,
/// fields in one walk, and only if a matcher gets as far as to ask for one.
#[derive(Clone, Debug, Default)]
pub struct MatcherSet {
    /// The programs of all matchers, one behind the other.
    nodes: Vec<Node>,
    /// The slot of each node's variable.
    slots: Vec<u32>,
    entries: Vec<Target>,
    headers: Vec<Header>,
    fields: FieldTable,
}

/// The verdicts of a [`MatcherSet`] on a message, and memory that the next call uses again.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    verdicts: Vec<bool>,
    slots: Vec<Slot>,
    /// How many fields of each name the walk has met.
    met: Vec<u16>,
}

impl Matches {
    /// Nothing matched yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the matcher at that place of the set matched.
    pub fn contains(&self, matcher: usize) -> bool {
        self.verdicts.get(matcher).copied().unwrap_or(false)
    }

    /// The places of the matchers that matched, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.verdicts.iter().enumerate().filter_map(|(place, verdict)| verdict.then_some(place))
    }

    /// Whether any matched.
    pub fn any(&self) -> bool {
        self.verdicts.contains(&true)
    }

    /// The verdict of each matcher, in the order of the set.
    pub fn verdicts(&self) -> &[bool] {
        &self.verdicts
    }
}

impl MatcherSet {
    /// Joins the matchers; they are named by their place.
    pub fn new(matchers: Vec<Matcher>) -> Self {
        let mut set = Self::default();
        let programs = matchers.into_iter().map(|matcher| matcher.program).collect::<Vec<_>>();
        for program in programs {
            let offset = set.nodes.len() as Target;
            set.entries.push(shift(program.entry, offset));
            set.nodes.extend(program.nodes.into_iter().map(|node| Node {
                when_true: shift(node.when_true, offset),
                when_false: shift(node.when_false, offset),
                ..node
            }));
        }
        set.assign_slots();
        set
    }

    /// How many matchers there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The fields that the matchers name, for [`MatcherSet::matches_found`]. More names may be added to a copy.
    pub fn field_names(&self) -> &FieldNames {
        &self.fields.names
    }

    /// Evaluates all matchers. Allocates only until `out` has grown to the set's size.
    pub fn matches(&self, message: &MessageRef<'_>, out: &mut Matches) {
        self.evaluate(message, out, |slots, met| self.fields.resolve(message, slots, met));
    }

    /// The same for a message that was [read](MessageRef::parse_with) with [`MatcherSet::field_names`], perhaps with more names
    /// behind them: no field is looked for again.
    pub fn matches_found(&self, message: &MessageRef<'_>, found: &FoundFields<'_>, out: &mut Matches) {
        self.evaluate(message, out, |slots, _| self.fields.resolve_found(message, found, slots));
    }

    #[inline(always)]
    fn evaluate(&self, message: &MessageRef<'_>, out: &mut Matches, resolve_fields: impl Fn(&mut Vec<Slot>, &mut Vec<u16>)) {
        let Matches { verdicts, slots, met } = out;
        verdicts.clear();
        slots.clear();
        slots.extend(self.headers.iter().map(|header| Slot::new(message.raw(), header.resolve(message))));
        for entry in &self.entries {
            verdicts.push(self.run(*entry, message, slots, |slots| resolve_fields(slots, met)));
        }
    }

    #[inline(always)]
    fn run(&self, entry: Target, message: &MessageRef<'_>, slots: &mut Vec<Slot>, mut resolve_fields: impl FnMut(&mut Vec<Slot>)) -> bool {
        let mut target = entry;
        while let (Some(node), Some(&slot)) = (self.nodes.get(target as usize), self.slots.get(target as usize)) {
            let slot = slot as usize;
            if slot >= slots.len() {
                resolve_fields(slots);
            }
            let value = slots.get(slot).map_or(Resolved::Missing, |slot| slot.resolved(message.raw()));
            target = node.next(node.test.verdict(value));
        }
        target == ACCEPT
    }

    /// Gives each distinct variable a slot: first the headers, then the fields.
    fn assign_slots(&mut self) {
        for node in &self.nodes {
            if let Variable::Header(header) = &node.test.variable
                && !self.headers.contains(header)
            {
                self.headers.push(*header);
            }
        }
        let mut fields = FieldTable::default();
        self.slots = self.nodes.iter().map(|node| self.slot_of(&node.test.variable, &mut fields)).collect();
        self.fields = fields;
    }

    fn slot_of(&self, variable: &Variable, fields: &mut FieldTable) -> u32 {
        match variable {
            Variable::Header(header) => self.headers.iter().position(|known| known == header).unwrap_or_default() as u32,
            Variable::Field { name, field_index, value_index } => {
                self.headers.len() as u32 + fields.slot_of(name, *field_index, *value_index)
            }
        }
    }
}

/// The fields that a set names, found by one walk over a message.
#[derive(Clone, Debug, Default)]
struct FieldTable {
    names: FieldNames,
    /// What is wanted of each name.
    wanted: Vec<Vec<Wanted>>,
    slots: u32,
}

/// A value that a test asks for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    field_index: u8,
    value_index: u8,
    /// Its slot, counted from the first field's.
    slot: u32,
}

impl FieldTable {
    fn slot_of(&mut self, name: &[u8], field_index: u8, value_index: u8) -> u32 {
        let place = self.names.add(name);
        self.wanted.resize(self.names.len(), Vec::new());
        let same = |wanted: &&Wanted| wanted.field_index == field_index && wanted.value_index == value_index;
        if let Some(wanted) = self.wanted[place].iter().find(same) {
            return wanted.slot;
        }
        self.wanted[place].push(Wanted { field_index, value_index, slot: self.slots });
        self.slots += 1;
        self.slots - 1
    }

    /// Appends the slots of all fields, by a walk over the message.
    #[inline(never)]
    fn resolve(&self, message: &MessageRef<'_>, slots: &mut Vec<Slot>, met: &mut Vec<u16>) {
        let first = slots.len();
        slots.resize(first + self.slots as usize, Slot::Missing);
        met.clear();
        met.resize(self.names.len(), 0);
        for record in message.field_records() {
            if let Some(place) = self.names.find(FieldRef::name_of(record))
                && let Some(field) = field_of(record)
            {
                self.fill(place, met[place], &field, message.raw(), &mut slots[first..]);
                met[place] = met[place].saturating_add(1);
            }
        }
    }

    /// Appends the slots of all fields, of which the first of each name is known.
    #[inline(never)]
    fn resolve_found(&self, message: &MessageRef<'_>, found: &FoundFields<'_>, slots: &mut Vec<Slot>) {
        let first = slots.len();
        slots.resize(first + self.slots as usize, Slot::Missing);
        for (place, wanted) in self.wanted.iter().enumerate() {
            let Some(field) = found.get(place) else { continue };
            self.fill(place, 0, field, message.raw(), &mut slots[first..]);
            // Later fields of a name are asked for so rarely that nobody remembers them.
            if wanted.iter().any(|wanted| wanted.field_index > 0) {
                for (index, field) in (1..).zip(message.fields_named(field.name).skip(1)) {
                    self.fill(place, index, &field, message.raw(), &mut slots[first..]);
                }
            }
        }
    }

    /// Fills the slots that want a value of this field, the `index`-th of its name.
    #[inline]
    fn fill(&self, place: usize, index: u16, field: &FieldRef<'_>, raw: &[u8], slots: &mut [Slot]) {
        for wanted in self.wanted[place].iter().filter(|wanted| u16::from(wanted.field_index) == index) {
            let value = field.values().nth(usize::from(wanted.value_index));
            slots[wanted.slot as usize] = Slot::new(raw, Resolved::of(value));
        }
    }
}

/// A resolved variable that names bytes by their place in the message, so that it can outlive it.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Missing,
    Text { start: usize, end: usize },
    Number(f64),
}

impl Slot {
    #[inline]
    fn new(raw: &[u8], value: Resolved<'_>) -> Self {
        match value {
            Resolved::Missing => Slot::Missing,
            Resolved::Number(number) => Slot::Number(number),
            Resolved::Text(text) => {
                let start = (text.as_ptr() as usize).wrapping_sub(raw.as_ptr() as usize);
                Slot::Text { start, end: start.wrapping_add(text.len()) }
            }
        }
    }

    #[inline]
    fn resolved(self, raw: &[u8]) -> Resolved<'_> {
        match self {
            Slot::Missing => Resolved::Missing,
            Slot::Number(number) => Resolved::Number(number),
            Slot::Text { start, end } => raw.get(start..end).map_or(Resolved::Missing, Resolved::Text),
        }
    }
}
