//! `tidemill schema check`: recorded pings against the schemas their names state.

use crate::{
    cli,
    exit::{DONE, NO, Outcome, surroundings, wrong_use},
};
use serde_json::json;
use std::path::PathBuf;
use tidemill_schema::{CheckResult, Expectation, Registry, check_paths};

pub fn run(command: cli::Schema) -> Outcome {
    let cli::Schema::Check { paths, schemas, json } = command;
    let registry = load(&schemas)?;
    report_slow(&registry);
    let results = check_paths(&paths, &registry).map_err(surroundings)?;
    if results.is_empty() {
        return Err(wrong_use("no recorded pings there: they are named NAMESPACE/DOCTYPE.VERSION.NAME.(pass|fail).json"));
    }
    for result in &results {
        print(result, json);
    }
    let wrong = results.iter().filter(|result| !result.is_right()).count();
    summary(&results, wrong, json);
    Ok(if wrong == 0 { DONE } else { NO })
}

/// Loads schemas; broken ones are named and left out.
pub fn load(paths: &[PathBuf]) -> Result<Registry, crate::exit::Failure> {
    let default = [PathBuf::from("schemas")];
    let paths = if paths.is_empty() { &default } else { paths };
    let (registry, report) = Registry::load(paths).map_err(surroundings)?;
    for broken in &report.broken {
        eprintln!("left out: {}: {}", broken.path.display(), broken.reason);
    }
    if registry.is_empty() {
        let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(wrong_use(format!("no schemas in {}: they are named NAMESPACE/DOCTYPE/DOCTYPE.VERSION.schema.json", names.join(", "))));
    }
    Ok(registry)
}

/// Names the schemas of which parts are left to the slower validator.
fn report_slow(registry: &Registry) {
    let slow: Vec<_> = registry.iter().filter(|schema| !schema.is_compiled()).collect();
    eprintln!("{} schemas, {} compiled whole", registry.len(), registry.len() - slow.len());
    for schema in slow {
        for part in schema.uncompiled() {
            eprintln!("slower: {} at {:?}: {}", schema.name(), part.pointer, part.reason);
        }
    }
}

fn word(verdict: Option<Expectation>) -> &'static str {
    match verdict {
        Some(Expectation::Pass) => "pass",
        Some(Expectation::Fail) => "fail",
        None => "none",
    }
}

fn print(result: &CheckResult, json: bool) {
    let CheckResult { path, expected, verdict, reason } = result;
    if json {
        println!(
            "{}",
            json!({"path": path, "expected": word(*expected), "verdict": word(*verdict), "right": result.is_right(), "reason": reason})
        );
        return;
    }
    let mark = if result.is_right() { "ok   " } else { "WRONG" };
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    println!("{mark} {} {}{reason}", word(*verdict), path.display());
}

fn summary(results: &[CheckResult], wrong: usize, json: bool) {
    let count = |verdict| results.iter().filter(|result| result.verdict == Some(verdict)).count();
    let (pass, fail) = (count(Expectation::Pass), count(Expectation::Fail));
    if json {
        println!("{}", json!({"pings": results.len(), "pass": pass, "fail": fail, "wrong": wrong}));
    } else {
        println!("{} pings: {pass} pass, {fail} fail, {wrong} not as their name says", results.len());
    }
}
