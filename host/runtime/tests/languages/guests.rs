//! Building the guests, each with the tools of its language; built once for equal sources.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidemill_build::BuildError;
use tidemill_runtime::Kind;
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
    C,
    JavaScript,
    Python,
    Go,
}

impl fmt::Display for Language {
    /// The name of its test and of its folder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::JavaScript => "javascript",
            Self::Python => "python",
            Self::Go => "go",
        })
    }
}

/// Which tool is missing, and how to get it.
pub type Missing = String;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn sources() -> PathBuf {
    repository().join("tests/guests/conformance")
}

/// Where what is built lies, beside the other results of cargo.
pub fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("guests").join("conformance");
    fs::create_dir_all(&folder).expect("a folder below target");
    folder
}

/// The component, built unless it was built from the same sources before.
pub fn component(language: Language, kind: Kind) -> Result<Vec<u8>, Missing> {
    if language == Language::Rust {
        return rust(kind);
    }
    let stem = format!("{language}-{kind}");
    let out = folder().join(format!("{stem}.{}.wasm", &hash_of_sources(language).to_hex()[..16]));
    if let Ok(component) = fs::read(&out) {
        return Ok(component);
    }
    let work = tempfile::tempdir_in(folder()).expect("a folder to work in");
    let component = match language {
        Language::C => c(kind, work.path()),
        Language::JavaScript => javascript(kind, work.path()),
        Language::Python => python(kind, work.path()),
        Language::Rust | Language::Go => go(kind, work.path()),
    }?;
    forget_older(&stem);
    let beside = work.path().join("component");
    fs::write(&beside, &component).and_then(|()| fs::rename(&beside, &out)).expect("the component is kept");
    Ok(component)
}

/// cargo knows by itself what is up to date.
fn rust(kind: Kind) -> Result<Vec<u8>, Missing> {
    let out = folder().join(format!("rust-{kind}.wasm"));
    let dir = sources().join("rust").join(kind.as_str());
    match tidemill_build::build(&dir, Some(&out), &mut |line| eprintln!("{line}")) {
        Ok(built) => Ok(fs::read(built.component).expect("the component")),
        Err(error @ BuildError::NoToolchain { .. }) => Err(error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

/// clang and wasi-libc come with zig. Without input or output no WASI import is left; its stack would be 16 MiB.
fn c(kind: Kind, work: &Path) -> Result<Vec<u8>, Missing> {
    let zig = installed(".deps/venv/bin/python-zig")?;
    let (sources, out) = (sources().join("c"), work.join("module.wasm"));
    let bindings = sources.join(format!("bindings/{kind}_plugin.c"));
    let mut command = Command::new(zig);
    command.current_dir(work).args(["cc", "-target", "wasm32-wasi", "-mexec-model=reactor", "-Wl,-z,stack-size=65536", "-O2", "-s"]);
    command.args(["-std=c11", "-Wall", "-Wextra", "-Wno-unused-function", "-Werror"]);
    run(command.arg(sources.join(format!("{kind}.c"))).arg(bindings).arg("-o").arg(&out));
    Ok(encode(&out, kind, None))
}

fn javascript(kind: Kind, work: &Path) -> Result<Vec<u8>, Missing> {
    let node = on_path("node")?;
    let tool = installed(".deps/node/node_modules/@bytecodealliance/componentize-js")?;
    // Its native parts are optional packages to npm, which an installation may have left out.
    installed(".deps/node/node_modules/@oxc-parser")?;
    let out = work.join("component.wasm");
    let source = sources().join(format!("javascript/{kind}.js"));
    let script = sources().join("javascript/build.mjs");
    run(Command::new(node).current_dir(work).args([&script, &tool, &source, &wit_folder()]).arg(world(kind)).arg(&out));
    Ok(fs::read(out).expect("the component"))
}

/// Builds a copy: CPython leaves a `__pycache__` beside its sources.
fn python(kind: Kind, work: &Path) -> Result<Vec<u8>, Missing> {
    let tool = installed(".deps/venv/bin/componentize-py")?;
    let copied = ["rows.py".to_owned(), format!("{kind}.py")];
    for name in copied {
        fs::copy(sources().join("python").join(&name), work.join(&name)).expect("a copy");
    }
    let out = work.join("component.wasm");
    let mut command = Command::new(tool);
    command.current_dir(work).arg("-q").arg("-d").arg(wit_folder()).args(["-w", &world(kind), "componentize", "--stub-wasi"]);
    run(command.args(["-p", ".", "-o"]).arg(&out).arg(kind.as_str()));
    Ok(fs::read(out).expect("the component"))
}

/// Stock Go knows WASI only: a stub that is linked in takes WASI's place.
fn go(kind: Kind, work: &Path) -> Result<Vec<u8>, Missing> {
    let go = on_path("go").or_else(|missing| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|go| go.is_file()).ok_or(missing))?;
    let (sources, out) = (sources().join("go"), work.join("module.wasm"));
    let mut command = Command::new(go);
    command.current_dir(&sources).envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOTOOLCHAIN", "local"), ("GOFLAGS", "-mod=readonly")]);
    let flags = ["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"];
    run(command.args(flags).arg(&out).arg(format!("./{kind}")));
    let stub = wat::parse_file(sources.join("wasi_stub.wat")).expect("the stub");
    Ok(encode(&out, kind, Some(&stub)))
}

fn encode(module: &Path, kind: Kind, wasi: Option<&[u8]>) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_dir(wit_folder()).expect("the contract").0;
    let world = resolve.select_world(&[package], Some(&world(kind))).expect("a world of the contract");
    let mut module = fs::read(module).expect("the module");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module");
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).expect("a module of the world");
    if let Some(wasi) = wasi {
        encoder = encoder.adapter("wasi_snapshot_preview1", wasi).expect("an adapter");
    }
    encoder.encode().expect("a component")
}

