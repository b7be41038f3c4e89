//! From JSON Schema to the nodes that drive the pass.
//!
//! What is not compiled (recursive or remote references, `uniqueItems`, fractional `multipleOf`,
//! enumerated arrays and objects, patterns with look-around) is *deferred*: the pass notes where such
//! a value lies, and a `jsonschema` validator of that part of the schema checks it. The rest of the
//! node is compiled all the same, so that captures work below it.

mod array;
mod choice;
mod object;
mod reference;
mod scalar;

use std::collections::HashMap;
use std::sync::Arc;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value};
use tidemill_json::Program;
use tidemill_json::program::{EVERY_TYPE, Node, Pattern};

use crate::dialect::Dialect;
use crate::oracle;
use crate::schema::Uncompiled;

/// How deep subschemas may nest, references resolved.
const DEPTH_MAX: usize = 256;

/// The most parts that are deferred one by one; beyond, the whole schema is.
const PARTS_MAX: usize = 64;

/// A schema as the pass takes it.
pub(crate) struct Compiled {
    pub program: Program,
    /// The validators that deferred values are checked by; a number beyond them means the whole schema's.
    pub parts: Vec<Validator>,
    pub uncompiled: Vec<Uncompiled>,
}

/// The number of the validator of the whole schema.
const WHOLE: u32 = u32::MAX;

/// Compiles `root`, which is valid by `draft`.
pub(crate) fn compile(root: &Value, draft: Draft, dialect: Dialect) -> Compiled {
    if dialect == Dialect::Later {
        return whole("the draft is later than 7".into());
    }
    let mut compiler = Compiler::new(root, draft, dialect);
    let node = compiler.schema(root, &Place::root()).node;
    let Compiler { parts, mut uncompiled, failed, .. } = compiler;
    match failed {
        Some(reason) => whole(reason),
        None => {
            uncompiled.sort_by(|a, b| a.pointer.cmp(&b.pointer));
            Compiled { program: Program::new(node, dialect.has_draft6()), parts, uncompiled }
        }
    }
}

/// Everything left to the validator of the whole schema.
fn whole(reason: String) -> Compiled {
    let root = Arc::new(Node { deferred: Some(WHOLE), ..Node::any() });
    let uncompiled = vec![Uncompiled { pointer: String::new(), reason }];
    Compiled { program: Program::new(root, true), parts: Vec::new(), uncompiled }
}

/// A compiled subschema.
#[derive(Clone)]
struct Sub {
    node: Arc<Node>,
    /// Whether something in it is deferred: then its verdict is not known while the pass runs, and
    /// nothing may depend on it but the verdict of the whole.
    is_deferred: bool,
}

/// Where a subschema stands and how it was reached.
#[derive(Clone)]
struct Place {
    pointer: String,
    depth: usize,
}

impl Place {
    fn root() -> Self {
        Self { pointer: String::new(), depth: 0 }
    }

    fn child(&self, segment: &str) -> Self {
        let segment = segment.replace('~', "~0").replace('/', "~1");
        Self { pointer: format!("{}/{segment}", self.pointer), depth: self.depth + 1 }
    }
}

struct Compiler<'s> {
    root: &'s Value,
    draft: Draft,
    dialect: Dialect,
    /// Whether a subschema changes the base of references, so that none can be resolved here.
    has_inner_ids: bool,
    parts: Vec<Validator>,
    uncompiled: Vec<Uncompiled>,
    /// Why the schema cannot be compiled at all.
    failed: Option<String>,
    /// Compiled subschemas by their text: repositories repeat theirs hundreds of times, and nodes
    /// that are shared stay in the cache.
    shared: HashMap<String, Arc<Node>>,
    /// References being resolved, to notice recursion.
    resolving: Vec<String>,
    /// References already resolved: each is compiled once, however often it is used.
    resolved: HashMap<String, Sub>,
}

/// A node being put together.
struct Draught {
    node: Node,
    is_deferred: bool,
    /// Why the node itself has to be deferred.
    reason: Option<String>,
}

impl Draught {
    fn defer(&mut self, reason: impl Into<String>) {
        self.reason.get_or_insert(reason.into());
    }

    /// Takes note of a subschema and returns its node.
    fn take(&mut self, sub: Sub) -> Arc<Node> {
        self.is_deferred |= sub.is_deferred;
        sub.node
    }
}

