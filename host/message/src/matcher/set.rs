//! Many matchers over one message.

use crate::field::FieldRef;
use crate::matcher::Matcher;
use crate::matcher::block::{FieldSlot, Route};
use crate::matcher::program::{ACCEPT, Node, REJECT, Target, shift};
use crate::matcher::test::{Header, Resolved, Variable};
use crate::names::{FieldNames, FoundFields};
use crate::reader::{MessageRef, field_of};
use std::ops::Range;

/// Many matchers that are evaluated over the same messages. Each header or field that they name is looked up once a message,
/// fields in one walk, and only if a matcher gets as far as to ask for one. The test that several matchers begin with is made
/// once for all of them.
#[derive(Clone, Debug, Default)]
pub struct MatcherSet {
    /// The programs of all matchers, one behind the other.
    pub(super) steps: Vec<Step>,
    /// How many checks of variables differ.
    pub(super) checks: usize,
    /// How each matcher goes through its steps.
    pub(super) routes: Vec<Route>,
    groups: Vec<Group>,
    /// The matchers of all groups, one group behind the other.
    members: Vec<Member>,
    /// What the verdicts begin with: those of matchers that test nothing.
    constants: Vec<bool>,
    pub(super) headers: Vec<Header>,
    fields: FieldTable,
    /// Those of the fields, as single ones.
    pub(super) field_slots: Vec<FieldSlot>,
}

/// A node, the slot of its variable, and the number of its check, which equal ones share.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) node: Node,
    pub(super) slot: u32,
    pub(super) check: u32,
}

/// Matchers that begin with the same test.
#[derive(Clone, Debug)]
struct Group {
    /// That test, of one of them.
    first: Target,
    members: Range<usize>,
    /// Those of them that are not decided where the test fails: they come first.
    undecided: Range<usize>,
}