fn wit_folder() -> PathBuf {
    repository().join("wit")
}

fn world(kind: Kind) -> String {
    format!("{kind}-plugin")
}

/// What a component imports beside the contract.
pub fn foreign_imports(component: &[u8]) -> Vec<String> {
    let Ok(DecodedWasm::Component(resolve, world)) = wit_component::decode(component) else { panic!("no component") };
    let names = resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key));
    names.filter(|name| !["tidemill:plugin/host@0.1.0", "tidemill:plugin/types@0.1.0"].contains(&name.as_str())).collect()
}

/// Compares an answer with what is expected, and keeps it for the reader.
pub fn compare(language: Language, kind: Kind, actual: &str) {
    let expected = fs::read_to_string(sources().join(format!("expected/{kind}.txt"))).expect("what is expected");
    let kept = folder().join(format!("{language}-{kind}.actual.txt"));
    fs::write(&kept, actual).expect("the answer is kept");
    let mut pairs = expected.lines().zip(actual.lines()).enumerate();
    if let Some((line, (expected, actual))) = pairs.find(|(_, (expected, actual))| expected != actual) {
        panic!("{language} {kind}, line {}:\nexpected {expected}\nactual   {actual}\nall of it: {}", line + 1, kept.display());
    }
    assert_eq!(actual.len(), expected.len(), "{language} {kind}: {} has more or fewer lines", kept.display());
}

/// Everything that decides what is built: the contract, the sources, these lines and the version of the tool.
fn hash_of_sources(language: Language) -> blake3::Hash {
    let mut files = vec![wit_folder().join("plugin.wit")];
    add_files(&sources().join(language.to_string()), &mut files);
    files.sort();
    let mut hasher = blake3::Hasher::new();
    hasher.update(include_bytes!("guests.rs")).update(version(language).as_bytes());
    for file in files {
        let content = fs::read(&file).expect("a source");
        hasher
            .update(file.file_name().unwrap_or_default().as_encoded_bytes())
            .update(&(content.len() as u64).to_le_bytes())
            .update(&content);
    }
    hasher.finalize()
}

/// The line that pins the tool's version; Go is whatever the machine has.
fn version(language: Language) -> String {
    let (file, package) = match language {
        Language::C => ("requirements.txt", "ziglang"),
        Language::Python => ("requirements.txt", "componentize-py"),
        Language::JavaScript => ("package.json", "componentize-js"),
        Language::Rust | Language::Go => return String::new(),
    };
    let pins = fs::read_to_string(repository().join("tests/setup").join(file)).expect("the pinned versions");
    pins.lines().find(|line| line.contains(package)).expect("a pinned version").to_owned()
}

fn add_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { add_files(&path, files) } else { files.push(path) }
    }
}

/// Where a component's native code lies.
pub fn compiled_folder(language: Language, kind: Kind) -> PathBuf {
    folder().join(format!("{language}-{kind}.compiled"))
}

/// Removes what was built of older sources, where there is any.
fn forget_older(stem: &str) {
    let _ = fs::remove_dir_all(folder().join(format!("{stem}.compiled")));
    let entries = fs::read_dir(folder()).expect("the folder").filter_map(Result::ok);
    let is_older = |name: &str| name.starts_with(&format!("{stem}.")) && name.ends_with(".wasm");
    entries.filter(|entry| is_older(&entry.file_name().to_string_lossy())).for_each(|entry| drop(fs::remove_file(entry.path())));
}

fn installed(path: &str) -> Result<PathBuf, Missing> {
    let tool = repository().join(path);
    if tool.exists() { Ok(tool) } else { Err(format!("no {path}: run `make setup-test`")) }
}

fn on_path(program: &str) -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    found.ok_or_else(|| format!("no `{program}` on the path"))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = || String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said());
}
