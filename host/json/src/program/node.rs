//! The nodes of a compiled schema.

use std::sync::Arc;

use super::keys::KeyTable;
use super::number::NumberRules;
use super::pattern::Pattern;

/// `null`.
pub const NULL: u8 = 1;
/// `true` and `false`.
pub const BOOLEAN: u8 = 2;
/// Numbers that the program's draft calls integers.
pub const INTEGER: u8 = 4;
/// Numbers that are no integers.
pub const REAL: u8 = 8;
/// Strings.
pub const STRING: u8 = 16;
/// Arrays.
pub const ARRAY: u8 = 32;
/// Objects.
pub const OBJECT: u8 = 64;
/// Every type.
pub const EVERY_TYPE: u8 = 127;

/// What one value must be.
#[derive(Debug)]
pub struct Node {
    /// The accepted types, a mask of [`NULL`] to [`OBJECT`].
    pub types: u8,
    /// Accepted booleans: bit 0 `false`, bit 1 `true`.
    pub booleans: u8,
    /// What an object must fulfil.
    pub object: Option<Box<ObjectRules>>,
    /// What an array must fulfil.
    pub array: Option<Box<ArrayRules>>,
    /// What a string must fulfil.
    pub string: Option<Box<StringRules>>,
    /// What a number must fulfil.
    pub number: Option<Box<NumberRules>>,
    /// `anyOf`, `oneOf`, `allOf`, `not`, conditions: checked by reading the value again.
    pub choices: Option<Box<[Choice]>>,
    /// The number of the outside validator that has to accept the value as well.
    pub deferred: Option<u32>,
}

impl Node {
    /// A node that accepts every value.
    pub const fn any() -> Self {
        Self { types: EVERY_TYPE, booleans: 3, object: None, array: None, string: None, number: None, choices: None, deferred: None }
    }

    /// A node that accepts nothing.
    pub fn never() -> Self {
        Self { types: 0, ..Self::any() }
    }

    /// Whether the node accepts every value, so that nothing below it needs a look.
    #[inline(always)]
    pub fn is_any(&self) -> bool {
        let Self { types, booleans, object, array, string, number, choices, deferred } = self;
        *types == EVERY_TYPE
            && *booleans == 3
            && object.is_none()
            && array.is_none()
            && string.is_none()
            && number.is_none()
            && !(choices.is_some() || deferred.is_some())
    }

    /// Whether every integer from 0 to 18 digits is accepted, so that none has to be looked at.
    fn accepts_naturals(&self) -> bool {
        let is_in_range = self.number.as_ref().is_none_or(|rules| rules.accepts_naturals());
        self.types & INTEGER != 0 && is_in_range && !self.has_afterwork()
    }

    /// Whether something has to be done once the end of the value is known.
    #[inline(always)]
    pub(crate) fn has_afterwork(&self) -> bool {
        self.choices.is_some() || self.deferred.is_some()
    }
}

/// Alternatives that a value is checked against by reading it once more for each of them.
#[derive(Debug)]
pub enum Choice {
    /// Every node accepts it (`allOf`).
    All(Box<[Arc<Node>]>),
    /// At least one node accepts it (`anyOf`).
    Any(Box<[Arc<Node>]>),
    /// Exactly one node accepts it (`oneOf`).
    One(Box<[Arc<Node>]>),
    /// The node does not accept it (`not`).
    Not(Arc<Node>),
    /// `if`, `then`, `else`.
    If(Conditional),
}

impl Choice {
    /// Whether accepting less in a branch can accept more in all: then duplicate keys, of which the
    /// pass checks each and not only the last, need another validator.
    pub(crate) fn is_monotone(&self) -> bool {
        matches!(self, Self::All(_) | Self::Any(_))
    }
}

/// `if`, `then`, `else`; a branch that is not there accepts everything.
#[derive(Debug)]
pub struct Conditional {
    /// What decides.
    pub condition: Arc<Node>,
    /// What must accept the value when the condition does.
    pub then: Arc<Node>,
    /// What must accept the value when the condition does not.
    pub otherwise: Arc<Node>,
}

