//! All schemas of a repository.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::dialect::{DraftRule, ignored_keywords};
use crate::schema::{Schema, SchemaName, Uncompiled};

/// The largest schema file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// How deep folders are searched: namespace, document type and some more for whoever nests.
const FOLDERS_MAX: u32 = 8;
const SUFFIX: &str = ".schema.json";

/// A folder of schemas that cannot be read.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// The folder or a file in it cannot be read.
    #[error("schemas at {}: {source}; check `schemas.paths` and its permissions", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        source: std::io::Error,
    },
}

/// A schema file that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenSchema {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What loading has found besides schemas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// How many schemas were loaded.
    pub loaded: usize,
    /// Files that are named like schemas and are none.
    pub broken: Vec<BrokenSchema>,
    /// Schemas with keywords later than draft 4, which are ignored (see [`DraftRule`]).
    pub ignored_keywords: Vec<(SchemaName, Vec<&'static str>)>,
}

/// The schemas of all repositories, by name.
#[derive(Debug, Default)]
pub struct Registry {
    namespaces: HashMap<Arc<str>, Doctypes>,
    epoch_hash: u64,
}

type Doctypes = HashMap<Arc<str>, Vec<Arc<Schema>>>;

impl Registry {
    /// Loads every `NAMESPACE/DOCTYPE/DOCTYPE.VERSION.schema.json` and
    /// `NAMESPACE/DOCTYPE.VERSION.schema.json` below `paths`; other files are ignored. Of equal names
    /// the first path counts.
    ///
    /// # Errors
    /// A folder or file cannot be read. A broken schema is no error but stands in the report.
    pub fn load(paths: &[PathBuf]) -> Result<(Self, LoadReport), SchemaError> {
        Self::load_with(paths, DraftRule::default())
    }

    /// As [`Self::load`], by another rule of drafts.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(paths: &[PathBuf], rule: DraftRule) -> Result<(Self, LoadReport), SchemaError> {
        let (mut registry, mut report) = (Self::default(), LoadReport::default());
        let mut digest = Sha256::new();
        for root in paths {
            for path in schema_files(root)? {
                let text = read(&path).map_err(|source| SchemaError::Read { path: path.clone(), source })?;
                digest.update(&text);
                match load_one(root, &path, &text, rule) {
                    Ok(schema) => registry.admit(schema, &path, rule, &mut report),
                    Err(reason) => report.broken.push(BrokenSchema { path, reason }),
                }
            }
        }
        registry.epoch_hash = digest.finalize().iter().take(8).fold(0, |hash, &byte| hash << 8 | u64::from(byte));
        Ok((registry, report))
    }

    fn admit(&mut self, schema: Schema, path: &Path, rule: DraftRule, report: &mut LoadReport) {
        if self.find(&schema.namespace, &schema.doctype, schema.version).is_some() {
            let reason = format!("{} was already loaded from another file", schema.name());
            report.broken.push(BrokenSchema { path: path.into(), reason });
            return;
        }
        let ignored = if rule == DraftRule::AlwaysDraft4 { ignored_keywords(&schema.source) } else { Vec::new() };
        if !ignored.is_empty() {
            report.ignored_keywords.push((schema.name().clone(), ignored));
        }
        report.loaded += 1;
        let doctypes = self.namespaces.entry(Arc::clone(&schema.namespace)).or_default();
        doctypes.entry(Arc::clone(&schema.doctype)).or_default().push(Arc::new(schema));
    }

    /// The schema of that name.
    pub fn find(&self, namespace: &str, doctype: &str, version: u32) -> Option<&Arc<Schema>> {
        self.namespaces.get(namespace)?.get(doctype)?.iter().find(|schema| schema.version == version)
    }

    /// Whether there is a schema of this document type, of whatever version.
    pub fn knows(&self, namespace: &str, doctype: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|doctypes| doctypes.contains_key(doctype))
    }

    /// Every schema, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Schema>> {
        self.namespaces.values().flat_map(HashMap::values).flatten()
    }

    /// The schemas that the pass does not check whole, with the parts it leaves to `jsonschema`.
    pub fn uncompiled(&self) -> impl Iterator<Item = (&SchemaName, &[Uncompiled])> {
        self.iter().filter(|schema| !schema.is_compiled()).map(|schema| (schema.name(), schema.uncompiled()))
    }

    /// How many schemas there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// A hash of all schema files: two registries with the same one give the same verdicts.
    pub fn epoch_hash(&self) -> u64 {
        self.epoch_hash
    }
}

/// The bytes of a file, one more than allowed at most.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn load_one(root: &Path, path: &Path, text: &[u8], rule: DraftRule) -> Result<Schema, String> {
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("over {FILE_BYTES_MAX} bytes, which is the most a schema may have"));
    }
    Schema::new(name_of(root, path)?, text, rule)
}

/// The name that a path states; the folder of the document type may be left out.
fn name_of(root: &Path, path: &Path) -> Result<SchemaName, String> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = file.strip_suffix(SUFFIX).unwrap_or(file);
    let named = stem.rsplit_once('.').and_then(|(doctype, version)| Some((doctype, version.parse().ok()?)));
    let Some((doctype, version)) = named.filter(|&(doctype, version)| !doctype.is_empty() && version > 0) else {
        return Err(format!("`{file}` is not named DOCTYPE.VERSION{SUFFIX}"));
    };
    let folders: Vec<&str> =
        path.strip_prefix(root).unwrap_or(path).parent().into_iter().flat_map(Path::iter).filter_map(|folder| folder.to_str()).collect();
    let namespace = match folders.as_slice() {
        [.., namespace, last] if *last == doctype => *namespace,
        [.., namespace] => *namespace,
        [] => root.file_name().and_then(|name| name.to_str()).unwrap_or_default(),
    };
    Ok(SchemaName { namespace: namespace.into(), doctype: doctype.into(), version })
}

/// The schema files below `root`, sorted, so that loading is the same everywhere.
fn schema_files(root: &Path) -> Result<Vec<PathBuf>, SchemaError> {
    let mut files = Vec::new();
    collect(root, FOLDERS_MAX, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, depth: u32, files: &mut Vec<PathBuf>) -> Result<(), SchemaError> {
    let refuse = |source| SchemaError::Read { path: folder.into(), source };
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, files)?;
            }
        } else if path.to_string_lossy().ends_with(SUFFIX) {
            files.push(path);
        }
    }
    Ok(())
}
