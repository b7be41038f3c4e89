//! Finds a document's schema and checks it, capturing on the way what is read later.

use super::{
    failure::{ErrorType, Failure},
    uri::Uri,
};
use crate::columns::Document;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tidemill_json::{Captures, Member, Padded, Pass, PointerError, Program, Refusal, value};
use tidemill_schema::{Invalid, InvalidKind, Registry, Schema};

/// Where a document states its version when its path does not: the first of these that is there.
const VERSION_POINTERS: [&str; 2] = ["/version", "/v"];
/// Sets of captures that are kept; one is made for each set of plugins that want the same message.
const CAPTURE_SETS_MAX: usize = 256;

/// The JSON pointers of a document's version, by namespace.
#[derive(Clone, Debug, Default)]
pub struct VersionPointers {
    /// For the namespaces that differ; the others look at `/version`, then `/v`.
    pub by_namespace: BTreeMap<String, Vec<String>>,
}

impl VersionPointers {
    fn of(&self, namespace: &str) -> Vec<String> {
        let own = self.by_namespace.get(namespace).cloned();
        own.unwrap_or_else(|| VERSION_POINTERS.map(str::to_owned).to_vec())
    }
}

/// What is captured for the plugins that want a message, and for its version.
struct CaptureSet {
    plugins: u64,
    namespace: Option<String>,
    versions: Vec<String>,
    captures: Captures,
    /// For each plugin, where its pointers begin.
    bases: Vec<usize>,
}

/// Checks documents; its memory is reused.
pub struct Checker {
    registry: Arc<Registry>,
    version_pointers: VersionPointers,
    /// The pointers of each plugin.
    plugin_pointers: Vec<Vec<String>>,
    sets: Vec<CaptureSet>,
    /// The schemas of documents so far. They are named by their place here: a count of references that all cores share would cost
    /// more than the message's own work between two of them.
    schemas: Vec<Arc<Schema>>,
    /// The schema of the last document of a type whose path states no version.
    predicted: HashMap<Arc<str>, HashMap<Arc<str>, SchemaNumber>>,
    pass: Pass,
    any: Program,
}

/// A set of captures, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetNumber(usize);

/// A schema, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaNumber(usize);

impl Checker {
    /// A checker that captures these pointers, by plugin.
    ///
    /// # Errors
    /// Where the pointers are wrong or too many together.
    pub fn new(
        registry: Arc<Registry>,
        version_pointers: VersionPointers,
        plugin_pointers: Vec<Vec<String>>,
    ) -> Result<Self, PointerError> {
        let all = plugin_pointers.iter().flatten().chain(version_pointers.by_namespace.values().flatten());
        Captures::new(&all.map(String::as_str).chain(VERSION_POINTERS).collect::<Vec<_>>())?;
        Ok(Self {
            registry,
            version_pointers,
            plugin_pointers,
            sets: Vec::new(),
            schemas: Vec::new(),
            predicted: HashMap::new(),
            pass: Pass::new(),
            any: Program::any(),
        })
    }

    /// The captures for a message of this path that these plugins (a bit each) want.
    pub fn captures_for(&mut self, uri: &Uri<'_>, plugins: u64) -> Result<SetNumber, Failure> {
        let namespace = uri.doc_version().is_none().then_some(uri.namespace);
        if let Some(at) = self.sets.iter().position(|set| set.plugins == plugins && set.namespace.as_deref() == namespace) {
            return Ok(SetNumber(at));
        }
        let versions = namespace.map(|namespace| self.version_pointers.of(namespace)).unwrap_or_default();
        let set = CaptureSet::new(plugins, namespace, versions, &self.plugin_pointers);
        self.sets.push(set.map_err(|error| Failure::new(ErrorType::Internal, format!("the plugins' JSON pointers: {error}")))?);
        Ok(SetNumber(self.sets.len() - 1))
    }