/// What a string must fulfil besides its type.
#[derive(Debug)]
pub struct StringRules {
    /// The least number of code points.
    pub min_length: u64,
    /// The greatest number of code points.
    pub max_length: u64,
    /// The pattern to be found in it.
    pub pattern: Option<Pattern>,
    /// The only strings accepted (`enum`, `const`).
    pub allowed: Option<KeyTable>,
}

impl Default for StringRules {
    fn default() -> Self {
        Self { min_length: 0, max_length: u64::MAX, pattern: None, allowed: None }
    }
}

/// What an array must fulfil besides its type.
#[derive(Debug)]
pub struct ArrayRules {
    /// The least number of elements.
    pub min_items: u64,
    /// The greatest number of elements.
    pub max_items: u64,
    /// Nodes of the first elements, by position (`items` as an array).
    pub prefix: Vec<Arc<Node>>,
    /// The node of the others (`items` as a schema, `additionalItems`); nothing for any.
    pub rest: Option<Arc<Node>>,
    /// A node that at least one element must be accepted by (`contains`).
    pub contains: Option<Arc<Node>>,
}

impl ArrayRules {
    /// No rules.
    pub const NONE: Self = Self { min_items: 0, max_items: u64::MAX, prefix: Vec::new(), rest: None, contains: None };

    #[inline(always)]
    pub(crate) fn rest(&self) -> &Node {
        self.rest.as_deref().unwrap_or(const { &Node::any() })
    }
}

/// A key that the schema names.
#[derive(Debug)]
pub struct Property {
    /// The node of its value.
    pub node: Arc<Node>,
    /// The bit by which its presence is noted; `u32::MAX` where nobody asks.
    pub slot: u32,
    /// Nodes of matching patterns, which must accept the value too.
    pub(crate) also: Box<[Arc<Node>]>,
}

/// `dependencies` of one key.
#[derive(Debug)]
pub struct Dependency {
    /// The slot of the key.
    pub when: u32,
    /// The slots that must be noted too.
    pub needs: Box<[u32]>,
    /// What the whole object must be accepted by.
    pub node: Option<Arc<Node>>,
}

/// How an object's keys select the nodes of their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All alike.
    Uniform,
    /// By name.
    Named,
    /// Digits by one node, all others by another.
    Digits,
    /// As `Digits`, and the one node accepts every integer from 0 on: the counts of histograms.
    Counts,
    /// By name and patterns, or the keys themselves are checked.
    Mixed,
}

/// What an object must fulfil besides its type. Built by [`ObjectRulesBuilder`].
#[derive(Debug)]
pub struct ObjectRules {
    pub(crate) shape: Shape,
    pub(crate) keys: KeyTable,
    pub(crate) properties: Box<[Property]>,
    pub(crate) patterns: Box<[(Pattern, Arc<Node>)]>,
    pub(crate) additional: Arc<Node>,
    pub(crate) names: Option<Arc<Node>>,
    pub(crate) min_properties: u64,
    pub(crate) max_properties: u64,
    /// Slots `0..required` must be noted; the mask is that of the first 64.
    pub(crate) required: u32,
    pub(crate) required_mask: u64,
    pub(crate) slots: u32,
    pub(crate) dependencies: Box<[Dependency]>,
}

/// Collects what is known of an object's keys and numbers the ones whose presence matters.
#[derive(Debug)]
pub struct ObjectRulesBuilder {
    /// `properties`.
    pub properties: Vec<(String, Arc<Node>)>,
    /// `patternProperties`.
    pub patterns: Vec<(Pattern, Arc<Node>)>,
    /// `additionalProperties`.
    pub additional: Arc<Node>,
    /// `propertyNames`: checked against each key as a string.
    pub names: Option<Arc<Node>>,
    /// `required`.
    pub required: Vec<String>,
    /// `dependencies`: a key, the keys it needs, the node it needs.
    pub dependencies: Vec<(String, Vec<String>, Option<Arc<Node>>)>,
    /// `minProperties`.
    pub min_properties: u64,
    /// `maxProperties`.
    pub max_properties: u64,
}

