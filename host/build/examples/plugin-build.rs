//! Builds plugins from a checkout: `plugin-build DIR...`, or `plugin-build --all WORKSPACE`. The real command is
//! `tidemill plugin build`; this one needs no database driver and no query engine to be compiled first.

use std::path::Path;
use std::process::ExitCode;

use tidemill_build::{BuildError, Built, build, build_all};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, BuildError::NoToolchain { .. }) { 3 } else { 1 })
        }
    }
}

fn run(arguments: &[String]) -> Result<(), BuildError> {
    let mut show = |line: &str| eprintln!("{line}");
    match arguments {
        [all, workspace] if all == "--all" => build_all(Path::new(workspace), &mut show)?.iter().for_each(print),
        dirs => dirs.iter().try_for_each(|dir| build(Path::new(dir), None, &mut show).map(|built| print(&built)))?,
    }
    Ok(())
}

fn print(built: &Built) {
    let Built { name, kind, component, size_bytes, changed } = built;
    let news = if *changed { "written" } else { "unchanged" };
    println!("{name}: {kind}, {size_bytes} bytes, {news}: {}", component.display());
}
