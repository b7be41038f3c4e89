//! Turning a core module into a component, and checking what it imports and exports.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::WorldKey;

use crate::{BuildError, Built};

/// What a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Turns a valid document into fields.
    Decoder,
    /// Watches the stream.
    Analysis,
    /// Sends messages elsewhere.
    Output,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Decoder, Self::Analysis, Self::Output];

    /// The name of its interface.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decoder => "decoder",
            Self::Analysis => "analysis",
            Self::Output => "output",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of plugin: decoder, analysis and output are")]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownKind(name.into()))
    }
}

/// Makes a component of the module and writes it, unless the file has these bytes already.
pub(crate) fn write(plugin: &str, module: &[u8], out: &Path) -> Result<Built, BuildError> {
    let broken = |detail: String| BuildError::Component { plugin: plugin.into(), detail };
    let component = encode(module).map_err(broken)?;
    let kind = check(&component).map_err(broken)?;
    let changed = fs::read(out).ok().is_none_or(|before| before != component);
    if changed {
        replace(out, &component).map_err(|source| BuildError::File { action: "write", path: out.into(), source })?;
    }
    Ok(Built { name: plugin.into(), kind, component: out.into(), size_bytes: component.len(), changed })
}

fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoder = ComponentEncoder::default().validate(true).module(module);
    let component = encoder.and_then(|mut encoder| encoder.encode());
    component.map_err(|error| {
        format!(
            "{error:#}; a dependency that reaches for the world outside (files, clocks, randomness, JavaScript) cannot be part of a plugin"
        )
    })
}

/// The kind of a component that keeps the contract.
fn check(component: &[u8]) -> Result<Kind, String> {
    let decoded = wit_component::decode(component).map_err(|error| format!("{error:#}"))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err("it is a WIT package".into());
    };
    let world = &resolve.worlds[world];
    let names = |items: &mut dyn Iterator<Item = &WorldKey>| items.map(|key| resolve.name_world_key(key)).collect::<Vec<_>>();
    check_names(&names(&mut world.imports.keys()), &names(&mut world.exports.keys()))
}

/// The kind of what imports and exports these interfaces.
fn check_names(imports: &[String], exports: &[String]) -> Result<Kind, String> {
    let allowed = |name: &&String| is_interface(name, "host") || is_interface(name, "types");
    if let Some(import) = imports.iter().find(|name| !allowed(name)) {
        return Err(format!("it imports `{import}`, and a plugin may import `tidemill:plugin/host` only"));
    }
    let exported = |kind: &Kind| exports.iter().any(|name| is_interface(name, kind.name()));
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(exported).collect();
    match kinds[..] {
        [kind] => Ok(kind),
        [] => {
            Err("it exports no kind of plugin: end src/lib.rs with `tidemill_guest::export_analysis!(Type);` or the macro of another kind"
                .into())
        }
        _ => Err(format!(
            "it exports {}: a plugin is exactly one of them",
            kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" and ")
        )),
    }
}

/// Whether `tidemill:plugin/analysis@0.1.0` is the interface `analysis`, whatever its version.
fn is_interface(full: &str, name: &str) -> bool {
    let rest = full.strip_prefix("tidemill:plugin/").and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| rest.starts_with('@'))
}

/// Writes a file so that a reader sees the old bytes or the new ones, never a part.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exported_interface_is_the_kind() {
        let check = |imports: &[&str], exports: &[&str], expected: Result<Kind, &str>| {
            let full = |names: &[&str]| names.iter().map(|name| name.replace('$', "tidemill:plugin/")).collect::<Vec<_>>();
            assert_eq!(check_names(&full(imports), &full(exports)), expected.map_err(Into::into));
        };
        check(&["$host@0.1.0", "$types@0.1.0"], &["$analysis@0.1.0", "$state@0.1.0", "$timers@0.1.0"], Ok(Kind::Analysis));
        check(&[], &["$decoder@0.1.3"], Ok(Kind::Decoder));
        check(&["$host@0.1.0"], &["$output@0.1.0"], Ok(Kind::Output));
        check(&[], &["$output@0.1.0", "$decoder@0.1.0"], Err("it exports decoder and output: a plugin is exactly one of them"));
        let none =
            "it exports no kind of plugin: end src/lib.rs with `tidemill_guest::export_analysis!(Type);` or the macro of another kind";
        check(&[], &["$outputs@0.1.0", "other:plugin/output@0.1.0"], Err(none));
        let clock = "it imports `wasi:clocks/wall-clock@0.2.0`, and a plugin may import `tidemill:plugin/host` only";
        check(&["wasi:clocks/wall-clock@0.2.0"], &["$output@0.1.0"], Err(clock));
    }

    #[test]
    fn a_module_without_metadata_is_no_plugin() {
        let empty = b"\0asm\x01\0\0\0";
        assert!(encode(empty).and_then(|component| check(&component)).unwrap_err().contains("no kind of plugin"));
        assert!(encode(b"not wasm").unwrap_err().contains("cannot be part of a plugin"));
    }

    #[test]
    fn an_unchanged_component_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("p.wasm");
        replace(&out, b"one").unwrap();
        replace(&out, b"two").unwrap();
        assert_eq!(fs::read(&out).unwrap(), b"two");
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "nothing is left beside it");
        assert!(replace(&dir.path().join("none/p.wasm"), b"x").is_err());
    }

    #[test]
    fn kinds_have_names() {
        assert_eq!("output".parse(), Ok(Kind::Output));
        let error = "sink".parse::<Kind>().unwrap_err();
        assert_eq!(error.to_string(), "`sink` is no kind of plugin: decoder, analysis and output are");
    }
}