impl<'s> Compiler<'s> {
    fn new(root: &'s Value, draft: Draft, dialect: Dialect) -> Self {
        Self {
            root,
            draft,
            dialect,
            has_inner_ids: reference::has_inner_ids(root, dialect),
            parts: Vec::new(),
            uncompiled: Vec::new(),
            failed: None,
            shared: HashMap::new(),
            resolving: Vec::new(),
            resolved: HashMap::new(),
        }
    }

    fn schema(&mut self, schema: &'s Value, place: &Place) -> Sub {
        match schema {
            Value::Bool(true) => Sub { node: Arc::new(Node::any()), is_deferred: false },
            Value::Bool(false) => Sub { node: Arc::new(Node::never()), is_deferred: false },
            Value::Object(object) => self.shared_object(object, place),
            _ => self.defer_only(place, "a schema that is neither object nor boolean"),
        }
    }

    fn shared_object(&mut self, object: &'s Map<String, Value>, place: &Place) -> Sub {
        let key = serde_json::to_string(object).unwrap_or_default();
        if let Some(node) = self.shared.get(&key) {
            return Sub { node: Arc::clone(node), is_deferred: false };
        }
        let sub = self.object(object, place);
        // Parts that are deferred report by their place, so they are not shared.
        if !sub.is_deferred {
            self.shared.insert(key, Arc::clone(&sub.node));
        }
        sub
    }

    fn object(&mut self, object: &'s Map<String, Value>, place: &Place) -> Sub {
        if self.failed.is_some() {
            return Sub { node: Arc::new(Node::any()), is_deferred: true };
        }
        if place.depth > DEPTH_MAX {
            return self.defer_only(place, "nesting");
        }
        if let Some(reference) = object.get("$ref") {
            return self.reference(reference, place);
        }
        let node = Node { types: EVERY_TYPE, ..Node::any() };
        let mut draught = Draught { node, is_deferred: false, reason: None };
        self.types(object, &mut draught);
        self.strings(object, &mut draught);
        self.numbers(object, &mut draught);
        self.enumerations(object, &mut draught);
        self.arrays(object, place, &mut draught);
        self.objects(object, place, &mut draught);
        self.choices(object, place, &mut draught);
        self.finish(draught, place)
    }

    fn finish(&mut self, draught: Draught, place: &Place) -> Sub {
        let Draught { mut node, mut is_deferred, reason } = draught;
        if let Some(reason) = reason {
            node.deferred = Some(self.part(place, reason));
            is_deferred = true;
        }
        Sub { node: Arc::new(node), is_deferred }
    }

    /// A node that leaves everything to a validator.
    fn defer_only(&mut self, place: &Place, reason: &str) -> Sub {
        let deferred = Some(self.part(place, reason.into()));
        Sub { node: Arc::new(Node { deferred, ..Node::any() }), is_deferred: true }
    }

    /// The number of a validator of the part at `place`.
    fn part(&mut self, place: &Place, reason: String) -> u32 {
        if self.parts.len() >= PARTS_MAX {
            self.failed.get_or_insert(format!("more than {PARTS_MAX} parts are not compiled, the last for {reason}"));
            return WHOLE;
        }
        match oracle::build_part(self.root, &place.pointer, self.draft) {
            Ok(validator) => self.parts.push(validator),
            Err(error) => {
                self.failed.get_or_insert(format!("{reason} at #{}, which cannot be checked by itself: {error}", place.pointer));
            }
        }
        self.uncompiled.push(Uncompiled { pointer: place.pointer.clone(), reason });
        (self.parts.len() as u32).wrapping_sub(1)
    }

    /// The compiled pattern, or nothing where `draught` has to be deferred for it.
    fn pattern(&self, pattern: &str, draught: &mut Draught) -> Option<Pattern> {
        let translated = jsonschema_regex::to_rust_regex(pattern).ok()?;
        let compiled = Pattern::new(pattern, &translated);
        compiled.map_err(|error| draught.defer(error.to_string())).ok()
    }
}

/// A count as schemas write it; from draft 6 on also as a whole real.
fn count(value: &Value, dialect: Dialect) -> Option<u64> {
    let whole = |real: &f64| *real >= 0.0 && real.fract() == 0.0 && (dialect.has_draft6() || *real >= 18_446_744_073_709_551_616.0);
    value.as_u64().or_else(|| value.as_f64().filter(whole).map(|real| real as u64))
}