    /// Checks a document by its schema.
    ///
    /// # Errors
    /// `json` where it is not JSON, `schema_not_found`, `schema` where it breaks its schema.
    pub fn check(&mut self, uri: &Uri<'_>, set: SetNumber, document: &Padded) -> Result<SchemaNumber, Failure> {
        match uri.doc_version() {
            Some(version) => {
                // Whatever is not JSON is an error of that kind, schema or not.
                let Some(schema) = self.find(uri, version) else {
                    self.require_json(document)?;
                    return Err(not_found(uri, version));
                };
                self.validate(schema, set, document)?;
                Ok(schema)
            }
            None => self.check_by_own_version(uri, set, document),
        }
    }

    /// Checks with the schema of the last document of that type; only where this one states another version, once more.
    fn check_by_own_version(&mut self, uri: &Uri<'_>, set: SetNumber, document: &Padded) -> Result<SchemaNumber, Failure> {
        if let Some(&schema) = self.predicted.get(uri.namespace).and_then(|types| types.get(uri.doc_type)) {
            let predicted = self.schema(schema).version;
            match self.schemas[schema.0].validate(&mut self.pass, &self.sets[set.0].captures, document) {
                Ok(()) if self.captured_version(set, uri, document)? == predicted => return Ok(schema),
                Err(invalid) if self.version_of_refused(&invalid, set, uri, document)? == predicted => return Err(refused(invalid)),
                Ok(()) | Err(_) => {}
            }
        }
        let version = self.stated_version(set, uri, document)?;
        let schema = self.find(uri, version).ok_or_else(|| not_found(uri, version))?;
        let Schema { namespace, doctype, .. } = self.schema(schema);
        let (namespace, doctype) = (Arc::clone(namespace), Arc::clone(doctype));
        self.predicted.entry(namespace).or_default().insert(doctype, schema);
        self.validate(schema, set, document)?;
        Ok(schema)
    }

    /// A schema by its number.
    pub fn schema(&self, number: SchemaNumber) -> &Schema {
        &self.schemas[number.0]
    }

    fn find(&mut self, uri: &Uri<'_>, version: u32) -> Option<SchemaNumber> {
        let found = self.registry.find(uri.namespace, uri.doc_type, version)?;
        let known = self.schemas.iter().position(|schema| Arc::ptr_eq(schema, found));
        Some(SchemaNumber(known.unwrap_or_else(|| {
            self.schemas.push(Arc::clone(found));
            self.schemas.len() - 1
        })))
    }

    fn validate(&mut self, schema: SchemaNumber, set: SetNumber, document: &Padded) -> Result<(), Failure> {
        match self.schemas[schema.0].validate(&mut self.pass, &self.sets[set.0].captures, document) {
            Err(invalid) if invalid.kind == InvalidKind::Json => self.require_json(document).and(Err(refused(invalid))),
            validated => validated.map_err(refused),
        }
    }

    fn require_json(&mut self, document: &Padded) -> Result<(), Failure> {
        self.pass.run(&self.any, &Captures::none(), document).map_err(not_json)
    }

    /// The version that a refused document states. What is not JSON has none, and says so.
    fn version_of_refused(&mut self, invalid: &Invalid, set: SetNumber, uri: &Uri<'_>, document: &Padded) -> Result<u32, Failure> {
        match invalid.kind {
            InvalidKind::Json => self.stated_version(set, uri, document),
            InvalidKind::Schema => self.captured_version(set, uri, document),
        }
    }

    /// The version a document states, read without a schema.
    fn stated_version(&mut self, set: SetNumber, uri: &Uri<'_>, document: &Padded) -> Result<u32, Failure> {
        self.pass.run(&self.any, &self.sets[set.0].captures, document).map_err(not_json)?;
        self.captured_version(set, uri, document)
    }

    fn captured_version(&self, set: SetNumber, uri: &Uri<'_>, document: &Padded) -> Result<u32, Failure> {
        let set = &self.sets[set.0];
        let stated = |at: usize| self.pass.captured(at).last().map(|span| span.of(document)).filter(|text| !value::is_null(text));
        let found = (0..set.versions.len()).find_map(|at| Some((&set.versions[at], stated(at)?)));
        let Some((pointer, text)) = found else { return Err(no_version(uri, &set.versions)) };
        let version = value::as_i64(text).and_then(|version| u32::try_from(version).ok());
        version.ok_or_else(|| unusable_version(uri, pointer, text))
    }