impl Default for ObjectRulesBuilder {
    fn default() -> Self {
        Self {
            properties: Vec::new(),
            patterns: Vec::new(),
            additional: Arc::new(Node::any()),
            names: None,
            required: Vec::new(),
            dependencies: Vec::new(),
            min_properties: 0,
            max_properties: u64::MAX,
        }
    }
}

impl ObjectRulesBuilder {
    /// The rules, with the key table built.
    pub fn build(mut self) -> ObjectRules {
        self.required.sort_unstable();
        self.required.dedup();
        let slotted = self.slotted();
        let (keys, properties) = self.key_table(&slotted);
        let required = u32::try_from(self.required.len()).unwrap_or(u32::MAX);
        let slot = |key: &String| slot_of(&slotted, key);
        let dependencies = self.dependencies.iter().map(|(when, needs, node)| Dependency {
            when: slot(when),
            needs: needs.iter().map(slot).collect(),
            node: node.as_ref().map(Arc::clone),
        });
        ObjectRules {
            shape: self.shape(keys.is_empty()),
            keys,
            properties,
            dependencies: dependencies.collect(),
            required,
            required_mask: if required >= 64 { u64::MAX } else { (1 << required) - 1 },
            slots: u32::try_from(slotted.len()).unwrap_or(u32::MAX),
            patterns: self.patterns.into(),
            additional: self.additional,
            names: self.names,
            min_properties: self.min_properties,
            max_properties: self.max_properties,
        }
    }

    fn shape(&self, has_no_keys: bool) -> Shape {
        match self.patterns.as_slice() {
            _ if self.names.is_some() => Shape::Mixed,
            [] if has_no_keys => Shape::Uniform,
            [] => Shape::Named,
            [(pattern, node)] if has_no_keys && pattern.is_digits() => {
                if node.accepts_naturals() {
                    Shape::Counts
                } else {
                    Shape::Digits
                }
            }
            _ => Shape::Mixed,
        }
    }

    /// Keys whose presence matters, the required ones first.
    fn slotted(&self) -> Vec<String> {
        let mut slotted = self.required.clone();
        for (when, needs, _) in &self.dependencies {
            for key in std::iter::once(when).chain(needs) {
                if !slotted.contains(key) {
                    slotted.push(key.clone());
                }
            }
        }
        slotted
    }

    fn key_table(&self, slotted: &[String]) -> (KeyTable, Box<[Property]>) {
        let mut keys: Vec<&str> = Vec::new();
        let mut properties = Vec::new();
        for (key, node) in &self.properties {
            keys.push(key);
            properties.push(self.property(key, node, slotted, true));
        }
        for key in slotted {
            if !self.properties.iter().any(|(declared, _)| declared == key) {
                keys.push(key);
                properties.push(self.property(key, &self.additional, slotted, false));
            }
        }
        (KeyTable::new(keys.iter().map(|key| key.as_bytes())), properties.into())
    }

    /// Patterns are matched against the schema's own keys here, once, so that the pass tries them
    /// on other keys only.
    fn property(&self, key: &str, node: &Arc<Node>, slotted: &[String], is_declared: bool) -> Property {
        let matching = self.patterns.iter().filter(|(pattern, _)| pattern.is_match(key.as_bytes()));
        let mut nodes: Vec<Arc<Node>> = matching.map(|(_, node)| Arc::clone(node)).collect();
        if is_declared || nodes.is_empty() {
            nodes.insert(0, Arc::clone(node));
        }
        let node = nodes.remove(0);
        Property { node, slot: slot_of(slotted, key), also: nodes.into() }
    }
}

fn slot_of(slotted: &[String], key: &str) -> u32 {
    let position = slotted.iter().position(|slotted| slotted == key);
    position.and_then(|position| u32::try_from(position).ok()).unwrap_or(u32::MAX)
}
