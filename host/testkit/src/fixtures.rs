//! Recorded pings by name: `NAMESPACE/DOCTYPE.VERSION.NAME.(pass|fail).json`.

use std::path::{Path, PathBuf};

/// What a recorded ping's name says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its schema accepts it.
    Pass,
    /// Its schema refuses it.
    Fail,
}

/// A recorded ping.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The file.
    pub path: PathBuf,
    /// The folder's name.
    pub namespace: String,
    /// The document type.
    pub doctype: String,
    /// The schema's version.
    pub version: u32,
    /// What tells it from others of its type.
    pub name: String,
    /// What the name promises.
    pub verdict: Verdict,
    /// The document.
    pub body: Vec<u8>,
}

/// Why recorded pings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// The file or folder cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There was nothing of that name.
    #[error("{0}: no recorded pings here: they are named NAMESPACE/DOCTYPE.VERSION.NAME.(pass|fail).json")]
    Empty(PathBuf),
    /// A file with another name was named.
    #[error("{0}: not the name of a recorded ping: NAMESPACE/DOCTYPE.VERSION.NAME.(pass|fail).json")]
    Name(PathBuf),
}

/// Reads the recorded pings of files and folders (with all below them), sorted by path.
///
/// # Errors
/// When a path cannot be read, a named file is not named like a recorded ping, or a folder holds none.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Fixture>, FixtureError> {
    let mut found = vec![];
    for path in paths {
        let before = found.len();
        if path.is_dir() {
            walk(path, &mut found)?;
        } else {
            let fixture = read(path)?.ok_or_else(|| FixtureError::Name(path.clone()))?;
            found.push(fixture);
        }
        if found.len() == before {
            return Err(FixtureError::Empty(path.clone()));
        }
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<Fixture>) -> Result<(), FixtureError> {
    let io = |source| FixtureError::Io { path: folder.to_owned(), source };
    let mut entries =
        std::fs::read_dir(folder).map_err(io)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(io)?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, found)?;
        } else if let Some(fixture) = read(&path)? {
            found.push(fixture);
        }
    }
    Ok(())
}

/// Reads one ping; `None` where the file is not named like one.
fn read(path: &Path) -> Result<Option<Fixture>, FixtureError> {
    let Some(mut fixture) = parse_name(path) else { return Ok(None) };
    fixture.body = std::fs::read(path).map_err(|source| FixtureError::Io { path: path.to_owned(), source })?;
    Ok(Some(fixture))
}

fn parse_name(path: &Path) -> Option<Fixture> {
    let absolute = std::path::absolute(path).ok()?;
    // A path like `../ping.json` names its folder only once it is resolved.
    let folder = absolute.parent()?;
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let namespace = folder.file_name()?.to_str()?.to_owned();
    let mut parts = path.file_name()?.to_str()?.strip_suffix(".json")?.split('.');
    let (doctype, version, name, verdict) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let verdict = match verdict {
        "pass" => Verdict::Pass,
        "fail" => Verdict::Fail,
        _ => return None,
    };
    let version = version.parse().ok()?;
    parts.next().is_none().then(|| Fixture {
        path: path.to_owned(),
        namespace,
        doctype: doctype.to_owned(),
        version,
        name: name.to_owned(),
        verdict,
        body: vec![],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_everything() {
        let found = parse_name(Path::new("/x/eng-workflow/hgpush.1.diffstat_null.pass.json")).unwrap();
        assert_eq!(
            (found.namespace.as_str(), found.doctype.as_str(), found.version, found.verdict),
            ("eng-workflow", "hgpush", 1, Verdict::Pass)
        );
        for name in ["/x/n/a.json", "/x/n/a.b.c.pass.json", "/x/n/a.1.c.maybe.json", "/x/n/a.1.c.pass.more.json", "/x/n/a.1.schema.json"] {
            assert!(parse_name(Path::new(name)).is_none(), "{name}");
        }
    }

    #[test]
    fn folders_above_have_names_too() {
        let folder = std::env::temp_dir().join(format!("tidemill-fixture-{}/shop/below", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(parse_name(&folder.join("../order.1.x.pass.json")).unwrap().namespace, "shop");
    }

    #[test]
    fn nothing_found_is_an_error() {
        let folder = std::env::temp_dir().join(format!("tidemill-no-fixtures-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(matches!(load(std::slice::from_ref(&folder)), Err(FixtureError::Empty(_))));
        assert!(matches!(load(&[folder.join("missing.1.x.pass.json")]), Err(FixtureError::Io { .. })));
    }
}