    /// The members of the last document, at depth 1 and 2.
    pub fn members(&self) -> &[Member] {
        self.pass.members()
    }

    /// The values of the last document that a plugin asked for.
    pub fn captured<'c>(&'c self, set: SetNumber, plugin: usize, document: &'c [u8]) -> Captured<'c> {
        let base = self.sets.get(set.0).and_then(|set| set.bases.get(plugin)).copied().unwrap_or(usize::MAX);
        Captured { pass: &self.pass, document, base }
    }

    /// Passes over a document that was checked before, to capture the same once more.
    pub fn capture_again(&mut self, set: SetNumber, document: &Padded) -> bool {
        self.sets.get(set.0).is_some_and(|set| self.pass.run(&self.any, &set.captures, document).is_ok())
    }

    /// Bounds what is kept; set numbers given out before are void.
    pub fn trim(&mut self) {
        if self.sets.len() > CAPTURE_SETS_MAX {
            self.sets.clear();
        }
    }

    /// Forgets what a panic may have left half done.
    pub fn reset(&mut self) {
        self.pass = Pass::new();
        self.sets.clear();
        self.predicted.clear();
    }
}

impl CaptureSet {
    fn new(plugins: u64, namespace: Option<&str>, versions: Vec<String>, plugin_pointers: &[Vec<String>]) -> Result<Self, PointerError> {
        let mut pointers: Vec<&str> = versions.iter().map(String::as_str).collect();
        let mut bases = Vec::new();
        for (plugin, own) in plugin_pointers.iter().enumerate() {
            bases.push(pointers.len());
            if plugins & (1 << plugin) != 0 {
                pointers.extend(own.iter().map(String::as_str));
            }
        }
        let captures = Captures::new(&pointers)?;
        Ok(Self { plugins, namespace: namespace.map(str::to_owned), versions, captures, bases })
    }
}

/// The values of a document that a plugin asked for.
pub struct Captured<'c> {
    pass: &'c Pass,
    document: &'c [u8],
    base: usize,
}

impl Document for Captured<'_> {
    fn value(&self, pointer: usize) -> Option<&[u8]> {
        self.pass.captured(self.base.saturating_add(pointer)).last().map(|span| span.of(self.document))
    }

    fn each(&self, pointer: usize, act: &mut dyn FnMut(&[u8])) {
        self.pass.captured(self.base.saturating_add(pointer)).iter().for_each(|span| act(span.of(self.document)));
    }
}

fn not_json(refusal: Refusal) -> Failure {
    let detail = match refusal {
        Refusal::Json { detail, .. } => detail,
        Refusal::Schema => "schema",
    };
    Failure::new(ErrorType::Json, format!("invalid submission: {refusal}")).with_detail(detail)
}

fn refused(invalid: Invalid) -> Failure {
    let Invalid { kind, message, detail } = invalid;
    match kind {
        InvalidKind::Json => Failure::new(ErrorType::Json, format!("invalid submission: {message}")).with_detail(detail),
        InvalidKind::Schema => Failure::new(ErrorType::Schema, message).with_detail(detail),
    }
}

fn not_found(uri: &Uri<'_>, version: u32) -> Failure {
    Failure::new(ErrorType::SchemaNotFound, format!("{} error: schema not found", names(uri, version)))
}

fn no_version(uri: &Uri<'_>, pointers: &[String]) -> Failure {
    let text = format!("namespace: {} schema: {} error: the document states no version", uri.namespace, uri.doc_type);
    Failure::new(ErrorType::SchemaNotFound, text).with_detail(format!("looked at {}", pointers.join(", ")))
}

fn unusable_version(uri: &Uri<'_>, pointer: &str, text: &[u8]) -> Failure {
    let message = format!("namespace: {} schema: {} error: the document's version is not a whole number", uri.namespace, uri.doc_type);
    let shown = String::from_utf8_lossy(&text[..text.len().min(64)]);
    Failure::new(ErrorType::SchemaNotFound, message).with_detail(format!("{pointer} is {shown}"))
}

fn names(uri: &Uri<'_>, version: u32) -> String {
    format!("namespace: {} schema: {} version: {version}", uri.namespace, uri.doc_type)
}
