//! `tidemill plugin`: the author's loop.

use crate::{
    cli,
    exit::{DONE, Failure, NO, Outcome, surroundings, wrong_use},
};
use serde_json::Value;
use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use tidemill_build::{BuildError, Built};
use tidemill_testkit::{
    FixtureError,
    run::{RunError, RunOptions, print, run as run_once},
};

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
        cli::Plugin::Run { file, fixtures, schemas, config, json } => run_plugin(&Run { file, fixtures, schemas, config, json }),
        cli::Plugin::List { json, host } => list(&host, json),
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

fn build_failed(error: BuildError) -> Failure {
    match error {
        BuildError::NoToolchain { .. } | BuildError::Run { .. } => surroundings(error),
        _ => wrong_use(error),
    }
}

fn new(name: &str, kind: &str, lang: &str) -> Outcome {
    let kind = kind.parse().map_err(wrong_use)?;
    tidemill_build::new(name, kind, lang, Path::new(name)).map_err(wrong_use)?;
    let options = tidemill_build::run_options(kind);
    println!(
        "{name}/ is a plugin project; next:\n  tidemill plugin build {name}\n  tidemill plugin run {name}/{name}.wasm --fixtures {name}/fixtures --schemas {name}/schemas{options}"
    );
    Ok(DONE)
}

/// `plugin run`, as it was given.
struct Run {
    file: PathBuf,
    fixtures: Vec<PathBuf>,
    schemas: Vec<PathBuf>,
    config: String,
    json: bool,
}

/// A component of this size takes more than a second or two to compile.
const LARGE_COMPONENT_BYTES: usize = 4 << 20;

fn run_plugin(command: &Run) -> Outcome {
    let component = std::fs::read(&command.file).map_err(|error| wrong_use(format!("{}: {error}", command.file.display())))?;
    let fixtures = tidemill_testkit::load(&command.fixtures).map_err(|error| match error {
        FixtureError::Io { .. } => surroundings(error),
        FixtureError::Empty(_) | FixtureError::Name(_) => wrong_use(error),
    })?;
    let registry = Arc::new(super::schema::load(&command.schemas)?);
    let name = command.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if component.len() > LARGE_COMPONENT_BYTES {
        eprintln!("compiling {name}, {} MiB: this takes a while", component.len() >> 20);
    }
    let options = RunOptions { name, component, config: command.config.clone(), fixtures, registry };
    let report = run_once(&options).map_err(run_failed)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = match command.json {
        true => serde_json::to_writer(&mut out, &report).map_err(Into::into).and_then(|()| out.write_all(b"\n")),
        false => print(&report, &mut out),
    };
    written.and_then(|()| out.flush()).map_err(surroundings)?;
    Ok(if report.is_sound() { DONE } else { NO })
}

fn run_failed(error: RunError) -> Failure {
    if error.is_wrong_use() { wrong_use(error) } else { surroundings(error) }
}

/// The table's columns: the API's names and how they are headed.
const COLUMNS: [(&str, &str); 12] = [
    ("name", "name"),
    ("kind", "kind"),
    ("version", "version"),
    ("state", "state"),
    ("messages_in", "in"),
    ("messages_out", "out"),
    ("rejected", "rejected"),
    ("fuel_total", "fuel"),
    ("traps", "traps"),
    ("restarts", "restarts"),
    ("memory_bytes", "memory"),
    ("lag", "lag"),
];

fn list(host: &cli::Host, json: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(surroundings)?;
    let plugins = runtime.block_on(fetch(&host.url))?;
    let text = if json { format!("{plugins}\n") } else { table(&plugins) };
    std::io::stdout().write_all(text.as_bytes()).map_err(surroundings)?;
    Ok(DONE)
}

async fn fetch(url: &url::Url) -> Result<Value, Failure> {
    let mut address = url.clone();
    address.set_path("/api/v1/plugins");
    let client = reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(30)).build().map_err(surroundings)?;
    let no_answer = |error: reqwest::Error| surroundings(format!("{url} does not answer: is a host running there? ({error})"));
    let response = client.get(address).send().await.map_err(no_answer)?;
    let status = response.status();
    let body: Value = serde_json::from_slice(&response.bytes().await.map_err(no_answer)?).unwrap_or_default();
    if status.is_success() && body.is_array() {
        return Ok(body);
    }
    let detail = body["detail"].as_str().map_or_else(|| format!("status {status}, not a list of plugins"), str::to_owned);
    Err(surroundings(format!("{url}: {detail}")))
}

/// A line a plugin; words to the left, numbers to the right.
fn table(plugins: &Value) -> String {
    let rows = plugins.as_array().into_iter().flatten().map(|plugin| COLUMNS.map(|(name, _)| cell(&plugin[name])));
    let rows: Vec<_> = std::iter::once(COLUMNS.map(|(_, heading)| heading.to_owned())).chain(rows).collect();
    let widths: Vec<_> = (0..COLUMNS.len()).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| if at < 4 { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_has_a_line_a_plugin() {
        let plugin = json!({
            "name": "doctype-monitor", "kind": "analysis", "version": "0123456789ab", "state": "live", "messages_in": 12, "messages_out": 0,
            "rejected": 1, "fuel_total": 123456, "traps": 2, "restarts": 2, "memory_bytes": 1114112, "lag": 0, "metrics": {},
        });
        let expected = "\
name             kind      version       state  in  out  rejected    fuel  traps  restarts   memory  lag
doctype-monitor  analysis  0123456789ab  live   12    0         1  123456      2         2  1114112    0
";
        assert_eq!(table(&json!([plugin])), expected);
        assert_eq!(table(&json!([])).lines().count(), 1);
    }

    #[test]
    fn nobody_there_is_the_surroundings() {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
        let host = cli::Host { url: format!("http://127.0.0.1:{port}").parse().unwrap() };
        let failure = list(&host, false).unwrap_err();
        assert_eq!(failure.code, 3);
        assert!(
            failure.text.starts_with(&format!("http://127.0.0.1:{port}/ does not answer: is a host running there? (")),
            "{}",
            failure.text
        );
    }

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn check_run(file: &Path, fixtures: &str, config: &str, code: u8, text: &str) {
        let config = config.to_owned();
        let command = Run {
            file: file.to_owned(),
            fixtures: vec![root().join(fixtures)],
            schemas: vec![root().join("schemas")],
            config,
            json: false,
        };
        let failure = run_plugin(&command).unwrap_err();
        assert_eq!(failure.code, code, "{}", failure.text);
        assert!(failure.text.contains(text), "{}", failure.text);
    }

    #[test]
    fn what_cannot_be_run_says_why() {
        let folder = std::env::temp_dir().join(format!("tidemill-plugin-run-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("core.wasm");
        let _ = std::fs::remove_file(&file);
        check_run(&file, "tests/fixtures", "{}", 2, "core.wasm: No such file");
        std::fs::write(&file, b"\0asm\x01\0\0\0").unwrap();
        check_run(
            &file,
            "tests/fixtures",
            "{}",
            2,
            "plugin `core`: this is a core module, not a component: build it with `tidemill plugin build`",
        );
        check_run(
            &file,
            "tests/fixtures",
            "[]",
            2,
            "the plugin's configuration must be a JSON object, for example {\"channel\": \"nightly\"}: it is JSON, but no object",
        );
        check_run(&file, "schemas", "{}", 2, "no recorded pings here");
        check_run(&file, "tests/nowhere.1.x.pass.json", "{}", 3, "nowhere.1.x.pass.json: No such file");
    }
}
