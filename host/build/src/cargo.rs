//! Running the guest's cargo.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::BuildError;
use crate::project::{Package, Project, contains};
use crate::toolchain::Toolchain;

/// Lines of the compiler's talk that an error repeats.
const TAIL_LINES_MAX: usize = 60;

/// Builds one package of a project: its module.
pub(crate) fn build_package(
    toolchain: &Toolchain,
    project: &Project,
    package: &str,
    on_line: &mut dyn FnMut(&str),
) -> Result<Vec<u8>, BuildError> {
    let modules = build(toolchain, project, &["--package", package, "--lib"], on_line)?;
    let found = modules.into_iter().find(|(found, _)| found.name == package);
    found.map(|(_, module)| module).ok_or_else(|| BuildError::NoModule { package: package.into() })
}

/// Builds every package of a project that makes a module: the modules in the order of the packages' names.
pub(crate) fn build_workspace<'p>(
    toolchain: &Toolchain,
    project: &'p Project,
    on_line: &mut dyn FnMut(&str),
) -> Result<Vec<(&'p Package, Vec<u8>)>, BuildError> {
    let mut modules = build(toolchain, project, &["--workspace", "--lib"], on_line)?;
    modules.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    Ok(modules)
}

fn build<'p>(
    toolchain: &Toolchain,
    project: &'p Project,
    what: &[&str],
    on_line: &mut dyn FnMut(&str),
) -> Result<Vec<(&'p Package, Vec<u8>)>, BuildError> {
    let _lock = lock(&project.target_dir)?;
    let mut command = toolchain.cargo(&project.root);
    command.args(toolchain.build_arguments(project.remap())).args(what).arg("--target-dir").arg(&project.target_dir);
    let (messages, tail, succeeded) = run(command, on_line)?;
    if !succeeded {
        return Err(BuildError::Compile { dir: project.root.clone(), tail });
    }
    messages.lines().filter_map(|line| module_of(project, line)).map(read).collect()
}

/// Projects share the target folder, and two of one name share their module's file in it: nobody else builds until it is read.
fn lock(target_dir: &Path) -> Result<File, BuildError> {
    let path = target_dir.join(".tidemill-build.lock");
    let open = || {
        fs::create_dir_all(target_dir)?;
        let file = File::options().create(true).append(true).open(&path)?;
        file.lock().map(|()| file)
    };
    open().map_err(|source| BuildError::File { action: "lock", path: path.clone(), source })
}

fn read((package, path): (&Package, PathBuf)) -> Result<(&Package, Vec<u8>), BuildError> {
    let module = fs::read(&path).map_err(|source| BuildError::File { action: "read", path, source })?;
    Ok((package, module))
}

/// Runs cargo: its stdout, the last lines of its stderr, and whether it succeeded.
fn run(mut command: Command, on_line: &mut dyn FnMut(&str)) -> Result<(String, String, bool), BuildError> {
    let failed = |source| BuildError::Run { program: "cargo build".into(), source };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let messages = read_aside(&mut child);
    let tail = forward(&mut child, on_line);
    let status = child.wait().map_err(failed)?;
    let messages = messages.and_then(|thread| thread.join().ok()).unwrap_or_default();
    Ok((messages, tail, status.success()))
}

/// Reads stdout on a thread of its own: a full pipe would stop cargo while we read stderr.
fn read_aside(child: &mut Child) -> Option<std::thread::JoinHandle<String>> {
    let mut stdout = child.stdout.take()?;
    Some(std::thread::spawn(move || {
        let mut text = Vec::new();
        // An early end shows as a missing artifact.
        let _ = stdout.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }))
}

/// Hands on what cargo says, and keeps the last lines.
fn forward(child: &mut Child, on_line: &mut dyn FnMut(&str)) -> String {
    let mut tail = VecDeque::new();
    let lines = child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).split(b'\n'));
    for line in lines.map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        on_line(&line);
        tail.push_back(line);
        if tail.len() > TAIL_LINES_MAX {
            tail.pop_front();
        }
    }
    Vec::from(tail).join("\n")
}

/// The module that a line of cargo's messages is about.
fn module_of<'p>(project: &'p Project, line: &str) -> Option<(&'p Package, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || !contains(&message["target"]["kind"], "cdylib") {
        return None;
    }
    let dir = Path::new(message["manifest_path"].as_str()?).parent()?;
    let package = project.packages.iter().find(|package| package.dir == dir)?;
    let files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let module = files.into_iter().find(|file| file.ends_with(".wasm"))?;
    Some((package, module.into()))
}
