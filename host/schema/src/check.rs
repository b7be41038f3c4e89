//! Recorded pings against the schemas that their names state.

use std::path::{Path, PathBuf};

use thiserror::Error;
use tidemill_json::{Captures, Padded, Pass};

use crate::registry::Registry;

/// The largest recorded ping that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;
const FOLDERS_MAX: u32 = 8;

/// Recorded pings that cannot be read.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why it was not.
        source: std::io::Error,
    },
}

/// What the name of a recorded ping says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// It is valid.
    Pass,
    /// It is not.
    Fail,
}

/// The verdict on one recorded ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// The file.
    pub path: PathBuf,
    /// What its name says; `None` where the name says nothing, which is never right.
    pub expected: Option<Expectation>,
    /// What the schema says; `None` where there is no such schema.
    pub verdict: Option<Expectation>,
    /// Why it is not valid or not decided; empty for valid ones.
    pub reason: String,
}

impl CheckResult {
    /// Whether the verdict is the expected one.
    pub fn is_right(&self) -> bool {
        self.expected.is_some() && self.expected == self.verdict
    }
}

/// Checks each recorded ping below `paths`, named
/// `NAMESPACE/DOCTYPE.VERSION.NAME.(pass|fail).json`, against the schema its name states. In folders,
/// other files are passed by; a file given itself must be so named.
///
/// # Errors
/// A file or folder cannot be read.
pub fn check_paths(paths: &[PathBuf], registry: &Registry) -> Result<Vec<CheckResult>, CheckError> {
    let mut files = Vec::new();
    for path in paths {
        let about = std::fs::metadata(path).map_err(|source| CheckError::Read { path: path.clone(), source })?;
        if about.is_dir() { collect(path, FOLDERS_MAX, &mut files)? } else { files.push(path.clone()) }
    }
    files.sort();
    let (mut pass, mut document) = (Pass::new(), Padded::new());
    files.into_iter().map(|path| check_file(path, registry, &mut pass, &mut document)).collect()
}

fn collect(folder: &Path, depth: u32, files: &mut Vec<PathBuf>) -> Result<(), CheckError> {
    let refuse = |source| CheckError::Read { path: folder.into(), source };
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        if path.is_dir() {
            if depth > 0 {
                collect(&path, depth - 1, files)?;
            }
        } else if Recorded::of(&path).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

fn check_file(path: PathBuf, registry: &Registry, pass: &mut Pass, document: &mut Padded) -> Result<CheckResult, CheckError> {
    let Some(recorded) = Recorded::of(&path) else {
        let reason = "not named NAMESPACE/DOCTYPE.VERSION.NAME.(pass|fail).json".into();
        return Ok(CheckResult { path, expected: None, verdict: None, reason });
    };
    let Recorded { namespace, doctype, version, expected } = recorded;
    let expected = Some(expected);
    let Some(schema) = registry.find(&namespace, &doctype, version) else {
        let reason = format!("no schema {namespace}/{doctype}/{version}");
        return Ok(CheckResult { path, expected, verdict: None, reason });
    };
    read(&path, document)?;
    let (verdict, reason) = match schema.validate(pass, &Captures::none(), document) {
        Ok(()) => (Expectation::Pass, String::new()),
        Err(invalid) => (Expectation::Fail, invalid.message),
    };
    Ok(CheckResult { path, expected, verdict: Some(verdict), reason })
}

fn read(path: &Path, document: &mut Padded) -> Result<(), CheckError> {
    let refuse = |source| CheckError::Read { path: path.into(), source };
    let size = std::fs::metadata(path).map_err(refuse)?.len();
    if size > FILE_BYTES_MAX {
        return Err(refuse(std::io::Error::other(format!("{size} bytes; a recorded ping may have {FILE_BYTES_MAX}"))));
    }
    document.set(&std::fs::read(path).map_err(refuse)?);
    Ok(())
}

/// What the name of a recorded ping states.
struct Recorded {
    namespace: String,
    doctype: String,
    version: u32,
    expected: Expectation,
}

impl Recorded {
    fn of(path: &Path) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".json")?;
        let (stem, expected) = match stem.rsplit_once('.')? {
            (stem, "pass") => (stem, Expectation::Pass),
            (stem, "fail") => (stem, Expectation::Fail),
            _ => return None,
        };
        let (stem, _name) = stem.rsplit_once('.')?;
        let (doctype, version) = stem.rsplit_once('.')?;
        let folder = std::path::absolute(path).ok()?;
        let namespace = folder.parent()?.file_name()?.to_str()?.to_owned();
        Some(Self { namespace, doctype: doctype.to_owned(), version: version.parse().ok()?, expected })
    }
}
