//! One schema of the registry, and the check of a document against it.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use jsonschema::{Draft, Validator};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tidemill_json::{Captures, Deferred, Padded, Pass, Program, Refusal};

use crate::compile::{self, Compiled};
use crate::dialect::{Dialect, DraftRule};
use crate::document;
use crate::oracle;
use crate::report::Invalid;

/// What a schema is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaName {
    /// The namespace, as in the URI.
    pub namespace: Arc<str>,
    /// The document type.
    pub doctype: Arc<str>,
    /// The version, at least 1.
    pub version: u32,
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.doctype, self.version)
    }
}

/// A part of a schema that the pass leaves to `jsonschema`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncompiled {
    /// The JSON pointer of the part.
    pub pointer: String,
    /// The keyword that is not compiled, or another reason.
    pub reason: String,
}

/// A schema that is ready to check documents.
#[derive(Debug)]
pub struct Schema {
    /// The namespace, as in the URI.
    pub namespace: Arc<str>,
    /// The document type.
    pub doctype: Arc<str>,
    /// The version.
    pub version: u32,
    /// The first eight bytes of the SHA-256 of the file, big-endian.
    pub hash: u64,
    /// The schema as it was written.
    pub source: Arc<Value>,
    name: SchemaName,
    header: Box<[u8]>,
    program: Program,
    draft: Draft,
    /// Checks whole documents; made when the first one is refused, because most schemas never refuse any and it takes ten times
    /// the memory of the program.
    oracle: OnceLock<Option<Validator>>,
    /// Check the values that the program defers, by number.
    parts: Vec<Validator>,
    uncompiled: Vec<Uncompiled>,
}

impl Schema {
    /// Compiles the schema that `text` is.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn new(name: SchemaName, text: &[u8], rule: DraftRule) -> Result<Self, String> {
        tidemill_json::check(text).map_err(|refusal| refusal.to_string())?;
        let source = document::parse(text)?;
        let draft = rule.draft(&source);
        // What builds once builds again: this one says whether the schema is one.
        oracle::build(&source, draft)?;
        let Compiled { program, parts, uncompiled } = compile::compile(&source, draft, Dialect::of(draft));
        let hash = hash(text);
        let SchemaName { namespace, doctype, version } = name.clone();
        let header = format!("{name}#{hash:016x}").into_bytes().into();
        let source = Arc::new(source);
        Ok(Self { namespace, doctype, version, hash, source, name, header, program, draft, oracle: OnceLock::new(), parts, uncompiled })
    }

    /// Reads `document` once: whether it is JSON of the dialect and valid, and, in `pass`, what
    /// `captures` ask for.
    ///
    /// # Errors
    /// Why the document is invalid. Where it breaks the schema, `pass` holds what `captures` ask for all the same.
    pub fn validate(&self, pass: &mut Pass, captures: &Captures, document: &Padded) -> Result<(), Invalid> {
        match pass.run(&self.program, captures, document) {
            Ok(()) if pass.deferred().iter().all(|deferred| self.accepts_part(document, deferred)) => Ok(()),
            Ok(()) | Err(Refusal::Schema) => self.decide_slowly(pass, captures, document),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The verdict of `jsonschema` alone, which is the one that counts: the pass checks each value of
    /// duplicate keys, not only the last, and stops before it has seen whether the rest is JSON.
    fn decide_slowly(&self, pass: &mut Pass, captures: &Captures, document: &Padded) -> Result<(), Invalid> {
        static ANY: LazyLock<Program> = LazyLock::new(Program::any);
        pass.run(&ANY, captures, document)?;
        let tree = document::parse(document).map_err(|_| Invalid::json(0, "number"))?;
        let oracle = self.oracle().ok_or_else(|| Invalid::undecided(&self.name))?;
        oracle.validate(&tree).map_err(|error| Invalid::schema(&self.name, &error))
    }

    fn accepts_part(&self, document: &[u8], deferred: &Deferred) -> bool {
        let tree = document::parse(deferred.span.of(document));
        let part = self.parts.get(deferred.validator as usize);
        tree.is_ok_and(|tree| part.map_or_else(|| self.is_valid_tree(&tree), |part| part.is_valid(&tree)))
    }

    /// Whether `tree` is valid by `jsonschema` alone: for tests of the compiled schema.
    pub fn is_valid_tree(&self, tree: &Value) -> bool {
        self.oracle().is_some_and(|oracle| oracle.is_valid(tree))
    }

    fn oracle(&self) -> Option<&Validator> {
        self.oracle.get_or_init(|| oracle::build(&self.source, self.draft).ok()).as_ref()
    }

    /// What the schema is found by.
    pub fn name(&self) -> &SchemaName {
        &self.name
    }

    /// Whether the pass checks all of it.
    pub fn is_compiled(&self) -> bool {
        self.uncompiled.is_empty()
    }

    /// The parts that the pass leaves to `jsonschema`, and why.
    pub fn uncompiled(&self) -> &[Uncompiled] {
        &self.uncompiled
    }

    /// The compiled schema.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The value of the header `tm-schema`: `namespace/doctype/version#hash`.
    pub fn header(&self) -> &[u8] {
        &self.header
    }
}

fn hash(text: &[u8]) -> u64 {
    Sha256::digest(text).iter().take(8).fold(0, |hash, &byte| hash << 8 | u64::from(byte))
}
