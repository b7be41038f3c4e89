//! What tests stand on: the binary, built plugins, data, and configuration files.

use serde_json::{Value, json};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

/// The variable that names a binary which is built already.
const BINARY_VARIABLE: &str = "TIDEMILL_BIN";

/// The project's folder.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap_or(root)
}

/// The data beside the project; `None`, after a line that names the test, where it is not there.
pub fn shared_data(test: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data");
    match path.canonicalize() {
        Ok(path) => Some(path),
        Err(_) => {
            eprintln!("SKIPPED {test}: no {}", path.display());
            None
        }
    }
}

/// The binary: what `TIDEMILL_BIN` names, else the one in the target folder.
///
/// It is not built here: cargo within cargo's tests has another environment, and would build half of the dependencies anew.
///
/// # Panics
/// When it is not there.
pub fn tidemill() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |path| root().join(path));
        let binary = std::env::var_os(BINARY_VARIABLE).map_or_else(|| target.join("debug/tidemill"), PathBuf::from);
        assert!(binary.exists(), "{} is not there: run `make build` first", binary.display());
        binary
    })
}

/// Runs the binary to its end, in the project's folder.
///
/// # Panics
/// When it cannot be run.
pub fn run(arguments: &[&str]) -> Output {
    run_with(tidemill(), arguments, b"")
}

/// Runs a program to its end with this input.
///
/// # Panics
/// When it cannot be run.
pub fn run_with(program: impl AsRef<Path>, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = clean(&mut command).spawn().unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    // A program that does not read its input closes it.
    let _ = feeder.join();
    output
}

/// Takes the platform's own variables out of a command's environment.
pub(crate) fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDEMILL_")) {
        command.env_remove(name);
    }
    command
}

/// The component of a plugin of the repository; `None`, after a line that names the test, where no guest toolchain is installed.
///
/// # Panics
/// When a plugin does not build.
pub fn component(test: &str, name: &str) -> Option<PathBuf> {
    static PLUGINS: OnceLock<bool> = OnceLock::new();
    static EVIL: OnceLock<bool> = OnceLock::new();
    static WITNESS: OnceLock<bool> = OnceLock::new();
    if let Some(built) = [("evil", &EVIL), ("witness", &WITNESS)].into_iter().find_map(|(guest, built)| (guest == name).then_some(built)) {
        let folder = format!("tests/guests/{name}");
        let built = built.get_or_init(|| build_plugins(&["build", &folder]));
        return found(test, *built, root().join(folder).join(format!("{name}.wasm")));
    }
    let path = root().join("plugins").join(name).join(format!("{name}.wasm"));
    found(test, *PLUGINS.get_or_init(|| build_plugins(&["build-all", "plugins"])), path)
}

fn found(test: &str, is_built: bool, path: PathBuf) -> Option<PathBuf> {
    if !is_built {
        eprintln!("SKIPPED {test}: no guest toolchain is installed");
        return None;
    }
    Some(path)
}

/// Builds plugins; `false` where the toolchain is missing.
fn build_plugins(arguments: &[&str]) -> bool {
    let arguments: Vec<&str> = ["plugin"].iter().chain(arguments).copied().collect();
    let output = run(&arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => true,
        Some(3) if text.contains("toolchain") || text.contains("install") => false,
        code => panic!("tidemill {} ended {code:?}: {text}", arguments.join(" ")),
    }
}

/// Which bus a platform runs on.
#[derive(Clone, Debug)]
pub enum BusSetup {
    /// The log in the data folder.
    Embedded,
    /// A broker at this address, with topics under this prefix.
    Kafka(String, String),
}

/// The Kafka that the tests of this process share, with topics of this test's own; `None` where a tool is missing.
pub fn kafka(test: &str) -> Option<BusSetup> {
    let broker = tidemill_test_kafka::shared(test)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    Some(BusSetup::Kafka(broker.address().to_owned(), format!("{test}-{now}-")))
}

/// A configuration, as far as tests set it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What runs: the program under test, or another one.
    pub program: PathBuf,
    /// The bus.
    pub bus: BusSetup,
    /// Partitions of every topic.
    pub partitions: u32,
    /// Folders of schemas.
    pub schemas: Vec<PathBuf>,
    /// The GeoIP database.
    pub geoip: Option<PathBuf>,
    /// How often the lake commits.
    pub lake_interval_s: f64,
    /// The `[[plugins]]`.
    pub plugins: Vec<Value>,
    /// Which parts run; empty: everything.
    pub roles: Vec<&'static str>,
    /// Any other key, as `section.key`.
    pub keys: Vec<(&'static str, Value)>,
}

impl Setup {
    /// A platform without plugins on this bus, with these schemas.
    pub fn new(bus: BusSetup, partitions: u32, schemas: Vec<PathBuf>) -> Self {
        let program = tidemill().to_owned();
        Self { program, bus, partitions, schemas, geoip: None, lake_interval_s: 1.0, plugins: vec![], roles: vec![], keys: vec![] }
    }

    /// The configuration file.
    ///
    /// # Panics
    /// Never: everything in it can be written as TOML.
    pub fn toml(&self) -> String {
        let mut bus = json!({"partitions": self.partitions});
        if let BusSetup::Kafka(brokers, prefix) = &self.bus {
            bus = json!({"partitions": self.partitions, "kind": "kafka", "topic_prefix": prefix, "kafka": {"brokers": brokers}});
        }
        let mut config = json!({
            "http": {"listen": "127.0.0.1:0"}, "bus": bus, "schemas": {"paths": self.schemas}, "lake": {"commit_interval_s": self.lake_interval_s},
            "log": {"format": "text"}, "plugins": self.plugins,
        });
        if let Some(city) = &self.geoip {
            config["geoip"] = json!({"city": city});
        }
        for (path, value) in &self.keys {
            let pointer = format!("/{}", path.replace('.', "/"));
            let (section, key) = pointer.rsplit_once('/').unwrap_or(("", &pointer));
            section.split('/').skip(1).fold(&mut config, |table, name| &mut table[name])[key] = value.clone();
        }
        if !self.roles.is_empty() {
            config["roles"] = json!(self.roles);
        }
        toml::to_string(&config).expect("TOML")
    }
}

/// A `[[plugins]]` entry.
pub fn plugin(name: &str, component: &Path, config: Value, allow_http: &[String]) -> Value {
    json!({"name": name, "component": component, "config": config, "allow": {"http": allow_http}})
}