/// A matcher, and where it goes on behind its first test.
#[derive(Clone, Copy, Debug)]
struct Member {
    matcher: u32,
    when_true: Target,
    when_false: Target,
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
        let (mut nodes, mut entries) = (Vec::new(), Vec::new());
        for Matcher { program } in matchers {
            let offset = nodes.len() as Target;
            entries.push(shift(program.entry, offset));
            nodes.extend(program.nodes.into_iter().map(|node| Node {
                when_true: shift(node.when_true, offset),
                when_false: shift(node.when_false, offset),
                ..node
            }));
        }
        let mut set = Self { constants: entries.iter().map(|entry| *entry == ACCEPT).collect(), ..Self::default() };
        set.assign_slots(nodes);
        set.number_checks();
        set.routes = entries.iter().map(|entry| Route::new(*entry, &set.steps)).collect();
        set.group(&entries);
        set
    }

    /// How many matchers there are.
    pub fn len(&self) -> usize {
        self.constants.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.constants.is_empty()
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
        verdicts.extend_from_slice(&self.constants);
        slots.clear();
        slots.extend(self.headers.iter().map(|header| Slot::new(message.raw(), header.resolve(message))));
        let mut test = |step: &Step| {
            let slot = step.slot as usize;
            if slot >= slots.len() {
                resolve_fields(slots, met);
            }
            let value = slots.get(slot).map_or(Resolved::Missing, |slot| slot.resolved(message.raw()));
            step.node.test.verdict(value)
        };
        for group in &self.groups {
            let verdict = self.steps.get(group.first as usize).is_some_and(&mut test);
            let members = if verdict { &group.members } else { &group.undecided };
            for member in &self.members[members.clone()] {
                let mut target = if verdict { member.when_true } else { member.when_false };
                while let Some(step) = self.steps.get(target as usize) {
                    target = step.node.next(test(step));
                }
                verdicts[member.matcher as usize] = target == ACCEPT;
            }
        }
    }

    /// Gives each distinct variable a slot: first the headers, then the fields.
    fn assign_slots(&mut self, nodes: Vec<Node>) {
        for node in &nodes {
            if let Variable::Header(header) = &node.test.variable
                && !self.headers.contains(header)
            {
                self.headers.push(*header);
            }
        }
        let mut fields = FieldTable::default();
        let step = |node: Node| Step { slot: self.slot_of(&node.test.variable, &mut fields), check: 0, node };
        self.steps = nodes.into_iter().map(step).collect();
        self.field_slots = FieldSlot::all(&fields);
        self.fields = fields;
    }

    fn number_checks(&mut self) {
        let mut distinct: Vec<usize> = Vec::new();
        for number in 0..self.steps.len() {
            let step = &self.steps[number];
            let is_same = |known: &usize| {
                let known = &self.steps[*known];
                known.slot == step.slot && known.node.test.is_same_check(&step.node.test)
            };
            let check = distinct.iter().position(is_same).unwrap_or_else(|| {
                distinct.push(number);
                distinct.len() - 1
            });
            self.steps[number].check = check as u32;
        }
        self.checks = distinct.len();
    }

    /// Puts matchers that begin with the same test together.
    fn group(&mut self, entries: &[Target]) {
        let mut groups: Vec<(Target, Vec<Member>)> = Vec::new();
        for (matcher, first) in (0..).zip(entries) {
            let Some(step) = self.steps.get(*first as usize) else { continue };
            let member = Member { matcher, when_true: step.node.when_true, when_false: step.node.when_false };
            let is_same = |known: &Target| {
                let known = &self.steps[*known as usize];
                known.slot == step.slot && known.node.test.is_same_check(&step.node.test)
            };
            match groups.iter_mut().find(|(known, _)| is_same(known)) {
                Some((_, members)) => members.push(member),
                None => groups.push((*first, vec![member])),
            }
        }
        for (first, mut members) in groups {
            members.sort_by_key(|member| member.when_false == REJECT);
            let undecided = members.iter().filter(|member| member.when_false != REJECT).count();
            let start = self.members.len();
            self.members.append(&mut members);
            self.groups.push(Group { first, members: start..self.members.len(), undecided: start..start + undecided });
        }
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
pub(super) struct FieldTable {
    names: FieldNames,
    /// What is wanted of each name.
    wanted: Vec<Vec<Wanted>>,
    slots: u32,
}

/// A value that a test asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) field_index: u8,
    pub(super) value_index: u8,
    /// Its slot, counted from the first field's.
    pub(super) slot: u32,
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

    /// Something of each slot, with the place of its name and the name.
    pub(super) fn each<T>(&self, make: impl Fn(usize, &[u8], &Wanted) -> T) -> Vec<T> {
        let of_name = |(place, wanted): (usize, &Vec<Wanted>)| {
            wanted.iter().map(|wanted| make(place, self.names.name(place), wanted)).collect::<Vec<_>>()
        };
        self.wanted.iter().enumerate().flat_map(of_name).collect()
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
            let Some(found) = found.get(place) else { continue };
            for wanted in wanted.iter().filter(|wanted| wanted.field_index == 0) {
                let value = match wanted.value_index {
                    0 => found.first,
                    index => found.field().and_then(|field| field.values().nth(usize::from(index))),
                };
                slots[first + wanted.slot as usize] = Slot::new(message.raw(), Resolved::of(value));
            }
            // Later fields of a name are asked for so rarely that nobody remembers them.
            if wanted.iter().any(|wanted| wanted.field_index > 0) {
                for (index, field) in (1..).zip(message.fields_named(self.names.name(place)).skip(1)) {
                    self.fill(place, index, &field, message.raw(), &mut slots[first..]);
                }
            }
        }
    }

    /// Fills the slots that want a value of this field, the `index`-th of its name.
    #[inline]
    fn fill(&self, place: usize, index: u16, field: &FieldRef<'_>, raw: &[u8], slots: &mut [Slot]) {
        for wanted in self.wanted[place].iter().filter(|wanted| u16::from(wanted.field_index) == index) {
            let value = match wanted.value_index {
                0 => field.first(),
                index => field.values().nth(usize::from(index)),
            };
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
