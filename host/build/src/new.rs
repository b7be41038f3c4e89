//! Making a project that builds at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};

use crate::Kind;

/// The SDK's source, so that a project needs nothing but the crate registry.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/rust");
static COMMON: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/common");
static DECODER: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/decoder");
static ANALYSIS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/analysis");
static OUTPUT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/output");

/// Longer names make file names that some systems refuse.
const NAME_BYTES_MAX: usize = 64;

/// Languages that `new` has a template for.
const LANGUAGES: [&str; 1] = ["rust"];

/// Why a project was not made.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// A name that cargo would refuse.
    #[error("`{0}` cannot name a plugin: a letter first, then letters, digits and `-`, at most 64 of them, as in `doctype-monitor`")]
    Name(String),

    /// There is no template for this language.
    #[error(
        "there is no template for `{0}`: rust is supported; a plugin in another language is a component of wit/plugin.wit built by its own tools"
    )]
    Language(String),

    /// The folder is not empty.
    #[error("`{}` is there already and not empty: choose another name or folder", .0.display())]
    Exists(PathBuf),

    /// A file cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Writes the project of a new plugin into `dir`, which is made, and must be empty where it is there already.
///
/// # Errors
/// A name that is none, a language without template, or a folder that cannot be written.
pub fn new(name: &str, kind: Kind, lang: &str, dir: &Path) -> Result<(), NewError> {
    if !is_name(name) {
        return Err(NewError::Name(name.into()));
    }
    if !LANGUAGES.contains(&lang) {
        return Err(NewError::Language(lang.into()));
    }
    if fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()) {
        return Err(NewError::Exists(dir.into()));
    }
    let (template, config) = match kind {
        Kind::Decoder => (&DECODER, "{ duration_ms_max = 86400000 }"),
        Kind::Analysis => (&ANALYSIS, "{ silent_minutes = 10 }"),
        Kind::Output => (&OUTPUT, "{ url = \"http://127.0.0.1:9000/lines\" }"),
    };
    let fill = |text: &str| {
        let text = text.replace("{{name}}", name).replace("{{kind}}", kind.name()).replace("{{config}}", config);
        text.replace("{{run_options}}", run_options(kind))
    };
    write_folder(&COMMON, dir, &fill)?;
    write_folder(template, dir, &fill)?;
    write_folder(&SDK, &dir.join("sdk"), &|text| text.into())
}

/// What `tidemill plugin run` needs besides the recorded pings for a plugin as `new` makes it.
pub fn run_options(kind: Kind) -> &'static str {
    match kind {
        Kind::Output => r#" --config '{"url": "http://127.0.0.1:9000/lines"}'"#,
        Kind::Decoder | Kind::Analysis => "",
    }
}

fn is_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    name.len() <= NAME_BYTES_MAX && name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(rest)
}

/// Writes an embedded folder. A file `NAME.in` is a template: it loses its ending and gets its gaps filled.
fn write_folder(folder: &Dir<'_>, to: &Path, fill: &dyn Fn(&str) -> String) -> Result<(), NewError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| NewError::Write { path, source }
    };
    fs::create_dir_all(to).map_err(failed(to))?;
    for entry in folder.entries() {
        let name = entry.path().file_name().unwrap_or_default();
        match entry {
            DirEntry::Dir(inner) if name != "target" && name != "tests" => write_folder(inner, &to.join(name), fill)?,
            DirEntry::Dir(_) => {}
            DirEntry::File(file) => {
                let (name, bytes) = render(&name.to_string_lossy(), file.contents(), fill);
                let path = to.join(name);
                fs::write(&path, bytes).map_err(failed(&path))?;
            }
        }
    }
    Ok(())
}

fn render(name: &str, bytes: &[u8], fill: &dyn Fn(&str) -> String) -> (String, Vec<u8>) {
    match name.strip_suffix(".in") {
        None => (name.into(), bytes.into()),
        Some("gitignore") => (".gitignore".into(), bytes.into()),
        Some(name) => (name.into(), fill(&String::from_utf8_lossy(bytes)).into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_everything_that_a_project_needs() {
        let root = tempfile::tempdir().unwrap();
        for kind in Kind::ALL {
            let dir = root.path().join(kind.name());
            new("my-plugin", kind, "rust", &dir).unwrap();
            let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
            assert!(manifest.contains("name = \"my-plugin\"") && manifest.contains("[workspace]"), "{manifest}");
            let source = fs::read_to_string(dir.join("src/lib.rs")).unwrap();
            assert!(source.contains(&format!("export_{kind}!(Plugin)")), "{source}");
            for file in ["README.md", ".gitignore", "fixtures/example/session.1.linux.pass.json", "sdk/src/lib.rs", "sdk/wit/plugin.wit"] {
                let text = fs::read_to_string(dir.join(file)).unwrap();
                assert!(!text.contains("{{"), "{file} has a gap: {text}");
            }
        }
    }

    #[test]
    fn refuses_with_a_reason() {
        let root = tempfile::tempdir().unwrap();
        let check = |name: &str, lang: &str, dir: &Path, expected: &str| {
            let text = new(name, Kind::Analysis, lang, dir).unwrap_err().to_string();
            assert_eq!(text.replace(&root.path().display().to_string(), ""), expected);
        };
        let name = "cannot name a plugin: a letter first, then letters, digits and `-`, at most 64 of them, as in `doctype-monitor`";
        let fresh = root.path().join("fresh");
        for bad in ["", "1st", "../up", "a b", "a_b/c", &"x".repeat(65)] {
            check(bad, "rust", &fresh, &format!("`{bad}` {name}"));
        }
        let language = "there is no template for `cobol`: rust is supported; a plugin in another language is a component of wit/plugin.wit built by its own tools";
        check("a", "cobol", &fresh, language);
        assert!(!fresh.exists(), "a refusal writes nothing");
        fs::write(root.path().join("file"), "").unwrap();
        check("a", "rust", root.path(), "`` is there already and not empty: choose another name or folder");
        let inside_file = root.path().join("file/a");
        assert!(matches!(new("a", Kind::Output, "rust", &inside_file), Err(NewError::Write { .. })));
    }
}
