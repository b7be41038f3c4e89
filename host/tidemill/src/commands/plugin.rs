//! `tidemill plugin`: the author's loop.

use crate::{
    cli,
    exit::{DONE, Outcome, surroundings, wrong_use},
};
use std::path::Path;
use tidemill_build::{BuildError, Built};

pub fn run(command: cli::Plugin) -> Outcome {
    match command {
        cli::Plugin::Build { dir, output } => {
            let built = tidemill_build::build(&dir, output.as_deref(), &mut talk).map_err(build_failed)?;
            report(&built);
            Ok(DONE)
        }
        cli::Plugin::BuildAll { dir } => {
            for built in tidemill_build::build_all(&dir, &mut quiet).map_err(build_failed)?.iter().filter(|built| built.changed) {
                report(built);
            }
            Ok(DONE)
        }
        cli::Plugin::New { name, kind, lang } => new(&name, &kind, &lang),
        _ => Ok(2),
    }
}

fn talk(line: &str) {
    eprintln!("{line}");
}

/// Only what matters when nothing goes wrong.
fn quiet(line: &str) {
    if line.starts_with("error") || line.starts_with("warning") {
        eprintln!("{line}");
    }
}

fn report(built: &Built) {
    println!("{}: {} bytes, {}", built.component.display(), built.size_bytes, built.kind);
}

fn build_failed(error: BuildError) -> crate::exit::Failure {
    match error {
        BuildError::NoToolchain { .. } | BuildError::Run { .. } => surroundings(error),
        _ => wrong_use(error),
    }
}

fn new(name: &str, kind: &str, lang: &str) -> Outcome {
    let kind = kind.parse().map_err(wrong_use)?;
    tidemill_build::new(name, kind, lang, Path::new(name)).map_err(wrong_use)?;
    println!("{name}/ is a plugin project; next:\n  tidemill plugin build {name}\n  tidemill plugin run {name}/{name}.wasm --fixtures {name}/fixtures --schemas {name}/schemas");
    Ok(DONE)
}
